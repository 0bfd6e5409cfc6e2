"""The context that `init()` returns: the modes of a rank, seeds, and how it ends."""

import hashlib
import subprocess
import sys
import time
from typing import Any

import pytest
from ranks import alive, run_ranks

import pgregistry
from pgregistry import Axis, BuildError, ConfigError, Mode

EDGES = Mode("edges", over=Axis("line"), at=(0, -1))


def outside_a_mode() -> Any:
    with pgregistry.init(extra=[EDGES], only=[], line=4) as context:
        edges = context.get("edges")
        with pytest.raises(ConfigError, match=r"There is no mode 'edge'. Did you mean 'edges'\?"):
            context.get("edge")
        if edges is None:
            with pytest.raises(BuildError, match=r"Rank \d is in no group of mode 'edges'"):
                context["edges"]
            return None
        return edges.ranks


def test_a_rank_in_no_group_of_a_mode_gets_none_and_a_typo_raises() -> None:
    assert run_ranks(4, outside_a_mode) == [(0, 3), None, None, (0, 3)]


def seeds() -> dict[str, int]:
    with pgregistry.init(tensor=2, pipe=2) as context:
        return {mode: context.seed(mode, base=1234) for mode in ("data", "tensor", "pipe", "dummy")}


def test_seeds_are_equal_on_ranks_that_share_a_position_and_differ_along_the_mode() -> None:
    found = run_ranks(8, seeds)
    plan = pgregistry.plan(8, tensor=2, pipe=2)
    for mode in found[0]:
        position = [(plan[mode].group_of(rank) or ()).index(rank) for rank in range(8)]
        by_position = dict(zip(position, (answer[mode] for answer in found), strict=True))
        assert [answer[mode] for answer in found] == [by_position[at] for at in position]
        assert len(set(by_position.values())) == len(by_position)
    assert len({seed for answer in found for seed in answer.values()}) == 2 + 2 + 2 + 1


def formula(plan: pgregistry.Plan, rank: int, modes: tuple[str, ...], base: int) -> int:
    """Return the seed by the formula of the documentation."""
    position = 0
    for mode in sorted(modes):
        groups = [group for group in plan[mode].groups]  # noqa: C416
        position = position * max(map(len, groups)) + next(group for group in groups if rank in group).index(rank)
    digest = hashlib.blake2b("/".join([str(base), *sorted(modes)]).encode(), digest_size=4).digest()
    return (int.from_bytes(digest, "big") + position) % 2**32


ASKED = [(), ("tensor",), ("pipe", "tensor"), ("tensor", "pipe"), ("data", "nettest"), ("data", "pipe", "tensor")]


def seeds_of_several() -> list[int]:
    with pgregistry.init(tensor=2, pipe=2, nettest=3) as context:
        with pytest.raises(ConfigError, match=r"^seed\(\) has base='1'; it must be a whole number\.$"):
            context.seed("data", base="1")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="There is no mode 'tensr'"):
            context.seed("data", "tensr", base=1)
        return [context.seed(*modes, base=-7) for modes in ASKED]


def test_seeds_of_several_modes_are_equal_at_one_position_of_all_and_else_different() -> None:
    found, plan = run_ranks(8, seeds_of_several), pgregistry.plan(8, tensor=2, pipe=2, nettest=3)
    assert found == [[formula(plan, rank, modes, -7) for modes in ASKED] for rank in range(8)]
    different = [len({answer[index] for answer in found}) for index in range(len(ASKED))]
    assert different == [1, 2, 4, 4, 6, 8]


def leave_an_existing_world_alone() -> Any:
    import torch
    import torch.distributed as dist

    before = alive()
    context = pgregistry.init(tensor=2)
    during = alive()
    context.close()
    context.close()
    with pytest.raises(BuildError, match="The context is closed"):
        context["tensor"]
    ones = torch.ones(1)
    dist.all_reduce(ones)
    return during > before, alive() == before, ones.item()


def test_close_destroys_what_init_made_and_nothing_else_and_can_be_called_twice() -> None:
    assert run_ranks(4, leave_an_existing_world_alone) == [(True, True, 4.0)] * 4


def own_world_ends() -> bool:
    import torch.distributed as dist

    with pgregistry.init(tensor=2):
        pass
    return dist.is_initialized()


def test_a_world_that_init_started_ends_with_the_context() -> None:
    assert run_ranks(2, own_world_ends, world=False) == [False, False]


def raising_body() -> float:
    import torch
    import torch.distributed as dist

    begun = time.monotonic()
    with pytest.raises((ZeroDivisionError, RuntimeError)), pgregistry.init(tensor=2) as context:  # noqa: PT012
        if context.rank == 1:
            _ = 1 / 0
        dist.all_reduce(torch.ones(1), group=context["tensor"].group)
        dist.all_reduce(torch.ones(1))
    return time.monotonic() - begun


def test_a_body_that_raises_on_one_rank_frees_the_ranks_that_wait_for_it() -> None:
    assert max(run_ranks(4, raising_body, world=False)) < 30  # the timeout of the groups is half an hour


def closed() -> list[str]:
    said = []
    context = pgregistry.init(tensor=2)
    tensor = context["tensor"]
    context.close()
    for use in (lambda: context["tensor"], lambda: tensor.group, context.verify, lambda: context.device_mesh("data")):
        with pytest.raises(BuildError) as raised:
            use()
        said.append(str(raised.value))
    return said


def test_a_closed_context_and_its_handles_refuse_every_use() -> None:
    gone = "The context is closed, so its process groups are destroyed."
    of_handle = "The context is closed, so the process group of mode 'tensor' is destroyed."
    assert run_ranks(2, closed) == [[gone, of_handle, gone, gone]] * 2


@pytest.mark.parametrize("name", ["ParallelContext", "GroupHandle"])
def test_an_annotation_imports_no_torch(name: str) -> None:
    code = f"import sys, pgregistry; pgregistry.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
