"""The line that `init` logs of groups across hosts; the lines of `--trace` are in tests/settings/test_tracing.py."""

from __future__ import annotations

import logging

import pytest
from ranks import run_ranks

import pgregistry
from pgregistry.planning.explanation import log_reach

ONLY = ["data", "pipe", "tensor"]


def test_the_line_counts_groups_across_hosts_and_domains(caplog: pytest.LogCaptureFixture) -> None:
    plan = pgregistry.plan(16, tensor=2, pipe=2, only=ONLY, order=["pipe", "data", "tensor"], ranks_per_host=4)
    with caplog.at_level(logging.INFO, "pgregistry"):
        log_reach(plan)
        log_reach(pgregistry.plan(16, tensor=2, only=ONLY))
        log_reach(pgregistry.plan(16, tensor=2, only=["tensor"], ranks_per_host=1, hosts_per_domain=1))
    assert [record.getMessage() for record in caplog.records] == [
        "pgregistry: groups across hosts: data 4 of 4, pipe 8 of 8, tensor 0 of 8",
        "pgregistry: groups across hosts: tensor 8 of 8; across domains: tensor 8",
    ]


def lines_of_init() -> list[str]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("pgregistry")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with pgregistry.init(tensor=2, only=["data", "tensor"], ranks_per_host=2):
        return [line for line in lines if "across" in line]


def test_one_rank_logs_it_in_init() -> None:
    first, *others = run_ranks(4, lines_of_init)
    assert first == ["pgregistry: groups across hosts: data 2 of 2, tensor 0 of 2"]
    assert others == [[], [], []]
