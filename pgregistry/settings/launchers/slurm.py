"""Slurm's variables: the hosts of a step, its job, and whether srun started this process at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from pgregistry.errors import ConfigError
from pgregistry.values import MOST_ITEMS

#: Variables that have the number of tasks on each host, the step's before the job's.
TASKS_PER_NODE: Final = ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
#: Variables that have the names of hosts.
STEP_HOSTS: Final = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
JOB_HOSTS: Final = ("SLURM_JOB_NODELIST", "SLURM_NODELIST")
#: Steps from this number on are not of srun: batch scripts, and shells of salloc.
FIRST_SPECIAL_STEP: Final = 0xFFFFFFF0
#: The names of hosts that differ in numbers, such as `rack[1-2]n[08-10]`.
_HOSTS: Final = r"(?:[^\[\],\s]|\[\d[\d,-]*\])+"


def tasks_per_node(world_size: int, environ: Mapping[str, str]) -> tuple[str, list[int]] | None:
    """Return the variable that has the number of ranks on each host, and these; None without it.

    >>> tasks_per_node(5, {"SLURM_TASKS_PER_NODE": "2(x2),1"})
    ('SLURM_TASKS_PER_NODE', [2, 2, 1])
    """
    for name in TASKS_PER_NODE:
        if environ.get(name) and sum(counts := _counts(environ[name])) == world_size:
            return name, counts
    return None


def _counts(text: str) -> list[int]:
    """Return the numbers in a text such as `2(x2),1`; none if it is not one."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,9})(?:\(x(\d{1,9})\))?", part, re.ASCII)
        if not found or len(counts) + int(found[2] or 1) > MOST_ITEMS:
            return []
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def in_blocks(counts: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the ranks of each host, if ranks of a host are neighbours: Slurm does that by default.

    >>> in_blocks([2, 1])
    ((0, 1), (2,))
    """
    ends = [*accumulate(counts)]
    return tuple(tuple(range(end - count, end)) for count, end in zip(counts, ends, strict=True) if count)


def first_host(environ: Mapping[str, str], names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first host of the first of these lists that is set, and the variable.

    >>> first_host({"SLURM_JOB_NODELIST": "rack[01-03,7]n[2-4],login"}, JOB_HOSTS)
    ('rack01n2', 'SLURM_JOB_NODELIST')
    """
    for name in names:
        if text := environ.get(name):
            first = re.match(r"(?:\[[^\]]*\]|[^,\[])*", text)
            return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else text), name
    return None


def host_names(text: str) -> list[str] | None:
    """Return the hosts of a list as Slurm writes it; None if it is not one.

    >>> host_names("rack[1-2]n[08-10],login")
    ['rack1n08', 'rack1n09', 'rack1n10', 'rack2n08', 'rack2n09', 'rack2n10', 'login']
    """
    if not re.fullmatch(f"{_HOSTS}(,{_HOSTS})*", text, re.ASCII):
        return None
    names: list[str] = []
    for word in re.finditer(_HOSTS, text, re.ASCII):
        found = [""]
        for plain, numbers in re.findall(r"([^\[\]]+)|\[([\d,-]+)\]", word[0], re.ASCII):
            ends = [plain] if plain else [end for run in numbers.split(",") for end in _run(run)]
            if not ends or len(found) * len(ends) + len(names) > MOST_ITEMS:
                return None
            found = [f"{start}{end}" for start in found for end in ends]
        names += found
    return names


def _run(text: str) -> list[str]:
    """Return the numbers of a text such as `08-10`, with their zeros; none if it is not one, or too long."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and len(first) < 10 and len(last) < 10):
        return []
    numbers = range(int(first), int(last or first) + 1)
    return [str(number).zfill(len(first)) for number in numbers] if len(numbers) <= MOST_ITEMS else []


def job(environ: Mapping[str, str], *, step: bool) -> str:
    """Return the job in words; empty if there is none.

    >>> job({"SLURM_JOB_ID": "111", "SLURM_STEP_ID": "0"}, step=True)
    'Slurm job 111, step 0'
    """
    number = environ.get("SLURM_HET_JOB_ID") or environ.get("SLURM_JOB_ID") or environ.get("SLURM_JOBID")
    part = f", step {environ['SLURM_STEP_ID']}" if step and environ.get("SLURM_STEP_ID") else ""
    return f"Slurm job {number}{part}" if number else ""


def domain(environ: Mapping[str, str], host: str) -> str:
    """Return the lowest switch, or the block, that a host is on; empty if Slurm sets none, or that of another host.

    Programs inherit these variables, so what mpirun starts on other hosts may have those of its own host.

    >>> domain({"SLURM_TOPOLOGY_ADDR": "top.s1.n2", "SLURM_TOPOLOGY_ADDR_PATTERN": "switch.switch.node"}, "n2")
    's1'

    Args:
        environ: Environment variables.
        host: The name of this host, which must be the one of the variables; empty if srun started this process.
    """
    if "SLURM_TOPOLOGY_ADDR" not in environ:
        return ""
    kinds = environ.get("SLURM_TOPOLOGY_ADDR_PATTERN", "").split(".")
    names = environ.get("SLURM_TOPOLOGY_ADDR", "").split(".", len(kinds) - 1)
    if len(kinds) < 2 or kinds[-1] != "node" or len(names) != len(kinds):
        return ""
    same = not host or names[-1].partition(".")[0] == host.partition(".")[0]
    return names[-2] if same else ""


def check_started_by_srun(world_size: int, environ: Mapping[str, str]) -> None:
    """Raise ConfigError if these are the variables of a batch script or a shell, of which there is one, not a rank.

    Only rank 0 can be that. A hand-made environment, without the list of hosts and with an address, is not a script.
    """
    step = environ.get("SLURM_STEP_ID", "")
    if world_size == 1 or environ["SLURM_PROCID"] != "0" or _set_by_hand(environ):
        return
    if "SLURM_PTY_PORT" not in environ and step.isdecimal() and len(step) < 20 and int(step) < FIRST_SPECIAL_STEP:
        return
    raise ConfigError(
        f"SLURM_NTASKS = {world_size} (environment) must be the number of processes that srun started, but srun did "
        f"not start this one: it runs in a batch script or a shell.\n  Start it with srun: srun python train.py. For a "
        "world of 1, unset SLURM_PROCID SLURM_NTASKS."
    )


def _set_by_hand(environ: Mapping[str, str]) -> bool:
    listed = any(environ.get(name) for name in (*JOB_HOSTS, "SLURM_STEP_ID"))
    return not listed and bool(environ.get("MASTER_ADDR"))
