"""Process groups are destroyed in one order, and failures are kept or logged."""

import logging
import sys
import threading
import weakref
from typing import Any

import needs
import pytest
import torch.distributed as dist
from ranks import alive, run_ranks

from pgregistry import BuildError
from pgregistry.building.process_groups import ProcessGroups, release_frames
from pgregistry.building.specs import GroupSpec
from pgregistry.coordination.abandonable import AbandonableThread, give_up


class Group:
    """A process group that writes down what becomes of it."""

    def __init__(self, name: str, log: list[str], error: Exception | None = None) -> None:
        self.name, self.log, self.error = name, log, error

    def abort(self) -> None:
        self.log.append(f"abort {self.name}")
        if self.error:
            raise self.error


@pytest.fixture
def destroyed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Yield a list of what is done, in order, while a default process group exists."""
    log: list[str] = []

    def destroy(group: Group) -> None:
        log.append(f"destroy {group.name}")
        if group.error:
            raise group.error

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "destroy_process_group", destroy)
    return log


def three(log: list[str], *errors: Exception | None) -> Any:
    """Three specs, of which the second is not made yet, and a default group."""
    made: list[Any] = [Group("first", log, *errors[:1]), None, Group("third", log, *errors[1:2])]
    specs = [GroupSpec((0,), "gloo", mode=str(index), owner=str(index)) for index in range(3)]
    world: Any = Group("world", log)
    return ProcessGroups(created=dict(zip(specs, made, strict=True)), default_group=world)


def test_groups_are_destroyed_in_the_opposite_order_and_the_default_group_last(destroyed: list[str]) -> None:
    groups = three(destroyed)
    groups.farewells.append(lambda: destroyed.append("farewell"))
    groups.close(abort=False)
    assert destroyed == ["destroy third", "destroy first", "destroy world", "farewell"]
    groups.close(abort=False)
    assert len(destroyed) == 4


def test_an_abort_waits_for_nobody(destroyed: list[str]) -> None:
    groups = three(destroyed)
    groups.farewells.append(lambda: destroyed.append("farewell"))
    groups.close(abort=True)
    assert destroyed == [f"{what} {group}" for group in ("third", "first", "world") for what in ("abort", "destroy")]


def test_a_group_that_cannot_be_destroyed_is_told_after_all_were_tried(destroyed: list[str]) -> None:
    groups = three(destroyed, RuntimeError("no link"), RuntimeError("no card"))
    with pytest.raises(BuildError) as raised:
        groups.close(abort=False)
    assert str(raised.value) == "2 process groups could not be destroyed. The first error: no card"
    assert destroyed[-1] == "destroy world"


def test_what_an_abort_swallows_is_logged(destroyed: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pgregistry")
    three(destroyed, RuntimeError("no link"), ValueError("Invalid process group")).close(abort=True)
    assert destroyed[-1] == "destroy world"
    assert [record.getMessage() for record in caplog.records] == [
        "A process group was destroyed before: Invalid process group",
        "A process group could not be destroyed: RuntimeError: no link",
    ]


def end_world_before_groups(late: bool) -> tuple[list[str], int]:
    """Return what is logged when the world is gone before its groups are closed, and how many torch has then."""
    world: Any = dist.group.WORLD
    spec = GroupSpec((0,), "gloo", mode="data", owner="data")

    def make() -> Any:
        from pgregistry.torch_private.group_creation import create_group

        return create_group((0,), 0, name="late", backend="gloo", store=dist.HashStore())

    groups, end = ProcessGroups(default_group=world), dist.destroy_process_group
    if late:  # torch is still making it while the world ends
        register = dist.distributed_c10d._register_pg_in_world  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                dist.distributed_c10d,
                "_register_pg_in_world",
                lambda *args, **keywords: (end(), register(*args, **keywords)),
            )
            groups.keep(make(), spec)
    else:
        groups.keep(make(), spec)
        end()
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("pgregistry")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    groups.close(abort=True)
    return records, alive()


@pytest.mark.parametrize("late", [False, pytest.param(True, marks=needs.REGISTERED_LAST)])
def test_a_group_that_torch_makes_after_the_end_of_its_world_is_destroyed(late: bool) -> None:
    before = "A process group was destroyed before: Invalid process group specified"
    assert run_ranks(1, end_world_before_groups, late) == [([before] * (1 if late else 2), 0)]


def test_a_group_that_comes_while_others_are_destroyed_is_destroyed_too(
    destroyed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that was given up makes it between two steps of the thread that gave it up."""
    groups = three(destroyed)
    _, second, third = groups.created
    leave = threading.Event()

    def make() -> None:
        leave.wait(10)
        groups.keep(Group("second", destroyed), second)  # type: ignore[arg-type]

    thread = AbandonableThread(make)
    thread.start()
    assert not give_up([thread])

    class Slow(Group):
        def __del__(self) -> None:  # as gloo, which closes connections
            leave.set()
            thread.wait(0.3)

    groups.created[third] = Slow("third", destroyed)  # type: ignore[assignment]
    groups.close(abort=True)
    assert thread.wait(10)
    assert sorted(line for line in destroyed if line.startswith("destroy")) == [
        *("destroy first", "destroy second", "destroy third", "destroy world"),
    ]


def test_the_hook_that_torch_replaced_is_restored(destroyed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def of_torch(*_: object) -> None:
        """Stand for the hook that torch installs."""

    def of_a_debugger(*_: object) -> None:
        """Stand for a hook that somebody installed later."""

    of_torch.__module__ = dist.distributed_c10d.__name__
    for installed, expected in ((of_torch, sys.__excepthook__), (of_a_debugger, of_a_debugger)):
        monkeypatch.setattr(sys, "excepthook", installed)
        ProcessGroups(excepthook=sys.__excepthook__).close(abort=False)
        assert sys.excepthook is expected


class Held:
    """Something that a frame holds."""


def fails(held: list[Any]) -> None:
    local = Held()
    held.append(weakref.ref(local))
    raise ValueError


def fails_again(held: list[Any]) -> None:
    local = Held()
    held.append(weakref.ref(local))
    try:
        fails(held)
    except ValueError as error:
        raise RuntimeError from error


def test_an_error_lets_go_of_what_its_frames_and_those_of_its_causes_hold() -> None:
    held: list[Any] = []
    with pytest.raises(RuntimeError) as raised:
        fails_again(held)
    assert all(one() is not None for one in held)
    release_frames(raised.value)
    assert [one() for one in held] == [None, None]
