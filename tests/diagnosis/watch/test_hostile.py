"""The watch where something happens to its own ranks, files and connections while a run is stuck."""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import needs
import pytest
from ranks import run_ranks
from stuck_ranks import MODES, TIMEOUT, WATCH, Lines, named, said, watched_run

import pgregistry
from pgregistry.diagnosis.watch.files import Folder
from pgregistry.diagnosis.watch.roll_call import RollCall

pytestmark = needs.RECORDS

log = logging.getLogger("pgregistry.watch")


def stands(context: Any, rank: int, seconds: float = TIMEOUT) -> Any:
    """Enter a collective of all ranks, but for one, which sleeps first."""
    import torch
    import torch.distributed as dist

    if context.rank == rank:
        time.sleep(seconds)
    return dist.all_reduce(torch.ones(4), group=context["global"].group, async_op=True)


def in_roll_call(context: Any) -> None:
    """Wait until the watch of this rank takes part in a roll call, and has answered."""
    (watch,) = context.process_groups.watches
    while watch._busy is None:
        time.sleep(0.01)
    time.sleep(0.3)


def waits_for_a_stopped_rank(context: Any) -> bool:
    """Stop rank 3 and have the others wait for it; return True on rank 1, when the roll is called."""
    if context.rank == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
    stands(context, 3)
    if context.rank == 1:
        in_roll_call(context)
    return bool(context.rank == 1)


def closed_meanwhile(context: Any, folder: str) -> None:
    """Rank 3 is stopped, and the watch of rank 1 ends while the others wait for an answer.

    The context itself ends later: gloo's process groups wait in C++ for what is under way.
    """
    if waits_for_a_stopped_rank(context):
        begun = time.monotonic()
        context.process_groups.watches.pop().close()
        Path(folder, "1.seconds").write_text(str(time.monotonic() - begun), encoding="utf-8")


def forked_meanwhile(context: Any, folder: str) -> None:
    """Rank 3 is stopped, and rank 1 forks while it waits for its answer."""
    if waits_for_a_stopped_rank(context):
        begun = time.monotonic()
        child = os.fork()
        if not child:
            context.close()
            log.error("from the child")
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        Path(folder, "1.seconds").write_text(str(time.monotonic() - begun), encoding="utf-8")


def judge_killed(context: Any, folder: str) -> None:
    """Rank 0 sleeps; the rank that calls the roll is killed when it is to judge."""
    answers = RollCall.answers

    def killed_first(roll_call: RollCall, seconds: float) -> dict[int, Any]:
        try:
            Path(folder, "killed").open("x").close()
        except FileExistsError:
            return answers(roll_call, seconds)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    RollCall.answers = killed_first  # type: ignore[method-assign]
    stands(context, 0)


def store_stopped(context: Any, folder: str) -> None:
    """Rank 3 sleeps; rank 0, which hosts the store, is stopped when it is to answer."""
    if context.rank == 0:
        RollCall.answer = lambda *_: os.kill(os.getpid(), signal.SIGSTOP)  # type: ignore[method-assign]
    stands(context, 3)


def lose_connection() -> None:
    """Have the first standing wait of this process end as if something on the way had forgotten the connection."""
    from torch.distributed import DistNetworkError

    wait, lost = RollCall.wait, list[bool]()

    def lost_first(roll_call: RollCall, seconds: float) -> str | None:
        if lost:
            return wait(roll_call, seconds)
        lost.append(True)
        raise DistNetworkError("Connection reset by peer")

    RollCall.wait = lost_first  # type: ignore[method-assign]


def connection_lost(context: Any, folder: str) -> None:
    """Rank 3 sleeps; rank 2 has lost its connection to the store before."""
    stands(context, 3)


def slow_to_answer(context: Any, folder: str) -> None:
    """Rank 3 sleeps; rank 2, which waits for it, takes too long to answer the first roll call, as on a busy machine."""
    if context.rank == 2:
        answer, call = RollCall.answer, RollCall.call
        RollCall.call = lambda _: None  # type: ignore[method-assign] # a rank that calls waits for its own answer

        def late(roll_call: RollCall, data: Any) -> None:
            RollCall.answer, RollCall.call = answer, call  # type: ignore[method-assign]
            time.sleep(4)
            answer(roll_call, data)

        RollCall.answer = late  # type: ignore[method-assign]
    stands(context, 3)


def left_early(context: Any, folder: str) -> None:
    """Rank 3 leaves as if its data had ended before that of the others."""
    if context.rank == 3:
        context.close(abort=True)
        time.sleep(TIMEOUT)
    stands(context, 3)


def two_incidents(context: Any, folder: str) -> None:
    """Rank 1 comes late to tensor group 0; a while after that has begun, rank 3 does not come to group 1."""
    import torch
    import torch.distributed as dist

    group = context["tensor"].group
    if context.rank >= 2:
        time.sleep(2 * WATCH)
    if context.rank == 1:
        time.sleep(7 * WATCH)
    if context.rank == 3:
        time.sleep(TIMEOUT)
    dist.all_reduce(torch.ones(4), group=group)


def run_case(case: Callable[..., None], folder: str) -> None:
    """Be one rank of a case."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    log.addHandler(Lines(Path(folder, os.environ["RANK"])))
    if case is connection_lost and os.environ["RANK"] == "2":
        lose_connection()
    with pgregistry.init(tensor=2, timeout=TIMEOUT, only=MODES, watch=WATCH) as context:
        dist.all_reduce(torch.ones(1), group=context["global"].group)
        case(context, folder)
        time.sleep(TIMEOUT)


def outcome_of(case: Callable[..., None], ranks: dict[int, int], folder: str) -> dict[int, list[str]]:
    """Return what ranks have said in a case, as soon as each has said so much."""
    until = time.monotonic() + 40

    def enough() -> bool:
        if case in (closed_meanwhile, forked_meanwhile) and not Path(folder, "1.seconds").exists():
            return time.monotonic() > until
        return time.monotonic() > until or all(len(said(folder, rank)) >= count for rank, count in ranks.items())

    watched_run(4, run_case, case, folder=folder, enough=enough)
    errors = {path.stem: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.error")}
    assert not errors or case is judge_killed, errors
    return {rank: [text for _, _, text in said(folder, rank)] for rank in range(4)}


def outcome(case: Callable[..., None], ranks: dict[int, int], folder: Path) -> dict[int, list[str]]:
    (found,) = run_ranks(1, outcome_of, case, ranks, str(folder / "ranks"), world=False, timeout=90)
    assert all(len(found[rank]) >= count for rank, count in ranks.items()), found
    return dict(found)


@pytest.mark.slow
def test_a_watch_that_is_closed_in_a_roll_call_ends_at_once_and_the_others_judge(tmp_path: Path) -> None:
    texts = outcome(closed_meanwhile, {0: 1, 2: 1}, tmp_path)
    assert float((tmp_path / "ranks" / "1.seconds").read_text(encoding="utf-8")) < 3
    for rank in (0, 2):
        assert named(texts[rank][0]) == {3: "absent"}, texts


@pytest.mark.slow
def test_a_child_that_is_forked_in_a_roll_call_has_no_watch(tmp_path: Path) -> None:
    texts = outcome(forked_meanwhile, {0: 1, 1: 2, 2: 1}, tmp_path)
    assert float((tmp_path / "ranks" / "1.seconds").read_text(encoding="utf-8")) < 3
    assert sorted(text[:14] for text in texts[1]) == ["Ranks have wai", "from the child"]
    for rank in (0, 2):
        assert named(texts[rank][0]) == {3: "absent"}, texts


@pytest.mark.slow
def test_where_the_rank_that_judges_is_killed_another_one_judges(tmp_path: Path) -> None:
    texts = outcome(judge_killed, {0: 1}, tmp_path)
    spoke = {text[0] for text in texts.values() if text}
    assert [named(text) for text in spoke] == [{0: "process"}], texts
    assert sum(bool(text) for text in texts.values()) == 3, texts


@pytest.mark.slow
def test_where_the_store_stops_in_a_roll_call_each_rank_reports_alone(tmp_path: Path) -> None:
    texts = outcome(store_stopped, {1: 1, 2: 1}, tmp_path)
    for rank in (1, 2):
        assert named(texts[rank][0]) == {0: "absent"}, texts
        assert f"\nRank {rank} (host " in texts[rank][0]


@pytest.mark.slow
def test_a_rank_whose_connection_is_lost_connects_anew_and_answers(tmp_path: Path) -> None:
    texts = outcome(connection_lost, {0: 1, 1: 1, 2: 1, 3: 1}, tmp_path)
    assert [named(text[0]) for text in texts.values()] == [{3: "process"}] * 4, texts


@pytest.mark.slow
def test_a_rank_that_is_slow_to_answer_is_taken_back_when_all_are_asked_again(tmp_path: Path) -> None:
    texts = outcome(slow_to_answer, {0: 2, 1: 2, 3: 2}, tmp_path)
    for rank in (0, 1, 3):
        first, second = texts[rank][:2]
        assert named(first) == {2: "absent", 3: "process"}, texts
        assert second == "Taken back: rank 2 holds up the run no longer.", texts


@pytest.mark.slow
def test_a_rank_that_has_left_is_named(tmp_path: Path) -> None:
    texts = outcome(left_early, {0: 1, 1: 1, 2: 1}, tmp_path)
    assert [named(texts[rank][0]) for rank in range(3)] == [{3: "absent"}] * 3, texts


@pytest.mark.slow
def test_of_two_incidents_the_second_is_named_when_it_comes_and_the_first_taken_back_alone(tmp_path: Path) -> None:
    texts = outcome(two_incidents, dict.fromkeys(range(4), 3), tmp_path)
    for lines in texts.values():
        assert named(lines[0]) == {1: "process"}, texts
        assert named(lines[1]) == {1: "process", 3: "process"}, texts
        assert lines[2] == "Taken back: rank 1 holds up the run no longer.", texts


def folder_of(path: Path) -> Folder:
    return Folder(str(path), pgregistry.plan(2), log)


def test_a_folder_that_is_a_file_is_known_before_anything_is_stuck(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, reason in ((file, "File exists"), (file / "below", "Not a directory"), (Path("\0"), "null byte")):
        caplog.clear()
        folder = folder_of(path)
        folder.prepare(1)
        folder.keep(1, {})  # the same is not said again
        (text,) = (record.getMessage() for record in caplog.records)
        assert text.startswith("rank 1 cannot keep its record in watch_dir = ")
        assert reason in text


def test_a_folder_that_is_full_is_a_warning_and_keeps_what_it_had(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "new" / "folder")
    folder.prepare(0)
    folder.keep(0, {"entries": []})
    before = {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()}
    assert sorted(before) == ["plan.json", "rank_0.json"]

    def full(path: Path, text: str, encoding: str) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_text", full)
    folder.keep(0, {"entries": [1]})
    assert "No space left on device" in caplog.text
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()} == before
