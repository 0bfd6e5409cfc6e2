"""After a failure every rank calls `init` again: it builds, and nothing of the failure is left."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks, verified

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
    from pgregistry.building.watchdog import Watchdog

    patch.setattr(Watchdog, "next", lambda *_: 0.001)
    patch.setattr(Watchdog, "look_around", interrupted)


def failed_in_torch(patch: pytest.MonkeyPatch) -> None:
    from pgregistry.torch_private import group_creation

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no card")

    patch.setattr(group_creation, "create_group", fail)
    patch.setattr(dist, "new_group", fail)


KINDS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "late for the world": late_for_the_world,
    "late for the build": late_for_the_build,
    "interrupted before the build": interrupted_before_the_build,
    "interrupted while it waits": interrupted_while_it_waits,
    "failed in torch": failed_in_torch,
}


def fail_then_build(kind: str, odd: int, pause: float) -> tuple[str, list[str], list[int]]:
    """Return what the first `init` raised, what three more did, and how many threads and descriptors are left."""
    pgregistry.init(tensor=2, backend="gloo").close()
    world = dist.is_initialized()
    time.sleep(0.3)
    before = (gloo(), sys.excepthook, world)
    threads, files = threading.active_count(), descriptors()
    with pytest.MonkeyPatch.context() as patch:
        if rank() == odd:
            KINDS[kind](patch)
        with pytest.raises((BuildError, KeyboardInterrupt)) as raised:
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
    time.sleep(1)
    assert (gloo(), sys.excepthook, dist.is_initialized()) == before
    left = [max(threading.active_count() - threads, 0), max(descriptors() - files, 0)]
    if world:  # names of torch's own process groups agree again
        ones = torch.ones(1)
        dist.all_reduce(ones, group=dist.new_group(timeout=timedelta(seconds=20)))
        again.append(str(ones.item()))
    return first, again, left


def check(kind: str, odd: int, *, world: bool, env: dict[str, str], pause: float = 0) -> None:
    answers = run_ranks(4, fail_then_build, kind, odd, pause, world=world, env=env, timeout=90)
    for place, (first, again, left) in enumerate(answers):
        assert first == ("KeyboardInterrupt" if "interrupted" in kind and place == odd else "BuildError")
        assert again == ["context"] * 3 + ["4.0"] * world
        assert left == [0, 0], (place, left)


PUBLIC = {"PGREGISTRY_BUILD": "public"}


@pytest.mark.parametrize(
    ("kind", "odd", "world", "env"),
    [
        ("late for the world", 1, False, {}),
        ("interrupted before the build", 0, False, {}),
        ("late for the build", 1, True, PUBLIC),
        ("interrupted while it waits", 2, True, {}),
    ],
)
def test_all_ranks_call_init_again_after_one_failed(kind: str, odd: int, world: bool, env: dict[str, str]) -> None:
    check(kind, odd, world=world, env=env)


@pytest.mark.slow
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
