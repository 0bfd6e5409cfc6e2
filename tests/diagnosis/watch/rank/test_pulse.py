"""The pulse of a rank: when the roll must be called, and when something has gone on."""

from __future__ import annotations

from pgregistry.diagnosis.watch.rank.pulse import AGAIN, Pulse


def test_a_queue_that_moves_is_not_pending_however_long_it_is() -> None:
    pulse = Pulse(10, {})
    for now in range(100):
        pulse.look({"device": (now + 50, now)}, now)
    assert not pulse.due(100)
    assert pulse.waited("device", 100) == 1


def test_what_stands_still_is_due_once_and_again_after_a_while() -> None:
    pulse = Pulse(10, {})
    pulse.look({"tensor": (2, 1)}, 0)
    assert [pulse.due(now) for now in (9, 10, 50)] == [False, True, True]
    pulse.called(50, 2)
    assert [pulse.due(now) for now in (50, 99, 100)] == [False, False, True]


def test_a_short_watch_does_not_call_all_the_time() -> None:
    pulse = Pulse(0.1, {})
    pulse.look({"tensor": (2, 1)}, 0)
    pulse.called(0.2, 0.05)
    assert [pulse.due(now) for now in (1, 0.2 + AGAIN)] == [False, True]


def test_only_what_counted_in_a_roll_call_goes_on() -> None:
    pulse = Pulse(10, {})
    pulse.look({"tensor": (2, 1)}, 0)
    pulse.look({"tensor": (2, 1), "data": (1, 0)}, 9)
    pulse.called(10, 2)
    pulse.look({"tensor": (2, 1), "data": (1, 1)}, 11)
    assert not pulse.went_on
    pulse.look({"tensor": (3, 2)}, 12)
    assert pulse.went_on
    pulse.called(13, 2)
    assert not pulse.went_on


def test_what_was_pending_before_the_watch_is_of_groups_that_are_gone() -> None:
    pulse = Pulse(1, {"old": (3, 2)})
    pulse.look({"old": (3, 2)}, 0)
    assert not pulse.due(100)
    pulse.look({"old": (1, 0)}, 100)  # a new group has the number of an old one
    assert pulse.due(101)


def test_what_is_not_of_this_context_is_no_reason_until_it_changes() -> None:
    pulse = Pulse(1, {})
    pulse.look({"other": (1, 0)}, 0)
    pulse.postpone(1)
    assert not pulse.due(1000)
    pulse.look({"other": (2, 1)}, 1000)
    assert pulse.due(1001)


def test_where_a_rank_did_not_answer_all_are_asked_again_soon() -> None:
    pulse = Pulse(300, {})
    pulse.look({"global": (2, 1), "tensor": (5, 4)}, now=0)
    pulse.called(now=300, counted=2)
    assert not pulse.due(599)
    pulse.ask_again(now=301)
    assert not pulse.due(310)
    assert pulse.due(311)
