"""Simulated jobs with one or two faults: each culprit that holds somebody up is named, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_job import SimulatedJob, Step, training

import pgregistry

PLANS = [pgregistry.plan(8, tensor=2, pipe=2), pgregistry.plan(8, pipe=4), pgregistry.plan(16, tensor=4, pipe=2)]


@st.composite
def faults(draw: st.DrawFn) -> dict[str, Any]:
    plan = draw(st.sampled_from(PLANS))
    ahead = draw(st.sampled_from([1, 3, 8]))
    program = training(plan, 3, sends=draw(st.booleans()) and ahead > 1)
    ranks = draw(st.lists(st.integers(0, plan.world_size - 1), min_size=1, max_size=2, unique=True))
    kinds = draw(st.lists(st.sampled_from(["process", "device"] if ahead > 1 else ["process"]), min_size=2, max_size=2))
    steps = [draw(st.integers(2, len(program[rank]) - 1)) for rank in ranks]
    chosen = list(zip(ranks, kinds, steps, strict=False))
    by_kind = {kind: {rank: at for rank, one, at in chosen if one == kind} for kind in ("process", "device")}
    return {"plan": plan, "program": program, "ahead": ahead, **by_kind}


def check(fault: dict[str, Any], active: bool, members: bool) -> None:
    job = SimulatedJob(**fault)
    backend = "gloo" if job.ahead == 1 else "nccl"
    records = job.records(backend=backend, active=active, members=members)
    diagnosis = pgregistry.diagnose(records, job.plan)
    named = {one.rank: one.kind for one in diagnosis.guilty}
    stopped = {rank for rank, at in job.process.items() if job.enqueued[rank] == at}
    stuck = {rank for rank, at in job.device.items() if job.enqueued[rank] > at == job.finished[rank]}
    # of a culprit that holds nobody up yet nothing is known
    sure = {rank for rank in stopped - stuck if job.finished[rank] == job.enqueued[rank] and job.waited_for(rank)}
    assert sure <= named.keys() <= stopped | stuck, (named, stopped, stuck)
    assert all(named[rank] == "process" for rank in sure)
    assert named or not any(job.waited_for(rank) for rank in stopped)
    assert diagnosis.problems == ()


@given(faults(), st.booleans())
@settings(max_examples=15, deadline=None)
def test_culprits_are_named_and_bystanders_are_not(fault: dict[str, Any], members: bool) -> None:
    check(fault, active=False, members=members)


@pytest.mark.slow
@given(faults(), st.booleans())
@settings(max_examples=2000, deadline=None)
def test_culprits_are_named_and_bystanders_are_not_at_length(fault: dict[str, Any], members: bool) -> None:
    check(fault, active=False, members=members)


PLAN = pgregistry.plan(8, tensor=2, pipe=2)


@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize("rank", [0, 7])
@pytest.mark.parametrize("at", [5, 8])  # tensor, whose groups have two ranks: its sisters decide; data
def test_another_collective_in_one_place_is_a_mismatch_of_that_rank(at: int, rank: int, ahead: int) -> None:
    program = training(PLAN, 3, sends=False)
    program[rank][at] = Step(program[rank][at].mode, "all_to_all")
    diagnosis = pgregistry.diagnose(SimulatedJob(PLAN, program, ahead).records(), PLAN)
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(rank, "mismatch")]


@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize("rank", [0, 7])
def test_of_ranks_that_wait_for_one_another_those_with_another_order_are_named(rank: int, ahead: int) -> None:
    program = training(PLAN, 3, sends=False)
    program[rank][4], program[rank][5] = program[rank][5], program[rank][4]  # the barrier, and tensor
    diagnosis = pgregistry.diagnose(SimulatedJob(PLAN, program, ahead).records(members=False), PLAN)
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(rank, "deadlock")]


def test_of_two_orders_with_as_many_ranks_all_are_named() -> None:
    plan = pgregistry.plan(4, tensor=2)
    orders = {"tensor": [Step("tensor"), Step("data")], "data": [Step("data"), Step("tensor")]}
    program = {rank: orders["tensor" if rank in (0, 3) else "data"] for rank in range(4)}
    diagnosis = pgregistry.diagnose(SimulatedJob(plan, program).records(backend="gloo"), plan)
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(rank, "deadlock") for rank in range(4)]


@pytest.mark.parametrize("rank", [0, 3, 7])
def test_a_recv_without_its_send_holds_up_the_run(rank: int) -> None:
    program = training(PLAN, 3, sends=False)
    pipe = PLAN["pipe"].group_of(rank) or ()
    program[rank].insert(8, Step("pipe", "recv", next(one for one in pipe if one != rank)))
    diagnosis = pgregistry.diagnose(SimulatedJob(PLAN, program, 4).records(), PLAN)
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(rank, "deadlock")]


@pytest.mark.parametrize("step", range(2, 15))
def test_records_of_what_is_pending_alone_show_a_process_that_stands(step: int) -> None:
    job = SimulatedJob(PLAN, training(PLAN, 3, sends=True), 4, process={6: step})
    diagnosis = pgregistry.diagnose(job.records(active=True), PLAN)
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(6, "process")]


@pytest.mark.parametrize("rank", range(8))
def test_records_of_what_is_pending_alone_show_a_device_in_a_blocking_send_or_recv(rank: int) -> None:
    """Its peer has finished, and waits for the rank in something else: that is no ring."""
    program = training(PLAN, 3, sends=True)
    for step in [at for at, one in enumerate(program[rank]) if one.peer is not None]:
        job = SimulatedJob(PLAN, program, 1, device={rank: step})
        diagnosis = pgregistry.diagnose(job.records(active=True), PLAN)
        assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(rank, "device")], step
        assert "its device or its link is stuck" in diagnosis.guilty[0].evidence


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS[:2], ids=["pipe 2", "pipe 4"])
@pytest.mark.parametrize("sends", [True, False])
def test_records_of_what_is_pending_alone_show_each_device_that_full_records_show(
    plan: pgregistry.Plan, sends: bool
) -> None:
    program = training(plan, 3, sends=sends)
    for rank, steps in program.items():
        for step in range(2, len(steps) - 1):
            job = SimulatedJob(plan, program, 1, device={rank: step})
            full, active = (pgregistry.diagnose(job.records(active=one), plan).guilty for one in (False, True))
            assert [(one.rank, one.kind) for one in full] == [(one.rank, one.kind) for one in active], (rank, step)


def test_records_of_what_is_pending_alone_show_two_sends_that_wait_for_one_another() -> None:
    plan = pgregistry.plan(2, pipe=2)
    program = {rank: [Step("pipe", "send", 1 - rank), Step("pipe", "recv", 1 - rank)] for rank in range(2)}
    diagnosis = pgregistry.diagnose(SimulatedJob(plan, program).records(active=True), plan)
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(0, "deadlock"), (1, "deadlock")]


def test_a_job_that_has_ended_or_is_fine_has_no_culprit() -> None:
    job = SimulatedJob(PLAN, training(PLAN, 3, sends=True), 4)
    diagnosis = pgregistry.diagnose(job.records(), PLAN)
    assert (diagnosis.guilty, diagnosis.waiting, str(diagnosis)) == ((), (), "Nobody waits.")


def test_an_operation_that_all_are_in_and_that_ends_on_nobody_is_shown() -> None:
    job = SimulatedJob(PLAN, training(PLAN, 3, sends=False), 4, device={0: 5, 1: 5})
    diagnosis = pgregistry.diagnose(job.records(), PLAN)
    assert diagnosis.guilty == ()
    assert "all_reduce #3 of tensor, group 0 (ranks 0-1): ranks 0-1 wait" in str(diagnosis)
    assert "it ends on nobody: one of their devices is stuck, or a link" in str(diagnosis)


def test_a_device_that_has_not_begun_what_the_others_have_is_named() -> None:
    records = SimulatedJob(PLAN, training(PLAN, 3, sends=False), 4, device={0: 5, 1: 5}).records()
    pending = next(one for one in records[1]["entries"] if not one["retired"])
    pending["state"] = "started"
    diagnosis = pgregistry.diagnose(records, PLAN)
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(0, "device")]
