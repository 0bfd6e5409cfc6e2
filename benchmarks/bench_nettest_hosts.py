"""Count how often the network test names the right host over real links: network namespaces, one rank each.

Links are slowed by `tc … tbf`. All trials of a row run in one set of processes; links change from
trial to trial. If the machine allows no namespaces, it prints why and ends (tests/hosts/README.md).
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from statistics import median

import measure

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "hosts"))
from bed import hosts, why_not
from nettests import FAST, SLOW, named, reports

TRIALS = int(sys.argv[1]) if len(sys.argv) == 2 and sys.argv[1].isdigit() else 10
#: Hosts, how many of them are slow, and how many can be told apart.
ROWS = ((9, 0, 1), (9, 1, 1), (9, 2, 2), (16, 0, 1), (16, 1, 1))


def main() -> None:
    if reason := why_not():
        print(reason)
        return
    rows, notes = [], []
    for count, slow, apart in ROWS:
        draw = random.Random(f"{count}/{slow}")
        odd = [sorted(draw.sample(range(count), slow)) for _ in range(TRIALS)]
        with tempfile.TemporaryDirectory() as folder, hosts(count, rate=FAST) as bed:
            found = list(reports(bed, Path(folder), odd, apart))
        right = 0
        for report, expected in zip(found, odd, strict=True):
            if named(report) == ({"slow host": expected} if expected else {}):
                right += 1
            else:
                notes.append(f"{count} hosts, slow {expected}: found {named(report) or 'nothing'}; {report['notes']}")
        seconds = sorted(report["seconds"] for report in found)
        row = (f"{count} hosts, {slow or 'none'} slow, {apart + 1} partitions", f"{right} of {TRIALS}")
        rows.append((*row, measure.duration(median(seconds)), measure.duration(seconds[-1])))
    title = f"Who is slow, over links of {FAST} and {SLOW}"
    measure.show(title, ("links", "exactly right", "time", "slowest"), rows, *notes)


if __name__ == "__main__":
    main()
