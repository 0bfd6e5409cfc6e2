"""The network test on real gloo ranks, each of which stands for a host, and its command."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from pgregistry_nettest.analysis.measurements import OPS, Measurement
from pgregistry_nettest.analysis.report import Finding, Host, Report
from ranks import run_ranks

import pgregistry
from pgregistry import BuildError, ConfigError, cli

KIB = 1 << 10


def before_each_collective(call: Callable[[], None]) -> None:
    """Have this rank do something before each collective that a test times."""
    all_reduce, batch = dist.all_reduce, dist.batch_isend_irecv
    dist.all_reduce = lambda *args, **kwargs: (call(), all_reduce(*args, **kwargs))[1]
    dist.batch_isend_irecv = lambda ops: (call(), batch(ops))[1]


def pause_if(mine: bool, seconds: float) -> None:
    if mine:
        before_each_collective(lambda: time.sleep(seconds))


# --- a test of nine hosts ---------------------------------------------------------------------------


def nine() -> dict[str, Any]:
    """Several tests in one set of processes; the last with a host that is slow."""
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
        answer["slow"] = pgregistry_nettest.run(context).to_json()
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


# --- the report as JSON -----------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]


def test_the_report_is_the_document_that_the_docs_describe(nine_hosts: list[dict[str, Any]]) -> None:
    """docs/nettest.md lists every field as `name`: type, in a table for each object."""
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


REPORT = Report(
    hosts=(Host("a", (0, 1)), Host("b", (2, 3))),
    partitions=(((0, 1),),),
    measurements=(
        Measurement(0, "all_reduce", KIB, 256, (0, 2), 0.5, 0.1),
        Measurement(0, "all_reduce", KIB, 256, (1, 3), None, 0.0, "RuntimeError: gone"),
    ),
    findings=(Finding("slow link", (0, 1), (1, 3), None, ("it failed",)),),
    notes=("a note",),
    slow=1,
    backend="gloo",
    device="cpu",
    seconds=1.5,
)


def test_a_report_comes_back_from_json_as_it_was() -> None:
    assert Report.from_json(REPORT.to_json()) == REPORT
    assert (REPORT.healthy, REPORT.world_size, REPORT.rounds) == (False, 4, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        REPORT.to_json().replace('"ranks"', '"rank"'),
        REPORT.to_json().replace("0.5", '"x"'),
    ],
)
def test_what_is_no_report_is_refused_as_a_baseline(text: str, tmp_path: Path) -> None:
    (tmp_path / "then.json").write_text(text)
    with pytest.raises(
        ConfigError, match=r"^The baseline '.*then.json': (This is not a report|The report has schema 2)"
    ):
        Report.load(tmp_path / "then.json")


def test_a_baseline_that_is_not_there_is_an_error_with_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^The baseline 'nowhere.json' cannot be read: .*No such file"):
        Report.load("nowhere.json")


# --- ranks that are gone ----------------------------------------------------------------------------


def unlucky(rank: int, at: int, how: str, folder: Path) -> str:
    """One rank is killed, or hangs, before so manieth all_reduce; what each rank then says, in a file too."""
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


def test_a_host_that_hangs_is_named_the_rest_finish_and_it_hears_so(tmp_path: Path) -> None:
    said = run_ranks(6, unlucky, 3, 3, "hangs", tmp_path)
    assert said.pop(3) == (
        "BuildError: Rank 3 came too late to be counted in partition 0 of the network test; "
        "ranks 0-2, 4-5 went on without it."
    )
    reports = [Report.from_json(one) for one in said]
    assert [report.named("missing ranks") for report in reports] == [(3,)] * 5


# --- ranks that disagree, and what cannot be --------------------------------------------------------


def refused(odd: int, mine: dict[str, Any], others: dict[str, Any]) -> tuple[str, str]:
    import pgregistry_nettest

    with pgregistry.init(only=["global"]) as context:
        try:
            pgregistry_nettest.run(context, **(mine if dist.get_rank() == odd else others))
        except pgregistry.PgregistryError as error:
            return type(error).__name__, str(error)
    return "", ""


def test_ranks_that_disagree_are_all_told_who_says_what() -> None:
    said = run_ranks(3, refused, 2, {"iterations": 7, "timeout": 5.0}, {"iterations": 6, "timeout": 5.0})
    text = "The ranks disagree about the network test; nothing was measured."
    text += "\n  iterations:\n    ranks 0-1: 6\n    rank 2: 7"
    assert said == [("PlanMismatch", text)] * 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"iterations": 4}, "iterations = 4 must be a whole number from 5."),
        ({"ops": ("allreduce",)}, "op = 'allreduce' must be one of all_reduce, "),
        ({"slow": 2}, "slow = 2 must be at most 1 among 3 hosts: "),
        ({"ranks_per_host": 3}, "ranks_per_host = 3 must be less than the 3 ranks: "),
        ({"baseline": "nowhere.json"}, "The baseline 'nowhere.json' cannot be read"),
        ({"baseline": REPORT}, "The baseline has no all_reduce of 1M; it has all_reduce of 1K."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused_alike_on_all_ranks(arguments: dict[str, Any], text: str) -> None:
    said = run_ranks(3, refused, 0, arguments, arguments)
    assert {kind for kind, _ in said} == {"ConfigError"}
    assert all(message.startswith(text) for _, message in said), said


def test_the_first_rank_alone_reads_the_baseline() -> None:
    said = run_ranks(3, refused, 1, {"baseline": "nowhere.json"}, {})
    assert said == [("", "")] * 3


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


# --- the command ------------------------------------------------------------------------------------


def command(words: Sequence[str], odd: Sequence[str] = (), slow: int = -1) -> tuple[int | None, str, str]:
    """One rank of the command under a launcher; rank 2 may say something else, or be slow."""
    rank = int(os.environ["RANK"])
    os.environ["GROUP_RANK"] = str(rank)
    pause_if(rank == slow, 0.05)
    out, errors, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = cli.run(["nettest", *words, *(odd if rank == 2 else ())])
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
    return status, out.getvalue(), errors.getvalue()


QUICK = ("--size", "1M", "--iterations", "5")


def test_the_command_says_who_is_slow_on_the_first_rank_and_ends_with_1_on_all() -> None:
    answers = run_ranks(6, command, QUICK, (), 3, world=False)
    assert [status for status, _, _ in answers] == [1] * 6
    out = answers[0][1]
    head, _, columns, row, *_ = out.splitlines()
    assert re.fullmatch(r"6 hosts, 2 partitions, gloo on cpu; 3 rounds in \d+\.\d\d s", head)
    assert columns.split("  ")[0] == "op"
    assert re.split(r"  +", columns.strip())[1:] == [
        *("size (B)", "count", "type", "time (us)", "algbw (GB/s)", "busbw (GB/s)", "slowest busbw")
    ]
    assert row.split()[:4] == ["all_reduce", "1048576", "262144", "float"]
    assert re.search(r"^SLOW HOST  host 3 \(.+\), rank 3: \d+\.\d times the usual time$", out, re.MULTILINE)
    assert [one[1] for one in answers[1:]] == [""] * 5
    assert "partition 0: all_reduce" in answers[0][2] or "done" in answers[0][2]


def test_the_command_ends_with_3_where_ranks_disagree() -> None:
    answers = run_ranks(3, command, QUICK, ("--warmup", "1"), world=False)
    # The command line raises; main() makes 3 of it.
    assert [status for status, _, _ in answers] == [3] * 3
    assert all("warmup:\n    ranks 0-1: 2\n    rank 2: 1" in errors for _, _, errors in answers)


def test_local_ranks_give_a_report_and_a_picture(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pgregistry", "nettest", "--nproc", "2", *QUICK, "--json", "--plot", "net.png"]
    environment = {**os.environ, "RES_OPTIONS": "attempts:0"}  # without DNS, torch waits 5 s for each name
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert Report.from_json(done.stdout).healthy
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")


def test_an_earlier_document_is_a_baseline(tmp_path: Path) -> None:
    file = tmp_path / "then.json"
    (status, text, _), _ = run_ranks(2, command, (*QUICK, "--json"), world=False)
    assert status == 0
    then = json.loads(text)
    for row in then["measurements"]:
        row["seconds"] /= 1000
        row["spread"] /= 1000
    file.write_text(json.dumps(then))
    (status, text, _), (other, _, _) = run_ranks(2, command, (*QUICK, "--baseline", str(file)), world=False)
    assert (status, other) == (1, 1)
    assert re.search(r"^SLOW FABRIC  all 2 hosts: \d+\.\d times the usual time$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Say --nproc N, or start this with torchrun."),
        (("--nproc", "4", "--size", "1X"), "size = '1X' must be a number of bytes"),
        (("--nproc", "4", "--op", "gather"), "op = 'gather' must be one of all_reduce"),
        (("--nproc", "4", "--iterations", "3"), "3 is not in the range"),
        (("--nproc", "1"), "1 is not in the range"),
    ],
)
def test_a_bad_command_line_ends_with_2(words: Sequence[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["nettest", *words]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_the_command_comes_from_the_plugin_and_goes_with_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["--help"]) == 0
    assert "  nettest " in capsys.readouterr().out
    monkeypatch.setenv("PGREGISTRY_DISABLE", "nettest")
    assert cli.run(["nettest"]) == 2


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_report_with_failures_can_be_drawn(ending: str, tmp_path: Path) -> None:
    from pgregistry_nettest.views import save_plot

    save_plot(REPORT, str(tmp_path / f"net.{ending}"))
    assert (tmp_path / f"net.{ending}").stat().st_size > 1000


def test_a_picture_that_could_not_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    from pgregistry_nettest.views import check_plot

    for path, text in {"net.txt": "must end with .pdf, .png, .svg", "no/net.png": "there is no folder"}.items():
        with pytest.raises(ConfigError, match=text):
            check_plot(str(tmp_path / path))
