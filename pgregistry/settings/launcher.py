"""Which rank of how many this process is, from the environment that its launcher set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pgregistry.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Variables:
    """How one launcher calls the four numbers."""

    launcher: str
    rank: str
    world_size: str
    local_rank: str
    ranks_per_host: str


#: The first launcher whose rank and world size are both set is taken.
LAUNCHERS: Final = (
    Variables("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    Variables("Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
    Variables(
        "Open MPI",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    Variables("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)


@dataclass(frozen=True, slots=True)
class Launch:
    """What the launcher said: `local_rank` and `ranks_per_host` are None where it did not."""

    launcher: str
    rank: int
    world_size: int
    local_rank: int | None
    ranks_per_host: int | None
    ranks_per_host_from: str


def read(environ: Mapping[str, str]) -> Launch | None:
    """The place of this process, or None outside every launcher.

    >>> launch = read({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
    >>> launch.launcher, launch.rank, launch.world_size, launch.ranks_per_host
    ('torchrun', 3, 8, 4)
    >>> read({}) is None
    True

    Raises:
        ConfigError: if a variable is not a number, or the rank is not in the world.
    """
    for names in LAUNCHERS:
        if not (environ.get(names.rank) and environ.get(names.world_size)):
            continue
        rank, world_size = _number(environ, names.rank, 0), _number(environ, names.world_size, 1)
        if rank >= world_size:
            raise ConfigError(
                f"{names.rank}={rank} is out of range for {names.world_size}={world_size} (set by {names.launcher})."
            )
        local = _number(environ, names.local_rank, 0) if environ.get(names.local_rank) else None
        per_host = _number(environ, names.ranks_per_host, 1) if environ.get(names.ranks_per_host) else None
        return Launch(names.launcher, rank, world_size, local, per_host, names.ranks_per_host)
    return None


def world_size(environ: Mapping[str, str]) -> int | None:
    """The world size that the environment says, or None; a rank is not needed."""
    for names in LAUNCHERS:
        if environ.get(names.world_size):
            return _number(environ, names.world_size, 1)
    return None


def rendezvous_advice(launch: Launch, environ: Mapping[str, str]) -> str | None:
    """What to set so that the ranks find each other; None if it is set."""
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
    if not missing:
        return None
    advice = f"{' and '.join(missing)} must say where rank 0 is ({launch.launcher} does not)"
    if launch.launcher == "Slurm":
        return (
            f"{advice}: export MASTER_PORT=29500 "
            'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
        )
    return f"{advice}: for example MASTER_ADDR=host0 MASTER_PORT=29500"


def _number(environ: Mapping[str, str], name: str, least: int) -> int:
    text = environ[name]
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ConfigError(f"{name}={text!r} in the environment is not a whole number from {least}.")
    return int(text)
