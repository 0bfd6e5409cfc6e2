"""The address at which all ranks meet: MASTER_ADDR and MASTER_PORT, or what the launcher's variables say of hosts."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pgregistry.errors import ConfigError
from pgregistry.settings.launchers import slurm
from pgregistry.settings.launchers.launcher import Launch
from pgregistry.settings.launchers.number import read_number
from pgregistry.values import shown

log = logging.getLogger("pgregistry.plan")

#: Ports that are made of the number of a job: below those that systems give to connections.
FIRST_PORT: Final = 20000
PORTS: Final = 9000
#: The address of a host for itself.
LOOPBACK: Final = "127.0.0.1"


def rendezvous_address(launch: Launch, environ: Mapping[str, str]) -> tuple[str, int]:
    """Return host name and port at which all ranks meet.

    >>> from pgregistry.settings.launchers.launcher import read
    >>> environ = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "host0", "MASTER_PORT": "29500"}
    >>> rendezvous_address(read(environ), environ)
    ('host0', 29500)
    >>> environ = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2",
    ...            "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}
    >>> rendezvous_address(read(environ), environ)
    ('n1', 20219)

    Raises:
        ConfigError: if MASTER_ADDR or MASTER_PORT cannot be one, or is not set and cannot be found (with the line to
            add).
    """
    host = _host(launch, environ)
    port = _port(launch, environ)
    missing = [name for name, found in (("MASTER_ADDR", host), ("MASTER_PORT", port)) if found is None]
    if host is None or port is None:
        raise _missing(launch, missing)
    log.debug("ranks meet at %s (%s), port %d (%s)", *host, *port)
    return host[0], port[0]


def _host(launch: Launch, environ: Mapping[str, str]) -> tuple[str, str] | None:
    if environ.get("MASTER_ADDR"):
        return check_address(environ["MASTER_ADDR"]), "MASTER_ADDR"
    if "Slurm" in launch.agreeing:
        known = slurm.first_host(environ, slurm.STEP_HOSTS)
    else:
        known = slurm.first_host(environ, slurm.JOB_HOSTS) if _is_mpi(launch) else None
    if launch.one_host and (known or _is_mpi(launch)):
        return LOOPBACK, f"all ranks are on one host, {launch.ranks_per_host_from}"
    return (check_address(known[0], known[1]), f"first of {known[1]}") if known else None


def _port(launch: Launch, environ: Mapping[str, str]) -> tuple[int, str] | None:
    if environ.get("MASTER_PORT"):
        least = 0 if launch.world_size == 1 else 1  # a rank alone can take any free port
        return read_number(environ, "MASTER_PORT", least, 65535), "MASTER_PORT"
    numbers = [environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    if launch.launcher != "MPICH" and "Slurm" in launch.agreeing and numbers[0].isdecimal():
        # Steps of one job that run at once have ports of their own, and so have jobs that follow one another.
        seed = 31 * int(numbers[0]) + int(numbers[1] or 0) if (numbers[1] or "0").isdecimal() else 0
        return FIRST_PORT + seed % PORTS, "of SLURM_JOB_ID and SLURM_STEP_ID"
    if _is_mpi(launch) and (job := launch.job or _starter(launch)):
        return FIRST_PORT + zlib.crc32(job.encode()) % PORTS, f"of {job}"
    return None


def _is_mpi(launch: Launch) -> bool:
    return not {"Open MPI", "MPICH"}.isdisjoint(launch.agreeing)


def _starter(launch: Launch) -> str:
    """Return the process that started all ranks, if they are on one host: MPICH's variables do not name the job."""
    process = os.getppid()
    while launch.one_host and process > 1:
        try:
            name, _, rest = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").partition("(")[2].rpartition(") ")
        except OSError:
            return ""
        if name.startswith(("hydra", "mpiexec")):
            return f"{name} {process}"
        process = int(rest.split()[1])
    return ""


def check_address(text: str, name: str = "MASTER_ADDR") -> str:
    """Return a host name or an IP address.

    >>> check_address("fd00::1"), check_address("trainer-0.job")
    ('fd00::1', 'trainer-0.job')

    Raises:
        ConfigError: if it cannot be one, with what was probably meant.
    """
    if _can_be_address(text):
        return text
    bare = re.sub(r"^[a-z]+://|/.*$", "", text.strip())
    bare = found[1] if (found := re.fullmatch(r"\[(.*)\](?::\d+)?", bare)) else re.sub(r"^([^:]*):\d+$", r"\1", bare)
    hint = f" Did you mean {bare!r}?" if bare != text and _can_be_address(bare) else ""
    rule = "must be a host name or an IP address, without brackets, scheme or port (that is MASTER_PORT)"
    raise ConfigError(f"{name} = {shown(text)} (environment) {rule}.{hint}")


def _can_be_address(text: str) -> bool:
    if ":" in text:
        try:
            return ipaddress.ip_address(text).version == 6
        except ValueError:
            return False
    if re.fullmatch(r"[\d.]+", text, re.ASCII):
        try:
            return bool(socket.inet_aton(text))
        except OSError:
            return False
    labels = text.removesuffix(".").split(".")
    fits = len(text) <= 253 and all(0 < len(label) <= 63 for label in labels)
    return fits and re.fullmatch(r"[\w.-]+", text) is not None


def _missing(launch: Launch, missing: list[str]) -> ConfigError:
    pronoun = "them" if len(missing) > 1 else "it"
    # torchrun sets all four, so its variables were set without it.
    by_hand = launch.launcher == "torchrun"
    why = "RANK and WORLD_SIZE are set without" if by_hand else f"{launch.launcher} does not set"
    first_host = '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    way_out = f"export MASTER_PORT=29500 MASTER_ADDR={first_host if launch.launcher == 'Slurm' else 'host0'}"
    rule = f"{' and '.join(missing)} (environment) must be the address of rank 0 on every rank"
    return ConfigError(f"{rule}; {why} {pronoun}. Set both:\n  {way_out}")
