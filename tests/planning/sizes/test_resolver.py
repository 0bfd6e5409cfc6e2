"""Sizes of axes and parts: defaults, what is left, and what does not fit."""

from __future__ import annotations

from plans import LANE, RING, THREE, planned, refusal

from pgregistry import FULL, HOST, REST, WORLD, Axis, ConfigError, Mode, PluginError, Split


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
    plan = planned(8, Mode("near", over=Split(WORLD, inner="near", outer="across", size=HOST)), ranks_per_host=4)
    assert list(plan["near"].groups) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert plan.sizes == {"near": 4, "across": 2}


def test_a_split_of_size_host_needs_to_know_how_many_ranks_a_host_has() -> None:
    assert refusal(ConfigError, 8, Mode("near", over=Split(WORLD, inner="near", size=HOST))) == (
        "near = HOST must know how many ranks each host has: give ranks_per_host=8 or hosts=, "
        "or let the launcher set LOCAL_WORLD_SIZE; or set near to a number."
    )


def test_a_host_that_does_not_divide_the_world_is_refused() -> None:
    text = refusal(ConfigError, 8, Mode("near", over=Split(WORLD, inner="near", size=HOST)), ranks_per_host=3)
    assert text == (
        "near = HOST must have an equal share on each host, but hosts of 3 ranks (ranks_per_host, keyword) "
        "hold unequal shares of world = 8.\n  near could be 1, 2, 4 or 8."
    )


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


def test_a_name_that_is_a_word_only_in_places_may_name_a_size() -> None:
    assert planned(4, Mode("match", over=Axis("match")), match=2)["match"].groups[0] == (0, 1)
