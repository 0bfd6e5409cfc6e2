"""One damaged distribution ends nothing: it is named with its path, can be switched off, and all else answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import GOOD, refusal, whole_refusal

import pgregistry
from pgregistry import PluginError
from pgregistry.cli import run

Damage = Callable[[Path], object]
NAME = "entry_points.txt"


def entry_points(data: bytes) -> Damage:
    return lambda info: (info / NAME).write_bytes(data)


def loop(info: Path) -> None:
    (info / NAME).unlink()
    (info / NAME).symlink_to(info / NAME)


def nowhere(info: Path) -> None:
    (info / NAME).unlink()
    (info / NAME).symlink_to(info / "gone")


def directory(info: Path) -> None:
    (info / NAME).unlink()
    (info / NAME).mkdir()


def nameless(info: Path) -> None:
    (info / "METADATA").unlink()
    info.rename(info.parent / ".dist-info")


def metadata(data: bytes) -> Damage:
    return lambda info: (info / "METADATA").write_bytes(data)


def pipe(info: Path) -> None:
    (info / NAME).unlink()
    os.mkfifo(info / NAME)


#: What does no harm to the plugin itself: how it is shown then.
HARMLESS: dict[str, tuple[Damage, str]] = {
    "METADATA in Latin-1": (metadata(b"Name: pgregistry-acme\nVersion: 0.1\n\ncaf\xe9\n"), "pgregistry-acme 0.1"),
    "Latin-1 in the header": (
        metadata(b"Author: Andr\xe9\nName: pgregistry-acme\nVersion: 0.1\n"),
        "pgregistry-acme 0.1",
    ),
    "a byte order mark": (metadata(b"\xef\xbb\xbfName: pgregistry-acme\nVersion: 0.1\n"), "pgregistry-acme 0.1"),
    "no METADATA": (lambda info: (info / "METADATA").unlink(), "unknown unknown"),
    "no Version": (metadata(b"Name: pgregistry-acme\n"), "pgregistry-acme unknown"),
    "no Name": (metadata(b"Version: 0.1\n"), "unknown 0.1"),
    "an empty METADATA": (metadata(b""), "unknown unknown"),
    "a METADATA of zeros": (metadata(bytes(1 << 18)), "unknown unknown"),
    "METADATA is a folder": (
        lambda info: ((info / "METADATA").unlink(), (info / "METADATA").mkdir()),
        "unknown unknown",
    ),
    "a folder without a name": (nameless, "unknown unknown"),
}
#: What makes the plugin unreadable: a part of the error, and the names that switch it off.
BROKEN: dict[str, tuple[Damage, str, tuple[str, ...]]] = {
    "Latin-1": (entry_points(b"[pgregistry]\nacme = acme_plugin\n# caf\xe9\n"), "can't decode byte 0xe9", ("acme",)),
    "no equals sign": (
        entry_points(b"[pgregistry]\nacme = acme_plugin\nstray\n"),
        "line 3 is 'stray'; it must have the form NAME = MODULE",
        ("acme",),
    ),
    "no equals sign elsewhere": (
        entry_points(b"[console_scripts]\nmain\n[pgregistry]\nacme = acme_plugin\n"),
        "line 2 is 'main'; it must have",
        ("acme",),
    ),
    "UTF-16": (entry_points("[pgregistry]\nacme = acme_plugin\n".encode("utf-16")), "can't decode byte 0xff", ()),
    "a loop of links": (loop, "Too many levels of symbolic links", ()),
    "a link to nothing": (nowhere, f"{NAME} is a link to nothing", ()),
    "a folder": (directory, "Is a directory", ()),
    "too long": (entry_points(b"# pgregistry\n" * (1 << 19)), "File too large", ()),
    "a name with a space": (entry_points(b"[pgregistry]\na b = acme_plugin\n"), "without spaces and commas", ()),
    "a name with a comma": (entry_points(b"[pgregistry]\na,b = acme_plugin\n"), "without spaces and commas", ()),
    "an escape code": (entry_points(b"[pgregistry]\na\x1b[31mb = acme_plugin\n"), "a name that can be printed", ()),
    "a call": (
        entry_points(b"[pgregistry]\nacme = acme_plugin:Plugin()\n"),
        "'acme_plugin:Plugin()' is neither",
        ("acme",),
    ),
    "a hyphen": (entry_points(b"[pgregistry]\nacme = acme-plugin\n"), "'acme-plugin' is neither", ("acme",)),
    "no value": (entry_points(b"[pgregistry]\nacme =\n"), "'' is neither", ("acme",)),
    "a relative module": (
        entry_points(b"[pgregistry]\nacme = ..acme_plugin\n"),
        "'..acme_plugin' is neither",
        ("acme",),
    ),
    "no name": (entry_points(b"[pgregistry]\n= acme_plugin\n"), "must have a name, as in NAME = MODULE", ()),
    "a colon": (entry_points(b"[pgregistry]\nacme: acme_plugin\n"), "line 2 is 'acme: acme_plugin'", ("acme",)),
    "zeros": (entry_points(b"[pgregistry]\nacme = acme_plugin\n\0\0"), "line 3 is '\\x00\\x00'", ("acme",)),
    "a byte order mark": (
        entry_points(b"\xef\xbb\xbf[pgregistry]\nacme = acme_plugin\n"),
        "it begins with '\\ufeff[pgregistry]'; it must be UTF-8 and begin with a section",
        ("acme",),
    ),
    "UTF-16 without a mark": (
        entry_points("[pgregistry]\nacme = acme_plugin\n".encode("utf-16-le")),
        "it must be UTF-8 and begin with a section",
        ("acme",),
    ),
    "a section that is not closed": (
        entry_points(b"[pgregistry\nacme = acme_plugin\n"),
        "it begins with '[pgregistry'; it must",
        ("acme",),
    ),
}


def damaged(acme: Any, damage: Damage) -> Path:
    site: Path = acme(GOOD)
    info = site / "pgregistry_acme-0.1.dist-info"
    damage(info)
    return info


def answers(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the row of `plugins --json` of the plugin; check that the commands that need no plan answer."""
    assert run(["plugins", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert run(["plugins"]) == 0
    assert run(["--help"]) == 0
    assert run(["--version"]) == 0
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert "\x1b" not in said.out + said.err
    (row,) = [row for row in rows if row["distribution"] != "pgregistry"]
    assert {row["name"]: row["status"] for row in rows}["tensor"] == "active"
    return row


@pytest.mark.parametrize("what", HARMLESS)
def test_metadata_that_is_damaged_does_no_harm(what: str, acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    damage, shown = HARMLESS[what]
    damaged(acme, damage)
    assert str(pgregistry.plan(4)["acme"].plugin) == f"plugin 'acme', {shown}"
    row = answers(capsys)
    assert f"{row['distribution']} {row['version']}" == shown
    assert row["status"] == "active"
    assert "acme" not in pgregistry.plan(4, disable=["acme"])


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_read_is_named_with_its_path_and_can_be_switched_off(
    what: str, acme: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, text, names = BROKEN[what]
    info = damaged(acme, damage)
    said = whole_refusal(PluginError, only=None)
    assert text in said
    assert "--disable" in said
    with pytest.raises(PluginError) as caught:
        pgregistry.plan(4)
    assert str(caught.value).endswith(f"Found in {info.parent}.")
    row = answers(capsys)
    assert (row["status"], row["path"]) == ("failed", str(info.parent))
    assert text in row["reason"]
    for name in (*names, "pgregistry-acme", "pgregistry_acme-0.1.dist-info"):
        assert "tensor" in pgregistry.plan(4, disable=[name])
    assert run(["plan", "8", "--disable", (*names, "pgregistry-acme")[0]]) == 0
    assert run(["plan", "8"]) == 1
    assert "acme" not in pgregistry.plan(4, only=["tensor"])


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_distribution_of_somebody_else_is_passed_over(
    what: str, installed_plugin: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = installed_plugin("other", {}, {})
    before = pgregistry.plan(4)
    damage, _, _ = BROKEN[what]
    damage(site / "other-0.1.dist-info")
    for file in site.rglob(NAME):
        if file.is_file():
            file.write_bytes(file.read_bytes().replace(b"pgregistry", b"somebodys").replace(b"p\0g\0r\0", b"q\0g\0r\0"))
    assert pgregistry.plan(4) == before
    assert run(["plugins"]) == 0
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_read_may_be_ours_if_the_distribution_requires_pgregistry(acme: Any) -> None:
    info = damaged(acme, metadata(b"Name: ring\nVersion: 2\nRequires-Dist: torch\nRequires-Dist: pgregistry>=0.1\n"))
    loop(info.rename(info.with_name("ring-2.dist-info")))
    assert refusal(PluginError).startswith(
        f"plugin 'ring', ring 2 cannot be read: {info.with_name('ring-2.dist-info')}/"
    )
    assert pgregistry.plan(4, disable=["ring"])


def test_a_folder_that_is_a_link_to_nothing_is_named_and_is_switched_off_by_its_name(acme: Any) -> None:
    info = damaged(acme, lambda info: info.rename(info.with_name("moved")))
    info.symlink_to(info.with_name("gone"))
    said = f"plugin {info.name!r}, unknown unknown cannot be read: {info} is a link to nothing."
    assert refusal(PluginError) == said
    assert "tensor" in pgregistry.plan(4, disable=[info.name])


@pytest.mark.timeout(20)
def test_a_pipe_that_nobody_writes_to_blocks_nothing(acme: Any) -> None:
    damaged(acme, pipe)
    assert "tensor" in pgregistry.plan(4)
