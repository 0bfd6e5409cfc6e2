"""Which host is in which domain: files of names, and what `scontrol show topology` prints."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pgregistry import ConfigError
from pgregistry.settings.launchers.slurm import host_names
from pgregistry.settings.topology import open_topology, read_topology

TREE = """\
SwitchName=s1 Level=0 LinkSpeed=1 Nodes=n[1-2]
SwitchName=s2 Level=0 LinkSpeed=1 Nodes=n[3-4]
SwitchName=top Level=1 LinkSpeed=1 Nodes=n[1-4] Switches=s[1-2]
"""
BLOCKS = """\
BlockName=b1 BlockIndex=0 Nodes=rack1n[08-09] BlockSize=2
BlockName=b2 BlockIndex=1 Nodes=rack2n[08-09] BlockSize=2
AggregatedBlock=b[1-2] BlockIndex=2 Nodes=rack[1-2]n[08-09] BlockSize=4
"""


def test_a_file_has_a_host_and_its_domain_on_each_line(tmp_path: Path) -> None:
    file = tmp_path / "domains.txt"
    file.write_text("# of the lab\nn1 red\n\n  n2\tblue\nn10 red\nn3 blue\n")
    read = open_topology(str(file))
    assert (read.hosts, read.domains) == (("n1", "n2", "n10", "n3"), ("red", "blue", "red", "blue"))
    assert (read.hosts_per_domain, read.domain_by_domain) == (2, [0, 2, 1, 3])


def test_switches_above_those_of_hosts_and_blocks_of_blocks_are_left_out() -> None:
    assert read_topology(TREE, "scontrol", {}).domains == ("s1", "s1", "s2", "s2")
    read = read_topology(BLOCKS, "scontrol", {})
    assert read.hosts == ("rack1n08", "rack1n09", "rack2n08", "rack2n09")
    assert read.domains == ("b1", "b1", "b2", "b2")


def test_of_a_job_its_own_hosts_count_in_their_order() -> None:
    read = read_topology(TREE, "scontrol", {"SLURM_JOB_NODELIST": "n[2-3]"})
    assert (read.hosts, read.domains) == (("n2", "n3"), ("s1", "s2"))
    step = {"SLURM_JOB_NODELIST": "n[1-4]", "SLURM_STEP_NODELIST": "n[4,1]"}
    assert read_topology(TREE, "scontrol", step).hosts == ("n4", "n1")


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(TREE))
    assert open_topology("-", {}).hosts_per_domain == 2


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "f must have a line `host domain` for each host, but it is empty."),
        ("n1", "f: 'n1' must be a host and its domain, as in: n1 rack1"),
        ("n1 a\nn2 b c", "f: 'n2 b c' must be a host and its domain, as in: n1 rack1"),
        ("n1 a\nn1 b", "f: host 'n1' must be named once, but it is in a and in b."),
        ("n1 a\nn1 a", "f: host 'n1' must be named once, but it is twice in a."),
        ("SwitchName=s1 Nodes=n[1-2", "must be a line of `scontrol show topology`"),
        ("SwitchName=s1 Nodes=", "must be a line of `scontrol show topology`"),
        ("Nodes=n[1-2]", "must be a line of `scontrol show topology`"),
        (
            "SwitchName=s1 Nodes=n[1-2]\nSwitchName=s2 Nodes=n2",
            "host 'n2' must be named once, but it is in s1 and in s2",
        ),
    ],
)
def test_what_is_no_topology_is_refused(text: str, refusal: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_topology(text, "f", {})
    assert refusal in str(caught.value)


def test_domains_of_different_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="f: domains must have equally many hosts, but a has 2, b has 1"):
        print(read_topology("n1 a\nn2 a\nn3 b", "f").hosts_per_domain)


def test_a_topology_of_other_hosts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must have every host of the job, but n5, n6 \(SLURM_JOB_NODELIST\)"):
        read_topology(TREE, "scontrol", {"SLURM_JOB_NODELIST": "n[4-6]"})
    with pytest.raises(ConfigError, match=r"SLURM_JOB_NODELIST = 'n\[4-' \(environment\) must be a list of hosts"):
        read_topology(TREE, "scontrol", {"SLURM_JOB_NODELIST": "n[4-"})


@pytest.mark.parametrize("name", ["gone", ".", "nul\0"])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--domains .* cannot be read"):
        open_topology(f"{tmp_path}/{name}")


@pytest.mark.parametrize("text", ["", "n[1-", "n[2-1]", "n[a-b]", "n[1]]", "n[1-99999999]", "n[1-999][1-99999]", "[]"])
def test_what_is_no_list_of_hosts_is_not_read(text: str) -> None:
    assert host_names(text) is None
