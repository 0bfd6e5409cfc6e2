"""Which dimensions a mesh has, and its root: of a plan alone, without torch."""

from itertools import permutations, product
from math import prod

import pytest

import pgregistry
from pgregistry import REST, Axis, ConfigError, Mode, Plan, Split
from pgregistry.planning.plans.dimensions import inner_before_copies, root_dimensions

SHARDS = Split("data", inner="shard", outer="replicate", size=2)
HYBRID = (Mode("shard", over=SHARDS), Mode("replicate", over=SHARDS.outer))


def root(plan: Plan, *modes: str) -> tuple[str, ...]:
    return tuple(root_dimensions(plan, {mode: mode for mode in modes}))


@pytest.mark.parametrize(
    ("modes", "dimensions"),
    [
        ([], ("data", "pipe", "tensor")),
        (["tensor"], ("data", "pipe", "tensor")),
        (["data", "tensor"], ("data", "pipe", "tensor")),
        (["model"], ("data", "model")),
        (["shard"], ("replicate", "shard", "pipe", "tensor")),
        (["replicate", "shard", "tensor"], ("replicate", "shard", "pipe", "tensor")),
        (["global"], ("global",)),
        (["tensor", "data"], ("pipe", "tensor", "data")),
        (["pipe", "data"], ("pipe", "data", "tensor")),
        (["tensor", "pipe"], ("data", "tensor", "pipe")),
        (["shard", "replicate"], ("shard", "replicate", "pipe", "tensor")),
        (["model", "data"], ("model", "data")),
    ],
)
def test_the_root_is_over_all_axes_with_modes_in_the_order_asked_for(
    modes: list[str], dimensions: tuple[str, ...]
) -> None:
    assert root(pgregistry.plan(16, tensor=2, pipe=2, extra=HYBRID), *modes) == dimensions


def test_axes_of_size_1_are_dimensions_too_so_that_all_slices_have_one_root() -> None:
    plan = pgregistry.plan(8, tensor=2)
    assert root(plan, "tensor") == root(plan, "data") == root(plan) == ("data", "pipe", "tensor")
    assert root(pgregistry.plan(1)) == ("data", "pipe", "tensor")


AXES = ("a", "b", "c", "d")
NESTED = (
    Mode("rest", over=Axis("rest", size=REST)),
    *(Mode(axis, over=Axis(axis, inside=("rest", *AXES[:index]))) for index, axis in enumerate(AXES)),
)


def test_only_the_order_of_larger_dimensions_makes_another_root() -> None:
    for sizes in product((1, 2), repeat=4):
        named = dict(zip(AXES, sizes, strict=True))
        plan = pgregistry.plan(2 * prod(sizes), only=[], extra=NESTED, **named)
        roots: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for count in range(5):
            for order in permutations(AXES, count):
                found = root(plan, *order)
                assert set(found) == {"rest", *AXES}
                larger = tuple(name for name in order if named[name] > 1)
                assert [name for name in found if name in larger] == [*larger]
                roots.setdefault(larger, set()).add(found)
        assert all(len(found) == 1 for found in roots.values())
        nested = {found for larger, (found,) in roots.items() if [*larger] == sorted(larger)}
        assert nested == {("rest", *AXES)}


@pytest.mark.parametrize("shard", [1, 2, 4])
def test_parts_of_a_split_are_slices_of_a_root_at_every_size(shard: int) -> None:
    plan = pgregistry.plan(8, tensor=2, shard=shard, extra=HYBRID)
    assert root(plan, "replicate", "shard", "tensor") in {
        ("replicate", "shard", "pipe", "tensor"),
        ("shard", "replicate", "pipe", "tensor"),  # at size 1 a part is in front
    }


def test_a_rest_without_modes_is_refused() -> None:
    for modes, together in ((["zero1"], " together with zero1"), ([], "")):
        with pytest.raises(ConfigError) as raised:
            root(
                pgregistry.plan(16, tensor=2, **({"zero1": 2} if modes else {}), only=None if modes else ["tensor"]),
                *modes,
            )
        assert str(raised.value) == (
            f"No modes of the plan make up a mesh of all 16 ranks{together}. "
            "Each axis, or each part of a split of it, needs a mode of its own."
        )


def test_many_modes_with_equal_groups_do_not_make_the_search_long() -> None:
    """Trying every one of them in every dimension would take hours."""
    axes = [f"axis{number}" for number in range(8)]
    extra = [Mode(f"{axis}-{copy}", over=Axis(axis)) for axis in axes for copy in range(8)]
    plan = pgregistry.plan(512, extra=extra, only=[], order=axes, **dict.fromkeys(axes, 2))
    with pytest.raises(ConfigError, match="No modes of the plan make up a mesh of all 512 ranks together with axis0-3"):
        root(plan, "axis0-3")


@pytest.mark.parametrize(
    ("order", "given", "dimensions", "pair"),
    [
        (None, {}, ["data", "pipe", "tensor"], None),
        (None, {}, ["pipe", "data", "tensor"], None),
        (None, {}, ["data", "tensor", "pipe"], None),
        (None, {}, ["tensor", "pipe", "data"], ("tensor", "data")),
        (None, {}, ["pipe", "tensor", "data"], ("tensor", "data")),
        (None, {}, ["tensor", "shard", "replicate", "pipe"], ("tensor", "shard")),
        (None, {}, ["shard", "replicate", "pipe", "tensor"], None),
        (None, {"data": 4}, ["tensor", "pipe", "data"], ("tensor", "pipe")),
        (None, {"data": 4}, ["data", "pipe", "tensor"], None),
        (["pipe", "tensor", "data"], {}, ["pipe", "tensor", "data"], ("tensor", "data")),
        (["pipe", "tensor", "data"], {}, ["pipe", "data", "tensor"], None),
    ],
)
def test_tensor_parallelism_before_the_copies_is_found(
    order: list[str] | None, given: dict[str, int], dimensions: list[str], pair: tuple[str, str] | None
) -> None:
    plan = pgregistry.plan(16, tensor=2, pipe=2, extra=HYBRID, order=order, **given)
    assert inner_before_copies(plan, dict(zip(dimensions, dimensions, strict=True))) == pair


def test_dimensions_of_size_1_are_in_nobodys_way() -> None:
    plan = pgregistry.plan(8, pipe=2)
    for order in permutations(("data", "pipe", "tensor")):
        assert inner_before_copies(plan, {name: name for name in order}) is None
