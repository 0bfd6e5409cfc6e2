"""Process groups by public torch calls alone, with PGREGISTRY_BUILD=public."""

import time
from functools import wraps
from typing import Any

import pytest
import torch
import torch.distributed as dist
from packaging.version import Version
from ranks import alive, init_and_verify, run_ranks

import pgregistry
from pgregistry import BuildError, PlanMismatch
from pgregistry.building import by_public_calls, specs
from pgregistry.building.communicators.splits import SPLITS_GLOO

PUBLIC = {"PGREGISTRY_BUILD": "public"}


@pytest.mark.parametrize(
    ("world", "sizes"), [(1, {}), (4, {"tensor": 2, "zero1": {"dedicated": True}}), (6, {"pipe": 3, "nettest": 4})]
)
def test_every_group_is_wired_to_the_right_ranks(world: int, sizes: dict[str, Any]) -> None:
    plain = {name: size for name, size in sizes.items() if isinstance(size, int)}
    expected = list(pgregistry.plan(world, **plain).modes)
    assert run_ranks(world, init_and_verify, sizes, env=PUBLIC) == [expected] * world


def counted() -> tuple[int, int, int]:
    """Return how often a group became a spec, how many groups there are, and of how many modes."""
    calls = []
    of_group = specs.specs_of_group
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specs, "specs_of_group", lambda *args: calls.append(args) or of_group(*args))
        with pgregistry.init(tensor=2) as context:
            modes = [context.plan[name] for name in context.plan.modes]
            return len(calls), sum(len(mode.groups) for mode in modes), len(modes)


def test_a_build_walks_all_groups_once_and_those_of_the_rank_once_more() -> None:
    for calls, groups, modes in run_ranks(4, counted, env=PUBLIC):
        assert modes == 8
        assert calls == groups + modes


def calls_of_torch(sizes: dict[str, Any], split: bool) -> tuple[int, int, list[str]]:
    """Return how often `split_group` and `new_group` are called for a plan, and the modes that were proved."""
    counts = {"split_group": 0, "new_group": 0}

    def counting(name: str) -> Any:
        call = getattr(dist, name)

        @wraps(call)
        def counted(*args: Any, **keywords: Any) -> Any:
            counts[name] += 1
            return call(*args, **keywords)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        if not split:
            patch.setattr(by_public_calls, "gloo_can_be_split", lambda: False)
        for name in counts:
            patch.setattr(dist, name, counting(name))
        modes = init_and_verify(sizes)
    return counts["split_group"], counts["new_group"], modes


SIZES = {"tensor": 2, "only": ["data", "dummy", "global", "tensor"]}


def test_without_a_split_of_gloo_each_group_is_made_by_a_call_of_new_group() -> None:
    modes = list(pgregistry.plan(4, **SIZES).modes)
    assert run_ranks(4, calls_of_torch, SIZES, False, env=PUBLIC) == [(0, 8, modes)] * 4


@pytest.mark.skipif(Version(torch.__version__) < SPLITS_GLOO, reason="needs torch 2.15: split_group of gloo")
@pytest.mark.parametrize("within", [None, (3, 2, 1, 0)])
def test_a_split_of_gloo_makes_all_groups_of_a_mode_in_one_call(within: Any) -> None:
    sizes = {**SIZES, "within": within}
    modes = list(pgregistry.plan(4, **sizes).modes)
    splits = 3 + (within is not None)  # `global` in another order than the world's
    assert run_ranks(4, calls_of_torch, sizes, True, env=PUBLIC) == [(splits, 0, modes)] * 4


def behind() -> list[str]:
    """One rank has called `new_group` twice, which the others have not."""
    if dist.get_rank() == 1:
        for _ in range(2):
            dist.new_group([0])
    return init_and_verify({"tensor": 2})


def test_ranks_that_have_called_new_group_less_often_catch_up() -> None:
    expected = list(pgregistry.plan(4, tensor=2).modes)
    assert run_ranks(4, behind, env=PUBLIC) == [expected] * 4


def one_has_another_torch(build: str) -> str:
    """The helper of rank 1's torch takes other parameters."""
    if dist.get_rank() == 1:
        helper, c10d = dist.distributed_c10d._new_process_group_helper, dist.distributed_c10d
        c10d._new_process_group_helper = lambda *args, **keywords: helper(*args, **keywords)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGREGISTRY_BUILD", build)
        try:
            return str(init_and_verify({"only": ["data"]}))
        except PlanMismatch as error:
            return str(error)


def test_a_rank_whose_torch_has_changed_is_told_to_all_with_the_way_out() -> None:
    (text,) = set(run_ranks(3, one_has_another_torch, ""))
    why = f"torch {torch.__version__} lacks private calls, or has changed them"
    way_out = "install one torch on all hosts, or set PGREGISTRY_BUILD=public on all ranks"
    expected = ["  building:", "    ranks 0, 2: name", f"    rank 1: public ({why}: {way_out})"]
    assert text.splitlines()[1:] == expected
    assert set(run_ranks(3, one_has_another_torch, "public")) == {"['data']"}


def late_in_a_collective() -> float:
    """A process group waits for a late rank longer than its building may take."""
    with pgregistry.init(only=["tensor"], tensor=2, build_timeout=2) as context:
        if dist.get_rank() == 1:
            time.sleep(4)
        ones = torch.ones(1)
        dist.all_reduce(ones, group=context["tensor"].group)
        return float(ones.item())


@pytest.mark.slow
def test_a_process_group_does_not_keep_the_time_of_its_building() -> None:
    assert run_ranks(2, late_in_a_collective, env=PUBLIC) == [2.0, 2.0]


def within_half() -> Any:
    rank, before = dist.get_rank(), alive()
    with pytest.raises(BuildError) as raised:
        pgregistry.init(within=range(2) if rank < 2 else range(2, 4))
    return str(raised.value).partition("BuildError: ")[2] or str(raised.value), raised.value.ranks, alive() == before


def test_within_is_refused_for_new_group_must_be_called_on_all_ranks() -> None:
    answers = run_ranks(4, within_half, env=PUBLIC)
    for text, _, clean in answers:
        assert clean
        assert text.startswith("within leaves out ranks ")
        assert "but new_group must be called on all 4 ranks of the world. Unset PGREGISTRY_BUILD, " in text
    assert [text.split(",")[0] for text, *_ in answers] == ["within leaves out ranks 2-3"] * 2 + [
        "within leaves out ranks 0-1"
    ] * 2
