"""The list of the files of a checkpoint: it is written last, so a checkpoint without it is not whole."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.json"


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """A checkpoint that cannot be used; the text has the reason."""


def write(path: Path, step: int, model: Mapping[str, Any]) -> None:
    """Write down the step, the shape of the model, and the size in bytes and the checksum of each file."""
    files = {file.name: (file.stat().st_size, zlib.crc32(file.read_bytes())) for file in path.iterdir()}
    text = json.dumps({"step": step, "model": dict(model), "files": files})
    (path / MANIFEST).write_text(text, encoding="utf-8")


def check(path: Path, model: Mapping[str, Any]) -> int:
    """Return the step of a checkpoint.

    Raises:
        Refused: if it is not whole, or of another model.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        step, saved = int(manifest["step"]), dict(manifest["model"])
        files = [(name, size, checksum) for name, (size, checksum) in dict(manifest["files"]).items()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} is not whole: {MANIFEST} cannot be read ({type(error).__name__}).") from None
    for name, size, checksum in files:
        there = (path / name).stat().st_size if (path / name).exists() else None
        if there != size:
            said = "is missing" if there is None else f"has {there}"
            raise Refused(f"{path} is not whole: {name} must have {size} bytes and {said}.")
        if zlib.crc32((path / name).read_bytes()) != checksum:  # a host that crashes may leave zeros
            raise Refused(f"{path} is not whole: {name} has other bytes than were written.")
    if differing := [name for name in model if saved.get(name) != model[name]]:
        said = ", ".join(f"{name} is {saved.get(name)} there and {model[name]} here" for name in differing)
        raise Refused(f"{path} is of another model: {said}.")
    return step
