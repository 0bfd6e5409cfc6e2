"""The page of torch's debug server: the plan, and who waits for whom, of real ranks over HTTP."""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import socket
import time
import urllib.request
from html import unescape
from typing import Any

import needs
import pytest
from flight import entry, record, stuck
from ranks import run_ranks

import pgregistry
from pgregistry.diagnosis.page import DebugHandler, text_of
from pgregistry.torch_private import debug_server

PLAN = pgregistry.plan(4, tensor=2, only=["global", "tensor"])


def seen(records: dict[int, dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    return {rank: [one] for rank, one in records.items()}


def test_what_is_pending_in_both_looks_is_a_wait() -> None:
    text = text_of(PLAN, seen(stuck()), seen(stuck()), {})
    assert text.startswith("Rank 3 holds up the run (process): it waits for nobody, and 3 ranks wait for it.\n")
    assert "\nall_reduce #2 of global, group 0 (ranks 0-3)\n  ranks 0-2 wait for rank 3\n" in text
    assert text.endswith(str(PLAN))


def test_a_run_that_goes_on_is_not_accused() -> None:
    done = entry(retired=True)
    later = {rank: record(done, done, *[entry(sequence=3)] * (rank != 3)) for rank in range(4)}
    assert text_of(PLAN, seen(stuck()), seen(later), {}) == f"Nobody waits.\n\n{PLAN}"


def test_a_rank_that_does_not_answer_is_named_with_the_reason() -> None:
    records = seen(stuck())
    del records[3]
    text = text_of(PLAN, records, records, {3: "Timeout: 5 s\x1b"})
    assert text.startswith("Rank 3 holds up the run (absent): it left no record, and 3 ranks wait for it.\n")
    assert "\nRank 3 does not answer: Timeout: 5 s" in text


def test_records_that_cannot_be_read_or_are_of_another_plan_do_no_harm() -> None:
    broken = {**seen(stuck()), 1: [{"what": 7}]}
    assert "\nThe record of rank 1 is left out: it is not a flight record.\n" in text_of(PLAN, broken, broken, {})
    other = pgregistry.plan(2, only=["global"])
    text = text_of(other, seen(stuck()), seen(stuck()), {})
    assert "Rank 3 holds up the run (process)" in text
    assert (
        "\nThe plan is of another run, and left out. It is for 2 ranks, but there is a record of ranks 2-3.\n" in text
    )


@needs.PAGES
def test_the_page_goes_to_another_process() -> None:
    page = pickle.loads(pickle.dumps(pgregistry.debug_handler(PLAN)))
    assert isinstance(page, DebugHandler)
    assert [(one.path, one.label) for one in page.nav_links()] == [("/pgregistry", "pgregistry")]


def test_a_plan_and_a_server_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pgregistry.ConfigError, match="must be a Plan"):
        pgregistry.debug_handler("plan.json")  # type: ignore[arg-type]
    monkeypatch.setattr(debug_server, "_FRONTEND", "torch.distributed.debug.nothing")
    with pytest.raises(pgregistry.ConfigError, match="This torch has no debug server"):
        pgregistry.debug_handler(PLAN)


def read(port: int, path: str) -> str:
    """Return a page as soon as the server is there."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return unescape(answer.read().decode())
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def served(port: int) -> list[str]:
    """Return what rank 0 reads when rank 2 does not come, since it holds the GIL in C, and when it has come."""
    import torch
    import torch.distributed as dist
    from torch.distributed.debug import start_debug_server, stop_debug_server
    from torch.distributed.debug._debug_handlers import default_handlers

    os.environ["no_proxy"] = "*"
    pages: list[str] = []
    with pgregistry.init(only=["global", "tensor"], tensor=1) as context:
        rank = context.rank
        handlers = [*default_handlers(), pgregistry.debug_handler(context.plan)]
        start_debug_server(port, start_method="spawn", handlers=handlers)
        group = context["global"].group
        dist.all_reduce(torch.ones(1), group=group)
        store = group.get_group_store()
        if rank == 0:
            pages.append(read(port, "/"))
            store.set("up", "")
        store.wait(["up"])
        if rank == 2:
            ctypes.PyDLL(None).sleep(10)
        work = dist.all_reduce(torch.ones(1), group=group, async_op=True)
        if rank == 0:
            pages.append(read(port, "/pgregistry"))
        work.wait()
        if rank == 0:
            pages.append(read(port, "/pgregistry"))
            stop_debug_server()
            store.set("read", "")
        store.wait(["read"])
    return pages


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_debug_server_of_torch_shows_who_waits_for_whom() -> None:
    for module in ("jinja2", "tabulate", "requests"):
        pytest.importorskip(module, reason=f"torch's debug server needs {module}")
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        port = probe.getsockname()[1]
    pages, *_ = run_ranks(3, served, port, world=False, timeout=120)
    home, stuck_page, fine = pages
    assert "Rank 2 holds up the run (process): it waits for nobody, and 2 ranks wait for it." in stuck_page
    assert re.search(r"\nall_reduce #2 of global, group 0 \(ranks 0-2\)\n  ranks 0-1 wait for rank 2\n", stuck_page)
    assert "Nobody waits.\n" in fine
    assert "fingerprint" in fine
    assert '<a href="/pgregistry">pgregistry</a>' in home
