"""Measure what the watch costs 8 ranks that make small all-reduces, and the time of a verdict of 4,096 ranks."""

from __future__ import annotations

import threading
import time
from statistics import median
from typing import Any

import measure
import worlds

RANKS, CALLS, PAIRS, WARM = 8, 1000, 15, 50
WORLD = 4096


def processor_time(threads: list[threading.Thread]) -> float:
    """Return the seconds of the processor that threads have taken."""
    return sum(time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) for thread in threads if thread.ident)


def run() -> list[tuple[float, float, float, float]]:
    """Return the seconds of each round without the watch and with it, and the processor time of its threads."""
    import torch
    import torch.distributed as dist

    import pgregistry

    dist.init_process_group("gloo")
    small, found = torch.ones(4), []
    for pair in range(PAIRS):
        times: dict[float, tuple[float, float]] = {}
        for watch in (0, 300) if pair % 2 else (300, 0):
            with pgregistry.init(only=["data"], watch=watch) as context:
                group = context["data"].group
                for _ in range(WARM):
                    dist.all_reduce(small, group=group)
                threads = [one for one in threading.enumerate() if one.name == "pgregistry"]
                dist.barrier()
                before, begun = processor_time(threads), time.perf_counter()
                for _ in range(CALLS):
                    dist.all_reduce(small, group=group)
                times[watch] = time.perf_counter() - begun, processor_time(threads) - before
                dist.barrier()
        found.append((*times[0], *times[300]))
    return found


def overhead() -> None:
    """Print the medians over the pairs of the slowest rank, and the spread without the watch."""
    answers = worlds.run_ranks(RANKS, run).answers
    without = [max(answer[pair][0] for answer in answers) for pair in range(PAIRS)]
    watched = [max(answer[pair][2] for answer in answers) for pair in range(PAIRS)]
    ratios = [one / other - 1 for one, other in zip(watched, without, strict=True)]
    share = [one[3] / one[2] for answer in answers for one in answer]
    quarters = sorted(without)[PAIRS // 4], sorted(without)[-1 - PAIRS // 4]
    measure.show(
        f"{CALLS:,} all-reduces of 4 numbers on {RANKS} ranks, {PAIRS} pairs in turns",
        ("", "median", "middle half"),
        [
            ("without the watch", measure.duration(median(without)), " to ".join(map(measure.duration, quarters))),
            ("with the watch", measure.duration(median(watched)), ""),
            ("difference of a pair", f"{median(ratios):+.1%}", f"{min(ratios):+.1%} to {max(ratios):+.1%} (all)"),
            ("processor time of its threads", f"{median(share):.3%} of a core", ""),
        ],
    )


def verdict() -> list[Any]:
    """Return the seconds and calls of a roll call of simulated ranks, as the test of the watch makes it."""
    import torch.distributed as dist

    import pgregistry
    from pgregistry.diagnosis.watch.judgement import Judgement, pass_judgement
    from pgregistry.diagnosis.watch.roll_call import RollCall

    plan = pgregistry.plan(WORLD, tensor=8, pipe=8)
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = [RollCall(server, rank, range(WORLD), 0) for rank in range(WORLD)]
    calling = measure.timed(ranks[0].call)
    answering = measure.timed(lambda: [one.answer(answer(rank, plan)) for rank, one in enumerate(ranks)])
    begun, processor = time.perf_counter(), time.process_time()
    found = pass_judgement(ranks[0].answers(1), plan, 300, Judgement())
    ranks[0].decide(found.to_data())
    return [calling, answering / WORLD, time.perf_counter() - begun, time.process_time() - processor, found.guilty]


def answer(rank: int, plan: Any) -> dict[str, Any]:
    """Return the answer of a rank that waits for the last one."""
    entries = []
    for number, mode in enumerate(("tensor", "data", "pipe", "global")):
        index = plan[mode].groups.index_of(rank)
        one = {
            "process_group": [f"run/{mode}/{index}", f"pgregistry:{mode}/{index}"],
            "pg_id": number,
            "p2p_seq_id": 0,
            "profiling_name": "gloo:all_reduce",
            "time_created_ns": 1_795_982_008_000_000_000,
            "input_sizes": [[4096, 5120]],
            "output_sizes": [[4096, 5120]],
            "state": "scheduled",
            "is_p2p": False,
        }
        entries += [{**one, "collective_seq_id": at, "retired": True} for at in (1, 2)]
    if rank != WORLD - 1:
        entries.append({**one, "collective_seq_id": 3, "retired": False, "pending_seconds": 300.0})
    stack = [f"function_{at}, /home/user/project/train.py:{at}" for at in range(6)]
    return {"version": "2.10", "entries": entries, "stack": stack, "host_name": f"node{rank // 8}, process {rank}"}


def main() -> None:
    overhead()
    calling, answering, seconds, processor, guilty = measure.child(__file__, "verdict", seconds=600)
    measure.show(
        f"A roll call of {WORLD:,} simulated ranks, over one TCPStore",
        ("step", "time", "aim"),
        [
            ("call", measure.duration(calling), ""),
            ("answer of one rank", measure.duration(answering), ""),
            ("verdict", f"{measure.duration(seconds)} ({measure.duration(processor)} of the processor)", "5 s"),
        ],
        f"named: {guilty}",
    )


if __name__ == "__main__":
    measure.run(main, {"verdict": verdict})
