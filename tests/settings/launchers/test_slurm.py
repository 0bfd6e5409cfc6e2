"""The domain of a host in Slurm's variables."""

from __future__ import annotations

import pytest

from pgregistry.settings.launchers.slurm import domain


@pytest.mark.parametrize(
    ("address", "pattern", "host", "found"),
    [
        ("top.s1.n2", "switch.switch.node", "n2", "s1"),
        ("b1.n2", "block.node", "n2", "b1"),
        ("s1.n2.lab.org", "switch.node", "n2", "s1"),
        ("s1.n2", "switch.node", "n2.lab.org", "s1"),
        ("n2", "node", "n2", ""),  # Slurm knows no switches
        ("top.s1.n2", "switch.switch.node", "n1", ""),  # mpirun's own host, whose variables are inherited
        ("top.s1.n2", "switch.switch.node", "", "s1"),
        ("top.s1.n2", "", "n2", ""),
        ("n2", "switch.switch.node", "n2", ""),
        ("", "", "n2", ""),
        ("s1.n2", "node.switch", "n2", ""),
    ],
)
def test_the_lowest_switch_of_this_host_is_its_domain(address: str, pattern: str, host: str, found: str) -> None:
    given = {"SLURM_TOPOLOGY_ADDR": address, "SLURM_TOPOLOGY_ADDR_PATTERN": pattern}
    assert domain({name: value for name, value in given.items() if value}, host) == found
