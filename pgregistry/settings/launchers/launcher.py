"""The place of this process among all ranks, from the variables that its launcher sets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pgregistry.errors import ConfigError, clean
from pgregistry.settings.launchers import slurm
from pgregistry.settings.launchers.number import read_number

log = logging.getLogger("pgregistry.plan")

#: Characters of the name of a job that are kept.
LONGEST_JOB: Final = 80


@dataclass(frozen=True, slots=True)
class Variables:
    """Names of the variables that one launcher sets."""

    launcher: str
    rank: str
    world_size: str
    local_rank: str
    ranks_per_host: str
    node: str = ""


#: The first launcher whose rank and world size are both set counts. Processes of mpirun inherit the variables of Slurm.
LAUNCHERS: Final = (
    Variables("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"),
    Variables("Open MPI", *(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))),
    Variables("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    Variables("Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE", "SLURM_NODEID"),
)
#: Variables in which launchers give the number of ranks on each host.
LAUNCHED: Final = frozenset({*(names.ranks_per_host for names in LAUNCHERS), *slurm.TASKS_PER_NODE})


@dataclass(frozen=True, slots=True)
class Launch:
    """The place of this process in the world, from its launcher.

    Attributes:
        launcher: Its name.
        rank: The rank of this process.
        world_size: How many ranks there are.
        local_rank: The rank among those of this host; None if no variable has it.
        ranks_per_host: How many ranks each host has; None if no variable has it, or they differ.
        ranks_per_host_from: The variable that has them, or `hosts`.
        hosts: The ranks of each host, in the order of hosts, if hosts have different numbers of ranks.
        node: The number of this host among all, as text; empty if no variable has it.
        job: The job that this process is of, in words; empty if no variable has it.
        agreeing: The launchers that give this process the same rank of the same world.
        beside: What other launchers say, which does not count: they started the one that started this process.
        world_size_from: The variable that has the world size; empty if none has it.
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int | None
    ranks_per_host: int | None
    ranks_per_host_from: str
    hosts: tuple[tuple[int, ...], ...] | None = None
    node: str = ""
    job: str = ""
    agreeing: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    world_size_from: str = ""

    @property
    def one_host(self) -> bool:
        """Return whether all ranks are known to be on one host."""
        return self.ranks_per_host == self.world_size


def read(environ: Mapping[str, str]) -> Launch | None:
    """Return rank and world size of this process, or None if no launcher started it.

    What the launcher does not say is taken from another that gives this process the same rank of the same world.

    >>> launch = read({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
    >>> launch.launcher, launch.rank, launch.world_size, launch.ranks_per_host
    ('torchrun', 3, 8, 4)
    >>> read({}) is None
    True

    Raises:
        ConfigError: if a variable is not a number, the rank is not below the world size, launchers contradict each
            other, or Slurm's variables are those of a batch script, whose ranks only srun would start.
    """
    launches: list[Launch] = []
    for names in LAUNCHERS:
        if not (environ.get(names.rank) and environ.get(names.world_size)):
            continue
        try:
            launches.append(_read(names, environ))
        except ConfigError as error:
            if not launches:
                raise error
    if not launches:
        return None
    first, *others = launches
    beside: list[str] = []
    for other in others:
        if (other.rank, other.world_size) == (first.rank, first.world_size):
            first = _completed(first, other)
        else:
            _check_nested(first, other, environ)
            beside.append(f"{other.launcher} has rank {other.rank} of {other.world_size}")
    return replace(first, agreeing=(first.launcher, *first.agreeing), beside=tuple(beside))


def _read(names: Variables, environ: Mapping[str, str]) -> Launch:
    rank, world_size = read_number(environ, names.rank, 0), read_number(environ, names.world_size, 1)
    if rank >= world_size:
        raise ConfigError(f"{names.rank} = {rank} (environment) must be below {names.world_size} = {world_size}.")
    if names.launcher == "Slurm":
        slurm.check_started_by_srun(world_size, environ)
    local = read_number(environ, names.local_rank, 0) if environ.get(names.local_rank) else None
    variable, per_host, hosts = names.ranks_per_host, None, None
    if names.launcher == "Slurm" and (found := slurm.tasks_per_node(world_size, environ)):
        variable, counts = found
        per_host = counts[0] if len(set(counts)) == 1 else None
        hosts = None if per_host else slurm.in_blocks(counts)
    elif environ.get(variable):
        per_host = read_number(environ, variable, 1)
    node, job = environ.get(names.node, ""), clean(_job(names.launcher, environ), LONGEST_JOB)
    of = names.world_size
    return Launch(names.launcher, rank, world_size, local, per_host, variable, hosts, node, job, world_size_from=of)


def _completed(one: Launch, other: Launch) -> Launch:
    """Return a launch, completed with values that only the other has."""
    if one.ranks_per_host is None and one.hosts is None:
        each, variable, hosts = other.ranks_per_host, other.ranks_per_host_from, other.hosts
        one = replace(one, ranks_per_host=each, ranks_per_host_from=variable, hosts=hosts)
    local = other.local_rank if one.local_rank is None else one.local_rank
    agreeing, node, job = (*one.agreeing, other.launcher), one.node or other.node, one.job or other.job
    return replace(one, local_rank=local, node=node, job=job, agreeing=agreeing)


def _check_nested(first: Launch, other: Launch, environ: Mapping[str, str]) -> None:
    """Raise ConfigError if variables that were set by hand cannot be those of ranks that another launcher started.

    torchrun may run under another launcher, and a script that Slurm started may start ranks of its own. Their world
    is then a multiple of the other one. Other launchers set LOCAL_RANK.
    """
    by_hand = first.launcher == "torchrun" and first.local_rank is None and "TORCHELASTIC_RUN_ID" not in environ
    if by_hand and first.world_size % other.world_size:
        theirs = next(names for names in LAUNCHERS if names.launcher == other.launcher)
        said = f"RANK = {first.rank} and WORLD_SIZE = {first.world_size} (environment)"
        raise ConfigError(
            f"{said} must not contradict {theirs.rank} = {other.rank} and {theirs.world_size} = {other.world_size}, "
            f"which {other.launcher} set.\n  unset RANK WORLD_SIZE to take those of {other.launcher}, or unset "
            f"{theirs.rank} {theirs.world_size}."
        )


def _job(launcher: str, environ: Mapping[str, str]) -> str:
    """Return the job of a launcher in words, equal on all its ranks; empty if it does not say."""
    of_slurm = slurm.job(environ, step=launcher == "Slurm")
    if launcher == "torchrun":
        return f"torchrun run {run}" if (run := environ.get("TORCHELASTIC_RUN_ID")) else ""
    if launcher == "Slurm":
        return of_slurm
    namespace = environ.get("PMIX_NAMESPACE") or environ.get("OMPI_MCA_ess_base_jobid")
    if launcher == "MPICH":
        namespace = environ.get("PMI_JOBID")
    return " of ".join(filter(None, (f"MPI job {namespace}" if namespace else "", of_slurm)))


def log_launch(environ: Mapping[str, str]) -> None:
    """Log which variable each number of the launch came from."""
    try:
        launch = read(environ)
    except ConfigError as error:
        log.debug("the launcher's variables do not count: %s", error)
        return
    if launch is None:
        return
    of = {names.launcher: names for names in LAUNCHERS}
    own = of[launch.launcher]
    local = next((of[one].local_rank for one in launch.agreeing if environ.get(of[one].local_rank)), "")
    numbers = [(f"rank {launch.rank}", own.rank), (f"world size {launch.world_size}", own.world_size)]
    numbers += [(f"local rank {launch.local_rank}", local)] * bool(local)
    if each := launch.ranks_per_host or launch.hosts:
        numbers.append((f"ranks per host {each}", launch.ranks_per_host_from))
    said = ", ".join(f"{what} ({variable})" for what, variable in numbers)
    job = [f"this process is of {launch.job}"] * bool(launch.job)
    log.debug("%s", "\n  ".join([f"{launch.launcher}: {said}", *job, *launch.beside]))


def alone(environ: Mapping[str, str]) -> Launch:
    """Return the launch of a process that no launcher started: a world of 1.

    >>> alone({}).world_size
    1

    Raises:
        ConfigError: if some variables of a launcher are set, but not those of rank and world size together.
    """
    names = [name for launcher in LAUNCHERS for name in (launcher.rank, launcher.world_size) if environ.get(name)]
    if names and world_size(environ) != 1:
        known = ", ".join(names.launcher for names in LAUNCHERS)
        start = "srun" if names[0].startswith("SLURM") else "torchrun --nproc-per-node N"
        raise ConfigError(
            f"{' and '.join(names)} (environment) must be set together with the other variables of a launcher, for the "
            f"rank of this process is not known (known launchers: {known}; others may set RANK and WORLD_SIZE).\n"
            f"Start it with {start} …, or unset {' and '.join(names)} for a world of 1."
        )
    return Launch("nobody", 0, 1, 0, None, "")


def of_world(environ: Mapping[str, str], rank: int, size: int) -> Launch | None:
    """Return what a launcher says of a rank of an existing world; None if none started it, or in another world.

    >>> of_world({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, 3, 8).local_rank
    1
    """
    try:
        launch = read(environ)
    except ConfigError:
        return None
    return launch if launch and (launch.rank, launch.world_size) == (rank, size) else None


def world_size(environ: Mapping[str, str]) -> int | None:
    """Return the world size in the environment, or None; the rank need not be set.

    >>> world_size({"SLURM_NTASKS": "16"})
    16

    Raises:
        ConfigError: if the variable is not a number.
    """
    names = world_size_variable(environ)
    return read_number(environ, names, 1) if names else None


def world_size_variable(environ: Mapping[str, str]) -> str | None:
    """Return the variable that has the world size, or None."""
    return next((names.world_size for names in LAUNCHERS if environ.get(names.world_size)), None)
