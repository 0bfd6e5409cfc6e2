"""The judgement on a roll call: who is named, and what is not counted while others go on."""

from __future__ import annotations

from typing import Any

import flight

import pgregistry
from pgregistry.diagnosis.watch.judgement import Judgement, pass_judgement

PLAN = pgregistry.plan(4, tensor=2, only=["global", "tensor"])
PATIENCE = 60.0


def waits(seconds: float, **values: Any) -> dict[str, Any]:
    """The answer of a rank that waits in the second collective of all."""
    done = flight.entry(retired=True)
    return flight.record(done, flight.entry(sequence=2, pending_seconds=seconds, **values))


def idle(**values: Any) -> dict[str, Any]:
    return flight.record(flight.entry(retired=True), **values)


def judged(answers: dict[int, Any], before: Judgement | None = None, **keywords: Any) -> Judgement:
    return pass_judgement(answers, PLAN, PATIENCE, before or Judgement(), **keywords)


def test_the_rank_that_the_others_wait_for_is_named_with_its_stack_and_host() -> None:
    culprit = idle(stack=["load, data.py:12", "train, train.py:40"], host_name="node7, process 12")
    found = judged({0: waits(60), 1: waits(59), 2: culprit, 3: waits(60)})
    assert found.guilty == {2: "process"}
    assert "Rank 2 holds up the run (process)" in found.text
    assert "host    node7, process 12\n" in found.text
    assert "now     load, data.py:12\n          train, train.py:40\n" in found.text


def test_a_rank_that_does_not_answer_is_named_by_that() -> None:
    found = judged({0: waits(60), 1: waits(60), 3: waits(60)})
    assert found.guilty == {2: "absent"}
    assert "it does not answer, and 3 ranks wait for it" in found.text
    assert "No answer: rank 2." in found.text


def test_nobody_is_named_if_nobody_has_waited_for_long() -> None:
    assert judged({0: waits(20), 1: waits(20), 2: idle(), 3: waits(20)}) == Judgement()


def test_a_wait_that_has_just_begun_is_no_evidence() -> None:
    """Rank 3 has waited for rank 1 for long; that rank 0 waits for rank 2 may end while ranks answer."""
    tensor = {"process_group": ("t1", "pgregistry:tensor/1")}
    young = waits(0.1)
    found = judged({0: young, 1: young, 2: idle(), 3: flight.record(flight.entry(pending_seconds=60, **tensor))})
    assert found.guilty == {2: "process"}
    assert found.text.count("holds up the run") == 1


def test_the_same_is_not_said_again_and_more_is() -> None:
    first = judged({0: waits(60), 1: waits(60), 2: idle(), 3: waits(60)})
    again = judged({0: waits(120), 1: waits(120), 2: idle(), 3: waits(120)}, first)
    assert (again.text, again.guilty) == ("", first.guilty)
    more = judged({0: waits(120), 1: waits(120), 2: idle()}, first)
    assert more.guilty == {2: "process", 3: "absent"}
    assert "Rank 3 holds up the run (absent)" in more.text


def test_it_is_taken_back_in_one_line_when_the_rank_comes() -> None:
    first = judged({0: waits(60), 1: waits(60), 2: idle(), 3: waits(60)})
    after = judged(dict.fromkeys(range(4), idle()), first)
    assert after == Judgement(text="Taken back: rank 2 holds up the run no longer, which goes on.")


def test_ranks_that_left_as_another_one_died_are_not_named_beside_it() -> None:
    followed = {1: ["RuntimeError: Connection closed by peer", True]}
    found = judged({0: waits(60), 2: waits(60)}, left=followed)
    assert found.guilty == {3: "absent"}
    assert found.text.endswith("No answer: ranks 1, 3.\nRank 1 left with RuntimeError: Connection closed by peer")


def test_a_rank_that_left_with_an_error_of_its_own_is_named() -> None:
    found = judged({0: waits(60), 2: waits(60), 3: waits(60)}, left={1: ["ValueError: no data", False]})
    assert found.guilty == {1: "absent"}
    assert found.text.endswith("Rank 1 left with ValueError: no data")


def test_an_answer_that_is_none_is_left_out_with_a_line() -> None:
    found = judged({0: waits(60), 1: waits(60), 2: ["?"], 3: waits(60)})
    assert found.guilty == {2: "absent"}
    assert "The answer of rank 2 is left out: it is of type list." in found.text
