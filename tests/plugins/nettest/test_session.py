"""The network test on real gloo ranks, each of which stands for a host."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from network_tests import KIB, REPORT, before_each_collective, pause_if
from pgregistry_nettest.analysis.measurements import OPS
from pgregistry_nettest.analysis.report import Report
from ranks import run_ranks

import pgregistry
from pgregistry import BuildError, ConfigError

# --- a test of nine hosts ---------------------------------------------------------------------------


def nine() -> dict[str, Any]:
    """Run several tests in one set of processes, the last with a slow host."""
    import pgregistry_nettest
    from pgregistry_nettest import session

    built = []
    init = session.init

    def counted(**kwargs: Any) -> Any:
        context = init(**kwargs)
        built.append(len({handle.group for name in context.plan.modes if (handle := context.get(name))}))
        return context

    session.init = counted
    answer: dict[str, Any] = {}
    os.environ["PGREGISTRY"] = "tensor=2"  # what the training run says is nothing to a network test
    with pgregistry.init(tensor=3, only=["tensor", "data"]) as context:
        rank, before = dist.get_rank(), dist.get_pg_count()
        clean = pgregistry_nettest.run(context, sizes=(64 * KIB, KIB), iterations=5, ops=("all_reduce", "all_gather"))
        answer["clean"] = clean.to_json()
        quick = [dataclasses.replace(one, seconds=(one.seconds or 0) / 100, spread=0) for one in clean.measurements]
        then = dataclasses.replace(clean, measurements=tuple(quick))
        answer["fabric"] = pgregistry_nettest.run(context, sizes=(64 * KIB,), iterations=5, baseline=then).to_json()
        pause_if(rank == 4, 0.05)
        begun = time.monotonic()
        answer["slow"] = pgregistry_nettest.run(context, iterations=5).to_json()
        answer |= {"seconds": time.monotonic() - begun, "left": dist.get_pg_count() - before, "built": built}
        answer["environment"] = os.environ["PGREGISTRY"]
    return answer


@pytest.fixture(scope="module")
def nine_hosts() -> list[dict[str, Any]]:
    return run_ranks(9, nine, timeout=100)


def test_the_slow_host_is_named_and_no_other_on_all_ranks(nine_hosts: list[dict[str, Any]]) -> None:
    assert len({answer["slow"] for answer in nine_hosts}) == 1
    report = Report.from_json(nine_hosts[0]["slow"])
    assert [(finding.kind, finding.hosts, finding.ranks) for finding in report.findings] == [("slow host", (4,), (4,))]
    where = {sentence.split(": ")[0] for sentence in report.findings[0].evidence}
    assert where == {"partition 0", "partition 1", "pair"}
    assert report.named("slow host") == (4,)


def test_it_takes_slow_plus_two_rounds_and_slow_plus_one_groups_a_rank(nine_hosts: list[dict[str, Any]]) -> None:
    assert Report.from_json(nine_hosts[0]["slow"]).rounds == 3
    assert all(answer["built"] == [2, 2, 2] for answer in nine_hosts)


def test_it_destroys_what_it_made_and_leaves_the_environment(nine_hosts: list[dict[str, Any]]) -> None:
    assert all((answer["left"], answer["environment"]) == (0, "tensor=2") for answer in nine_hosts)


def test_a_fabric_slower_than_the_baseline_is_found(nine_hosts: list[dict[str, Any]]) -> None:
    report = Report.from_json(nine_hosts[0]["fabric"])
    assert "slow fabric" in {finding.kind for finding in report.findings}


def test_bandwidth_is_what_the_times_say(nine_hosts: list[dict[str, Any]]) -> None:
    rows = json.loads(nine_hosts[0]["clean"])["measurements"]
    assert {(row["op"], row["size"]) for row in rows} >= {
        (op, size) for op in ("all_reduce", "all_gather") for size in (KIB, 64 * KIB)
    }
    for row in rows:
        n = len(row["ranks"])
        # A ring: n - 1 steps that pass on one n-th each, twice for all_reduce; all in row["seconds"].
        moved = row["count"] * 4 * (n if row["op"] == "all_gather" else 1) / n * (n - 1)
        moved *= 2 if row["op"] == "all_reduce" else 1
        if row["op"] != "send_recv":
            assert row["busbw"] == pytest.approx(moved / row["seconds"], rel=0.05)


ROOT = Path(__file__).parents[3]


def test_the_report_is_the_document_that_the_docs_describe(nine_hosts: list[dict[str, Any]]) -> None:
    """Compare with docs/nettest.md, which lists every field as `name`: type, in a table for each object."""
    page = (ROOT / "docs" / "nettest.md").read_text(encoding="utf-8")
    kinds = {"number": (int, float), "text": str, "list": list, "true or false": bool, "null": type(None)}
    document = json.loads(nine_hosts[0]["slow"])
    objects = {
        "The report": document,
        "A host": document["hosts"][0],
        "A measurement": document["measurements"][0],
        "A finding": document["findings"][0],
    }
    for title, one in objects.items():
        section = re.split(rf"^### {title}$", page, flags=re.MULTILINE)[1].split("\n#")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section, re.MULTILINE))
        assert list(rows) == list(one), title
        for name, kind in rows.items():
            assert isinstance(one[name], tuple(_types(kind, kinds))), (title, name)


def _types(text: str, kinds: dict[str, Any]) -> list[Any]:
    found = [kind for word, kind in kinds.items() if word in text]
    return [one for kind in found for one in (kind if isinstance(kind, tuple) else (kind,))]


# --- ranks that are gone ----------------------------------------------------------------------------


def unlucky(rank: int, at: int, how: str, folder: Path) -> str:
    """Kill one rank, or let it hang, before its all_reduce number `at`; return what each rank gets, in a file too."""
    import pgregistry_nettest

    calls = []

    def misfortune() -> None:
        calls.append(1)
        if len(calls) == at and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif len(calls) == at:
            time.sleep(6)

    me = dist.get_rank()
    if me == rank:
        before_each_collective(misfortune)
    context = pgregistry.init(only=["global"])
    try:
        said = pgregistry_nettest.run(context, sizes=(KIB,), iterations=5, timeout=0.5).to_json()
    except BuildError as error:
        said = f"BuildError: {error}"
    (folder / str(me)).write_text(said)
    return said


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "at", "where"), [(4, 3, "partition 0"), (0, 60, "partition 1")])
def test_a_host_that_dies_is_named_and_the_rest_finish(rank: int, at: int, where: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"rank {rank}:\nended with -9"):
        run_ranks(6, unlucky, rank, at, "killed", tmp_path)
    said = {int(file.name): file.read_text() for file in tmp_path.iterdir()}
    assert sorted(said) == [one for one in range(6) if one != rank]
    assert len(set(said.values())) == 1
    # A busy machine may make others look slow; who is missing is beyond doubt.
    (finding,) = [one for one in Report.from_json(said[1]).findings if one.kind == "missing ranks"]
    assert (finding.hosts, finding.evidence) == ((rank,), (f"rank {rank} did not answer in {where}",))


@pytest.mark.slow
def test_a_host_that_hangs_is_named_the_rest_finish_and_it_hears_so(tmp_path: Path) -> None:
    said = run_ranks(6, unlucky, 3, 3, "hangs", tmp_path)
    assert said.pop(3) == (
        "BuildError: Rank 3 came too late to be counted in partition 0 of the network test; "
        "ranks 0-2, 4-5 went on without it."
    )
    reports = [Report.from_json(one) for one in said]
    assert [report.named("missing ranks") for report in reports] == [(3,)] * 5


# --- ranks that disagree, and what cannot be --------------------------------------------------------


def refused(odd: int, *arguments: tuple[dict[str, Any], dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what is raised for each pair of arguments: those of one rank, and those of the others."""
    import pgregistry_nettest

    answers = []
    with pgregistry.init(only=["global"]) as context:
        for mine, others in arguments:
            try:
                pgregistry_nettest.run(context, **(mine if dist.get_rank() == odd else others))
                answers.append(("", ""))
            except pgregistry.PgregistryError as error:
                answers.append((type(error).__name__, str(error)))
    return answers


def test_ranks_that_disagree_are_all_told_who_says_what() -> None:
    said = run_ranks(3, refused, 2, ({"iterations": 7, "timeout": 5.0}, {"iterations": 6, "timeout": 5.0}))
    text = "The ranks disagree about the network test; nothing was measured."
    text += "\n  iterations:\n    ranks 0-1: 6\n    rank 2: 7"
    assert said == [[("PlanMismatch", text)]] * 3


def test_what_cannot_be_is_refused_alike_on_all_ranks() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"iterations": 4}, "iterations = 4 must be a whole number from 5."),
        ({"ops": ("allreduce",)}, "op = 'allreduce' must be one of all_reduce, "),
        ({"slow": 2}, "slow = 2 must be at most 1 among 3 hosts: "),
        ({"ranks_per_host": 3}, "ranks_per_host = 3 must be less than the 3 ranks: "),
        ({"baseline": "nowhere.json"}, "The baseline 'nowhere.json' cannot be read"),
        ({"baseline": REPORT}, "The baseline has no all_reduce of 1M; it has all_reduce of 1K."),
    ]
    for said in run_ranks(3, refused, 0, *((arguments, arguments) for arguments, _ in cases)):
        for (kind, message), (arguments, text) in zip(said, cases, strict=True):
            assert kind == "ConfigError", arguments
            assert message.startswith(text), arguments


def test_the_first_rank_alone_reads_the_baseline() -> None:
    said = run_ranks(3, refused, 1, ({"baseline": "nowhere.json"}, {}))
    assert said == [[("", "")]] * 3


def lacking() -> str:
    import pgregistry_nettest

    def missing(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the backend has no broadcast")

    dist.broadcast = missing
    with pgregistry.init(only=["global"]) as context, pytest.raises(BuildError) as error:
        pgregistry_nettest.run(context, sizes=(KIB,), iterations=5, ops=("all_reduce", "broadcast"))
    return str(error.value)


def test_a_collective_that_the_backend_lacks_is_no_slow_host_but_an_error() -> None:
    text = (
        "broadcast of 1K failed in every group on gloo: RuntimeError: the backend has no broadcast. "
        "What works is all_reduce."
    )
    assert run_ranks(4, lacking) == [text] * 4


# --- some of the ranks, some of a host, all collectives ----------------------------------------------


def within() -> list[Any] | None:
    import pgregistry_nettest

    with pgregistry.init(only=["global"], within=[1, 2, 4, 5]) as context:
        if dist.get_rank() not in (1, 2, 4, 5):
            with pytest.raises(ConfigError, match=r"^Rank [03] is not in the context, which has ranks 1-2, 4-5.$"):
                pgregistry_nettest.run(context)
            return None
        report = pgregistry_nettest.run(context, sizes=(KIB,), iterations=5, ranks_per_host=2, ops=OPS)
        return [[host.ranks for host in report.hosts], sorted({one.op for one in report.measurements if one.seconds})]


def test_a_context_on_some_ranks_and_all_collectives_on_gloo() -> None:
    expected = [
        [(1, 2), (4, 5)],
        sorted(["all_gather", "all_reduce", "all_to_all", "broadcast", "reduce_scatter", "send_recv"]),
    ]
    assert run_ranks(6, within) == [None, expected, expected, None, expected, expected]
