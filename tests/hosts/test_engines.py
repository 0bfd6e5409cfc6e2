"""Real launchers: Slurm on several hosts that know their own names as loopback addresses, Open MPI and MPICH."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from environment import set_by_launchers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HERE: Final = Path(__file__).parent
ENGINE: Final = f"python {HERE / 'jobs' / 'engine.py'}"
BLOCKS: Final = [f"{rank} of 4 on n{rank // 2 + 1}, sum 4, near None" for rank in range(4)]
NEAR: Final = [f"{rank} of 4 on n{rank // 2 + 1}, sum 4, near {(0, 1) if rank < 2 else (2, 3)}" for rank in range(4)]
FORGOTTEN: Final = "ConfigError: SLURM_NTASKS = 4 (environment) must be the number of processes that srun started"


def need(*programs: str) -> None:
    if missing := [program for program in programs if not shutil.which(program)]:
        pytest.skip(f"{' and '.join(missing)} are not installed")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Slurm of four hosts on two switches, and return the path of its configuration."""
    need("slurmctld", "slurmd", "srun", "ip", "nsenter")
    if os.geteuid():
        pytest.skip("a Slurm of several hosts needs root")
    folder = str(tmp_path_factory.mktemp("slurm"))
    lock = (Path(tempfile.gettempdir()) / "pgregistry-slurm.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of pytest-xdist may have one
    started = subprocess.run([HERE / "slurm.sh", "start", folder, "4"], capture_output=True, text=True, timeout=60)
    try:
        if started.returncode:
            pytest.skip(f"no network namespaces here: {started.stderr}")
        yield started.stdout.strip()
    finally:
        subprocess.run([HERE / "slurm.sh", "stop", folder], timeout=30)
        lock.close()


def said(command: str, conf: str = "", timeout: float = 120) -> list[str]:
    """Return what the ranks of a command say, in order."""
    environ = {name: value for name, value in os.environ.items() if name not in set_by_launchers()}
    environ.pop("GLOO_SOCKET_IFNAME", None)
    environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environ["PATH"]))
    environ |= {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"} | ({"SLURM_CONF": conf} if conf else {})
    done = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, timeout=timeout)
    lines = sorted(line[2:] for line in done.stdout.splitlines() if line.startswith("> "))
    assert lines, done.stdout[-2000:] + done.stderr[-2000:]
    return lines


def test_srun_alone(slurm: str) -> None:
    assert said(f"srun -N2 -w n1,n2 -n4 {ENGINE} host", slurm) == NEAR


def test_srun_that_deals_ranks_out_in_turn_is_refused_where_hosts_are_needed(slurm: str) -> None:
    texts = said(f"srun -N2 -w n1,n2 -n4 -m cyclic {ENGINE} host", slurm)
    assert len(texts) == 4
    assert len(set(texts)) == 1
    assert texts[0].startswith("PlanMismatch: Mode 'near' needs ranks 0-1 on one host, but rank 0 is on n1 and rank 1")
    assert "within=[0, 2, 1, 3]" in texts[0]
    dealt = [f"{rank} of 4 on n{rank % 2 + 1}, sum 4, near" for rank in range(4)]
    within = said(f"PGREGISTRY_WITHIN=0,2,1,3 srun -N2 -w n1,n2 -n4 -m cyclic {ENGINE} host", slurm)
    assert within == [f"{one} {(0, 2) if rank % 2 == 0 else (1, 3)}" for rank, one in enumerate(dealt)]
    assert said(f"srun -N2 -w n1,n2 -n4 -m cyclic {ENGINE}", slurm) == [f"{one} None" for one in dealt]


DOMAINS: Final = "PGREGISTRY_HOSTS_PER_DOMAIN=2"


def test_order_reads_the_topology_of_the_hosts_of_a_job(slurm: str) -> None:
    order = "python -m pgregistry order 4 tensor=2 --only data,tensor --domains -"
    shown = f"scontrol show topology | {order} | sed 's/^/> /'"
    near = said(f'salloc -w n1,n2 -n4 sh -c "{shown}"', slurm)
    assert "* 1 data,tensor 0/2/0 2/0/0".split() in map(str.split, near)  # n1 and n2 are on one switch
    apart = said(f'salloc -w n1,n3 -n4 sh -c "{shown}"', slurm)
    assert "* 2 data,tensor 0/0/2 2/0/0".split() in map(str.split, apart)


def test_ranks_know_their_domains_and_those_that_are_interleaved_are_refused(slurm: str, tmp_path: Path) -> None:
    near = said(f"{DOMAINS} srun -N4 -n4 {ENGINE} domain", slurm)
    assert [line.partition("near ")[2] for line in near] == ["(0, 1)", "(0, 1)", "(2, 3)", "(2, 3)"]
    (tmp_path / "hosts").write_text("n1\nn3\nn2\nn4\n")
    dealt = f"SLURM_HOSTFILE={tmp_path / 'hosts'} srun -m arbitrary -n4 {ENGINE} domain"
    texts = set(said(f"{DOMAINS} {dealt}", slurm))
    assert len(texts) == 1
    text = texts.pop()
    assert "Mode 'near' needs ranks 0-1 in one domain, but rank 0 is in s1 and rank 1 in s2" in text
    assert "within=[0, 2, 1, 3], hosts=[[0], [2], [1], [3]], hosts_per_domain=2" in text
    pasted = "PGREGISTRY_WITHIN=0,2,1,3 PGREGISTRY_HOSTS='0;2;1;3'"
    together = said(f"{DOMAINS} {pasted} {dealt}", slurm)
    assert [line.partition("near ")[2] for line in together] == ["(0, 2)", "(1, 3)", "(0, 2)", "(1, 3)"]


def test_unequal_hosts(slurm: str) -> None:
    assert all(
        "they have (0 1), (2) (hosts, SLURM_STEP" in text
        for text in said(f"srun -N2 -w n1,n2 -n3 {ENGINE} host", slurm)
    )
    assert len(said(f"srun -N2 -w n1,n2 -n3 {ENGINE}", slurm)) == 3


def batch(script: str, folder: Path) -> str:
    return f"cd {folder}; sbatch -W -N2 -w n1,n2 -n4 -o out --wrap '{script}' >&2; cat out"


def test_two_steps_of_one_job_at_once(slurm: str, tmp_path: Path) -> None:
    step = f"srun --overlap -N2 -w n1,n2 -n4 {ENGINE}"
    assert said(batch(f"{step} & {step} & wait", tmp_path), slurm) == sorted([*BLOCKS, *BLOCKS])


def test_a_batch_script_in_which_srun_was_forgotten(slurm: str, tmp_path: Path) -> None:
    (text,) = said(batch(ENGINE, tmp_path), slurm)  # sbatch --wait asks in longer and longer intervals
    assert text.startswith(FORGOTTEN)


def test_torchrun_under_srun(slurm: str) -> None:
    meet = "--nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint n1:29401"
    assert said(f"srun -N2 -w n1,n2 -n2 torchrun {meet} {ENGINE.removeprefix('python ')} host", slurm) == NEAR


def test_mpirun_inside_slurm(slurm: str, tmp_path: Path) -> None:
    need("mpirun.openmpi")
    mpirun = f"mpirun.openmpi --allow-run-as-root {ENGINE} host"
    assert said(f"salloc -N2 -w n1,n2 -n4 {mpirun}", slurm) == NEAR
    assert said(batch(mpirun, tmp_path), slurm) == NEAR


@pytest.mark.parametrize("mpirun", ["mpirun.openmpi --allow-run-as-root --oversubscribe", "mpiexec.hydra"])
def test_mpirun_on_one_host(mpirun: str) -> None:
    need(mpirun.split()[0])
    host = os.uname().nodename
    assert said(f"{mpirun} -n 2 {ENGINE} host") == [f"{rank} of 2 on {host}, sum 2, near (0, 1)" for rank in range(2)]
