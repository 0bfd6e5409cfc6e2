"""Count how often the network test names the right host, at 9 and 16 local ranks that each stand for a host.

Each rank pauses before each collective for as long as its bytes take on a link of 1 Gbit/s, or on one
with a third of that if its host is slow: the loopback device costs only time of the processor,
which other ranks need. All trials of a row run in one set of processes; the slow hosts change from
trial to trial. The peer is the rule of the origin: slow is a group that takes a tenth longer than the
mean of all groups, here those of the first partition of the same trials.

    .venv/bin/python benchmarks/bench_nettest.py [TRIALS]
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from statistics import mean, median
from typing import Any

import measure
import worlds

TRIALS = int(sys.argv[1]) if len(sys.argv) == 2 and sys.argv[1].isdigit() else 10
LINK, SLOW = 125e6, 125e6 / 3  # bytes a second


class Link:
    """Pause before the collectives of this rank, in the place of a link."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self.speed = LINK
        all_reduce, batch = dist.all_reduce, dist.batch_isend_irecv

        def slow_all_reduce(tensor: Any, group: Any) -> Any:
            members = dist.get_world_size(group)
            self._pause(2 * (members - 1) / members * tensor.nbytes)
            return all_reduce(tensor, group=group)

        def slow_batch(ops: Sequence[Any]) -> Any:
            self._pause(ops[0].tensor.nbytes)
            return batch(ops)

        dist.all_reduce, dist.batch_isend_irecv = slow_all_reduce, slow_batch

    def _pause(self, bytes_sent: float) -> None:
        time.sleep(bytes_sent / self.speed)


def trials(odd: Sequence[Sequence[int]], slow: int) -> list[dict[str, Any]]:
    """Run one trial for each list of slow hosts."""
    import pgregistry_nettest

    import pgregistry

    link, answers = Link(), []
    with pgregistry.init(only=["global"], backend="gloo") as context:
        for hosts in odd:
            link.speed = SLOW if context.rank in hosts else LINK
            report = pgregistry_nettest.run(context, slow=slow)
            first = [one for one in report.measurements if one.round == 0 and one.seconds]
            usual = mean(one.seconds for one in first)
            accused = {rank for one in first if one.seconds > 1.1 * usual for rank in one.ranks}
            answers.append(
                {
                    "named": sorted({host for finding in report.findings for host in finding.hosts}),
                    "kinds": sorted({finding.kind for finding in report.findings}),
                    "notes": [note for note in report.notes if "baseline" not in note],
                    "origin": sorted(accused),
                    "seconds": report.seconds,
                    "rounds": report.rounds,
                }
            )
    return answers


def chosen(hosts: int, slow: int, count: int) -> list[list[int]]:
    """Return the slow hosts of each trial, the same in every run of this script."""
    draw = random.Random(f"{hosts}/{slow}")
    return [sorted(draw.sample(range(hosts), slow)) for _ in range(count)]


def main() -> None:
    rows, notes = [], []
    for hosts in (9, 16):
        for slow, partitions_for, count, aim in (
            (0, 1, TRIALS, 1),
            (1, 1, TRIALS, 0.98),
            (2, 2, min(TRIALS, 20), 0.95),
        ):
            odd = chosen(hosts, slow, count)
            answers = worlds.run_ranks(hosts, trials, odd, partitions_for).answers[0]
            exact = sum(answer["named"] == list(one) for answer, one in zip(answers, odd, strict=True))
            theirs = sum(answer["origin"] == list(one) for answer, one in zip(answers, odd, strict=True))
            what = f"{hosts} hosts, {slow or 'none'} slow, {partitions_for + 1} partitions"
            right, origin = f"{exact} of {count}", f"{theirs} of {count}"
            aims = f"≥ {count - 1 if slow == 0 else round(aim * count)}"
            seconds, rounds = (sorted(answer[key] for answer in answers) for key in ("seconds", "rounds"))
            rows.append(
                (
                    what,
                    right,
                    aims,
                    origin,
                    measure.duration(median(seconds)),
                    measure.duration(seconds[-1]),
                    str(rounds[-1]),
                )
            )
            for answer, one in zip(answers, odd, strict=True):
                if answer["named"] != list(one):
                    said = ", ".join((*answer["kinds"], *answer["notes"])) or "nothing"
                    notes.append(f"{what}: slow {one}, named {answer['named']}: {said}")
    columns = ("injected", "exactly right", "aim", "the origin's rule", "time", "slowest", "rounds, at most")
    measure.show("Who is slow", columns, rows, *notes, "At most slow + 2 rounds and 3 s are allowed.")


if __name__ == "__main__":
    main()
