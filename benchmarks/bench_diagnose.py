"""The culprits in real records, beside torch's `torchfrtrace`, and how long `pgregistry.diagnose` takes for 4,096."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zipfile import ZipFile

import measure

ROOT = Path(__file__).parents[1]
SCENARIOS = sorted((ROOT / "tests" / "tables" / "flight").glob("*.zip"))
WORLD = 4096
#: Entries of a record: what a rank that runs ahead of its device has pending, and a quarter of torch's ring.
ENTRIES = (50, 500)


def accused_by_torch(folder: Path) -> str:
    """Return the ranks that torchfrtrace calls missing or culprits, of all groups."""
    command = [sys.executable, "-m", "torch.distributed.flight_recorder.fr_trace", str(folder), "--prefix", "_dump_"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    text = done.stdout + done.stderr
    if done.returncode:
        return text.strip().splitlines()[-1]
    missing = {rank for found in re.findall(r"missing ranks: \{([\d, ]+)\}", text) for rank in found.split(", ")}
    culprits = set(re.findall(r"Culprit rank (\d+)", text))
    return " ".join(sorted(missing | culprits, key=int)) or "nobody"


def compare() -> list[tuple[str, ...]]:
    """Return a row for each scenario."""
    import pgregistry

    rows = []
    for archive in SCENARIOS:
        with tempfile.TemporaryDirectory() as name, ZipFile(archive) as files:
            folder = Path(name)
            files.extractall(folder)
            log = (folder / "fault_injection.log").read_text(encoding="utf-8")
            truth = ", ".join(f"{rank} {kind}" for rank, kind in re.findall(r"Rank (\d+), fault_type: (\w+)", log))
            found = pgregistry.diagnose(folder)
            named = ", ".join(f"{one.rank} {one.kind}" for one in found.guilty)
            rows.append((archive.stem, truth, named, accused_by_torch(folder)))
    return rows


def write_world(folder: Path, entries: int) -> None:
    """Write the records of a world in which one rank does not come to the last all_reduce of all."""
    import pgregistry

    plan = pgregistry.plan(WORLD, tensor=8, pipe=8)
    names = ("tensor", "data", "pipe", "global")
    for rank in range(WORLD):
        groups = {}
        for name in names:
            index = plan[name].groups.index_of(rank)
            groups[name] = (f"run/groups/{name}/{index}", f"pgregistry:{name}/{index}")
        made = []
        for number in range(entries - (rank == WORLD - 1)):
            last = number == entries - 1
            name = "global" if last else names[number % 3]
            made.append(
                {
                    "record_id": number,
                    "pg_id": names.index(name),
                    "process_group": groups[name],
                    "collective_seq_id": 1 if last else number // 3 + 1,
                    "p2p_seq_id": 0,
                    "op_id": number,
                    "profiling_name": "nccl:all_reduce",
                    "time_created_ns": 1_795_982_008_000_000_000 + number,
                    "input_sizes": [[4096, 5120]],
                    "input_dtypes": ["BFloat16"],
                    "output_sizes": [[4096, 5120]],
                    "output_dtypes": ["BFloat16"],
                    "state": "scheduled" if last else "completed",
                    "retired": not last,
                    "timeout_ms": 600_000,
                    "is_p2p": False,
                }
            )
        one = {"version": "2.10", "pg_config": {}, "pg_status": {}, "entries": made}
        (folder / f"trace_{rank}").write_bytes(pickle.dumps(one, protocol=2))


def large(entries: int) -> list[object]:
    """Return the seconds, those of the processor, and the culprits."""
    import pgregistry

    with tempfile.TemporaryDirectory() as name:
        write_world(Path(name), entries)
        plan = pgregistry.plan(WORLD, tensor=8, pipe=8)
        found: list[pgregistry.Diagnosis] = []
        begun = time.process_time()
        seconds = measure.timed(lambda: found.append(pgregistry.diagnose(name, plan)))
        return [seconds, time.process_time() - begun, [f"{one.rank} {one.kind}" for one in found[0].guilty]]


def main() -> None:
    measure.show(
        "Records of 16 ranks with injected faults",
        ("scenario", "injected", "pgregistry diagnose", "torchfrtrace accuses"),
        compare(),
    )
    rows = []
    for entries in ENTRIES:
        seconds, cpu, named = measure.child(__file__, "large", entries, seconds=900)
        times = (measure.duration(seconds), measure.duration(cpu))
        rows.append((f"{WORLD:,} of {entries:,} entries", *times, "20 s", ", ".join(named)))
    measure.show("A world that waits for rank 4095", ("records", "time", "processor", "aim", "named"), rows)


if __name__ == "__main__":
    measure.run(main, {"large": large})
