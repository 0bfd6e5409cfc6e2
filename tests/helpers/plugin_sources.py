"""Sources of plugins, and what the properties say of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pgregistry.testing.properties import PROPERTIES
from pgregistry.testing.subject import Subject

HEAD = "import os, sys\nfrom pgregistry import HOST, REST, WORLD, Axis, ConfigError, Mode, Split, hookimpl\n\n"


Install = Callable[..., Path]


def modes(*bodies: str, before: str = "") -> str:
    """Return the source of a plugin whose `pgregistry_modes` has these lines."""
    return HEAD + before + "\n\n@hookimpl\ndef pgregistry_modes():\n" + "".join(f"    {body}\n" for body in bodies)


def wrong(subject: Subject, name: str) -> list[str]:
    (one,) = (one for one in PROPERTIES if one.name == name)
    return one.wrong(subject)


def verdicts(subject: Subject) -> dict[str, list[str]]:
    return {one.name: found for one in PROPERTIES if (found := one.wrong(subject))}
