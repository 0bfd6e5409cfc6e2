"""Faults at the edges of `init`: each of these once gave a hang, a split, a wrong sum or a raw error."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks, verified

import pgregistry
from pgregistry import Mode
from pgregistry.building.specs import Defaults, GroupSpec
from pgregistry.coordination.store import connections
from pgregistry.runtime import arguments, initialize
from pgregistry.runtime.process import InitOptions, ProcessInfo
from pgregistry.testing import write_distribution

HOOK = """
from pgregistry import hookimpl

@hookimpl
def pgregistry_ready(context):
    if context.rank == 1:
        {then}
"""


def raised(**keywords: Any) -> tuple[str, str, float]:
    """Return the class and the text of what `init` raises, and after how many seconds."""
    begun = time.monotonic()
    try:
        pgregistry.init(**keywords).close()
    except BaseException as error:
        return type(error).__name__, str(error), time.monotonic() - begun
    return "", "", time.monotonic() - begun


def rank() -> int:
    return int(os.environ["RANK"])


def groups_of(*groups: list[int]) -> Mode:
    return Mode("odd", groups=lambda _: groups)


# --- any text, any cause ----------------------------------------------------------------------------

RAISES = {
    "a cause in a cycle": "error = ValueError('no disk'); error.__cause__ = error; raise error",
    "a cause in a longer cycle": "a = ValueError('no disk'); b = KeyError(); a.__cause__ = b; b.__cause__ = a; raise a",
    "a surrogate": "raise ValueError('no disk \\ud800')",
    "fifty megabytes": "raise ValueError('no disk' + 'x' * 50_000_000)",
    "escape codes": "raise ValueError('no disk \\x1b[31m')",
    "no Exception": "import asyncio; raise asyncio.CancelledError('no disk')",
}


def with_hook(folder: str) -> tuple[str, str, float]:
    sys.path.insert(0, folder)
    left = len(dist.distributed_c10d._world.pg_map)
    answer = raised(build_timeout=30)
    assert len(dist.distributed_c10d._world.pg_map) == left
    return answer


@pytest.mark.parametrize("kind", RAISES)
def test_whatever_a_hook_raises_is_raised_on_all_ranks_bounded_and_clean(kind: str, tmp_path: Path) -> None:
    source = HOOK.format(then=RAISES[kind])
    write_distribution(tmp_path, "acme-edge", {"edge": "acme_edge"}, {"acme_edge.py": source})
    zero, one, two = run_ranks(3, with_hook, str(tmp_path))
    assert [zero[0], one[0], two[0]] == ["BuildError", "PluginError", "BuildError"]
    for _, text, seconds in (zero, one, two):
        assert seconds < 15
        assert "no disk" in text
        assert len(text) < 50_000
        assert text.replace("\n", "").isprintable()
    assert zero[1] == two[1]


# --- what decides is compared exactly ---------------------------------------------------------------

#: For each field of a spec, and of the run's options, what all ranks and what one rank says of it, and its name.
MORE_THAN_60: Final = math.nextafter(60, 61)
ACME: Final = {"backend": "acme"}  # a backend that takes any options
ONE_RANK_DIFFERS: Final[dict[str, list[tuple[dict[str, Any], dict[str, Any], str]]]] = {
    "GroupSpec.ranks": [
        ({"extra": [groups_of([0, 1, 2])]}, {"extra": [groups_of([0, 2, 1])]}, "group 0 of mode odd"),
        ({"extra": [groups_of([0, 1])]}, {"extra": [groups_of([0, 2])]}, "group 0 of mode odd"),
    ],
    "GroupSpec.backend": [({}, {"tensor": {"backend": "fake"}}, "backend of mode tensor")],
    "GroupSpec.options": [
        ({"tensor": {**ACME, "options": one}}, {"tensor": {**ACME, "options": other}}, "options of mode tensor")
        for one, other in (
            ({"limit": 60.0}, {"limit": MORE_THAN_60}),
            ({"limit": 1}, {"limit": True}),
            ({"limit": 1}, {"limit": 1.0}),
            ({"limit": 0.0}, {"limit": -0.0}),
            ({"limit": ""}, {"limit": None}),
            ({"limit": 1}, {"limits": 1}),
        )
    ]
    + [({"tensor": ACME}, {"tensor": ACME, "enable": ["limits"]}, "options of mode tensor")],
    "GroupSpec.timeout": [
        ({"tensor": {"timeout": 60}}, {"tensor": {"timeout": MORE_THAN_60}}, "timeout of mode tensor")
    ],
    "GroupSpec.owner": [({}, {"tensor": {"dedicated": True}}, "dedicated of mode tensor")],
    "InitOptions.backend": [({}, {"backend": "fake"}, "backend")],
    "InitOptions.device": [({}, {"device": "cuda"}, "device")],
    "InitOptions.timeout": [
        ({"timeout": 1_000_000}, {"timeout": 1_000_001}, "timeout"),
        ({"timeout": 60}, {"timeout": MORE_THAN_60}, "timeout"),
        ({}, {"timeout": 1800}, "timeout"),
    ],
    "InitOptions.watch": [({}, {"watch": 0}, "watch"), ({"watch": 60}, {"watch": MORE_THAN_60}, "watch")],
    "InitOptions.cpu": [({}, {"cpu": True}, "cpu"), ({}, {"tensor": {"cpu": True}}, "cpu of mode tensor")],
}
#: Fields that decide how long ranks wait, or what they keep, and nothing of what is made.
WAITS: Final = {"InitOptions.agree_timeout", "InitOptions.build_timeout", "InitOptions.watch_dir"}
LIMITS: Final = """
from pgregistry import hookimpl

@hookimpl
def pgregistry_process_group_options(mode, backend):
    return {"limit": 1} if mode == "tensor" else None
"""


def test_every_field_that_decides_is_in_the_table() -> None:
    decide = {
        f"{one.__name__}.{field.name}" for one in (GroupSpec, InitOptions) for field in fields(one) if field.compare
    }
    assert set(ONE_RANK_DIFFERS) == decide - WAITS
    derived = {"world"}  # from the backend, and what the machine has
    assert {field.name for field in fields(Defaults)} - derived <= {field.name for field in fields(InitOptions)}


def each_kind(folder: str) -> list[tuple[str, str, float]]:
    from pgregistry.runtime import process

    sys.path.insert(0, folder)
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers "fake" in older versions

    dist.Backend.register_backend("acme", lambda *_: 1 / 0, devices=["cpu"])
    process.accelerator = lambda: "cuda"  # type: ignore[attr-defined]  # a device that is not here is refused alone
    torch.accelerator.device_count = lambda: 1  # type: ignore[method-assign]
    kinds = [kind for kinds in ONE_RANK_DIFFERS.values() for kind in kinds]
    return [raised(**(odd if rank() == 1 else all_ranks)) for all_ranks, odd, _ in kinds]


def test_a_field_that_differs_by_the_least_on_one_rank_is_refused_by_name(tmp_path: Path) -> None:
    write_distribution(tmp_path, "acme-limits", {"limits": "acme_limits"}, {"acme_limits.py": LIMITS}, optional=True)
    answers = run_ranks(3, each_kind, str(tmp_path), world=False, timeout=100)
    named = [name for kinds in ONE_RANK_DIFFERS.values() for _, _, name in kinds]
    for name, of_kind in zip(named, zip(*answers, strict=True), strict=True):
        ((kind, text),) = {answer[:2] for answer in of_kind}
        assert kind == "PlanMismatch"
        assert f"\n  {name}:\n" in text, text


def said_otherwise() -> bool:
    """The same run in other words: capitals, a device that binds nothing, an integer for a float."""
    keywords = [{}, {"backend": "GLOO"}, {"device": "cpu:0"}, {"backend": "Gloo", "device": torch.device("cpu")}]
    with pgregistry.init(**keywords[rank()], timeout=60 if rank() else 60.0) as context:  # type: ignore[arg-type]
        return verified(context)


def test_the_same_settings_in_other_words_are_the_same() -> None:
    assert run_ranks(4, said_otherwise, world=False) == [True] * 4


# --- one outcome ------------------------------------------------------------------------------------


def with_a_list_on_one_rank(odd: int) -> tuple[str, str, float]:
    return raised(within=[0, 1, 2] if rank() == odd else None, agree_timeout=30)


@pytest.mark.parametrize(
    ("odd", "world"),
    [
        (1, True),
        (3, False),
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(3, True, marks=pytest.mark.slow),
    ],
)
def test_a_list_of_within_on_one_rank_alone_is_refused_on_all(odd: int, world: bool) -> None:
    answers = run_ranks(4, with_a_list_on_one_rank, odd, world=world)
    assert {answer[0] for answer in answers} == {"PlanMismatch"}
    assert len({answer[1] for answer in answers}) == 1
    assert f"rank {odd}: ranks 0-2" in answers[0][1]
    assert max(answer[2] for answer in answers) < 20


def outside(kind: str) -> tuple[str, str, float]:
    sizes: dict[str, Any] = {"tensor": 3}
    if kind == "differ" and rank() == 1:
        sizes["tensor"] = 1
    elif kind == "the one outside fails" and rank() == 3:
        sizes["tensor"] = 2
    return raised(within=[0, 1, 2], **sizes)


@pytest.mark.parametrize("world", [True, False])
def test_a_rank_outside_of_within_ends_as_the_listed_ranks_do(world: bool) -> None:
    assert {answer[0] for answer in run_ranks(4, outside, "agree", world=world)} == {""}
    answers = run_ranks(4, outside, "differ", world=world)
    assert len({answer[:2] for answer in answers}) == 1
    assert "rank 1: 1 (keyword)" in answers[3][1]


def slow_hook(folder: str) -> tuple[str, str, float]:
    sys.path.insert(0, folder)
    return raised(agree_timeout=20, build_timeout=2)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 2.5, 3, 3.5, 4.5])
@pytest.mark.parametrize("world", [True, False])
def test_a_rank_that_is_slow_at_the_last_barrier_makes_no_split(seconds: float, world: bool, tmp_path: Path) -> None:
    source = HOOK.format(then=f"import time; time.sleep({seconds})")
    write_distribution(tmp_path, "acme-edge", {"edge": "acme_edge"}, {"acme_edge.py": source})
    answers = run_ranks(4, slow_hook, str(tmp_path), world=world)
    assert len({answer[:2] for answer in answers}) == 1, answers


def with_panic_on_rank_1(folder: str) -> tuple[str, str, float]:
    if rank() == 1:
        sys.path.insert(0, folder)
    return raised(agree_timeout=40)


def test_a_plugin_that_raises_what_is_no_exception_is_quoted_by_the_others_at_once(tmp_path: Path) -> None:
    panic = "class PanicException(BaseException):\n    pass\n\nraise PanicException('no driver')\n"
    write_distribution(tmp_path, "acme-edge", {"edge": "acme_edge"}, {"acme_edge.py": panic})
    zero, one, two = run_ranks(3, with_panic_on_rank_1, str(tmp_path))
    assert one[0] == "PluginError"
    assert "does not load: PanicException: no driver" in one[1]
    assert one[1].endswith(f"Found in {tmp_path}.")
    assert zero[:2] == two[:2]
    assert zero[0] == "PlanMismatch"
    assert "rank 1: failed with PluginError: plugin 'edge', acme-edge 0.1" in zero[1]
    assert max(zero[2], one[2], two[2]) < 15


def interrupted_while_planning() -> tuple[str, str, float]:
    def groups(_: Any) -> Any:
        if rank() == 1:
            raise KeyboardInterrupt
        return []

    return raised(extra=[Mode("odd", groups=groups)], agree_timeout=40)


def test_an_interrupt_while_a_rank_plans_is_quoted_by_the_others() -> None:
    zero, one, two = run_ranks(3, interrupted_while_planning)
    assert one[0] == "KeyboardInterrupt"
    assert zero[:2] == two[:2]
    assert "rank 1: failed with KeyboardInterrupt" in zero[1]
    assert max(zero[2], two[2]) < 20


def endless(kind: str) -> tuple[str, str, float]:
    def ranks() -> Any:
        yield 0
        while rank() == 1:
            if kind == "raises":
                raise ZeroDivisionError("no list")
            yield 1
        yield from (1, 2)

    return raised(within=ranks(), agree_timeout=40)


@pytest.mark.parametrize(
    ("kind", "world"),
    [
        ("raises", True),
        ("raises", False),
        ("never ends", True),
        pytest.param("never ends", False, marks=pytest.mark.slow),
    ],
)
def test_a_list_of_within_that_raises_or_never_ends_is_quoted_by_the_others(kind: str, world: bool) -> None:
    zero, one, two = run_ranks(3, endless, kind, world=world)
    assert zero[:2] == two[:2]
    assert zero[0] == "PlanMismatch"
    assert one[0] in ("ZeroDivisionError", "ConfigError")
    assert max(zero[2], two[2]) < 20


def with_a_list_that_one_cannot_read(odd: int) -> tuple[str, str, float]:
    return raised(within="0-x" if rank() == odd else "0,1", agree_timeout=40, build_timeout=40)


@pytest.mark.parametrize(
    ("odd", "world"),
    [
        (1, True),
        (0, False),
        *(pytest.param(odd, world, marks=pytest.mark.slow) for odd, world in ((0, True), (1, False))),
        *(pytest.param(3, world, marks=pytest.mark.slow) for world in (True, False)),
    ],
)
def test_a_rank_that_cannot_read_its_list_of_within_tells_those_that_wait_for_it(odd: int, world: bool) -> None:
    """They wait elsewhere, with a list that it does not know."""
    answers = run_ranks(4, with_a_list_that_one_cannot_read, odd, world=world)
    mine = "within = '0-x' (keyword) must be different ranks from 0 to 3."
    assert answers.pop(odd)[:2] == ("ConfigError", mine)
    if (odd, world) == (3, True):  # nobody waits for it
        assert {answer[0] for answer in answers} == {""}
        return
    assert {answer[0] for answer in answers} == {"PlanMismatch"}
    assert len({answer[1] for answer in answers}) == 1
    assert f"ConfigError: {mine}" in answers[0][1]
    assert max(answer[2] for answer in answers) < 20


def twice(first: list[dict[str, Any]], then: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Call init, and once more when all ranks have raised."""
    answers = [raised(agree_timeout=20, **first[rank()])]
    dist.barrier()
    return [*answers, raised(agree_timeout=20, **then)]


@pytest.mark.parametrize(
    ("odd", "others", "then"),
    [
        ({"within": "0-x"}, {"within": "0,1"}, {"within": "0,1"}),
        ({"within": "0-2"}, {}, {}),
        pytest.param({"within": "0-x"}, {"within": "0,1"}, {}, marks=pytest.mark.slow),
        pytest.param({"within": "0-2"}, {}, {"within": "0-2"}, marks=pytest.mark.slow),
        pytest.param({"plan": "no plan"}, {"within": "0,1"}, {"within": "0,1"}, marks=pytest.mark.slow),
    ],
)
def test_ranks_that_waited_for_each_other_elsewhere_meet_in_their_next_call(odd: Any, others: Any, then: Any) -> None:
    """Each counts its calls in each list: one that missed a call there would be one behind the others for ever."""
    answers = run_ranks(4, twice, [others, odd, others, others], then)
    assert [answer[0][0] for answer in answers if answer is not answers[1]] == ["PlanMismatch"] * 3
    assert answers[1][0][0] == ("PlanMismatch" if odd == {"within": "0-2"} else "ConfigError")
    for answer in answers:
        assert answer[1][:2] == ("", "")
        assert answer[0][2] < 15
        assert answer[1][2] < 15


@pytest.mark.slow
def test_several_ranks_that_cannot_read_their_lists_each_raise_their_own_error_and_the_others_quote_one() -> None:
    for world in (True, False):
        answers = run_ranks(4, several_cannot_read, world=world)
        for odd, answer in enumerate(answers[1:3], 1):
            assert answer[0][:2] == (
                "ConfigError",
                f"within = '{odd}-x' (keyword) must be different ranks from 0 to 3.",
            )
        ((name, text),) = {answer[0][:2] for answer in (answers[0], answers[3])}
        assert name == "PlanMismatch"
        assert "-x' (keyword) must be different ranks from 0 to 3." in text
        assert [answer[1][:2] for answer in answers] == [("", "")] * 4
        assert max(seconds for answer in answers for _, _, seconds in answer) < 15


def several_cannot_read() -> list[tuple[str, str, float]]:
    odd = rank() in (1, 2)
    return [raised(within=f"{rank()}-x" if odd else "0-2", agree_timeout=30), raised(within="0-2", agree_timeout=30)]


# --- the process is not ours alone ------------------------------------------------------------------


def from_two_threads(folder: str) -> list[str]:
    """Call init in a thread while another is in it, then alone."""
    found: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def wait(_: Any) -> Any:
        entered.set()
        leave.wait(20)
        return []

    def first() -> None:
        found.append(raised(extra=[Mode("slow", groups=wait)])[0])

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(20)
    begun = time.monotonic()
    found.append(" ".join(raised(tensor=2)[:2])[:60])
    assert time.monotonic() - begun < 5
    leave.set()
    thread.join()
    found.append(raised(tensor=2)[0])
    return found


def test_a_second_init_in_another_thread_is_refused_at_once(tmp_path: Path) -> None:
    refused = "ConfigError init() is running in another thread of this process"
    assert run_ranks(2, from_two_threads, str(tmp_path)) == [[refused[:60], "", ""]] * 2


def store_of_the_user() -> Any:
    world = dist.group.WORLD
    assert world is not None
    store = world.get_group_store()
    before = store.timeout
    seen = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add(store.timeout)
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(5):
        pgregistry.init(tensor=2).close()
    stop.set()
    thread.join()
    return before, seen


def with_a_tcp_store(function: Callable[[], Any], libuv: bool) -> Any:
    address, port, size = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["WORLD_SIZE"])
    store = dist.TCPStore(address, port, size, is_master=rank() == 0, use_libuv=libuv, timeout=timedelta(seconds=77))
    dist.init_process_group("gloo", store=store, rank=rank(), world_size=size)
    return function()


def test_the_store_of_a_users_world_keeps_its_timeout_while_and_after_init_runs() -> None:
    for before, seen in run_ranks(2, with_a_tcp_store, store_of_the_user, True, world=False):
        assert seen == {before}


def rounds_in_seconds() -> float:
    begun = time.monotonic()
    for _ in range(3):
        with pgregistry.init(tensor=2, build_timeout=20) as context:
            context.verify()
    return time.monotonic() - begun


def test_a_world_over_torchs_older_store_server_costs_no_waits_of_seconds() -> None:
    """Compare-and-set does not wake those that wait there: each of these rounds took 5 to 11 seconds."""
    assert max(run_ranks(4, with_a_tcp_store, rounds_in_seconds, False, world=False)) < 10


def interrupted_at(moments: list[int]) -> list[tuple[str, str]]:
    """Call init twice for each moment: rank 1 is interrupted before or after a call of the store the first time."""
    found = []
    run = connections.run_abandonable
    for at in moments:
        with pytest.MonkeyPatch.context() as patch:
            seen = iter(range(10**6))

            def interrupt(*args: Any, at: int = at, seen: Any = seen, **named: Any) -> Any:
                now = next(seen) == at // 2
                if now and at % 2 == 0:
                    raise KeyboardInterrupt
                result = run(*args, **named)
                if now:
                    raise KeyboardInterrupt
                return result

            if rank() == 1:
                patch.setattr(connections, "run_abandonable", interrupt)
            try:
                context = pgregistry.init(agree_timeout=20, build_timeout=20)
            except BaseException as error:
                first = type(error).__name__
            else:
                first = "context"
        if first == "context":
            context.__exit__(RuntimeError, None, None)
        found.append((first, raised(agree_timeout=20)[1]))
    return found


@pytest.mark.parametrize("moments", [range(5), pytest.param(range(5, 14), marks=pytest.mark.slow)])
def test_after_an_interrupt_at_any_call_of_the_store_all_ranks_call_init_again(moments: range) -> None:
    """A rank that is one call behind the others, or ahead of them, would never meet them again."""
    answers = run_ranks(3, with_a_tcp_store, partial(interrupted_at, list(moments)), True, world=False)
    for zero, one, two in zip(*answers, strict=True):
        assert one[0] == "KeyboardInterrupt"
        assert zero[0] == two[0]
        assert zero[0] in ("PlanMismatch", "BuildError", "context")
        assert (zero[1], one[1], two[1]) == ("", "", "")


def interrupted_before_it_plans(where: str) -> list[str]:
    """Rank 1 is interrupted before `init` has a plan, or knows which rank it is."""
    found = []
    for interrupted in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if rank() == 1 and interrupted:
                calls = iter([KeyboardInterrupt()])
                module = arguments if where == "read_arguments" else initialize
                original = getattr(module, where)

                def interrupt(*args: Any, original: Any = original, calls: Any = calls) -> Any:
                    for error in calls:
                        raise error
                    return original(*args)

                patch.setattr(module, where, interrupt)
            found.append(raised(agree_timeout=30)[0])
    return found


@pytest.mark.parametrize("where", ["read_arguments", "find_process"])
def test_a_rank_that_is_interrupted_before_it_plans_tells_the_others_in_a_world_that_is_there(where: str) -> None:
    answers = run_ranks(3, interrupted_before_it_plans, where)
    assert answers == [["PlanMismatch", ""], ["KeyboardInterrupt", ""], ["PlanMismatch", ""]]


def with_a_store_that_is_gone() -> tuple[str, str, float]:
    server: Any = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    store = dist.TCPStore("127.0.0.1", server.port, is_master=False, timeout=timedelta(seconds=40))
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    del server
    return raised(agree_timeout=30)


def test_a_world_whose_store_is_gone_is_refused_at_once() -> None:
    """torch would try to connect as long as the store of the world waits."""
    ((name, text, seconds),) = run_ranks(1, with_a_store_that_is_gone, world=False)
    assert name == "PlanMismatch"
    assert text.startswith("Rank 0: another process, which hosts the store, is gone before all ranks agreed (")
    assert seconds < 10


def with_its_own_error_and_no_store() -> tuple[str, str, bool]:
    def gone(*_: Any) -> Any:
        raise pgregistry.PlanMismatch("the store is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProcessInfo, "scope", gone)
        name, text, _ = raised(within="0-x", agree_timeout=30)
    free: list[bool] = []
    thread = threading.Thread(target=lambda: free.append(initialize._RUNNING.acquire(blocking=False)))
    thread.start()
    thread.join()
    return name, text, free[0]


def test_a_rank_that_fails_and_whose_store_is_gone_raises_its_own_error_and_lets_others_call_init() -> None:
    ((name, text, free),) = run_ranks(1, with_its_own_error_and_no_store, world=False)
    assert (name, text) == ("ConfigError", "within = '0-x' (keyword) must be different ranks from 0 to 0.")
    assert free


def interrupted_in_the_wait() -> tuple[str, str, float]:
    if rank() == 2:
        return "", "", 0.0  # it never comes, and lives until the others are done
    if rank() == 1:
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    return raised(agree_timeout=30)


def test_an_interrupt_in_a_wait_for_the_store_is_published_at_once() -> None:
    """The call that waits is left behind: the interrupted rank has another connection for its last word."""
    zero, one, _ = run_ranks(3, interrupted_in_the_wait)
    assert one[0] == "KeyboardInterrupt"
    assert zero[:2] == (
        "PlanMismatch",
        "Rank 1 stopped while ranks compared their plans: KeyboardInterrupt: ",
    )
    assert zero[2] < 5.5
