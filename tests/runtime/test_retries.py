"""After a failure every rank calls `init` again: it builds, and nothing of the failure is left."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import alive, run_ranks, verified

import pgregistry
from pgregistry import BuildError
from pgregistry.runtime import initialize

ODD = 1


def rank() -> int:
    return int(os.environ["RANK"])


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def gloo() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("GLOO_ENABLE")}


# --- what one rank does wrong, once ------------------------------------------------------------------


def late_for_the_world(patch: pytest.MonkeyPatch) -> None:
    """torch takes longer than the others wait to start the default process group."""
    start = dist.init_process_group
    patch.setattr(dist, "init_process_group", lambda *args, **keywords: (time.sleep(3), start(*args, **keywords)))


def late_for_the_build(patch: pytest.MonkeyPatch) -> None:
    build = initialize.build
    patch.setattr(initialize, "build", lambda *args, **keywords: (time.sleep(3), build(*args, **keywords)))


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def interrupted_before_the_build(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(initialize, "build", interrupted)


def interrupted_while_it_waits(patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while its threads, and those of others, are in torch."""
    from pgregistry.building import builder
    from pgregistry.building.watchdog import Watchdog
    from pgregistry.torch_private import group_creation

    create, new = group_creation.create_group, dist.new_group
    patch.setattr(group_creation, "create_group", lambda *args, **named: (time.sleep(0.2), create(*args, **named))[1])
    patch.setattr(dist, "new_group", lambda *args, **named: (time.sleep(0.2), new(*args, **named))[1])
    patch.setattr(builder, "LOOK", 0.1)
    patch.setattr(Watchdog, "next", lambda *_: 0.1)
    patch.setattr(Watchdog, "look_around", interrupted)


def failed_in_torch(patch: pytest.MonkeyPatch) -> None:
    from pgregistry.torch_private import group_creation

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no card")

    patch.setattr(group_creation, "create_group", fail)
    patch.setattr(dist, "new_group", fail)


def failed_when_others_connect(patch: pytest.MonkeyPatch) -> None:
    """Its addresses are known, so that threads of the others wait for its connections."""
    from pgregistry.coordination.store.scoped_store import ScopedStore

    read = ScopedStore.read

    def fail(self: ScopedStore, keys: Any, seconds: float) -> Any:
        if keys[0].startswith("addresses/"):
            time.sleep(0.5)
            raise ZeroDivisionError
        return read(self, keys, seconds)

    def publish_and_fail(ranks: list[int], *_: Any, **__: Any) -> None:
        """Write the address of a socket that listens, in the form of the address of the default process group."""
        world: Any = dist.group.WORLD
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1].to_bytes(2, "big")
            address = world.get_group_store().get(f"cpu//0/{rank()}")
            before, local, after = address.partition(socket.inet_aton("127.0.0.1"))
            key = f"{dist.get_pg_count()}//cpu//0/{ranks.index(rank())}"
            world.get_group_store().set(key, before[:-2] + port + local + after)
            time.sleep(0.5)
        raise ZeroDivisionError

    if os.environ.get("PGREGISTRY_BUILD") == "public":
        patch.setattr(dist, "new_group", publish_and_fail)
    else:
        patch.setattr(ScopedStore, "read", fail)


KINDS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "late for the world": late_for_the_world,
    "late for the build": late_for_the_build,
    "interrupted before the build": interrupted_before_the_build,
    "interrupted while it waits": interrupted_while_it_waits,
    "failed in torch": failed_in_torch,
    "failed when others connect": failed_when_others_connect,
}


def fail_then_build(kind: str, odd: int, pause: float) -> tuple[str, list[str], list[int]]:
    """Return what the first `init` raised, what three more did, and how many threads and descriptors are left."""
    pgregistry.init(tensor=2, backend="gloo").close()
    world = dist.is_initialized()
    time.sleep(0.3)
    before = (gloo(), sys.excepthook, world)
    threads, files = threading.active_count(), descriptors()
    gc.disable()  # what is left may not wait for a collection, which may not come for hours
    with pytest.MonkeyPatch.context() as patch:
        if rank() == odd:
            KINDS[kind](patch)
        with pytest.raises((BuildError, KeyboardInterrupt, ZeroDivisionError)) as raised:
            pgregistry.init(tensor=2, backend="gloo", agree_timeout=20, build_timeout=1.5)
        assert gloo() == before[0]
    first = type(raised.value).__name__
    del raised
    time.sleep(pause)
    again = []
    for _ in range(3):
        with pgregistry.init(tensor=2, backend="gloo", agree_timeout=30, build_timeout=20) as context:
            verified(context)
            again.append("context")
    del context
    until = time.monotonic() + 20  # what was given up ends in the background
    while any(left := [max(threading.active_count() - threads, 0), max(descriptors() - files, 0)]):
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    assert (gloo(), sys.excepthook, dist.is_initialized()) == before
    if world:  # names of torch's own process groups agree again
        ones = torch.ones(1)
        dist.all_reduce(ones, group=dist.new_group(timeout=timedelta(seconds=20)))
        again.append(str(ones.item()))
    return first, again, left


def check(kind: str, odd: int, *, world: bool, env: dict[str, str], pause: float = 0) -> None:
    answers = run_ranks(4, fail_then_build, kind, odd, pause, world=world, env=env, timeout=90)
    for place, (first, again, left) in enumerate(answers):
        raised = {"interrupted": "KeyboardInterrupt", **({} if env else {"failed when": "ZeroDivisionError"})}
        own = next((error for words, error in raised.items() if kind.startswith(words)), "BuildError")
        assert first == (own if place == odd else "BuildError")
        assert again == ["context"] * 3 + ["4.0"] * world
        assert left == [0, 0], (place, left)


PUBLIC = {"PGREGISTRY_BUILD": "public"}


@pytest.mark.parametrize(
    ("kind", "odd", "world", "env"),
    [
        pytest.param("late for the world", 1, False, {}, marks=pytest.mark.slow),
        ("interrupted before the build", 0, False, {}),
        pytest.param("late for the build", 1, True, PUBLIC, marks=pytest.mark.slow),
        ("interrupted while it waits", 2, True, {}),
        pytest.param("failed when others connect", 1, True, {}, marks=pytest.mark.slow),
        pytest.param("failed when others connect", 1, True, PUBLIC, marks=pytest.mark.slow),
    ],
)
def test_all_ranks_call_init_again_after_one_failed(kind: str, odd: int, world: bool, env: dict[str, str]) -> None:
    check(kind, odd, world=world, env=env)


@pytest.mark.soak
@pytest.mark.parametrize("pause", [0, 5])
@pytest.mark.parametrize("odd", [0, 3])
@pytest.mark.parametrize("env", [{}, PUBLIC], ids=["name", "public"])
@pytest.mark.parametrize("world", [True, False], ids=["given", "own"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_ranks_call_init_again_after_any_failure(
    kind: str, world: bool, env: dict[str, str], odd: int, pause: float
) -> None:
    if not (world and kind == "late for the world"):
        check(kind, odd, world=world, env=env, pause=pause)


# --- what torch still does ---------------------------------------------------------------------------


def stuck_in_torch() -> tuple[str, str, float]:
    """Rank 1's first start of the world does not end before its next `init` has waited for it."""
    leave, start = threading.Event(), dist.init_process_group
    with pytest.MonkeyPatch.context() as patch:
        if rank() == ODD:
            patch.setattr(
                dist, "init_process_group", lambda *args, **keywords: (leave.wait(60), start(*args, **keywords))
            )
        with pytest.raises(BuildError):
            pgregistry.init(build_timeout=1)
    begun = time.monotonic()
    with pytest.raises(pgregistry.PgregistryError) as raised:
        pgregistry.init(agree_timeout=4)
    waited = time.monotonic() - begun
    leave.set()
    with pgregistry.init(agree_timeout=30) as context:
        verified(context)
    return type(raised.value).__name__, str(raised.value), waited


def test_a_rank_on_which_torch_does_not_end_says_so_and_all_ranks_learn_it() -> None:
    zero, one, two = run_ranks(3, stuck_in_torch, world=False)
    assert one[0] == "BuildError"
    assert one[1] == (
        "On this rank torch still makes a process group of an earlier init() that failed. Call init() "
        "again when torch has given up, which takes as long as the timeout of that group, or restart this process."
    )
    assert 2 <= one[2] < 4
    assert zero[:2] == two[:2]
    assert zero[0] == "PlanMismatch"
    assert one[1] in zero[1]


def world_that_comes_late() -> tuple[bool, bool]:
    """All ranks give up while torch starts the world, and torch then starts it."""
    start, started = dist.init_process_group, threading.Event()

    def late(*args: Any, **keywords: Any) -> None:
        start(*args, **keywords)
        started.set()
        time.sleep(2.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "init_process_group", late)
        hook = sys.excepthook
        with pytest.raises(BuildError):
            pgregistry.init(build_timeout=1.5)
    deadline = time.monotonic() + 20
    while any(thread.name == "pgregistry" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return started.is_set(), dist.is_initialized() or sys.excepthook is not hook


def test_a_world_that_torch_starts_after_all_have_given_up_is_destroyed() -> None:
    assert run_ranks(2, world_that_comes_late, world=False) == [(True, False)] * 2


# --- the user's own ----------------------------------------------------------------------------------


def groups_of_a_users_thread(seed: int) -> list[float]:
    """A thread makes process groups of its own, at other moments on each rank, while `init` builds."""
    import random

    place, sums = dist.get_rank(), list[float]()
    moments = random.Random(1000 * seed + place)

    def make() -> None:
        for _ in range(8):
            time.sleep(moments.random() * 0.05)
            group = dist.new_group(timeout=timedelta(seconds=30))
            ones = torch.ones(1)
            dist.all_reduce(ones, group=group)
            sums.append(float(ones.item()))

    thread = threading.Thread(target=make)
    thread.start()
    for _ in range(12):
        with pgregistry.init(tensor=2) as context:
            verified(context)
    thread.join()
    return sums


@pytest.mark.parametrize("seed", [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_process_groups_that_a_users_thread_makes_while_init_builds_are_right(seed: int) -> None:
    assert run_ranks(2, groups_of_a_users_thread, seed, timeout=100) == [[2.0] * 8] * 2


# --- close -------------------------------------------------------------------------------------------


def close_interrupted(at: int) -> tuple[int, bool]:
    """Ctrl-C before and after the process group number `at` is destroyed."""
    left = alive()
    context = pgregistry.init(tensor=2)
    destroy, calls = dist.destroy_process_group, list[Any]()

    def interrupt(group: Any) -> None:
        calls.append(group)
        if len(calls) == at:
            raise KeyboardInterrupt
        destroy(group)
        if len(calls) == at + 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "destroy_process_group", interrupt)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                context.close()
    with pytest.raises(BuildError, match="The context is closed"):
        context["tensor"]
    context.close()
    context.close()
    return alive() - left, dist.is_initialized()


@pytest.mark.parametrize("world", [True, False])
def test_a_close_that_was_interrupted_is_finished_by_the_next(world: bool) -> None:
    assert run_ranks(4, close_interrupted, 2, world=world) == [(0, world)] * 4
