"""The client of a store: it asks again, leaves a call behind that does not come back, and gives a lost store up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from pgregistry.coordination.store import connections
from pgregistry.coordination.store.connections import LostError, StoreClient, second_connection


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER", 0.2)
    monkeypatch.setattr(connections, "AGAIN", 0.2)


def failing(times: int, failure: Callable[[], Any]) -> tuple[Callable[[Any], str], list[Any]]:
    """Return a question that fails some times, and the stores that it was asked of."""
    asked: list[Any] = []

    def question(store: Any) -> str:
        asked.append(store)
        if len(asked) <= times:
            failure()
        return "answer"

    return question, asked


def stop() -> None:
    raise OSError("no route")


def stall() -> None:
    time.sleep(1)


@pytest.mark.parametrize("failure", [stop, stall])
def test_a_question_that_fails_once_is_asked_again(failure: Callable[[], Any]) -> None:
    question, asked = failing(1, failure)
    assert StoreClient(dist.HashStore()).ask(question, 0, again=True) == "answer"
    assert len(asked) == 2


def test_counting_is_not_asked_again() -> None:
    question, asked = failing(1, stop)
    with pytest.raises(LostError, match="OSError: no route"):
        StoreClient(dist.HashStore()).ask(question, 0, again=False)
    assert len(asked) == 1


def test_a_store_that_stalls_twice_is_lost_and_costs_no_more_time() -> None:
    client = StoreClient(dist.HashStore())
    with pytest.raises(LostError, match="no answer"):
        client.ask(failing(2, stall)[0], 0, again=True)
    begun = time.monotonic()
    with pytest.raises(LostError, match="gave no answer before"):
        client.ask(failing(0, stop)[0], 0, again=True)
    assert time.monotonic() - begun < 0.1


def test_a_call_that_does_not_come_back_is_left_behind_with_its_connection() -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    client = StoreClient(dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False))
    first = client.store
    waiting = threading.Event()

    def wait(store: Any) -> None:
        waiting.set()
        store.get("nothing")

    with pytest.raises(LostError):
        client.ask(wait, 0, again=False)
    assert waiting.is_set()
    assert client.ask(lambda store: store.add("number", 2), 0, again=False) == 2
    assert client.store is not first
    server.set("nothing", "")  # so that the call that was left behind ends


def test_a_call_that_may_wait_leaves_a_store_that_others_keep_with_its_own_timeout() -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    minute = timedelta(seconds=60)
    client = StoreClient(
        dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False, timeout=minute)
    )
    limits = [client.ask(lambda store: store.timeout, 2, again=False), client.store.timeout]
    assert limits == [timedelta(seconds=2)] * 2
    kept = client.lend()
    assert kept.timeout == minute
    assert client.ask(lambda store: store.timeout, 2, again=False) == timedelta(seconds=2)
    assert kept.timeout == minute
    client.set_timeout(2 * minute)
    client.ask(lambda store: store.timeout, 2, again=False)
    assert kept.timeout == client.second_connection().timeout == 2 * minute


def test_a_store_of_the_user_keeps_its_timeout() -> None:
    memory = dist.HashStore()
    before = memory.timeout
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for store in (memory, server):
        client = StoreClient(store, shared=True)
        assert client.ask(lambda one: one.timeout, 2, again=False) == timedelta(seconds=2)
        assert store.timeout == before
    assert client.store is not server


def test_a_store_in_a_file_is_not_copied() -> None:
    store = dist.HashStore()
    assert second_connection(store) is store


def test_a_server_that_is_gone_is_found_out_at_once_and_one_that_is_silent_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    port = server.port
    client = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=3))
    del server
    begun = time.monotonic()
    with pytest.raises(LostError, match="refused"):
        second_connection(dist.PrefixStore("run", client))
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", port))
        silent.listen()
        monkeypatch.setattr(connections, "CONNECT", 0.2)
        with pytest.raises(LostError, match=r"no answer for 0\.4 s"):
            second_connection(dist.PrefixStore("run", client))
        assert time.monotonic() - begun < 10
        assert client.timeout == timedelta(seconds=3)


def test_torch_tries_for_seconds_alone_to_connect_again_to_a_server_that_ends_just_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=600))
    seen: list[timedelta] = []
    connect = connections._connect_again

    def connect_again(store: Any, server: Any) -> Any:
        seen.append(store.timeout)
        return connect(store, server)

    monkeypatch.setattr(connections, "_connect_again", connect_again)
    other = StoreClient(store).second_connection()
    assert seen == [timedelta(seconds=connections.CONNECT)]
    assert store.timeout == other.timeout == timedelta(seconds=600)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("seconds", [0.0, 0.0001])
def test_a_wait_that_rounds_to_nothing_ends_at_once(seconds: float) -> None:
    assert connections.read_together(["key"], seconds, dist.HashStore()) is None
