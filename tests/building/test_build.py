"""Real gloo processes: what `init()` makes, what it leaves, and that every group is wired right."""

import os
from typing import Any

import needs
import pytest
from ranks import alive, init_and_verify, run_ranks

import pgregistry
from pgregistry import ConfigError


@pytest.mark.parametrize(
    ("world", "sizes"),
    [
        (1, {}),
        (4, {"tensor": 2, "nettest": 3}),
        (6, {"pipe": 3, "tensor": 2}),
        (6, {"zero1": 3, "nettest": 4}),
        (8, {"tensor": 2, "pipe": 2, "zero1": 2, "nettest": 3}),
        (8, {"tensor": 4, "order": ["tensor", "data"], "zero1": 1}),
        (4, {"only": ["nettest"], "nettest": 3}),
        (4, {"tensor": 2, "cpu": True}),
    ],
)
def test_every_group_of_every_mode_is_wired_to_the_right_ranks(world: int, sizes: dict[str, Any]) -> None:
    keywords = {key: value for key, value in sizes.items() if key != "cpu"}
    assert run_ranks(world, init_and_verify, sizes) == [list(pgregistry.plan(world, **keywords).modes)] * world


def verified_in_detail(sizes: dict[str, Any]) -> list[str]:
    import torch.distributed as dist

    dist.set_debug_level(dist.DebugLevel.DETAIL)
    return init_and_verify(sizes)


def test_every_group_is_wired_right_where_torch_wraps_process_groups_to_check_them() -> None:
    sizes = {"tensor": 2, "pipe": 2, "nettest": 3, "zero1": {"dedicated": True}, "build_timeout": 20}
    modes = list(pgregistry.plan(8, tensor=2, pipe=2, nettest=3).modes)
    assert run_ranks(8, verified_in_detail, sizes) == [modes] * 8


def wired() -> dict[str, Any]:
    """Prove with collectives that ranks have the numbers in a process group that the plan gives them."""
    import torch
    import torch.distributed as dist

    ring = pgregistry.Mode("ring", groups=lambda mesh: [(0, 2, 3, 1)])
    found: dict[str, Any] = {}
    with pgregistry.init(within=[3, 2, 1, 0], tensor=2, extra=[ring]) as context:
        context.verify()
        for name in ("data", "global", "ring", "tensor"):
            handle, mine = context[name], torch.tensor([context.rank])
            gathered = [torch.empty_like(mine) for _ in handle.ranks]
            dist.all_gather(gathered, mine, group=handle.group)
            assert tuple(int(one) for one in gathered) == handle.ranks == context.plan[name].group_of(context.rank)
            dist.broadcast(mine, group_src=0, group=handle.group)
            assert int(mine) == handle.ranks[0]
            found[name] = handle.ranks, handle.index, handle.rank, handle.next, handle.previous
        mesh = context.device_mesh("data", "tensor")
        found["mesh"] = mesh.mesh.tolist(), tuple(mesh.get_coordinate() or ())
        found["global is the world"] = context["global"].group is dist.group.WORLD
    return found


@pytest.mark.parametrize("strategy", ["name", pytest.param("public", marks=needs.ORDER)])
def test_a_process_group_numbers_its_ranks_in_the_order_of_the_plan(strategy: str) -> None:
    first, *_ = run_ranks(4, wired, env={"PGREGISTRY_BUILD": strategy})
    assert first == {
        "data": ((2, 0), 0, 1, 2, 2),
        "global": ((3, 2, 1, 0), 0, 3, 3, 1),
        "ring": ((3, 1, 0, 2), 0, 2, 2, 1),
        "tensor": ((1, 0), 0, 1, 1, 1),
        "mesh": ([[3, 2], [1, 0]], (1, 1)),
        "global is the world": False,
    }


def refused_order() -> tuple[str, bool]:
    import torch.distributed as dist

    before = alive()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "new_group", lambda ranks: None)  # as before torch 2.13, without sort_ranks
        with pytest.raises(ConfigError) as raised:
            pgregistry.init(within=[0, 1, 3, 2], tensor=2)
    return str(raised.value), alive() == before


def test_an_order_that_torch_cannot_keep_is_refused_on_all_ranks_before_anything_is_made() -> None:
    text = (
        "Mode 'global' has group (0, 1, 3, 2), but new_group of this torch sorts ranks, so they must ascend. Unset "
        "PGREGISTRY_BUILD, or use torch 2.13 or later."
    )
    answers = run_ranks(4, refused_order, env={"PGREGISTRY_BUILD": "public"})
    assert answers == [(text, True)] * 4


def shared() -> dict[str, Any]:
    import torch.distributed as dist

    again = {"zero1": {"dedicated": True}} if os.environ.get("DEDICATE") else {}
    with pgregistry.init(tensor=2, nettest=4, **again) as context:
        groups = {name: context[name].group for name in context.plan.modes}
        return {
            "global is the world": groups["global"] is dist.group.WORLD,
            "zero1 is data": groups["zero1"] is groups["data"],
            "nettest is the world": groups["nettest"] is dist.group.WORLD,
            "model is tensor": groups["model"] is groups["tensor"],
            "made": len(context.process_groups.created),
            "desc": groups["data"].group_desc,
        }


def test_modes_with_the_same_ranks_share_a_process_group_unless_one_is_dedicated() -> None:
    expected = {"global is the world": True, "zero1 is data": True, "nettest is the world": False}
    expected |= {"model is tensor": True, "made": 4}  # data, dummy, nettest, tensor
    answers = run_ranks(4, shared)
    assert answers[0] == expected | {"desc": "pgregistry:data/0"}
    assert answers[3] == expected | {"desc": "pgregistry:data/1"}


def test_a_run_can_dedicate_a_mode() -> None:
    answer = run_ranks(4, shared, env={"DEDICATE": "1"})[0]
    assert (answer["zero1 is data"], answer["made"]) == (False, 5)


def settings_of_groups() -> dict[str, Any]:
    import torch

    with pgregistry.init(tensor={"size": 2, "timeout": 7}, timeout=11, only=["data", "tensor"]) as context:
        backends = {name: context[name].group._get_backend(torch.device("cpu")) for name in ("data", "tensor")}
        return {name: backend.options._timeout.total_seconds() for name, backend in backends.items()}


def test_the_timeout_of_a_run_reaches_every_process_group_and_that_of_a_mode_wins() -> None:
    assert run_ranks(4, settings_of_groups) == [{"data": 11, "tensor": 7}] * 4


def options_gloo_does_not_take() -> Any:
    before = alive()
    with pytest.raises(ConfigError) as raised:
        pgregistry.init(enable=["fast"], data={"options": {"depth": 3}})
    return str(raised.value), alive() == before


FAST = """
from pgregistry import hookimpl

@hookimpl
def pgregistry_process_group_options(mode, backend):
    return {"is_high_priority_stream": True} if mode == "tensor" and backend == "gloo" else None
"""


def test_options_a_backend_does_not_take_are_refused_and_leave_nothing_behind(distribution: Any) -> None:
    distribution("pgregistry-fast", {"fast": "pgregistry_fast"}, {"pgregistry_fast.py": FAST}, optional=True)
    way_out = (
        "but backend 'gloo' takes none. Leave them out, or let the hook pgregistry_process_group_options return them "
        "for backends that take them."
    )
    refused = (
        "2 problems:\n"
        f"- Mode 'data' has options depth = 3 (keyword), {way_out}\n"
        f"- Mode 'tensor' has options is_high_priority_stream = True (pgregistry_process_group_options), {way_out}"
    )
    assert run_ranks(2, options_gloo_does_not_take) == [(refused, True)] * 2


def built_without_private_calls() -> Any:
    import logging

    from pgregistry.torch_private import group_creation

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("pgregistry").addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_creation, "_BY_NAME", frozenset({"a parameter that torch does not have"}))
        modes = init_and_verify({"tensor": 2})
    return modes, [line for line in lines if "public calls" in line]


def test_a_torch_whose_private_calls_have_changed_builds_by_public_calls_and_one_rank_says_so() -> None:
    (modes, lines), *others = run_ranks(4, built_without_private_calls)
    assert modes == list(pgregistry.plan(4, tensor=2).modes)
    (line,) = lines
    assert "lacks the private calls that name them, or has changed them. within= cannot leave out ranks then." in line
    assert others == [(modes, [])] * 3
