"""A group is the set of ranks that agree on everything except what the mode is over.

The oracle knows only coordinates: `place` says for each rank where it is along everything it was
divided by. Groups are found by comparing ranks, a split by counting positions in a group.
"""

from __future__ import annotations

from itertools import pairwise, permutations, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgregistry import FULL, HOST, REST, WORLD, Axis, ConfigError, Mode, PgregistryError, Plan, PluginError, Split
from pgregistry.planning.planner import Planner

Place = dict[int, dict[str, int]]
UNNAMED = "what no axis takes"


def planned(world_size: int, *modes: Mode, **keywords: Any) -> Plan:
    """A plan of these modes alone."""
    return Planner.read(world_size, {"extra": modes, **keywords}, environ={}, installed=()).plan()


def refusal(kind: type[PgregistryError], world_size: int, *modes: Mode, **keywords: Any) -> str:
    with pytest.raises(kind) as caught:
        planned(world_size, *modes, **keywords)
    return str(caught.value)


# --- the oracle ---------------------------------------------------------------------------------


def world_of(sizes: dict[str, int]) -> Place:
    """Where each rank is, by sizes in nesting order, outermost first."""
    positions = product(*(range(size) for size in sizes.values()))
    return {rank: dict(zip(sizes, position, strict=True)) for rank, position in enumerate(positions)}


def agreeing(place: Place, over: set[str]) -> list[tuple[int, ...]]:
    """The ranks that agree on everything except `over`."""
    together: dict[tuple[int, ...], list[int]] = {}
    for rank, where in place.items():
        together.setdefault(tuple(where[name] for name in sorted(where) if name not in over), []).append(rank)
    return sorted(tuple(sorted(ranks)) for ranks in together.values())


def divided(place: Place, of: set[str], size: int, outer: str, inner: str) -> Place:
    """The same ranks, with `of` seen as runs of `size` adjacent positions."""
    result: Place = {}
    for group in agreeing(place, of):
        for position, rank in enumerate(group):
            kept = {name: at for name, at in place[rank].items() if name not in of}
            result[rank] = {**kept, outer: position // size, inner: position % size}
    return result


def fits(place: Place, of: set[str], size: int) -> bool:
    """Whether runs of `size` fall on a boundary: then all of them look the same, and so do their outer groups."""
    cut = divided(place, of, size, "<outer>", "<inner>")
    shapes = [
        {tuple(rank - group[0] for rank in group) for group in agreeing(cut, {side})} for side in ("<outer>", "<inner>")
    ]
    return len(agreeing(place, of)[0]) % size == 0 and all(len(shape) == 1 for shape in shapes)


def keeping(groups: list[tuple[int, ...]], at: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """These positions of each group only."""
    if at is None:
        return groups
    kept = [{group[position] for position in at if -len(group) <= position < len(group)} for group in groups]
    return sorted(tuple(sorted(ranks)) for ranks in kept if ranks)


# --- random worlds ------------------------------------------------------------------------------


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
        """The default of a size that is `size` in the end: said by the plugin or by the user."""
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
    }


def check(groups: Any, expected: list[tuple[int, ...]], world_size: int) -> None:
    """A lazy sequence of groups is, in every way of asking, the list that is expected."""
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
        assert groups.group_of(rank) == (expected[member[rank]] if rank in member else None)
    assert all(group in groups and list(group) in groups for group in expected)
    assert [group for group in expected if group[::-1] in groups] == [group for group in expected if len(group) == 1]
    assert () not in groups
    sizes = [len(group) for group in expected]
    assert list(groups.sizes().items()) == [(size, sizes.count(size)) for size in sorted(set(sizes), reverse=True)]


EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
AT = st.none() | st.lists(st.integers(-7, 7), min_size=1, max_size=3).map(tuple)


@EXAMPLES
@given(worlds(ragged=False), AT)
def test_groups_are_the_ranks_that_agree_on_everything_else(world: dict[str, Any], at: tuple[int, ...] | None) -> None:
    asked = Mode("asked", over=world["over"], at=at)
    plan = planned(world["world_size"], *world["modes"], asked, **world["keywords"])
    check(plan["asked"].groups, keeping(world["groups"], at), world["world_size"])


@EXAMPLES
@given(worlds(ragged=True), st.none() | st.lists(st.integers(-3, 3), min_size=1, max_size=2).map(tuple))
def test_the_last_group_of_a_ragged_split_is_short(world: dict[str, Any], at: tuple[int, ...] | None) -> None:
    asked = Mode("asked", over=world["over"], at=at)
    plan = planned(world["world_size"], *world["modes"], asked, **world["keywords"])
    check(plan["asked"].groups, keeping(world["groups"], at), world["world_size"])


@pytest.mark.parametrize("side", ["inner", "outer"])
@pytest.mark.parametrize("nesting", list(permutations(["ring", "lane", "bank"])), ids=" around ".join)
def test_a_ragged_part_mixes_with_an_axis_around_or_inside_it_at_any_position(
    nesting: tuple[str, ...], side: str
) -> None:
    for length, size in ((3, 2), (5, 2), (5, 3), (7, 3)):
        sizes = {name: length if name == "ring" else 2 for name in nesting}
        place = divided(world_of(sizes), {"ring"}, size, "outer", "inner")
        part = getattr(Split("ring", inner="near", size=size, ragged=True), side)
        positions = [None, *((at,) for at in range(-4, 6)), (0, -1), (1, -2)]
        modes = [Mode(name, over=Axis(name, sizes[name])) for name in nesting]
        modes += [Mode(f"at {at}", over=("lane", part), at=at) for at in positions]
        plan = planned(len(place), *modes, order=nesting)
        for at in positions:
            check(plan[f"at {at}"].groups, keeping(agreeing(place, {"lane", side}), at), len(place))


@EXAMPLES
@given(st.booleans().flatmap(lambda ragged: worlds(ragged=ragged)))
def test_a_mesh_knows_sizes_and_coordinates_and_groups_as_the_plan_does(world: dict[str, Any]) -> None:
    seen: list[Any] = []

    def look(mesh: Any) -> list[tuple[int, ...]]:
        seen.append(mesh)
        return []

    plan = planned(world["world_size"], *world["modes"], Mode("look", groups=look), **world["keywords"])
    mesh = seen[0]
    assert mesh.world_size == world["world_size"]
    positions = {name: along for name, along in world["positions"].items() if name in mesh.sizes}
    for name, along in positions.items():
        assert {rank: mesh.coordinate(name, rank) for rank in range(mesh.world_size)} == along, name
    assert plan.sizes == {name: world["sizes"][name] for name in plan.sizes}
    assert list(mesh.groups(world["over"])) == world["groups"]
    assert mesh.groups(WORLD) == [tuple(range(world["world_size"]))]


@EXAMPLES
@given(st.permutations(["ring", "lane", "stage"]), st.permutations(["ring", "lane", "stage"]), st.data())
def test_order_replaces_the_declared_nesting(declared: list[str], order: list[str], data: st.DataObject) -> None:
    sizes = {name: data.draw(st.integers(1, 4)) for name in order}
    around = dict(zip(declared[1:], declared, strict=False))
    modes = [Mode(name, over=Axis(name, sizes[name], inside=around.get(name, ()))) for name in declared]
    place = world_of(sizes)
    plan = planned(len(place), *modes, order=order)
    assert plan.order == tuple(order)
    assert {name: list(plan[name].groups) for name in order} == {name: agreeing(place, {name}) for name in order}


# --- one rule a test ----------------------------------------------------------------------------

RING = Mode("ring", over=Axis("ring", 3))
LANE = Mode("lane", over=Axis("lane", 2, inside="ring"))
STAGE = Mode("stage", over=Axis("stage", 2, inside="lane"))
THREE = (RING, LANE, STAGE)  # of 12 ranks


def test_a_mode_over_world_is_one_group_and_over_nothing_is_each_rank_alone() -> None:
    plan = planned(4, Mode("everyone", over=WORLD), Mode("alone", over=()))
    assert list(plan["everyone"].groups) == [(0, 1, 2, 3)]
    assert list(plan["alone"].groups) == [(0,), (1,), (2,), (3,)]


def test_a_part_of_the_example_in_the_docs_is_cut_so_that_inner_positions_are_adjacent() -> None:
    split = Split(Axis("ring", 4), inner="near", size=2)
    plan = planned(4, Mode("near", over=split.inner), Mode("far", over=split.outer))
    assert list(plan["near"].groups) == [(0, 1), (2, 3)]
    assert list(plan["far"].groups) == [(0, 2), (1, 3)]


def test_an_axis_of_size_1_moves_nobody_wherever_it_nests() -> None:
    alone = planned(12, *THREE)
    for nesting in ({}, {"inside": "ring", "outside": "lane"}, {"inside": "stage"}, {"outside": "ring"}):
        plan = planned(12, *THREE, Mode("bank", over=Axis("bank", **nesting)))
        assert [plan[name].groups for name in alone] == [alone[name].groups for name in alone]
        assert list(plan["bank"].groups) == [(rank,) for rank in range(12)]


def test_what_no_axis_takes_is_an_unnamed_outermost_factor() -> None:
    plan = planned(8, Mode("ring", over=Axis("ring", 2)))
    assert list(plan["ring"].groups) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert plan.order == ("ring",)


def test_an_axis_of_size_rest_takes_what_the_others_leave() -> None:
    plan = planned(12, Mode("big", over=Axis("big", REST, outside="ring")), RING)
    assert (plan.sizes["big"], plan.origins["big"]) == (4, "what is left")
    assert plan["big"].group_of(0) == (0, 3, 6, 9)


def test_an_axis_of_size_rest_can_lie_innermost() -> None:
    plan = planned(12, Mode("big", over=Axis("big", REST, inside="ring")), RING)
    assert plan["big"].group_of(0) == (0, 1, 2, 3)


def test_a_size_can_be_the_name_of_an_axis() -> None:
    plan = planned(9, RING, Mode("same", over=Axis("same", "ring", inside="ring")))
    assert (plan.sizes["same"], plan.origins["same"]) == (3, "size of ring")


def test_a_size_can_be_the_name_of_a_part() -> None:
    near = Mode("near", over=Split("big", inner="near", size=2))
    plan = planned(16, Mode("big", over=Axis("big", 8)), near, Mode("same", over=Axis("same", "near", outside="big")))
    assert (plan.sizes["same"], plan.origins["same"]) == (2, "size of near")


def test_a_split_can_be_as_large_as_another_size() -> None:
    plan = planned(12, *THREE, Mode("block", over=Split(WORLD, inner="block", size="ring")))
    assert plan["block"].groups[0] == (0, 1, 2)


def test_the_value_of_a_name_as_size_follows_what_the_user_sets() -> None:
    plan = planned(8, RING, Mode("same", over=Axis("same", "ring", inside="ring")), ring=2)
    assert plan.sizes == {"ring": 2, "same": 2}


def test_a_split_of_size_full_is_all_of_what_is_split() -> None:
    split = Split("ring", inner="near", outer="far", size=FULL)
    plan = planned(12, *THREE, Mode("near", over=split), Mode("far", over=split.outer))
    assert plan["near"].groups == plan["ring"].groups
    assert (plan.sizes["near"], plan.sizes["far"]) == (3, 1)


def test_a_split_of_size_host_has_the_ranks_of_one_host() -> None:
    plan = planned(8, Mode("near", over=Split(WORLD, inner="near", outer="hosts", size=HOST)), ranks_per_host=4)
    assert list(plan["near"].groups) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert plan.sizes == {"near": 4, "hosts": 2}


def test_a_split_of_size_host_needs_to_know_how_many_ranks_a_host_has() -> None:
    assert refusal(ConfigError, 8, Mode("near", over=Split(WORLD, inner="near", size=HOST))) == (
        "A mode needs the number of ranks on each host, which is not known: give ranks_per_host=8, "
        "or let the launcher set LOCAL_WORLD_SIZE."
    )


def test_a_host_that_does_not_divide_the_world_is_refused() -> None:
    text = refusal(ConfigError, 8, Mode("near", over=Split(WORLD, inner="near", size=HOST)), ranks_per_host=3)
    assert text == "near = 3 (ranks_per_host, keyword) does not divide world = 8.\n  near could be 1, 2, 4 or 8."


def test_only_the_outer_part_may_have_a_name_and_the_size_is_then_its() -> None:
    split = Split(WORLD, outer="far", size=4)
    plan = planned(8, Mode("far", over=split.outer), Mode("near", over=split))
    assert (plan["far"].group_of(0), plan["near"].group_of(0)) == ((0, 2, 4, 6), (0, 1))
    assert plan.sizes == {"far": 4}
    assert plan["near"].over == ("world / far",)


def test_the_outer_part_can_be_set_instead_of_the_inner_one() -> None:
    plan = planned(8, Mode("near", over=Split(WORLD, inner="near", outer="far", size=FULL)), far=4)
    assert plan.sizes == {"near": 2, "far": 4}
    assert (plan.origins["near"], plan.origins["far"]) == ("what is left", "keyword")


def test_both_parts_can_be_set_to_what_makes_up_the_whole() -> None:
    plan = planned(8, Mode("near", over=Split(WORLD, inner="near", outer="far")), near=2, far=4)
    assert plan["near"].groups[0] == (0, 1)


def test_both_parts_set_to_what_does_not_make_up_the_whole_are_refused() -> None:
    mode = Mode("near", over=Split(Axis("ring", REST), inner="near", outer="far"))
    assert refusal(ConfigError, 8, mode, near=2, far=2) == (
        "far × near = 2 × 2 = 4 is not ring = 8 (what is left).\n  far = 2 (keyword)\n  near = 2 (keyword)"
    )


def test_an_outer_part_that_does_not_divide_is_refused_with_the_sizes_that_do() -> None:
    mode = Mode("near", over=Split(Axis("ring", REST), inner="near", outer="far"))
    assert refusal(ConfigError, 8, mode, far=3) == (
        "far = 3 (keyword) does not divide ring = 8 (what is left).\n  far could be 1, 2, 4 or 8."
    )


def test_an_outer_part_that_does_not_divide_axes_with_a_gap_is_refused_with_the_sizes_that_fit() -> None:
    mode = Mode("far", over=Split(("ring", "stage"), outer="far"))
    assert refusal(ConfigError, 12, *THREE, mode, far=4) == (
        "far = 4 (keyword) does not divide ring × stage = 6 (plugin default).\n  far could be 1, 3 or 6."
    )


def test_axes_with_a_gap_between_them_are_cut_at_their_boundaries() -> None:
    split = Split(("stage", "ring"), inner="near", outer="far", size=2)
    plan = planned(12, *THREE, Mode("near", over=split), Mode("far", over=split.outer))
    assert (plan["near"].group_of(0), plan["far"].group_of(0)) == ((0, 1), (0, 4, 8))


def test_a_cut_that_fits_no_boundary_is_refused_with_the_sizes_that_fit() -> None:
    mode = Mode("near", over=Split(("ring", "stage"), inner="near", size=3))
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "near = 3 (plugin default) cuts ring × stage = 6 (plugin default) where none of its axes can be cut.\n"
        "  near could be 1, 2 or 6."
    )


def test_an_outer_cut_that_fits_no_boundary_is_refused_with_the_sizes_that_fit() -> None:
    mode = Mode("far", over=Split(("ring", "stage"), outer="far", size=2))
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "far = 2 (plugin default) cuts ring × stage = 6 (plugin default) where none of its axes can be cut.\n"
        "  far could be 1, 3 or 6."
    )


def test_adjacent_axes_merge_before_the_cut() -> None:
    plan = planned(12, *THREE, Mode("near", over=Split(("ring", "lane"), inner="near", size=3)))
    assert plan["near"].group_of(0) == (0, 2, 4)


@pytest.mark.parametrize("name", ["near", "far"])
def test_the_sizes_that_an_error_names_are_those_that_are_accepted(name: str) -> None:
    mode = Mode("near", over=Split(("ring", "stage"), inner="near", outer="far"))
    accepted, hints = [], set()
    for size in range(1, 8):
        try:
            planned(12, *THREE, mode, **{name: size})
        except ConfigError as error:
            hints.add(str(error).splitlines()[-1])
        else:
            accepted.append(str(size))
    assert hints == {f"  {name} could be {', '.join(accepted[:-1])} or {accepted[-1]}."}


def test_a_ragged_split_takes_a_size_above_the_whole_as_one_group() -> None:
    plan = planned(6, Mode("near", over=Split(WORLD, inner="near", size=32, ragged=True)))
    assert list(plan["near"].groups) == [(0, 1, 2, 3, 4, 5)]


def test_the_outer_groups_of_a_ragged_split_are_shorter_towards_the_end() -> None:
    plan = planned(8, Mode("far", over=Split(WORLD, inner="near", size=3, ragged=True).outer))
    assert list(plan["far"].groups) == [(0, 3, 6), (1, 4, 7), (2, 5)]


def test_first_ranks_ascend_where_a_short_last_group_keeps_a_later_position() -> None:
    outermost, between = Mode("bank", over=Axis("bank", 2)), Mode("lane", over=Axis("lane", 2, inside="bank"))
    near = Split(Axis("ring", 5, inside="lane"), inner="near", size=2, ragged=True)
    plan = planned(20, outermost, between, Mode("second", over=("bank", near), at=1))
    assert list(plan["second"].groups) == [(1,), (3,), (6,), (8,), (14,), (19,)]
    assert [plan["second"].groups.index_of(rank) for rank in (1, 14, 6)] == [0, 4, 2]


def test_the_outer_size_of_a_ragged_split_that_no_inner_size_makes_is_refused_with_those_that_do() -> None:
    mode = Mode("far", over=Split(WORLD, outer="far", size=4, ragged=True).outer)
    fitting = [far for far in range(1, 6) if any(-(-5 // near) == far for near in range(1, 6))]
    assert fitting == [1, 2, 3, 5]
    assert refusal(ConfigError, 5, mode).endswith("\n  far could be 1, 2, 3 or 5.")


def test_a_ragged_cut_of_axes_with_a_gap_is_refused() -> None:
    mode = Mode("near", over=Split(("ring", "stage"), inner="near", size=4, ragged=True))
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "near = 4 (plugin default) does not divide ring × stage = 6 (plugin default).\n  near could be 1, 2 or 6."
    )


@pytest.mark.parametrize("side", ["inner", "outer"])
def test_a_part_of_a_ragged_split_cannot_be_split_again(side: str) -> None:
    ragged = Split("ring", inner="near", outer="far", size=2, ragged=True)
    again = Mode("again", over=Split(getattr(ragged, side), inner="again"))
    name = "near" if side == "inner" else "far"
    assert refusal(PluginError, 12, *THREE, again) == (
        f"mode 'again' (plugin 'extra') splits '{name}', a part of a ragged split, which cannot be split again."
    )


def test_a_mode_over_two_ragged_splits_is_refused() -> None:
    first = Split(Axis("ring", 3), inner="near", size=2, ragged=True)
    second = Split(Axis("lane", 5, inside="ring"), inner="close", size=2, ragged=True)
    assert refusal(PluginError, 15, Mode("both", over=(first, second))) == (
        "mode 'both' is over two ragged splits, which no layout has; use groups=."
    )


def test_both_parts_of_a_ragged_split_are_all_of_it() -> None:
    split = Split("ring", inner="near", size=2, ragged=True)
    plan = planned(12, *THREE, Mode("both", over=(split.outer, split.inner)))
    assert plan["both"].groups == plan["ring"].groups


@pytest.mark.parametrize(
    ("over", "first", "second"),
    [
        ((Split("ring", inner="near"), Split("ring", inner="close")), "near", "close"),
        (("ring", Split("ring", inner="near")), "ring", "near"),
        ((Split("ring", inner="near"), "ring"), "near", "ring"),
        ((Split(("ring", "lane"), inner="near"), "lane"), "near", "lane"),
        ((Split(Split("ring", inner="near"), inner="nearer"), Split("ring", inner="near")), "nearer", "near"),
        ((WORLD, "ring"), "world", "ring"),
    ],
)
def test_what_is_not_independent_cannot_be_mixed(over: Any, first: str, second: str) -> None:
    assert refusal(PluginError, 12, *THREE, Mode("mixed", over=over)) == (
        f"mode 'mixed' (plugin 'extra') puts '{first}' and '{second}' together, which are not independent: "
        "take other axes, or parts of one chain of splits."
    )


def test_an_axis_cannot_be_named_twice() -> None:
    text = refusal(PluginError, 12, *THREE, Mode("mixed", over=("ring", "ring")))
    assert text == "mode 'mixed' (plugin 'extra') names 'ring' twice."


def test_a_split_of_what_is_not_independent_is_refused_too() -> None:
    mode = Mode("mixed", over=Split(("ring", Split("ring", inner="near").outer), inner="odd"))
    assert refusal(PluginError, 12, *THREE, mode) == (
        "mode 'mixed' (plugin 'extra') puts 'ring' and 'ring / near' together, which are not independent: "
        "take other axes, or parts of one chain of splits."
    )


def test_two_factorisations_of_one_axis_may_stand_in_two_modes() -> None:
    plan = planned(
        12, Mode("a", over=Split(Axis("ring", 12), inner="a", size=4)), Mode("b", over=Split("ring", "b")), b=3
    )
    assert (plan["a"].groups[0], plan["b"].groups[0]) == ((0, 1, 2, 3), (0, 1, 2))


def test_two_axes_that_take_the_rest_are_refused() -> None:
    modes = Mode("a", over=Axis("a", REST)), Mode("b", over=Axis("b", REST))
    assert refusal(PluginError, 8, *modes) == (
        "More than one axis takes what is left: 'a' and 'b'. Set the size of all but one."
    )


def test_one_of_two_axes_that_take_the_rest_can_be_set() -> None:
    modes = Mode("a", over=Axis("a", REST)), Mode("b", over=Axis("b", REST, inside="a"))
    assert planned(8, *modes, a=2).sizes == {"a": 2, "b": 4}


def test_sizes_that_are_as_large_as_each_other_are_a_cycle() -> None:
    modes = [Mode(name, over=Axis(name, size)) for name, size in (("a", "b"), ("b", "c"), ("c", "a"))]
    assert refusal(PluginError, 8, *modes) == (
        "Sizes depend on each other in a cycle: a needs b needs c needs a. Set one of them."
    )


def test_axes_that_nest_in_a_cycle_are_refused_with_the_cycle() -> None:
    modes = [Mode(name, over=Axis(name, inside=around)) for name, around in (("a", "b"), ("b", "c"), ("c", "a"))]
    assert refusal(PluginError, 8, *modes) == "Axes nest in a cycle: a around c around b around a."


def test_splits_that_are_parts_of_each_other_are_refused_with_the_cycle() -> None:
    modes = [Mode(name, over=Split(of, inner=name)) for name, of in (("a", "c"), ("b", "a"), ("c", "b"))]
    assert refusal(PluginError, 8, *modes) == "Splits nest in a cycle: a of c of b of a."


def test_modes_that_come_after_each_other_are_refused_with_the_cycle() -> None:
    modes = [Mode(name, over=(), after=after) for name, after in (("a", "b"), ("b", "c"), ("c", "a"))]
    assert refusal(PluginError, 8, *modes) == (
        "Modes come after one another in a cycle: 'a' after 'b' after 'c' after 'a'."
    )


def test_a_mode_that_comes_after_itself_is_a_cycle() -> None:
    text = refusal(PluginError, 8, Mode("a", over=(), after="a"))
    assert text == "Modes come after one another in a cycle: 'a' after 'a'."


def test_a_mode_after_one_that_refers_to_it_is_a_cycle() -> None:
    modes = Mode("user", over="ring"), Mode("owner", over=Axis("ring"), after="user")
    assert refusal(PluginError, 8, *modes) == (
        "Modes come after one another in a cycle: 'user' after 'owner' after 'user'."
    )


def test_two_large_axes_that_nobody_nests_are_refused_and_never_sorted_by_name() -> None:
    modes = Mode("ring", over=Axis("ring", 2)), Mode("lane", over=Axis("lane", 2))
    assert refusal(PluginError, 8, *modes) == (
        "Axes 'lane' (plugin 'extra') and 'ring' (plugin 'extra') are both larger than 1 and neither is inside the "
        "other.\nSet their order, outermost first, as in order=['lane', 'ring'], "
        "or ask the author of one to declare inside= or outside=."
    )


def test_order_decides_between_axes_that_nobody_nests() -> None:
    modes = Mode("ring", over=Axis("ring", 2)), Mode("lane", over=Axis("lane", 2))
    assert planned(4, *modes, order=["ring", "lane"])["lane"].groups[0] == (0, 1)
    assert planned(4, *modes, order=["lane", "ring"])["lane"].groups[0] == (0, 2)


def test_an_axis_between_two_others_makes_them_comparable() -> None:
    modes = [Mode("ring", over=Axis("ring", 2)), Mode("stage", over=Axis("stage", 2))]
    between = Mode("lane", over=Axis("lane", inside="ring", outside="stage"))
    assert planned(4, *modes, between).order == ("ring", "lane", "stage")


def test_order_may_leave_out_axes_of_size_1_only() -> None:
    assert planned(12, *THREE, order=["lane", "ring"], stage=1).order == ("lane", "ring", "stage")
    assert refusal(ConfigError, 12, *THREE, order=["lane"]) == (
        "order = lane (keyword) leaves out ring = 3 and stage = 2; "
        "every axis larger than 1 must be named, outermost first."
    )


def test_order_names_each_axis_once_and_axes_only() -> None:
    part = Mode("near", over=Split("ring", inner="near"))
    assert refusal(ConfigError, 12, *THREE, part, order="ring,lane,near,lanes,ring,stage") == (
        "3 problems:\n"
        "- order: 'ring' is named twice (keyword).\n"
        "- order: 'near' is a part of a split, not an axis (keyword). There are lane, ring and stage.\n"
        "- order: 'lanes' is not an axis (keyword). Did you mean 'lane'?"
    )


def test_sizes_that_do_not_divide_the_world_are_refused_with_those_that_would() -> None:
    assert refusal(ConfigError, 12, *THREE, ring=5) == (
        "lane × ring × stage = 2 × 5 × 2 = 20 does not divide world size 12.\n"
        "  lane = 2 (plugin default)\n"
        "  ring = 5 (keyword)\n"
        "  stage = 2 (plugin default)\n"
        "  ring could be 1 or 3."
    )


def test_sizes_of_which_no_single_one_helps_are_refused_with_what_they_could_be_together() -> None:
    assert refusal(ConfigError, 5, RING, LANE) == (
        "lane × ring = 2 × 3 = 6 does not divide world size 5.\n"
        "  lane = 2 (plugin default)\n"
        "  ring = 3 (plugin default)\n"
        "  Each must divide 5, and so must their product: 1 or 5."
    )


def test_a_reference_that_nobody_declares_is_refused_with_a_suggestion() -> None:
    assert refusal(PluginError, 12, *THREE, Mode("typo", over="rings")) == (
        "mode 'typo' (plugin 'extra') needs 'rings', which no plugin declares. Did you mean 'ring'?"
    )


def test_a_size_that_nobody_declares_is_refused_with_a_suggestion() -> None:
    assert refusal(PluginError, 12, *THREE, Mode("typo", over=Axis("typo", size="stages"))) == (
        "mode 'typo' (plugin 'extra') needs 'stages', which no plugin declares. Did you mean 'stage'?"
    )


def test_a_group_that_no_rank_of_the_world_is_in_is_not_in_the_groups() -> None:
    groups = planned(8, Mode("ring", over=Axis("ring", 2)))["ring"].groups
    assert [group in groups for group in ((8, 9), (-2, -1), ("0", "1"), 0, "01", ())] == [False] * 6


@pytest.mark.parametrize("rank", [-1, 8])
def test_a_rank_out_of_range_is_in_no_group(rank: int) -> None:
    groups = planned(8, Mode("ring", over=Axis("ring", 2)))["ring"].groups
    assert groups.group_of(rank) is None
    assert groups.index_of(rank) is None


def test_an_index_out_of_range_is_an_index_error() -> None:
    groups = planned(8, Mode("ring", over=Axis("ring", 2)))["ring"].groups
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"^there are 4 groups; {index} is out of range$"):
            groups[index]


def test_positions_out_of_every_group_leave_a_mode_without_groups() -> None:
    groups = planned(12, *THREE, Mode("third", over="lane", at=2))["third"].groups
    assert (len(groups), list(groups), groups.sizes(), groups.group_of(0)) == (0, [], {}, None)


def test_a_coordinate_is_asked_of_a_rank_and_a_name_that_exist() -> None:
    def outside(mesh: Any) -> list[list[int]]:
        return [[mesh.coordinate("ring", 12)]]

    def typo(mesh: Any) -> list[list[int]]:
        return [[mesh.coordinate("rings", 0)]]

    assert refusal(ConfigError, 12, *THREE, Mode("odd", groups=outside)) == (
        "rank 12 is out of range; the plan has ranks 0 to 11."
    )
    assert refusal(PluginError, 12, *THREE, Mode("odd", groups=typo)) == (
        "mode 'odd' (plugin 'extra'): its groups function raised PluginError: "
        "no mode declares 'rings'. Did you mean 'ring'?"
    )


def test_a_mode_that_lists_its_groups_has_sizes_of_its_own() -> None:
    def wrapped(mesh: Any) -> list[list[int]]:
        """Runs that begin one rank late, so the last goes on at rank 0."""
        run, ranks = mesh.sizes["run"], [*range(1, mesh.world_size), 0]
        return [sorted(ranks[start : start + run]) for start in range(0, len(ranks), run)]

    late = Mode("late", groups=wrapped, sizes=Split(WORLD, inner="run", size=2))
    assert list(planned(6, late)["late"].groups) == [(0, 5), (1, 2), (3, 4)]
    assert list(planned(6, late, run=3)["late"].groups) == [(0, 4, 5), (1, 2, 3)]
    assert planned(6, late, run=3).sizes == {"run": 3}
    assert refusal(ConfigError, 6, late, run=4) == (
        "run = 4 (keyword) does not divide world = 6.\n  run could be 1, 2, 3 or 6."
    )
    after = planned(6, Mode("early", groups=lambda mesh: [], sizes="run"), late)
    assert after.modes == ("late", "early")
    assert after["early"].over == ()


def asking(over: Any) -> Mode:
    """A mode with the groups that its mesh has over something."""
    return Mode("asked", groups=lambda mesh: mesh.groups(over))


def test_a_mesh_has_groups_over_all_that_is_declared_said_by_name_or_as_an_object() -> None:
    split = Split("ring", inner="near", outer="far", size=3)
    modes = (*THREE, Mode("near", over=split))
    for over in ("ring", "far", split, split.outer, ("far", "near"), ("stage", split), WORLD, (), Axis("ring", 3)):
        expected = planned(12, *modes, Mode("m", over=over) if over != Axis("ring", 3) else Mode("m", over="ring"))
        assert planned(12, *modes, asking(over))["asked"].groups == expected["m"].groups, over


NEAR = Split("ring", inner="near", outer="far")
UNDECLARED = [
    ("rings", "no mode declares 'rings'. Did you mean 'ring'?"),
    (("ring", "x"), "no mode declares 'x'. There are far, lane, near, ring and stage."),
    (Axis("bank", 2), "no mode declares 'bank'. There are far, lane, near, ring and stage."),
    (Split("ring", inner="close"), "no mode declares 'close'. There are far, lane, near, ring and stage."),
    (Split("ring", outer="close"), "no mode declares 'ring / close'. There are far, lane, near, ring and stage."),
    (Split("ring", inner="close").outer, "no mode declares 'ring / close'. There are far, lane, near, ring and stage."),
    (Split("rings", inner="close"), "no mode declares 'close'. There are far, lane, near, ring and stage."),
    (Split(NEAR, inner="nearer"), "no mode declares 'nearer'. Did you mean 'near'?"),
    (Split(Axis("bank", 2), inner="near"), "no mode declares 'bank'. There are far, lane, near, ring and stage."),
    (("ring", "ring"), "'ring' and 'ring' are not independent, so no groups are over both."),
    ((WORLD, "ring"), "'world' and 'ring' are not independent, so no groups are over both."),
    (("lane", "near", "ring"), "'near' and 'ring' are not independent, so no groups are over both."),
    (("ring", NEAR.outer), "'ring' and 'far' are not independent, so no groups are over both."),
    (FULL, "Mode('groups'): FULL must be an axis, a part of a split or WORLD."),
    (7, "Mode('groups'): 7 must be an axis, a part of a split or WORLD."),
]


@pytest.mark.parametrize(("over", "text"), UNDECLARED, ids=[f"{over!r}" for over, _ in UNDECLARED])
def test_a_mesh_refuses_what_nobody_declares_and_what_is_not_independent(over: Any, text: str) -> None:
    assert refusal(PluginError, 12, *THREE, Mode("near", over=NEAR), asking(over)) == (
        f"mode 'asked' (plugin 'extra'): its groups function raised PluginError: {text}"
    )


FOREIGN = [
    (Axis("ring", 4), RING.over[0], "ring"),
    (Split("lane", inner="ring"), RING.over[0], "ring"),
    (Split("lane", inner="near", outer="far"), NEAR.inner, "near"),
    (Split(NEAR, inner="near", outer="far"), NEAR.inner, "near"),
    (Split(("ring", "stage"), inner="near"), NEAR.inner, "near"),
    (Split(("ring", "ring"), inner="near"), NEAR.inner, "near"),
]


@pytest.mark.parametrize(("over", "declared", "name"), FOREIGN, ids=[f"{over!r}" for over, _, _ in FOREIGN])
def test_a_mesh_refuses_another_axis_or_split_of_a_declared_name(over: Any, declared: Any, name: str) -> None:
    part = over.inner if isinstance(over, Split) else over
    assert refusal(PluginError, 12, *THREE, Mode("near", over=NEAR), asking(over)) == (
        "mode 'asked' (plugin 'extra'): its groups function raised PluginError: "
        f"{part!r} is not {declared!r}, which a mode declares as '{name}'; use the name '{name}' to refer to it."
    )


@pytest.mark.parametrize("over", [Axis("ring", 4), Split("lane", inner="near")], ids=repr)
def test_a_coordinate_along_another_axis_of_a_declared_name_is_refused_too(over: Any) -> None:
    part = over.inner if isinstance(over, Split) else over
    mode = Mode("asked", groups=lambda mesh: [[mesh.coordinate(part, 0)]])
    text = refusal(PluginError, 12, *THREE, Mode("near", over=NEAR), mode)
    assert f"{part!r} is not " in text


def test_a_coordinate_of_a_rank_that_cannot_be_printed_is_refused() -> None:
    mode = Mode("asked", groups=lambda mesh: [[mesh.coordinate("ring", 10**5000)]])
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "rank a number of thousands of digits is out of range; the plan has ranks 0 to 11."
    )


DECLARATIONS = [
    (lambda: Axis("a", inside=5), "Axis('a') has inside=5; it must be a name or a list of names."),
    (lambda: Axis("a", outside=[5]), "Axis('a') has outside=[5]; it must be a name or a list of names."),
    (lambda: Mode("m", over=(), after=5), "Mode('m') has after=5; it must be a name or a list of names."),
    (
        lambda: Axis("class"),
        (
            "Axis('class'): 'class' cannot name a size; it must be an identifier and not a keyword of Python, "
            "because users write it as an argument (tensor=2)."
        ),
    ),
    (
        lambda: Split("ring", inner="None"),
        (
            "Split('ring'): 'None' cannot name a size; it must be an identifier and not a keyword of Python, "
            "because users write it as an argument (tensor=2)."
        ),
    ),
    (
        lambda: Mode("m", over=(), timeout=366 * 24 * 3600 + 1),
        "Mode('m') has timeout=31622401; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Mode("m", over=(), timeout=1e300),
        "Mode('m') has timeout=1e+300; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Mode("m", over=(), timeout=0.0001),
        "Mode('m') has timeout=0.0001; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Axis("two words"),
        (
            "Axis('two words'): 'two words' cannot name a size; it must be an identifier and not a keyword of Python, "
            "because users write it as an argument (tensor=2)."
        ),
    ),
    (lambda: Axis("ring", 0), "Axis('ring') has size=0; it must be a number from 1, REST or the name of a size."),
    (lambda: Axis("ring", True), "Axis('ring') has size=True; it must be a number from 1, REST or the name of a size."),
    (lambda: Axis("ring", FULL), "Axis('ring') has size=FULL; it must be a number from 1, REST or the name of a size."),
    (
        lambda: Split("ring", inner="near", size=REST),
        "Split('ring') has size=REST; it must be a number from 1, FULL, HOST or the name of a size.",
    ),
    (
        lambda: Split("ring"),
        "Split('ring') must name its inner or its outer part, as in inner='zero1'.",
    ),
    (
        lambda: Split("ring", inner="near", outer="near"),
        "Split('ring') has inner='near' and outer='near'; its parts must have different names.",
    ),
    (lambda: Split((), inner="near"), "Split(()) must split something: an axis, a part or WORLD."),
    (lambda: Mode("m"), "Mode('m') needs exactly one of over= and groups=."),
    (
        lambda: Mode("m", over="ring", groups=list),
        "Mode('m') needs exactly one of over= and groups=.",
    ),
    (lambda: Mode("m", groups=[[0]]), "Mode('m') has groups=[[0]]; it must be a function of the mesh."),
    (
        lambda: Mode("m", groups=list, at=0),
        "Mode('m') must not have both at= and groups=; the function itself can return only those ranks.",
    ),
    (
        lambda: Mode("m", over="ring", sizes=Split("ring", inner="near")),
        "Mode('m') must not have both sizes= and over=; over= declares its own sizes.",
    ),
    (
        lambda: Mode("m", groups=list, sizes=7),
        "Mode('m'): 7 must be an axis, a part of a split or WORLD.",
    ),
    (lambda: Mode("m", over="ring", at=()), "Mode('m') has at=(); it must be positions in a group, such as (0, -1)."),
    (
        lambda: Mode("m", over="ring", at=True),
        "Mode('m') has at=True; it must be positions in a group, such as (0, -1).",
    ),
    (lambda: Mode("m", over=7), "Mode('m'): 7 must be an axis, a part of a split or WORLD."),
    (lambda: Mode("m", over=FULL), "Mode('m'): FULL must be an axis, a part of a split or WORLD."),
    (lambda: Mode("", over=()), "Mode('') must have a name that can be printed on one line, without spaces around it."),
    (
        lambda: Mode("a\nb", over=()),
        "Mode('a\\nb') must have a name that can be printed on one line, without spaces around it.",
    ),
    (lambda: Mode("m", over=(), dedicated=1), "Mode('m') has dedicated=1; it must be True or False."),
    (lambda: Mode("m", over=(), cpu="yes"), "Mode('m') has cpu='yes'; it must be True or False."),
    (
        lambda: Mode("m", over=(), timeout=0),
        "Mode('m') has timeout=0; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Mode("m", over=(), backend=""),
        "Mode('m') has backend=''; it must be the name of a torch backend, such as 'gloo'.",
    ),
]


@pytest.mark.parametrize(("declare", "text"), DECLARATIONS, ids=[text for _, text in DECLARATIONS])
def test_a_declaration_that_cannot_be_is_refused_where_it_is_written(declare: Any, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        declare()
    assert str(caught.value) == text


def test_a_name_that_is_a_word_only_in_places_may_name_a_size() -> None:
    assert planned(4, Mode("match", over=Axis("match")), match=2)["match"].groups[0] == (0, 1)


HUGE = "a number of thousands of digits"


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (lambda: Mode("m", over=(), at=1.5), "Mode('m') has at=1.5; it must be positions in a group, such as (0, -1)."),
        (
            lambda: Mode("m", over=(), at=10**5000),
            f"Mode('m') has at={HUGE}; it must be positions in a group, such as (0, -1).",
        ),
        (
            lambda: Mode("m", over=(), timeout=10**5000),
            f"Mode('m') has timeout={HUGE}; it must be a number of seconds from 0.001 to 31622400.",
        ),
        (
            lambda: Axis("ring", 10**5000),
            f"Axis('ring') has size={HUGE}; it must be a number from 1, REST or the name of a size.",
        ),
        (lambda: Axis(10**5000), f"Axis({HUGE}): {HUGE} cannot name a size; "),
        (lambda: Mode(10**5000, over=()), f"Mode({HUGE}) must have a name "),
        (lambda: Mode("m", over=10**5000), f"Mode('m'): {HUGE} must be an axis, a part of a split or WORLD."),
        (lambda: Split(10**5000, inner="near"), f"Split({HUGE}): {HUGE} must be an axis, "),
        (lambda: Mode("m", over=(), after=[10**5000]), f"Mode('m') has after={HUGE}; it must be a name or a list"),
    ],
    ids=["at 1.5", "at", "timeout", "size", "axis name", "mode name", "over", "of", "after"],
)
def test_a_declaration_with_a_value_that_cannot_be_printed_is_refused_too(declare: Any, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        declare()
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("modes", "text"),
    [
        ((RING, Mode("ring", over="ring")), "mode 'ring' is declared twice by plugin 'extra'."),
        (
            (RING, Mode("other", over=Axis("ring", 4))),
            "size 'ring' is declared twice by plugin 'extra'.",
        ),
        (
            (RING, Mode("other", over=Split(WORLD, inner="ring"))),
            "size 'ring' is declared twice by plugin 'extra'.",
        ),
    ],
)
def test_one_plugin_declares_each_name_once(modes: tuple[Mode, ...], text: str) -> None:
    assert refusal(PluginError, 12, *modes) == text
