"""The rank of this process, the world size and the address of rank 0, from the variables that a launcher sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pgregistry.errors import ConfigError
from pgregistry.values import LARGEST, shown


@dataclass(frozen=True, slots=True)
class Variables:
    """Names of the variables that one launcher sets."""

    launcher: str
    rank: str
    world_size: str
    local_rank: str
    ranks_per_host: str


#: The first launcher whose rank and world size are both set counts.
LAUNCHERS: Final = (
    Variables("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    Variables("Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
    Variables("Open MPI", *(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))),
    Variables("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)


@dataclass(frozen=True, slots=True)
class Launch:
    """Values of a launcher's variables; `local_rank` and `ranks_per_host` are None if it does not set them."""

    launcher: str
    rank: int
    world_size: int
    local_rank: int | None
    ranks_per_host: int | None
    ranks_per_host_from: str


def read(environ: Mapping[str, str]) -> Launch | None:
    """Return rank and world size of this process, or None if no launcher started it.

    >>> launch = read({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
    >>> launch.launcher, launch.rank, launch.world_size, launch.ranks_per_host
    ('torchrun', 3, 8, 4)
    >>> read({}) is None
    True

    Raises:
        ConfigError: if a variable is not a number, or the rank is not below the world size.
    """
    for names in LAUNCHERS:
        if not (environ.get(names.rank) and environ.get(names.world_size)):
            continue
        rank, world_size = _number(environ, names.rank, 0), _number(environ, names.world_size, 1)
        if rank >= world_size:
            raise ConfigError(f"{names.rank} = {rank} (environment) must be below {names.world_size} = {world_size}.")
        local = _number(environ, names.local_rank, 0) if environ.get(names.local_rank) else None
        per_host = _number(environ, names.ranks_per_host, 1) if environ.get(names.ranks_per_host) else None
        return Launch(names.launcher, rank, world_size, local, per_host, names.ranks_per_host)
    return None


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
        raise ConfigError(
            f"{' and '.join(names)} (environment) must be set together with the other variables of a launcher, for the "
            f"rank of this process is not known (known launchers: {known}; others may set RANK and WORLD_SIZE).\n"
            f"Start it with torchrun --nproc-per-node N …, or unset {' and '.join(names)} for a world of 1."
        )
    return Launch("nobody", 0, 1, 0, None, "")


def local_rank(environ: Mapping[str, str], rank: int, size: int) -> int | None:
    """Return the local rank that a launcher set, or None if it set none, or other ranks than the world has.

    >>> local_rank({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, 3, 8)
    1
    """
    try:
        launch = read(environ)
    except ConfigError:
        return None
    return launch.local_rank if launch and (launch.rank, launch.world_size) == (rank, size) else None


def world_size(environ: Mapping[str, str]) -> int | None:
    """Return the world size in the environment, or None; the rank need not be set.

    >>> world_size({"SLURM_NTASKS": "16"})
    16

    Raises:
        ConfigError: if the variable is not a number.
    """
    for names in LAUNCHERS:
        if environ.get(names.world_size):
            return _number(environ, names.world_size, 1)
    return None


def rendezvous_address(launch: Launch, environ: Mapping[str, str]) -> tuple[str, int]:
    """Return host name and port at which all ranks meet.

    >>> environ = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "host0", "MASTER_PORT": "29500"}
    >>> launch = read(environ)
    >>> rendezvous_address(launch, environ)
    ('host0', 29500)

    Raises:
        ConfigError: if MASTER_ADDR or MASTER_PORT is not set (with the line to add), or the port cannot be one.
    """
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]:
        pronoun = "them" if len(missing) > 1 else "it"
        # torchrun sets all four, so its variables were set without it.
        by_hand = launch.launcher == "torchrun"
        why = "RANK and WORLD_SIZE are set without" if by_hand else f"{launch.launcher} does not set"
        first_host = '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
        way_out = f"export MASTER_PORT=29500 MASTER_ADDR={first_host if launch.launcher == 'Slurm' else 'host0'}"
        rule = f"{' and '.join(missing)} (environment) must be the address of rank 0 on every rank"
        raise ConfigError(f"{rule}; {why} {pronoun}. Set both:\n  {way_out}")
    least = 0 if launch.world_size == 1 else 1  # a rank alone can take any free port
    return environ["MASTER_ADDR"], _number(environ, "MASTER_PORT", least, 65535)


def _number(environ: Mapping[str, str], name: str, least: int, most: int = LARGEST) -> int:
    text = environ[name]
    # Python refuses to read thousands of digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 30 and least <= int(text) <= most):
        raise ConfigError(f"{name} = {shown(text)} (environment) must be a whole number from {least} to {most}.")
    return int(text)
