"""How ranks of a launch meet: whose store it is, who is which rank, and addresses that lead nowhere yet."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import needs
import pytest
import torch
import torch.distributed as dist
from environment import set_by_launchers
from ranks import run_ranks

import pgregistry
from pgregistry.coordination.meeting import rendezvous

Outcome = tuple[str, Any]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def joined(environ: dict[str, str], port: int, seconds: float = 30, address: str = "127.0.0.1") -> Outcome:
    """Return the sum of ones over the world that `init` makes of these variables, or the error."""
    for name in set_by_launchers():
        os.environ.pop(name, None)
    os.environ.update(environ, MASTER_ADDR=address, MASTER_PORT=str(port))
    try:
        with pgregistry.init(only=["data"], backend="gloo", agree_timeout=seconds):
            total = torch.ones(1)
            dist.all_reduce(total)
            return "sum", total.item()
    except pgregistry.PgregistryError as error:
        return type(error).__name__, str(error)


def wait_for(*files: Path) -> None:
    until = time.monotonic() + 60
    while not all(file.exists() for file in files) and time.monotonic() < until:
        time.sleep(0.02)


def of_a_job(steps: Sequence[tuple[str, str]], port: int, folder: Path) -> Outcome:
    """Take the part of one process: (job, rank). Job 222 comes when rank 0 of job 111 waits; its others come then."""
    index = int(os.environ["RANK"])
    job, rank = steps[index]
    if job == "222":
        until = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
            time.sleep(0.05)
    elif rank != "0":
        wait_for(*(folder / str(one) for one, (other, _) in enumerate(steps) if other == "222"))
    outcome = joined({"SLURM_JOB_ID": job, "SLURM_PROCID": rank, "SLURM_NTASKS": "3"}, port)
    (folder / str(index)).touch()
    return outcome


def test_ranks_of_another_job_are_refused_at_once_and_the_job_whose_store_it_is_goes_on(tmp_path: Path) -> None:
    steps = [(job, rank) for job in ("111", "222") for rank in "012"]
    outcomes = run_ranks(6, of_a_job, steps, free_port(), tmp_path, world=False)
    assert outcomes[:3] == [("sum", 3.0)] * 3
    for rank, (error, text) in enumerate(outcomes[3:]):
        assert error == "PlanMismatch"
        assert f"Rank {rank}: the store at 127.0.0.1:" in text
        assert "must be that of Slurm job 222, of which this rank is, but it is that of Slurm job 111 (process " in text


def claiming(ranks: Sequence[int], size: int, port: int) -> Outcome:
    return joined({"RANK": str(ranks[int(os.environ["RANK"])]), "WORLD_SIZE": str(size)}, port)


@pytest.mark.parametrize("ranks", [(0, 1, 1, 2), (0, 0)])
def test_two_processes_that_claim_one_rank_are_told_so_and_so_are_all_others(ranks: tuple[int, ...]) -> None:
    outcomes = run_ranks(len(ranks), claiming, ranks, 4, free_port(), world=False)
    assert len({text for _, text in outcomes}) == 1
    error, text = outcomes[0]
    assert error == "PlanMismatch"
    assert text.startswith(f"Two processes say that they are rank {ranks[1]} of 4: process ")


def listening(port: int) -> Outcome:
    """Let another program have the port on rank 0's host."""
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        return joined({"RANK": "0", "WORLD_SIZE": "2"}, port, 1.5)


def test_a_port_that_another_program_has_is_named_with_its_variable() -> None:
    ((error, text),) = run_ranks(1, listening, port := free_port(), world=False)
    assert error == "PlanMismatch"
    assert f"Rank 0 of 2 could not open the store at 127.0.0.1:{port}, where all ranks meet." in text
    assert "address already in use" in text
    assert "comes from MASTER_ADDR and MASTER_PORT (environment). Another process has that port: choose" in text


def unresolved(port: int) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("pgregistry").addHandler(handler)
    outcome = joined({"RANK": os.environ["RANK"], "WORLD_SIZE": "2"}, port, 3, "no-such-host.invalid")
    return outcome, lines


def test_a_name_that_does_not_resolve_is_tried_again_and_named_in_the_log_and_in_the_error() -> None:
    for (error, text), lines in run_ranks(2, unresolved, free_port(), world=False):
        assert error == "PlanMismatch"
        assert "store at no-such-host.invalid:" in text
        assert "comes from MASTER_ADDR and MASTER_PORT (environment)" in text
        assert "It must be a name that resolves on every rank, or an IP address." in text
        assert any("no-such-host.invalid" in line and "its name does not resolve yet" in line for line in lines)


def with_a_stranger(port: int, folder: Path) -> Outcome:
    """Send to the store, on the last process, what a port scan and a browser send, before all ranks are there."""
    rank = int(os.environ["RANK"])
    if rank < 2:
        if rank:
            wait_for(folder / "sent")
        return joined({"RANK": str(rank), "WORLD_SIZE": "2"}, port)
    sent, until = 0, time.monotonic() + 30
    while sent < 3 and time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as other:
                other.sendall((b"", b"GET / HTTP/1.1\r\nHost: pgregistry\r\n\r\n", os.urandom(4096))[sent])
                sent += 1
        except ConnectionRefusedError:
            time.sleep(0.05)
    (folder / "sent").touch()
    return "sent", sent


def test_a_stranger_at_the_port_changes_nothing(tmp_path: Path) -> None:
    outcomes = run_ranks(3, with_a_stranger, free_port(), tmp_path, world=False)
    assert outcomes == [("sum", 2.0), ("sum", 2.0), ("sent", 3)]


def garbled(port: int, folder: Path) -> Outcome:
    if os.environ["RANK"] == "0":
        store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
        store.set("pgregistry/open", '["' + "x" * 5000 + '", "", ""]')
        wait_for(folder / "refused")
        return "", ""
    outcome = joined({"RANK": "1", "WORLD_SIZE": "2"}, port, 10)
    (folder / "refused").touch()
    return outcome


def test_a_store_that_no_rank_opened_is_refused(tmp_path: Path) -> None:
    _, (error, text) = run_ranks(2, garbled, free_port(), tmp_path, world=False)
    assert error == "PlanMismatch"
    assert text.startswith("The store holds what no rank wrote, in key pgregistry/open.")


def ipv6(port: int) -> Outcome:
    return joined({"RANK": os.environ["RANK"], "WORLD_SIZE": "2"}, port, 30, "::1")


def test_ranks_meet_at_an_address_of_version_6() -> None:
    assert run_ranks(2, ipv6, free_port(), world=False) == [("sum", 2.0)] * 2


@pytest.mark.parametrize(("ranks", "warned"), [(21, False), (22, True)])
def test_the_host_of_the_store_warns_if_it_may_not_have_a_descriptor_for_each_connection(
    ranks: int, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 1 << 20))
    rendezvous.warn_of_descriptors(ranks)
    text = (
        "pgregistry: 22 ranks have up to 3 connections each to the store of rank 0, but this process may have "
        "only 64 descriptors. Ranks beyond that cannot connect: raise the limit (ulimit -n) where rank 0 starts."
    )
    assert [record.getMessage() for record in caplog.records] == [text] * warned


def connections_to_the_store() -> int:
    """Return how many connections of this rank lead to the store that rank 0 hosts."""
    with pgregistry.init(only=["data"], backend="gloo", watch=5):  # which connects within half a second
        store: Any = dist.group.WORLD.get_group_store()  # type: ignore[union-attr]
        while isinstance(store, dist.PrefixStore):
            store = store.underlying_store
        deadline, found = time.monotonic() + 30, 0
        while time.monotonic() < deadline and found < rendezvous.CONNECTIONS:
            lines = Path("/proc/self/net/tcp").read_text() + Path("/proc/self/net/tcp6").read_text()
            mine = {os.readlink(one.path) for one in os.scandir("/proc/self/fd") if os.path.islink(one.path)}
            ends = [line.split() for line in lines.splitlines()]
            found = sum(end[2].endswith(f":{store.port:04X}") and f"socket:[{end[9]}]" in mine for end in ends)
        return found


@needs.RECORDS
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel shows connections in /proc")
def test_a_rank_has_as_many_connections_to_the_store_as_the_warning_counts() -> None:
    assert run_ranks(2, connections_to_the_store, world=False)[1] == rendezvous.CONNECTIONS
