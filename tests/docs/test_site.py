"""The site of the documentation: every page is there, every link in it leads somewhere, and it loads nothing."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from documents import ROOT

import pgregistry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="Zensical is not installed: make docs"),
]
SITE = ROOT / "build" / "site"


class Page(HTMLParser):
    """The contents of a page: its anchors, its links, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = set[str](), set[str](), set[str]()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        elif loaded := given.get("src") or (tag == "link" and given.get("rel") == "stylesheet" and given["href"]):
            self.loaded.add(str(loaded))


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    done = subprocess.run([sys.executable, "docs/site/build.py"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file: Page(file) for file in SITE.rglob("*.html") if file.name != "404.html"}


def test_every_page_of_the_documentation_is_in_the_site_and_in_its_menu(pages: dict[Path, Page]) -> None:
    names = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"} | {"api", "command-line"}
    assert {file.parent.name for file in pages if file.parent.parent == SITE / "docs"} == names
    menu = pages[SITE / "index.html"].links
    assert {name for name in names if f"./docs/{name}/" in menu} == names


def test_every_link_leads_to_a_page_and_a_place_in_it(pages: dict[Path, Page]) -> None:
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = file if not parts.path else (file.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in pages[target].anchors):
                broken.append((file.relative_to(SITE).as_posix(), link))
    assert broken == []


def test_a_page_loads_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    loaded = {one for page in pages.values() for one in page.loaded}
    assert loaded
    assert {one for one in loaded if urlsplit(one).netloc} == set()


def test_every_public_name_has_its_signature(pages: dict[Path, Page]) -> None:
    text = (ROOT / "build" / "pages" / "docs" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^## pgregistry\.(\w+)$", text, re.MULTILINE)
    public = {name for name in pgregistry.__all__ if callable(getattr(pgregistry, name))}
    assert set(named) == public
    assert "\nplan(\n    world_size: int,\n    *,\n    order: Sequence[str] | None = None,\n" in text
