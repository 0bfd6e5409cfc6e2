"""Real gloo processes: what `init()` makes, what it leaves, and that every group is wired right."""

import os
from typing import Any

import pytest
from ranks import alive, run_ranks

import pgregistry
from pgregistry import BuildError, ConfigError


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
    refused = (
        "Mode 'tensor' has process group options {'is_high_priority_stream': True}, but gloo takes none. "
        "Remove them, or let the hook pgregistry_process_group_options return None for backend 'gloo'."
    )
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
