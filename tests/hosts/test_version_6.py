"""Hosts that have addresses of IPv6 alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bed import hosts, why_not
from ranks import run_ranks
from ranks_on_hosts import Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def total(where: Site, address: str, interface: str) -> tuple[float, str]:
    """Return a sum over all ranks, and the interface of gloo."""
    import torch
    import torch.distributed as dist

    import pgregistry

    where.enter({"MASTER_ADDR": address, "GLOO_SOCKET_IFNAME": interface})
    with pgregistry.init(agree_timeout=30, build_timeout=30):
        dist.all_reduce(one := torch.ones(1))
        return one.item(), os.environ["GLOO_SOCKET_IFNAME"]


def test_ranks_of_hosts_with_addresses_of_version_6_alone_meet_and_connect(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    with hosts(2) as bed:
        names = "".join(f"fd00::{host + 1} host{host}\n" for host in range(2))
        (bed.folder / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{names}", encoding="utf-8")
        for host, machine in enumerate(bed.machines):
            machine.run("ip", "-4", "address", "flush", "dev", "eth0")
            machine.run("ip", "address", "add", f"fd00::{host + 1}/64", "dev", "eth0", "nodad")
        where = site(bed, 2, tmp_path)
        for address, interface in (("fd00::1", "eth0"), ("fd00::1", ""), ("host0", "")):
            assert run_ranks(4, total, where, address, interface, world=False) == [(4.0, "eth0")] * 4
