"""Build the documentation into build/site: `make docs`.

The pages are plain Markdown, which a forge shows too. This script copies them to build/pages with their folders, so
that links between them stay what they are, adds the pages that are made from the code, and lets Zensical make the site.
It fails if a link leads nowhere, and if a page that is generated and kept is not what would be generated.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pages_of_code import api_page, command_line_page

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ROOT / "build" / "pages"
SITE: Final = ROOT / "build" / "site"
#: What the site has of the repository.
SOURCES: Final = ("*.md", "docs/*.md", "plugins/*.md", "benchmarks/*.md", "examples/*/README.md")
#: Pictures of the pages.
PICTURES: Final = "docs/*/*.svg"
#: Pages that are made from the code.
MADE: Final = {"docs/api.md": api_page, "docs/command-line.md": command_line_page}
#: Pages that are generated and kept in the repository, with the shell command that writes each to the file $1.
KEPT: Final = {
    "docs/layouts.md": '"$0" examples/generate_layouts_page.py > "$1"',
    "docs/refused.md": '"$0" tests/helpers/refused_page.py "$1"',
}
#: The order of the pages. A page that is not there yet is left out, and one that is not here stands under "More".
NAVIGATION: Final = {
    "Start": (
        "README.md",
        "docs/recipes.md",
        "docs/moving.md",
        "docs/frameworks.md",
        "docs/vocabulary.md",
        "examples/gpt/README.md",
    ),
    "Write a plugin": ("docs/plugin-tutorial.md", "docs/hooks.md", "plugins/README.md", "docs/packaging.md"),
    "Look up": ("docs/reference.md", "docs/api.md", "docs/command-line.md", "docs/refused.md", "docs/layouts.md"),
    "Run": (
        "docs/launch.md",
        "docs/reliability.md",
        "docs/stuck.md",
        "docs/nettest.md",
        "docs/scale.md",
        "docs/trust.md",
    ),
    "Compare": ("docs/comparison.md", "docs/compatibility.md", "docs/benchmarks.md", "benchmarks/README.md"),
    "Maintain": ("docs/architecture.md", "docs/stability.md", "CONTRIBUTING.md", "RELEASING.md", "CHANGELOG.md"),
}
#: Plain text of the theme's own, and nothing from the network.
THEME: Final = """
[project.theme]
language = "en"
font = false
features = ["navigation.sections", "navigation.top", "content.code.copy", "search.highlight"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Switch to dark"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Switch to light"
"""


def main() -> int:
    """Build the site and return the exit status."""
    with ThreadPoolExecutor() as pool:
        fresh = {name: pool.submit(is_fresh, name) for name in KEPT}
        names, broken = stage()
        status = 1 if broken else zensical(names)
    stale = [name for name, done in fresh.items() if not done.result()]
    for link in broken:
        print(link, file=sys.stderr)
    for name in stale:
        print(f"{name} is not what would be generated: run `make pages`.", file=sys.stderr)
    return status or (1 if stale else 0)


def stage() -> tuple[set[str], list[str]]:
    """Copy the pages, and write those of the code; return the names of all, and the links that lead nowhere."""
    shutil.rmtree(PAGES, ignore_errors=True)
    staged = [path for pattern in SOURCES for path in sorted(ROOT.glob(pattern))]
    names = {path.relative_to(ROOT).as_posix() for path in staged} | MADE.keys()
    pictures = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(PICTURES)}
    broken = []
    for path in staged:
        name = path.relative_to(ROOT).as_posix()
        text, wrong = with_links(name, path.read_text(encoding="utf-8"), names | pictures)
        broken += wrong
        write(name, text)
    for name, make in MADE.items():
        write(name, make())
    for name in pictures:
        write(name, (ROOT / name).read_text(encoding="utf-8"))
    return names, broken


def zensical(names: set[str]) -> int:
    """Let Zensical make the site of these pages, and return its exit status."""
    settings = ROOT / "build" / "zensical.toml"
    settings.write_text(configuration(names), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(settings)]
    return subprocess.run(command, cwd=settings.parent, check=False).returncode


def is_fresh(name: str) -> bool:
    """Return True if a page that is kept is what its script would write."""
    with TemporaryDirectory() as folder:
        made = Path(folder) / "page.md"
        command = ["sh", "-c", KEPT[name], sys.executable, str(made)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return made.read_bytes() == (ROOT / name).read_bytes()


def write(name: str, text: str) -> None:
    """Write a page for Zensical."""
    page = PAGES / name
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")


def with_links(name: str, text: str, pages: set[str]) -> tuple[str, list[str]]:
    """Return a page in which links to files that are no pages are plain text, and its links that lead nowhere.

    >>> with_links("docs/a.md", "[b](b.md), [code](../pyproject.toml), [c](c.md)", {"docs/a.md", "docs/b.md"})
    ('[b](b.md), code, [c](c.md)', ['docs/a.md: the link to c.md leads nowhere'])
    """
    broken = []

    def replaced(found: re.Match[str]) -> str:
        target = (ROOT / name).parent.joinpath(found[2]).resolve()
        if target.is_relative_to(ROOT) and target.relative_to(ROOT).as_posix() in pages:
            return found[0]
        if not target.exists():
            broken.append(f"{name}: the link to {found[2]} leads nowhere")
            return found[0]
        return found[1]

    return re.sub(r"\[([^\]]+)\]\(([^)#:\s]+)(?:#[^)]*)?\)", replaced, text), broken


def configuration(names: set[str]) -> str:
    """Return the settings of Zensical."""
    listed = {page for pages in NAVIGATION.values() for page in pages}
    menu = {title: [page for page in pages if page in names] for title, pages in NAVIGATION.items()}
    menu["More"] = sorted(name for name in names - listed if name != "docs/README.md")
    shown = ", ".join(f"{{{json.dumps(title)} = {json.dumps(pages)}}}" for title, pages in menu.items() if pages)
    project = f'site_name = "pgregistry"\ndocs_dir = "{PAGES.name}"\nsite_dir = "{SITE.name}"'
    return f"[project]\n{project}\nnav = [{shown}]\n{THEME}"


if __name__ == "__main__":
    sys.exit(main())
