"""The network test over real links: a host with a third of the speed of the others, none, and one that is cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import Bed
from hosts_or_skip import hosts_or_skip
from nettests import FAST, JOBS, SLOW, named, reports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HOSTS = 9


@pytest.fixture
def bed() -> Iterator[Bed]:
    yield from hosts_or_skip(HOSTS, rate=FAST)


def test_nettest_under_torchrun_names_the_slow_host_alone(bed: Bed) -> None:
    bed.slow(4, SLOW)
    first, *others = bed.torchrun("-m", "pgregistry", "nettest", "--size", "256K", "--json", timeout=150)
    report = json.loads(first.stdout)
    assert named(report) == {"slow host": [4]}, first.stdout
    assert report["hosts"][4] == {"name": "host4", "ranks": [4]}
    assert 2 < report["findings"][0]["factor"] < 4
    assert {other.code for other in (first, *others)} == {1}, first.stderr
    assert [other.stdout for other in others] == [""] * (HOSTS - 1)


def test_nettest_follows_a_slow_link_from_host_to_host_and_accuses_nobody_where_there_is_none(
    bed: Bed, tmp_path: Path
) -> None:
    odd: list[list[int]] = [[], [0], [5], [], [8]]
    found = [named(report) for report in reports(bed, tmp_path, odd)]
    assert found == [{"slow host": slow} if slow else {} for slow in odd]


def test_nettest_names_a_host_whose_link_is_dead(bed: Bed, tmp_path: Path) -> None:
    job = bed.ranks(str(JOBS / "cut_test.py"), cwd=tmp_path)
    job.until(lambda: len(list(tmp_path.glob("here[0-9]*"))) == HOSTS, 120)
    bed.down(5)
    (tmp_path / "here-go").touch()
    path = tmp_path / "report.json"
    job.until(path.exists, 90)
    report = json.loads(path.read_text(encoding="utf-8"))
    assert named(report) == {"missing ranks": [5]}, report
