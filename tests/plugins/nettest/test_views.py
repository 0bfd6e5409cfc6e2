"""The plot of a network test: its title is the verdict, and its colours are what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from network_tests import REPORT
from pgregistry_nettest.analysis.report import Report
from pgregistry_nettest.views import COLOURS, FAILED, FINE, LABELS, SHARED, SLOW, UNKNOWN, check_plot, draw, save_plot
from simulated_network import MIB, Network

from pgregistry import ConfigError


def cells(figure: Any) -> list[list[int]]:
    """Return the state of each host in each partition, as drawn."""
    image = figure.axes[0].images[0]
    return [[int(state) for state in row] for row in image.get_array()]


def dots(figure: Any) -> set[str]:
    """Return the colours of the groups' dots in the drawing of bandwidth."""
    from matplotlib.colors import to_hex

    return {to_hex(colour) for points in figure.axes[1].collections for colour in points.get_facecolors()}


def colours(figure: Any) -> set[str]:
    """Return each colour of a cell, a dot, a label and an entry of a legend."""
    from matplotlib.colors import to_hex

    labels = {to_hex(label.get_color()) for label in figure.axes[0].get_yticklabels()}
    return {COLOURS[state] for row in cells(figure) for state in row} | dots(figure) | labels


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


ALARM = {COLOURS[state] for state in (SHARED, SLOW, FAILED)}


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_network_has_no_colour_of_alarm_and_says_so_in_the_title(seed: int) -> None:
    figure = draw(Network(9, noise=0.3, seed=seed).report(1))
    assert figure.get_suptitle() == "HEALTHY  no slow host and no slow link among 9 hosts"
    assert cells(figure) == [[FINE, FINE]] * 9
    assert ALARM & colours(figure) == set()
    assert legend(figure) == ["healthy"]


def test_a_suspect_that_pairs_have_cleared_has_no_colour_of_alarm() -> None:
    """A group was slow, but the verdict is healthy: the plot must not contradict its title."""
    network = Network(9, {4: 5.0}, noise=0.0)
    groups = network.groups(1)
    report = dataclasses.replace(network.report(1), measurements=tuple(groups), findings=())
    figure = draw(report)
    assert figure.get_suptitle().startswith("HEALTHY")
    assert ALARM & colours(figure) == set()
    assert "5.0 ×" in [text.get_text() for text in figure.axes[0].texts]  # the number is there all the same


def test_a_slow_host_is_the_title_and_the_only_row_of_its_colour() -> None:
    report = Network(9, {4: 3.0}, noise=0.0).report(1)
    figure = draw(report)
    assert (
        figure.get_suptitle()
        == report.sentence(report.findings[0])
        == ("SLOW HOST  host 4 (h4), rank 4: 3.0 times the usual time")
    )
    beside = {3: [SHARED, FINE], 4: [SLOW, SLOW], 5: [SHARED, FINE], 1: [FINE, SHARED], 7: [FINE, SHARED]}
    assert cells(figure) == [beside.get(host, [FINE, FINE]) for host in range(9)]
    bold = [label.get_text() for label in figure.axes[0].get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == ["host 4 (h4)"]
    assert legend(figure) == [LABELS[FINE], LABELS[SHARED], LABELS[SLOW]]
    assert COLOURS[SLOW] in dots(figure)


def test_a_host_that_only_pairs_made_sure_is_coloured_too() -> None:
    """Between 2.5 and 4 standard deviations a group is suspect, and pairs decide."""
    report = Network(9, {4: 3.0}, noise=0.0).report(1)
    usual = min(one.seconds or 0 for one in report.of_groups)
    measured = tuple(dataclasses.replace(one, spread=0.45 * usual) for one in report.measurements)
    assert cells(draw(dataclasses.replace(report, measurements=measured)))[4] == [SLOW, SLOW]


def test_a_slow_link_colours_its_two_hosts_in_the_group_where_they_meet() -> None:
    figure = draw(Network(9, links={frozenset((3, 5)): 5.0}, noise=0.0).report(1))
    assert figure.get_suptitle() == "SLOW LINK  host 3 (h3) and host 5 (h5), ranks 3, 5: 5.0 times the usual time"
    beside = {3: [SLOW, FINE], 4: [SHARED, FINE], 5: [SLOW, FINE]}
    assert cells(figure) == [beside.get(host, [FINE, FINE]) for host in range(9)]


def test_failed_groups_and_hosts_that_were_not_measured_have_states_of_their_own() -> None:
    report = Network(4, noise=0.0).report(1)
    first, *rest = report.of_groups
    failed = dataclasses.replace(first, seconds=None, error="RuntimeError: timed out")
    host = report.hosts[first.ranks[0]]
    verdict = Network(4, {0: 9.0}, noise=0.0).report(1).findings
    assert host.ranks == (0,)
    lost = [one for one in rest if one.round == 0]
    figure = draw(dataclasses.replace(report, measurements=(failed, *lost), findings=verdict))
    drawn = cells(figure)
    assert [row[0] for row in drawn] == [FAILED if host in first.ranks else FINE for host in range(4)]
    assert [row[1] for row in drawn] == [UNKNOWN] * 4
    assert [text.get_text() for text in figure.axes[0].texts].count("failed") == len(first.ranks)


@pytest.mark.parametrize("sizes", [(MIB,), (1 << 16, MIB, 1 << 24)])
def test_each_size_has_its_place_and_all_dots_are_inside(sizes: Sequence[int]) -> None:
    report: Report = Network(16, {3: 5.0}).report(1, sizes)
    axes: Any = draw(report).axes[1]
    assert [label.get_text() for label in axes.get_xticklabels()] == {1: ["1M"], 3: ["64K", "1M", "16M"]}[len(sizes)]
    top = axes.get_ylim()[1]
    assert all(one.busbw / 1e9 < top for one in report.of_groups)


def test_many_findings_are_cut_and_counted() -> None:
    report = Network(9, {4: 3.0}, noise=0.0).report(1)
    title = draw(dataclasses.replace(report, findings=report.findings * 7)).get_suptitle().splitlines()
    assert (len(title), title[-1]) == (6, "and 2 more")


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_report_with_failures_can_be_drawn(ending: str, tmp_path: Path) -> None:
    save_plot(REPORT, str(tmp_path / f"net.{ending}"))
    assert (tmp_path / f"net.{ending}").stat().st_size > 1000


def test_a_picture_that_could_not_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    for path, text in {"net.txt": "must end with .pdf, .png, .svg", "no/net.png": "there is no folder"}.items():
        with pytest.raises(ConfigError, match=text):
            check_plot(str(tmp_path / path))
