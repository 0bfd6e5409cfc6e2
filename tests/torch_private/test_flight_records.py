"""torch's flight recorder of gloo: counters, records, members, the call that a thread stands in; another torch."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import needs
import pytest
from ranks import run_ranks

from pgregistry.torch_private import flight_records


def recorded() -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    pair = dist.new_group([1, 0], group_desc="pair", sort_ranks=False)
    before = flight_records.counters()
    dist.all_reduce(torch.ones(2), group=pair)
    until = time.monotonic() + 10
    while True:  # the end is recorded a moment later
        counters = [one for name, one in flight_records.counters().items() if before.get(name) != one]
        if counters == [(1, 1)] or time.monotonic() > until:
            break
        time.sleep(0.01)
    me, seen = threading.main_thread().ident, {}

    assert dist.group.WORLD is not None
    store = dist.group.WORLD.get_group_store()

    def look() -> None:
        while not seen.get("standing"):
            seen["standing"] = flight_records.point_to_point(sys._current_frames()[me or 0])
        store.set("seen", "")

    if dist.get_rank() == 0:
        thread = threading.Thread(target=look)
        thread.start()
        dist.recv(torch.ones(3), 1, group=pair)
        thread.join()
    else:
        store.wait(["seen"])
        seen["standing"] = flight_records.point_to_point(sys._current_frames()[me or 0])
        dist.send(torch.ones(3), 0, group=pair)
    (entries,) = [one["entries"] for one in flight_records.records().values() if one.get("entries")]
    return {
        "counters": counters,
        "last": (entries[-1]["process_group"][1], entries[-1]["retired"]),
        "members": (flight_records.members(pair.group_name), flight_records.members("nobody")),
        "standing": seen["standing"],
    }


@needs.ORDER
def test_counters_records_members_and_a_recv_that_stands() -> None:
    receiver, sender = run_ranks(2, recorded)
    for one in (receiver, sender):
        assert one["counters"] == [(1, 1)]
        assert one["last"] == ("pair", True)
        assert one["members"] == ((1, 0), ())
    assert receiver["standing"]["profiling_name"] == "gloo:recv 1<-0"  # positions in the group
    assert receiver["standing"]["process_group"][1] == "pair"
    assert receiver["standing"]["output_sizes"] == [[3]]
    assert sender["standing"] is None


def test_a_torch_without_a_recorder_has_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flight_records.available()
    monkeypatch.setenv(flight_records.SIZE, "0")
    assert not flight_records.available()
    monkeypatch.delenv(flight_records.SIZE)
    for name in flight_records._DUMPS:
        monkeypatch.delattr(flight_records.recorders, name, raising=False)
    assert not flight_records.available()
    assert (flight_records.counters(), flight_records.records()) == ({}, {})


def test_a_recorder_that_answers_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_records.recorders, flight_records._DUMPS[0], lambda *_: b"[", raising=False)
    assert flight_records.counters() == {}
    monkeypatch.setattr(flight_records.recorders, flight_records._DUMPS[0], lambda *_: b'{"pg_status": {"0": {}}}')
    assert flight_records.counters() == {}
