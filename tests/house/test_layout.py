"""The package keeps its layout: few rooms, small files, imports that go only downwards.

import-linter checks the imports that run (`make lint`). These tests also count those under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import grimp
import pytest

import pgregistry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = Path(pgregistry.__file__).parent
#: The files that stand beside the rooms.
FACE: Final = {"__init__", "__main__", "errors", "hookspecs", "values", "vocabulary"}

Arrows = Mapping[str, set[str]]


def rooms() -> list[Path]:
    """Return the folders of the package that hold Python files; those in another room come after it."""
    return sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE})


def layers() -> list[str]:
    """Return the rooms from low to high, as the contract of import-linter lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = (contract for contract in settings["contracts"] if contract["type"] == "layers")
    return [room.removeprefix("pgregistry.") for room in reversed(contract["layers"])]


def holds_code(path: Path) -> bool:
    """Return True if a file has more than a docstring."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return not all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def imports(*, types: bool) -> Arrows:
    """Return what each module imports, with or without what only type checkers read."""
    graph = grimp.build_graph("pgregistry", exclude_type_checking_imports=not types, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


@pytest.fixture(scope="module")
def modules() -> Arrows:
    """Return the imports of each module; only `hookspecs` may name classes above it, and only for type checkers."""
    return {**imports(types=True), "pgregistry.hookspecs": imports(types=False)["pgregistry.hookspecs"]}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.fixture(scope="module")
def between_rooms(modules: Arrows) -> Arrows:
    """Return the rooms, and files beside the rooms, that each of them imports."""
    found: dict[str, set[str]] = {}
    for module, imported in modules.items():
        room = room_of(module)
        found.setdefault(room, set()).update({room_of(other) for other in imported} - {room})
    return found


def circle(arrows: Arrows) -> list[str]:
    """Return one circle, or an empty list."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def floors(arrows: Arrows) -> int:
    """Return how many stand in the longest chain in which each imports the next."""
    heights: dict[str, int] = {}
    for name in TopologicalSorter(arrows).static_order():
        heights[name] = 1 + max((heights[below] for below in arrows.get(name, ())), default=0)
    return max(heights.values())


def upwards(arrows: Arrows, low_to_high: Sequence[str]) -> list[tuple[str, str]]:
    """Return the imports that go up: a file beside the rooms is lower than any room, the face is above `runtime`."""
    order = [*low_to_high, "__main__"]
    order.insert(order.index("runtime") + 1, "__init__")
    height = {name: number for number, name in enumerate(order, 1)}
    return [
        (name, other)
        for name in sorted(arrows)
        for other in sorted(arrows[name])
        if height.get(other, 0) > height.get(name, 0)
    ]


def test_a_circle_a_chain_and_an_import_that_goes_up_are_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    assert circle({"a": {"b", "c"}, "b": {"c"}}) == []
    assert floors({"a": {"b", "c"}, "b": {"c"}, "d": {"c"}}) == 3
    rooms = {"low": {"runtime", "errors"}, "runtime": {"low", "__init__"}, "cli": {"__init__"}, "errors": {"low"}}
    up = [("errors", "low"), ("low", "runtime"), ("runtime", "__init__")]
    assert upwards(rooms, ["low", "runtime", "cli"]) == up


def test_every_room_is_a_layer_and_there_are_at_most_twelve() -> None:
    top = {room.name for room in rooms() if room.parent == PACKAGE}
    assert top == set(layers())
    assert len(top) <= 12


def test_no_file_is_outside_a_room_but_the_face() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} <= FACE


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_a_room_has_at_most_eight_files(room: Path) -> None:
    files = [path.name for path in sorted(room.glob("*.py")) if path.name != "__init__.py" or holds_code(path)]
    assert len(files) <= 8, files


def test_a_file_has_at_most_270_lines() -> None:
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 270} == {}


def test_modules_import_in_no_circle(modules: Arrows) -> None:
    assert circle(modules) == []


def test_rooms_import_in_no_circle(between_rooms: Arrows) -> None:
    assert circle(between_rooms) == []


def test_imports_between_rooms_go_downwards(between_rooms: Arrows) -> None:
    assert upwards(between_rooms, layers()) == []


def test_at_most_fourteen_floors(between_rooms: Arrows) -> None:
    assert floors(between_rooms) <= 14


def test_only_hookspecs_has_imports_for_type_checkers_that_go_up() -> None:
    typed, run = imports(types=True), imports(types=False)
    above = {room_of(name) for name in typed["pgregistry.hookspecs"] - run["pgregistry.hookspecs"]}
    assert above & set(layers()) <= {"planning", "runtime"}
