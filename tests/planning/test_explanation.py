"""What `init` logs of hosts: groups across them, and one that is not full. `--trace` has tests of its own."""

from __future__ import annotations

import logging

import pytest
from ranks import run_ranks

import pgregistry
from pgregistry.planning.explanation import log_hosts

ONLY = ["data", "pipe", "tensor"]


def test_the_line_counts_groups_across_hosts_and_domains(caplog: pytest.LogCaptureFixture) -> None:
    plan = pgregistry.plan(16, tensor=2, pipe=2, only=ONLY, order=["pipe", "data", "tensor"], ranks_per_host=4)
    with caplog.at_level(logging.INFO, "pgregistry"):
        log_hosts(plan)
        log_hosts(pgregistry.plan(16, tensor=2, only=ONLY))
        log_hosts(pgregistry.plan(16, tensor=2, only=["tensor"], ranks_per_host=1, hosts_per_domain=1))
    assert [record.getMessage() for record in caplog.records] == [
        "pgregistry: groups across hosts: data 4 of 4, pipe 8 of 8, tensor 0 of 8",
        "pgregistry: groups across hosts: tensor 8 of 8; across domains: tensor 8",
    ]


def lines_of_init(ranks_per_host: int) -> list[str]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("pgregistry")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with pgregistry.init(tensor=2, only=["data", "tensor"], ranks_per_host=ranks_per_host):
        return [line for line in lines if "host" in line]


def test_one_rank_logs_it_in_init() -> None:
    first, *others = run_ranks(4, lines_of_init, 2)
    assert first == ["pgregistry: groups across hosts: data 2 of 2, tensor 0 of 2"]
    assert others == [[], [], []]


def test_one_rank_warns_of_a_host_that_is_not_full_as_the_command_does() -> None:
    first, *others = run_ranks(4, lines_of_init, 3)
    warning = "ranks_per_host = 3 does not divide 4 ranks: the last host has 1."
    assert first == [f"pgregistry: {warning}", "pgregistry: groups across hosts: data 1 of 2, tensor 1 of 2"]
    assert others == [[], [], []]
    assert f"\nwarning: {warning}\n" in str(pgregistry.plan(4, tensor=2, only=["data", "tensor"], ranks_per_host=3))
