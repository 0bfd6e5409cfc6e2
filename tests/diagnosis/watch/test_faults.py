"""Real ranks of gloo, of which one or two go astray: the watch of every other rank names them, and nobody else."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import needs
import pytest
from ranks import run_ranks
from stuck_ranks import FAULTS, MODES, WATCH, named, run_faults, run_healthy

import pgregistry

pytestmark = needs.RECORDS

#: Seconds after `watch` in which all must have said it.
MARGIN = 5.0


def outcomes(cases: list[tuple[str, int, int]], folder: Path) -> list[dict[str, Any]]:
    (found,) = run_ranks(1, run_faults, cases, str(folder), world=False, timeout=60 * len(cases))
    assert len(found) == len(cases)
    return list(found)


def check(outcome: dict[str, Any]) -> None:
    """Every rank that can speak names the odd ranks, with a right kind, and nobody else."""
    where = f"{outcome['fault']} of {outcome['odd']} among {outcome['size']}: {outcome}"
    texts = outcome["texts"]
    assert texts, where
    assert all(texts.values()), where
    for lines in texts.values():
        who = named(lines[0])
        assert set(who) == set(outcome["odd"]), where
        assert set(who.values()) <= FAULTS[outcome["fault"]].kind, where
    if not any(lines[0].startswith("The store does not answer") for lines in texts.values()):
        assert len({lines[0] for lines in texts.values()}) == 1, where
    if outcome["fault"] == "slow":
        (odd,) = outcome["odd"]
        back = f"Taken back: rank {odd} holds up the run no longer, which goes on."
        assert {lines[1] for lines in texts.values()} == {back}, where


def test_a_slow_rank_is_named_and_taken_back_when_it_comes(tmp_path: Path) -> None:
    check(*outcomes([("slow", 4, 3)], tmp_path))


@pytest.mark.slow
def test_the_records_and_the_plan_are_kept_as_files_that_diagnose_reads(tmp_path: Path) -> None:
    check(*outcomes([("another collective", 4, 0)], tmp_path))
    plan = pgregistry.plan(4, tensor=2, only=MODES)
    records = tmp_path / "0" / "records"
    kept = pgregistry.Plan.from_json((records / "plan.json").read_text(encoding="utf-8"))
    assert kept.fingerprint == plan.fingerprint
    assert [(one.rank, one.kind) for one in pgregistry.diagnose(records, plan).guilty] == [(0, "mismatch")]


@pytest.mark.slow
def test_ranks_that_pause_for_less_than_the_watch_are_left_alone(tmp_path: Path) -> None:
    assert run_ranks(1, run_healthy, [0], 4, str(tmp_path), world=False) == [[[]]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
def test_some_of_the_matrix(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    size = draw.choice([4, 8])
    for outcome in outcomes([(fault, size, draw.choice([0, size - 1])) for fault in FAULTS], tmp_path):
        check(outcome)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("time", range(3))
@pytest.mark.parametrize("fault", FAULTS)
def test_the_whole_matrix_in_time(fault: str, time: int, tmp_path: Path) -> None:
    cases = [(fault, size, odd) for size in (4, 8) for odd in (0, size - 1)]
    for outcome in outcomes(cases, tmp_path):
        check(outcome)
        assert outcome["seconds"] < WATCH + MARGIN, outcome


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("size", [4, 8])
def test_a_hundred_healthy_runs_raise_no_alarm(size: int, tmp_path: Path) -> None:
    (found,) = run_ranks(1, run_healthy, [*range(50)], size, str(tmp_path), world=False, timeout=3000)
    assert found == [[]] * 50
