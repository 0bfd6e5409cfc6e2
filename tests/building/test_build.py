"""Real gloo processes: what `init()` makes, what it leaves, and that every group is wired right."""

import os
import time
from typing import Any

import pytest
from ranks import alive, run_ranks

import pgregistry
from pgregistry import WORLD, Axis, BuildError, ConfigError, Mode, Split

EDGES = Mode("edges", over=Axis("line"), at=(0, -1))


def prove_all(sizes: dict[str, Any]) -> list[str]:
    with pgregistry.init(**sizes) as context:
        context.verify()
        return list(context.plan.modes)


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
    assert run_ranks(world, prove_all, sizes) == [list(pgregistry.plan(world, **keywords).modes)] * world


def prove_all_in_detail(sizes: dict[str, Any]) -> list[str]:
    import torch.distributed as dist

    dist.set_debug_level(dist.DebugLevel.DETAIL)
    return prove_all(sizes)


def test_every_group_is_wired_right_where_torch_wraps_process_groups_to_check_them() -> None:
    sizes = {"tensor": 2, "pipe": 2, "nettest": 3, "zero1": {"dedicated": True}, "build_timeout": 20}
    modes = list(pgregistry.plan(8, tensor=2, pipe=2, nettest=3).modes)
    assert run_ranks(8, prove_all_in_detail, sizes) == [modes] * 8


def test_a_world_is_started_from_the_environment_of_a_launcher() -> None:
    assert run_ranks(4, prove_all, {"tensor": 2, "only": ["data", "tensor"]}, world=False) == [["data", "tensor"]] * 4


def mixed_up() -> str:
    with pgregistry.init(tensor=2, only=["data", "tensor"]) as context:
        context.process_groups.groups["tensor"] = context["data"].group  # as a swapped order would
        with pytest.raises(BuildError) as raised:
            context.verify()
        return str(raised.value)


def test_a_group_wired_to_other_ranks_is_not_proved() -> None:
    said = (
        "Rank {}: the process group of mode 'tensor', group {} ({}, {}), "
        "is connected to another process in the place of rank {}."
    )
    assert run_ranks(4, mixed_up) == [
        said.format(0, 0, 0, 1, 1),
        said.format(1, 0, 0, 1, 0),
        said.format(2, 1, 2, 3, 2),
        said.format(3, 1, 2, 3, 2),
    ]


def all_attributes() -> dict[str, Any]:
    with pgregistry.init(pipe=4, only=["pipe", "tensor"]) as context:
        pipe = context["pipe"]
        names = "mode ranks rank size index next previous is_first is_last".split()
        return {name: getattr(pipe, name) for name in names} | {"same": pipe.cpu_group is pipe.group}


def test_a_handle_says_where_a_rank_stands_in_its_group() -> None:
    first, *_, last = run_ranks(4, all_attributes)
    common = {"mode": "pipe", "ranks": (0, 1, 2, 3), "size": 4, "index": 0, "same": True}
    assert first == common | {"rank": 0, "next": 1, "previous": 3, "is_first": True, "is_last": False}
    assert last == common | {"rank": 3, "next": 0, "previous": 2, "is_first": False, "is_last": True}


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


def companion(cpu: bool) -> Any:
    import torch
    import torch.distributed as dist
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend "fake"

    half = Mode("half", over=Split(WORLD, inner="half", size=2), backend="fake")
    with pgregistry.init(extra=[half], only=[], cpu=cpu) as context:
        handle = context["half"]
        if not cpu:
            with pytest.raises(BuildError) as raised:
                _ = handle.cpu_group
            return str(raised.value)
        ones = torch.tensor([context.rank])
        dist.all_reduce(ones, group=handle.cpu_group)
        return dist.get_backend(handle.group), dist.get_backend(handle.cpu_group), ones.item()


def test_a_mode_of_another_backend_has_a_gloo_companion_where_asked() -> None:
    assert run_ranks(4, companion, True) == [("fake", "gloo", 1)] * 2 + [("fake", "gloo", 5)] * 2


def test_a_companion_nobody_asked_for_raises_when_it_is_read() -> None:
    said = (
        "Mode 'half' has no gloo process group beside its own, for neither the mode nor the run asked for one. "
        "Pass init(cpu=True), or half={'cpu': True} for this mode alone."
    )
    assert run_ranks(2, companion, False) == [said, said]


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


def refuse_bad_sizes() -> Any:
    import torch.distributed as dist

    with pytest.raises(ConfigError) as raised:
        pgregistry.init(tensor=3)
    return str(raised.value).splitlines()[0], dist.is_initialized()


def test_sizes_that_cannot_work_are_refused_before_a_world_is_started() -> None:
    assert run_ranks(2, refuse_bad_sizes, world=False) == [("tensor = 3 does not divide world size 2.", False)] * 2


def options_gloo_does_not_take() -> Any:

    before = alive()
    with pytest.raises(BuildError) as raised:
        pgregistry.init(enable=["fast"])
    return str(raised.value), alive() == before


FAST = """
from pgregistry import hookimpl

@hookimpl
def pgregistry_process_group_options(mode, backend):
    return {"is_high_priority_stream": True} if mode == "tensor" and backend == "gloo" else None
"""


def test_options_a_backend_does_not_take_are_refused_and_leave_nothing_behind(distribution: Any) -> None:
    distribution("pgregistry-fast", {"fast": "pgregistry_fast"}, {"pgregistry_fast.py": FAST}, optional=True)
    refused = "Mode 'tensor' has process group options {'is_high_priority_stream': True}, but gloo takes none."
    assert_one_fails_first(run_ranks(2, options_gloo_does_not_take), "BuildError", refused)


def assert_one_fails_first(answers: list[tuple[str, bool]], kind: str, text: str) -> None:
    """Hold that nothing is left on two ranks, and that one raises its own error and the other the same or a quote."""
    quoted = [f"Rank {1 - rank} failed while process groups were built: {kind}: {text}" for rank in (0, 1)]
    assert answers in ([(text, True), (quoted[1], True)], [(quoted[0], True), (text, True)])


READY = """
from pgregistry import Mode, WORLD, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("%s", over=WORLD, after=%r)

@hookimpl
def pgregistry_ready(context):
    import os
    os.environ["SEEN"] = os.environ.get("SEEN", "") + f"%s on {context.rank} of {context['global'].size}; "
    if "%s" == os.environ.get("FAIL"):
        raise RuntimeError("no disk")
"""


def see_ready() -> Any:
    before = alive()
    try:
        with pgregistry.init(enable=["early", "late"]):
            return os.environ["SEEN"]
    except pgregistry.PgregistryError as error:
        return str(error), alive() == before


def ready_plugins(distribution: Any) -> None:
    for name, after in (("early", ("late",)), ("late", ())):
        source = READY % (name, after, name, name)
        entry = {name: f"pgregistry_{name}"}
        distribution(f"pgregistry-{name}", entry, {f"pgregistry_{name}.py": source}, version="1", optional=True)


def test_ready_is_called_on_every_rank_in_the_order_of_the_plan(distribution: Any) -> None:
    ready_plugins(distribution)
    assert run_ranks(2, see_ready) == ["late on 0 of 2; early on 0 of 2; ", "late on 1 of 2; early on 1 of 2; "]


def test_a_plugin_that_raises_in_ready_is_named_and_nothing_is_left(distribution: Any) -> None:
    ready_plugins(distribution)
    said = "plugin 'late', pgregistry-late 1 raised RuntimeError in pgregistry_ready: no disk"
    assert_one_fails_first(run_ranks(2, see_ready, env={"FAIL": "late"}), "PluginError", said)


def timeout_of_the_store() -> str:
    import torch.distributed as dist

    with pgregistry.init(build_timeout=20):
        world = dist.group.WORLD
        assert world is not None
        return str(world.get_group_store().timeout)


def test_what_torch_connects_later_waits_longer_than_building_may_take() -> None:
    assert run_ranks(2, timeout_of_the_store, world=False) == ["0:30:00"] * 2


def times_that_cannot_be() -> list[str]:
    said = []
    for name in ("agree_timeout", "build_timeout"):
        with pytest.raises(ConfigError) as raised:
            pgregistry.init(**{name: None})
        said.append(str(raised.value))
    return said


def test_no_time_at_all_is_refused() -> None:
    (said,) = run_ranks(1, times_that_cannot_be)
    assert said == [f"init() has {name}_timeout=None; it must be a number of seconds." for name in ("agree", "build")]


def one_fails_where_torch_waits() -> Any:
    """The last rank raises at its second process group; the others are in torch, which waits for half an hour."""
    import torch.distributed as dist
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend "fake"

    from pgregistry.torch_private import group_creation

    dist.init_process_group("cpu:gloo,cuda:fake")  # as a plain init_process_group() has it beside a GPU
    answers, before = [prove_all({"tensor": 2})], alive()
    create, calls = group_creation.create_group, iter((False, True))
    if dist.get_rank() == 3:
        with pytest.MonkeyPatch.context() as patch:
            fail_second = lambda *args, **keywords: 1 / 0 if next(calls) else create(*args, **keywords)  # noqa: E731
            patch.setattr(group_creation, "create_group", fail_second)
            with pytest.raises(BuildError) as raised:
                pgregistry.init(tensor=2, nettest=3)
    else:
        with pytest.raises(BuildError) as raised:
            pgregistry.init(tensor=2, nettest=3)
    answers += [str(raised.value).rpartition(": ")[2], alive() == before, prove_all({"tensor": 2})]
    dist.destroy_process_group()
    return answers


def test_a_rank_that_raises_frees_those_that_wait_in_torch_for_a_backend_beside_gloo() -> None:
    modes = list(pgregistry.plan(4, tensor=2).modes)
    assert run_ranks(4, one_fails_where_torch_waits, world=False) == [[modes, "division by zero", True, modes]] * 4
