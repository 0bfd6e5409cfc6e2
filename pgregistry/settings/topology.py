"""Which host is in which domain: from a file of names, or from what Slurm says of its switches and blocks."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pgregistry.errors import ConfigError
from pgregistry.settings.launchers.slurm import STEP_HOSTS, host_names
from pgregistry.values import shown

#: Names that an error shows.
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Topology:
    r"""The hosts of a run in the order of their ranks, and the domain of each.

    >>> topology = read_topology("n1 rack1\nn2 rack2\nn3 rack1\nn4 rack2", "domains.txt")
    >>> topology.hosts_per_domain, topology.domain_by_domain
    (2, [0, 2, 1, 3])

    Attributes:
        hosts: The names of hosts.
        domains: The domain of each.
        origin: Where this comes from.
    """

    hosts: tuple[str, ...]
    domains: tuple[str, ...]
    origin: str

    @property
    def hosts_per_domain(self) -> int:
        """Return how many hosts each domain has.

        Raises:
            ConfigError: if domains are not equally large.
        """
        counts = Counter(self.domains)
        if len(set(counts.values())) > 1:
            few = ", ".join(f"{name} has {number}" for name, number in [*counts.items()][:SHOWN])
            more = ", …" * (len(counts) > SHOWN)
            raise ConfigError(f"{self.origin}: domains must have equally many hosts, but {few}{more}.")
        return counts[self.domains[0]]

    @property
    def domain_by_domain(self) -> list[int]:
        """Return the indices of hosts, those of one domain together, in the order in which domains come first."""
        place = {name: index for index, name in enumerate(dict.fromkeys(self.domains))}
        return sorted(range(len(self.hosts)), key=lambda host: place[self.domains[host]])


def open_topology(path: str, environ: Mapping[str, str] | None = None) -> Topology:
    """Return the topology in a file, or in standard input if the path is `-`.

    Raises:
        ConfigError: if it cannot be read, or is not a topology.
    """
    origin = f"--domains {path}"
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{origin} must be text in UTF-8.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ConfigError(f"{origin} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return read_topology(text, origin, os.environ if environ is None else environ)


def read_topology(text: str, origin: str, environ: Mapping[str, str] | None = None) -> Topology:
    r"""Return the topology of a text: a line `host domain` for each host, or what `scontrol show topology` prints.

    The lines of hosts are in the order of ranks. Of Slurm's topology the hosts of the job count, in its order.

    >>> read_topology("SwitchName=s1 Level=0 Nodes=n[1-2]\nSwitchName=s2 Level=0 Nodes=n[3-4]", "scontrol").domains
    ('s1', 's1', 's2', 's2')

    Args:
        text: The text.
        origin: What errors call it.
        environ: Environment variables, with Slurm's list of hosts if there is one.

    Raises:
        ConfigError: if a line is neither, a host is in two domains, or Slurm's topology lacks hosts of the job.
    """
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise ConfigError(f"{origin} must have a line `host domain` for each host, but it is empty.")
    if not any("=" in word for word in lines[0]):
        for words in lines:
            if len(words) != 2:
                raise ConfigError(f"{origin}: {shown(' '.join(words))} must be a host and its domain, as in: n1 rack1")
        found = _distinct(((host, domain) for host, domain in lines), origin)
        return Topology(tuple(found), tuple(found.values()), origin)
    found = _distinct(_of_slurm(lines, origin), origin)
    listed = next((name for name in STEP_HOSTS if environ and environ.get(name)), None)
    hosts = list(found) if listed is None or environ is None else host_names(environ[listed])
    if hosts is None:
        raise ConfigError(f"{listed} = {shown((environ or {})[listed or ''])} (environment) must be a list of hosts.")
    if missing := [host for host in hosts if host not in found]:
        few = f"{', '.join(missing[:SHOWN])}{', …' * (len(missing) > SHOWN)}"
        raise ConfigError(f"{origin} must have every host of the job, but {few} ({listed}) is on no switch of it.")
    return Topology(tuple(hosts), tuple(found[host] for host in hosts), origin)


def _of_slurm(lines: Iterable[list[str]], origin: str) -> Iterable[tuple[str, str]]:
    """Yield each host and the block or the lowest switch that it is on."""
    for words in lines:
        fields = dict(word.partition("=")[::2] for word in words)
        name = fields.get("SwitchName") or fields.get("BlockName")
        if (not name and "AggregatedBlock" in fields) or fields.get("Switches") or fields.get("Level", "0") != "0":
            continue  # above the switches of hosts
        hosts = host_names(fields.get("Nodes", ""))
        if not name or hosts is None:
            form = "a line of `scontrol show topology`, as in: SwitchName=s1 Level=0 Nodes=n[1-2]"
            raise ConfigError(f"{origin}: {shown(' '.join(words))} must be {form}")
        yield from ((host, name) for host in hosts)


def _distinct(pairs: Iterable[tuple[str, str]], origin: str) -> dict[str, str]:
    """Return the domain of each host, which must be named once."""
    found: dict[str, str] = {}
    for host, domain in pairs:
        if host in found:
            where = f"in {found[host]} and in {domain}" if found[host] != domain else f"twice in {domain}"
            raise ConfigError(f"{origin}: host {shown(host)} must be named once, but it is {where}.")
        found[host] = domain
    return found
