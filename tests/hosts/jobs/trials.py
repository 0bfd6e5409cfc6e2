"""Run network tests one after another; the first rank writes a report of each.

`trials.py COUNT BYTES SLOW`: how many, of which size, and how many slow hosts can be told apart.
"""

import sys
from pathlib import Path

import pgregistry_nettest
from answers import pause

import pgregistry

count, size, slow = map(int, sys.argv[1:])
with pgregistry.init(only=["global"], agree_timeout=120) as context:
    for trial in range(count):
        pause(f"trial{trial}-")
        report = pgregistry_nettest.run(context, sizes=(size,), slow=slow)
        if context.rank == 0:
            Path("report.part").write_text(report.to_json(), encoding="utf-8")
            Path("report.part").rename(f"report{trial}.json")
