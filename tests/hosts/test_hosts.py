"""`smoke` and `init` over several hosts with an agent of torchrun each: hosts that differ, and a late link."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from bed import Bed, hosts, why_not

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

JOBS: Final = Path(__file__).parent / "jobs"
HOSTS: Final = 3
#: What a busy machine may take, in seconds.
BUSY: Final = 15


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def bed() -> Iterator[Bed]:
    with hosts(HOSTS) as bed:
        yield bed


def answers(folder: Path) -> dict[int, Any]:
    """Return the answer of each rank."""
    found = {int(path.stem.removeprefix("answer")): path for path in folder.glob("answer*.json")}
    return {rank: json.loads(found[rank].read_text(encoding="utf-8")) for rank in sorted(found)}


def run(bed: Bed, folder: Path, job: str, *arguments: str, **how: Any) -> dict[int, Any]:
    """Return the answer of each rank of a job; fail with all that was printed if an agent fails."""
    results = bed.torchrun(str(JOBS / job), *arguments, cwd=folder, **how)
    assert all(result.code == 0 for result in results), "\n".join(result.stderr[-3000:] for result in results)
    return answers(folder)


# --- the bed ----------------------------------------------------------------------------------------


def test_hosts_have_names_and_links_of_their_own(bed: Bed, tmp_path: Path) -> None:
    hello = 'echo "$(hostname) $(getent hosts 10.0.0.2) $(ls /sys/class/net)"'
    results = bed.start({host: ["sh", "-c", hello] for host in (0, 1)}, cwd=tmp_path).wait()
    assert [result.stdout.split()[:3] for result in results] == [
        [f"host{host}", "10.0.0.2", "host1"] for host in (0, 1)
    ]


def interrupted(folder: Path) -> None:
    """Start a bed in which something runs that its parent has left, then press Ctrl-C."""
    with hosts(2) as bed:
        job = bed.start({1: ["sh", "-c", "sleep 987.65 & wait"]}, cwd=folder)
        job.until(lambda: "987.65" in processes())
        raise KeyboardInterrupt


def test_nothing_is_left_of_a_bed_that_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path)
    assert "987.65" not in processes()
    assert list(tmp_path.iterdir()) == []


def processes() -> str:
    """Return the command lines of all processes of this machine."""
    said = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said.append(path.read_text(encoding="utf-8", errors="replace").replace("\0", " "))
        except OSError:
            continue  # it has just ended
    return "\n".join(said)


# --- all is well ------------------------------------------------------------------------------------


@pytest.mark.parametrize("static", [False, True], ids=["c10d", "static"])
def test_smoke_proves_every_group_over_several_hosts(bed: Bed, static: bool) -> None:
    first, *others = bed.torchrun("-m", "pgregistry", "smoke", "tensor=2", nproc=2, static=static)
    assert "6 ranks: every group proved" in first.stdout, first.stderr
    assert [first.code, *(other.code for other in others)] == [0, 0, 0]
    assert [other.stdout.strip() for other in others] == ["", ""]


def test_init_builds_every_mode_over_several_hosts_and_knows_which_ranks_share_one(bed: Bed, tmp_path: Path) -> None:
    told = run(bed, tmp_path, "everything.py", nproc=2)
    assert list(told) == list(range(6))
    for rank, one in told.items():
        assert (one["host"], one["local"]) == (f"host{rank // 2}", str(rank % 2))
        for world in one["worlds"]:
            assert world["world"] == 6
            for mode, met in world["met"].items():
                assert met == [[other, f"host{other // 2}"] for other in world["groups"][mode]], mode
        assert [host for _, host in one["worlds"][1]["met"]["near"]] == [one["host"]] * 2


# --- one host differs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a distribution with a plugin is installed."""
    folder = tmp_path_factory.mktemp("ring")
    info = folder / "acme_ring-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ring\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[pgregistry]\nring = acme_ring\n", encoding="utf-8")
    source = (
        "from pgregistry import WORLD, Mode, Split, hookimpl\n\n\n"
        "@hookimpl\ndef pgregistry_modes():\n    yield Mode('ring', over=Split(WORLD, inner='ring', size=2))\n"
    )
    (folder / "acme_ring.py").write_text(source, encoding="utf-8")
    return folder


@pytest.mark.parametrize("store", ["agent", "rank 0"])
def test_a_host_that_differs_is_refused_on_every_rank(bed: Bed, ring: Path, tmp_path: Path, store: str) -> None:
    env = {host: {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": str(int(store == "rank 0"))} for host in range(HOSTS)}
    told = run(bed, tmp_path, "disagree.py", str(ring), nproc=2, env=env)
    assert list(told) == list(range(6))
    wrong = {"size": "size tensor", "plugin": "mode ring"}
    theirs = {"size": "3 (PGREGISTRY)", "plugin": "none (plugin 'ring' is not installed)"}
    ours = {"size": "2 (PGREGISTRY)", "plugin": "plugin 'ring', acme-ring 1"}
    sides = {0: ("ranks 0-1", "ranks 2-5"), 2: ("ranks 4-5", "ranks 0-3")}
    for rank, one in told.items():
        for case, (error, text, seconds) in one["said"].items():
            what, host = case.split()
            if what == "nothing":
                assert (error, "ring" in text) == ("", True), text
                continue
            odd, others = sides[int(host)]
            assert error == "PlanMismatch", (rank, case, text)
            for part in (wrong[what], f"{odd}: {theirs[what]}", f"{others}: {ours[what]}"):
                assert part in text, (rank, case, text)
            assert seconds < BUSY


# --- a link goes down -------------------------------------------------------------------------------


def test_a_job_starts_again_when_the_link_is_up_again(bed: Bed, tmp_path: Path) -> None:
    bed.down(2)
    job = bed.launch("-m", "pgregistry", "smoke", "zero1=3", cwd=tmp_path)
    time.sleep(2)
    bed.up(2)
    first, *_ = job.wait()
    assert "3 ranks: every group proved" in first.stdout, first.stderr
