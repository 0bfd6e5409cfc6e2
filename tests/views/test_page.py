"""The page in a real browser: what is lit is what `plan --json` says, by pointer, by keyboard and by typing.

These tests need chromium, which `apt-get install chromium` brings; `-rs` shows when it is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from browser import PROGRAM, Browser, browsing

import pgregistry
from pgregistry import Mode, cli
from pgregistry.planning.plans.drawing.map import html_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed"),
]

WORLDS = {
    8: "tensor=2 pipe=2",
    64: "tensor=4 pipe=2 zero1=4 --ranks-per-host 8 --hosts-per-domain 4",
    4096: "tensor=8 pipe=8 zero1=8 --ranks-per-host 8 --hosts-per-domain 8",
}
LIT = "[...document.querySelectorAll('.picked i.lit')].map(one => Number(one.dataset.rank))"
ROWS = "[...document.querySelectorAll('#said tr[data-mode]')].map(row => [...row.cells].map(cell => cell.textContent))"
NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


def until(condition: str) -> str:
    """Return an expression that waits for a condition; it is false if that does not come true in 20 s."""
    look = f"const look = (left) => ({condition}) || !left ? done(left > 0) : setTimeout(look, 50, left - 1)"
    return f"new Promise((done) => {{ {look}; look(400); }})"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as running:
        yield running


def opened(browser: Browser, folder: Path, words: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Open the page of a plan and return what `plan --json` prints of it."""
    assert cli.run(["plan", *words.split(), "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert cli.run(["show", *words.split(), "--html", str(folder / "page.html")]) == 0
    browser.open(folder / "page.html", width=1600, height=1200)
    return document


def expected(mode: dict[str, Any], rank: int) -> tuple[list[int], list[str]]:
    """Return the ranks that are lit for a rank, and the row of the table below the map, as the document has them."""
    index, group = next((index, group) for index, group in enumerate(mode["groups"]) if rank in group)
    place, size = group.index(rank), len(group)
    neighbours = [str(group[place - 1]), str(group[(place + 1) % size])] if size > 1 else ["—", "—"]
    return sorted(group), [mode["name"], f"({index})", f"{place} of {size}", *neighbours]


@pytest.mark.parametrize("world_size", WORLDS)
def test_what_is_lit_is_what_the_document_has(
    world_size: int, browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = opened(browser, tmp_path, f"{world_size} {WORLDS[world_size]}", capsys)
    ranks = range(world_size) if world_size == 8 else (0, 5, world_size // 2 + 3, world_size - 1)
    for mode, rank in product(document["modes"], ranks):
        browser.click(f"input[value='{mode['name']}']")
        browser.point(f"i[data-rank='{rank}']")
        lit, _ = expected(mode, rank)
        assert sorted(browser.run(LIT)) == lit
        rows = {cells[0]: cells for cells in browser.run(ROWS)}
        assert list(rows) == [one["name"] for one in document["modes"]]
        for one in document["modes"]:
            name, group, *rest = rows[one["name"]][:5]
            assert [name, group.split()[1], *rest] == expected(one, rank)[1]


@pytest.mark.parametrize("world_size", [8, 64])
def test_each_mode_colours_its_groups_and_marks_those_that_cross(
    world_size: int, browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = opened(browser, tmp_path, f"{world_size} {WORLDS[world_size]}", capsys)
    cells = "Object.fromEntries([...cells].map(([rank, one]) => [rank, [one.className, one.textContent]]))"
    for mode in document["modes"]:
        browser.click(f"input[value='{mode['name']}']")
        browser.run("pick(null)")
        found = browser.run(cells)
        crossing = {"host": 0, "domain": 0}
        for index, group in enumerate(mode["groups"]):
            kinds = {tuple(found[str(rank)]) for rank in group}
            assert len(kinds) == 1  # one colour, mark and letter
            ((kind, _),) = kinds
            assert f"c{index % 8}" in kind.split()
            for level in crossing:
                crossing[level] += f"{level}-cut" in kind.split()
        reach = mode.get("reach", {"domain": 0, "across": 0})
        assert crossing == {"host": reach["domain"], "domain": reach["across"]}
        if "reach" in mode:
            shown = browser.run("chosen.radio.parentElement.textContent")
            assert all(str(number) in shown for number in reach.values() if number)


def test_keys_move_from_rank_to_rank_and_a_number_can_be_typed(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(browser, tmp_path, "64 tensor=4 --ranks-per-host 8", capsys)
    browser.run("map.focus()")
    walk = [("ArrowRight", 1), ("ArrowDown", 5), ("ArrowLeft", 4), ("ArrowUp", 0), ("End", 63)]
    for key, rank in [*walk, ("ArrowRight", 63), ("Home", 0), ("Escape", None), ("ArrowRight", 0)]:
        browser.press(key)
        assert browser.run("picked") == rank
    browser.click("#rank")
    for key in "17":
        browser.press(key)
    assert browser.run("picked") == 17
    for key in "17":
        browser.press(key)
    assert browser.run("[picked, said.textContent]") == [None, "There is no rank 1717: the ranks are 0 to 63."]


def test_a_rank_that_is_chosen_without_the_pointer_is_scrolled_into_view(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(browser, tmp_path, f"4096 {WORLDS[4096]}", capsys)
    browser.open(tmp_path / "page.html", width=1000, height=700)  # in which the map does not fit
    box = "map.getBoundingClientRect(), one = cells.get(picked).getBoundingClientRect()"
    seen = f"(() => {{ const all = {box}; return [picked, one.top >= all.top && one.bottom <= all.bottom]; }})()"
    browser.run("map.focus()")
    browser.press("End")
    # A browser sends this if the map scrolls under a pointer at rest.
    browser.run("cells.get(4000).dispatchEvent(new PointerEvent('pointerover', { bubbles: true }))")
    assert browser.run(seen) == [4095, True]
    browser.click("#rank")
    for key in "17":
        browser.press(key)
    assert browser.run(seen) == [17, True]
    browser.open(tmp_path / "page.html", width=1000, height=700, fragment="rank=4000")
    assert browser.run(seen) == [4000, True]
    browser.point("i[data-rank='3990']")
    assert browser.run("picked") == 3990


def test_at_first_rank_0_is_described_and_every_group_has_its_colour(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = opened(browser, tmp_path, "64 tensor=4 --ranks-per-host 8", capsys)
    for mode in ("data", "tensor"):
        browser.click(f"input[value='{mode}']")
        assert browser.run("[picked, location.hash, input.value]") == [0, "", "0"]
        assert browser.run(LIT) == []
        rows = {cells[0]: cells for cells in browser.run(ROWS)}
        assert [len(rows), rows["tensor"][5]] == [len(document["modes"]), "0 1 2 3"]
    browser.open(tmp_path / "page.html", fragment="rank=9")
    assert browser.run("[picked, lighting]") == [9, True]


def test_the_address_names_the_rank_that_is_chosen(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(browser, tmp_path, "64 tensor=4", capsys)
    browser.point("i[data-rank='5']")
    assert browser.run(until("location.hash === '#rank=5'"))
    browser.point("h1")  # the pointer chooses no rank from here on
    browser.run("location.hash = '#rank=17'")
    assert browser.run(until("picked === 17"))
    browser.run("location.hash = '#rank=64'")  # there is none
    browser.run("addEventListener('hashchange', () => { seen = picked; }); var seen = null; location.hash = '#rank=65'")
    assert browser.run(until("seen === 17"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_letters_contrast_with_their_cells_and_the_page_loads_nothing(
    dark: bool, browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    browser.requests.clear()
    opened(browser, tmp_path, "64 tensor=4", capsys)
    browser.open(tmp_path / "page.html", dark=dark)
    browser.click("input[value='dummy']")
    colours = "(one => (style => [style.color, style.backgroundColor])(getComputedStyle(one)))"
    eight = browser.run(f"[...cells.values()].slice(0, 8).map{colours}")
    assert len({background for _, background in eight}) == 8
    assert all(contrast(*pair) >= 4.5 for pair in eight)
    assert contrast(*browser.run(f"{colours}(document.body)")) >= 7
    assert {one for one in browser.requests if not one.startswith("file:")} == set()


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, as WCAG defines it."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_without_script_there_is_the_table(browser: Browser, tmp_path: Path) -> None:
    plan = pgregistry.plan(8, tensor=2, pipe=2)
    (tmp_path / "page.html").write_text(html_page(plan), encoding="utf-8")
    browser.open(tmp_path / "page.html", script=False)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    text = browser.run("document.body.innerText")
    assert all(f"\n{name}\t" in text for name in plan)
    assert "Rank" not in text


def test_a_mode_in_which_a_rank_is_in_no_group_lights_nothing(browser: Browser, tmp_path: Path) -> None:
    ends = Mode("ends", over="pipe", at=(0, -1))
    plan = pgregistry.plan(8, pipe=4, extra=[ends], within=[0, 1, 2, 3, 4, 5, 7, 6])
    (tmp_path / "page.html").write_text(html_page(plan, mode="ends", rank=1), encoding="utf-8")
    browser.open(tmp_path / "page.html")
    assert browser.run(LIT) == []
    assert ["ends", "—", "", "", "", "in no group of this mode"] in browser.run(ROWS)
    browser.point("i[data-rank='6']")
    assert sorted(browser.run(LIT)) == sorted(plan["ends"].group_of(6) or ())


def test_4096_ranks_are_a_small_page_that_answers_at_once(
    browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(browser, tmp_path, f"4096 {WORLDS[4096]}", capsys)
    assert (tmp_path / "page.html").stat().st_size < 2_000_000
    times = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    script = f"""(async () => {{
        const times = [];
        for (const rank of Array.from({{ length: 30 }}, (_, at) => at * 131)) {{
            const start = performance.now();
            cells.get(rank).dispatchEvent(new PointerEvent('pointerover', {{ bubbles: true }}));
            document.body.getBoundingClientRect();
            times.push(performance.now() - start);
            await {NEXT_FRAME};
        }}
        return times.sort((a, b) => a - b)[15];
    }})()"""
    # The aims are 1 s and 50 ms. Other tests may run beside this one, so it fails only far above them.
    assert browser.run(times) < 10_000
    assert browser.run(script) < 500
