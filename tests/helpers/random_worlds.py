"""Random axes and splits, and an oracle that knows only coordinates.

`place` holds for each rank where it is along everything that it was divided by. Groups are found by
comparing ranks, a split by counting positions in a group.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pgregistry import FULL, REST, Axis, Mode, Split

Place = dict[int, dict[str, int]]


UNNAMED = "what no axis takes"


def world_of(sizes: dict[str, int]) -> Place:
    """Return the position of each rank, by sizes in nesting order, outermost first."""
    positions = product(*(range(size) for size in sizes.values()))
    return {rank: dict(zip(sizes, position, strict=True)) for rank, position in enumerate(positions)}


def agreeing(place: Place, over: set[str]) -> list[tuple[int, ...]]:
    """Return the groups of ranks that agree on everything except `over`."""
    together: dict[tuple[int, ...], list[int]] = {}
    for rank, where in place.items():
        together.setdefault(tuple(where[name] for name in sorted(where) if name not in over), []).append(rank)
    return sorted(tuple(sorted(ranks)) for ranks in together.values())


def divided(place: Place, of: set[str], size: int, outer: str, inner: str) -> Place:
    """Return the same ranks, with `of` seen as runs of `size` adjacent positions."""
    result: Place = {}
    for group in agreeing(place, of):
        for position, rank in enumerate(group):
            kept = {name: at for name, at in place[rank].items() if name not in of}
            result[rank] = {**kept, outer: position // size, inner: position % size}
    return result


def fits(place: Place, of: set[str], size: int) -> bool:
    """Return True if runs of `size` fall on a boundary, so that all of them and their outer groups look the same."""
    cut = divided(place, of, size, "<outer>", "<inner>")
    shapes = [
        {tuple(rank - group[0] for rank in group) for group in agreeing(cut, {side})} for side in ("<outer>", "<inner>")
    ]
    return len(agreeing(place, of)[0]) % size == 0 and all(len(shape) == 1 for shape in shapes)


def keeping(groups: list[tuple[int, ...]], at: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """Return only these positions of each group."""
    if at is None:
        return groups
    kept = [{group[position] for position in at if -len(group) <= position < len(group)} for group in groups]
    return sorted(tuple(sorted(ranks)) for ranks in kept if ranks)


@st.composite
def worlds(draw: st.DrawFn, ragged: bool) -> dict[str, Any]:
    """Axes in a random nesting chain, splits of them and of their parts; with their oracle."""
    names = draw(st.permutations(["ring", "lane", "stage", "bank"]))[: draw(st.integers(2, 4))]
    sizes = {name: draw(st.integers(1 + ragged, 5 if len(names) < 4 else 3)) for name in names}
    rest = draw(st.sampled_from([None, *names]))
    left = {UNNAMED: draw(st.integers(1, 3))} if rest is None else {}
    place = world_of({**left, **sizes})
    keywords: dict[str, int] = {}

    def size_of(name: str, size: int) -> int:
        """Return the default of a size that is `size` in the end: given by the plugin or by the user."""
        if draw(st.booleans()):
            return size
        keywords[name] = size
        return 1

    declared: list[Axis] = []
    for index, name in enumerate(names):
        nesting: dict[str, Any] = {}
        if index and draw(st.booleans()):
            nesting["inside"] = names[index - 1]
        elif index:
            declared[-1] = Axis(declared[-1].name, declared[-1].size, declared[-1].inside, outside=name)
        declared.append(Axis(name, REST if name == rest else size_of(name, sizes[name]), **nesting))
    modes = [Mode(f"mode of {axis.name}", over=axis) for axis in draw(st.permutations(declared))]
    leaves: dict[str, Any] = {name: name for name in names}
    positions = {name: {rank: where[name] for rank, where in place.items()} for name in names}
    count = draw(st.integers(1, 2) if ragged else st.integers(0, 3))
    for number in range(count):
        of = set(draw(st.permutations(sorted(leaves)))[: draw(st.integers(1, 2))])
        whole = agreeing(place, of)[0]
        total = len(whole)
        frayed = ragged and number == count - 1
        fitting = [size for size in range(1, total + 1) if fits(place, of, size)]
        adjacent = len({high - low for low, high in pairwise(whole)}) <= 1
        uneven = [size for size in range(2, total) if total % size]
        size = draw(st.sampled_from([*uneven * 2, *range(1, total + 2)] if frayed and adjacent else fitting))
        inner, outer = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
        named = {f"{side}{number}" for side, has_name in (("inner", inner), ("outer", outer)) if has_name}
        default: Any = 1
        if inner:
            default = FULL if size == total and draw(st.booleans()) else size_of(f"inner{number}", size)
        if outer and (not inner or (f"inner{number}" in keywords and draw(st.booleans()))):
            groups = -(-total // size)
            if not inner:
                size = -(-total // groups)
                default = size_of(f"outer{number}", groups)
            else:
                keywords[f"outer{number}"] = groups
        references = draw(st.permutations([leaves.pop(name) for name in sorted(of)]))
        split = Split(
            references if len(references) > 1 or draw(st.booleans()) else references[0],
            inner=f"inner{number}" if inner else None,
            outer=f"outer{number}" if outer else None,
            size=default,
            ragged=frayed,
        )
        modes.append(Mode(f"mode {number}", over=split.outer))
        sizes |= {f"inner{number}": size, f"outer{number}": -(-total // size)}
        place = divided(place, of, size, f"outer{number}", f"inner{number}")
        for name in (f"inner{number}", f"outer{number}"):
            part = split.inner if name.startswith("inner") else split.outer
            leaves[name] = name if name in named and draw(st.booleans()) else part
            if name in named:
                positions[name] = {rank: where[name] for rank, where in place.items()}
        if draw(st.booleans()):
            leaves[f"inner{number}"] = split  # a split stands for its inner part
    over = draw(st.permutations(sorted(leaves)))[: draw(st.integers(0, len(leaves)))]
    if ragged and not {f"inner{count - 1}", f"outer{count - 1}"} & set(over):
        over.append(draw(st.sampled_from([f"inner{count - 1}", f"outer{count - 1}"])))
    return {
        "world_size": len(place),
        "modes": modes,
        "keywords": keywords,
        "over": [leaves[name] for name in over],
        "groups": agreeing(place, set(over)),
        "positions": positions,
        "sizes": sizes,
        "beside": [name for name in sorted(leaves) if name in positions and name not in over],
    }


@st.composite
def worlds_with_where(draw: st.DrawFn) -> dict[str, Any]:
    """A world, positions of what its groups are not over, and the groups that are there."""
    world = draw(worlds(ragged=False))
    where = {}
    for name in draw(st.permutations(world["beside"]))[: draw(st.integers(0, 2))]:
        size = world["sizes"][name]
        where[name] = draw(
            st.integers(-size - 1, size) if draw(st.integers(0, 3)) == 0 else st.integers(-size, size - 1)
        )
    there = {name: at + world["sizes"][name] if at < 0 else at for name, at in where.items()}
    groups = [
        group
        for group in world["groups"]
        if all(world["positions"][name][group[0]] == position for name, position in there.items())
    ]
    return {**world, "where": where, "groups": groups}


def check(groups: Any, expected: list[tuple[int, ...]], world_size: int) -> None:
    """Compare a lazy sequence of groups with the expected list, in every way in which it can be read."""
    member = {rank: index for index, group in enumerate(expected) for rank in group}
    assert list(groups) == expected
    assert len(groups) == len(expected)
    assert groups == expected
    assert [groups[index] for index in range(len(expected))] == expected
    assert [groups[index - len(expected)] for index in range(len(expected))] == expected
    assert groups[1:-1] == tuple(expected[1:-1])
    assert groups[::-2] == tuple(expected[::-2])
    for rank in range(world_size):
        assert groups.index_of(rank) == member.get(rank)
        group = expected[member[rank]] if rank in member else None
        assert groups.group_of(rank) == group
        sample = groups.sample(rank, 2)
        assert sample == (group and (len(group), group.index(rank), group[:2], group[-1]))
    assert all(group in groups and list(group) in groups for group in expected)
    assert [group for group in expected if group[::-1] in groups] == [group for group in expected if len(group) == 1]
    assert () not in groups
    sizes = [len(group) for group in expected]
    assert list(groups.sizes().items()) == [(size, sizes.count(size)) for size in sorted(set(sizes), reverse=True)]


EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


AT = st.none() | st.lists(st.integers(-7, 7), min_size=1, max_size=3).map(tuple)
