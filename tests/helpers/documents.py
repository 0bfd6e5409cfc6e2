"""The pages of the documentation, in parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TUTORIAL = "docs/plugin-tutorial.md"
PAGES = ("hooks", "nettest", "plugin-tutorial", "reference", "reliability", "stability", "vocabulary")
RUN = ("README.md", *(f"docs/{name}.md" for name in PAGES))
ALL = (
    *RUN,
    "examples/gpt/README.md",
    "examples/pgregistry-expert/README.md",
    "docs/README.md",
    "docs/comparison.md",
    "docs/frameworks.md",
    "docs/moving.md",
    "docs/packaging.md",
    "docs/recipes.md",
    "docs/refused.md",
    "docs/stuck.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "RELEASING.md",
    "plugins/README.md",
)


def read(name: str) -> str:
    """Return the text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def sections(name: str) -> dict[str, str]:
    """Return the parts of a page under `##` headings."""
    parts = re.split(r"^## (.+)$", read(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def files(text: str, language: str) -> dict[str, str]:
    """Return the blocks whose first line is a file name in a comment."""
    ending = {"python": "py"}.get(language, language)
    named = ((re.match(rf"# (\w+\.{ending})\n", block), block) for block in blocks(text, language))
    return {match[1]: block for match, block in named if match}


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the console blocks, with what it prints."""
    for block in blocks(text, "console"):
        parts = re.split(r"^\$ (.+)$", block, flags=re.MULTILINE)
        assert not parts[0], f"output before the first command: {parts[0]!r}"
        yield from zip(parts[1::2], parts[2::2], strict=True)


def lines(text: str) -> list[str]:
    """Return lines without trailing spaces."""
    return [line.rstrip() for line in text.strip().splitlines()]
