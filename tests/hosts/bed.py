"""A test bed of several hosts on one machine: network namespaces on a bridge, with links that can be slow or down.

    with hosts(3, rate="300mbit") as bed:
        bed.slow(1, "100mbit")
        for result in bed.torchrun("-m", "pgregistry", "smoke", "tensor=2", nproc=2):
            print(result.code, result.stdout)

A host has its own links, host name, /etc/hosts and processes. It is held by one process, which is
held by that of the bed: when that ends, however it ends, the kernel removes all of it. Nothing of
the machine's own network is touched, and every bed may use the same addresses.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holder import BedError, Holder

TOOLS: Final = ("ip", "tc", "unshare", "nsenter", "setpriv", "mount", "hostname")
PORT: Final = 29500
#: A hardware address that nobody has.
NOBODY: Final = "02:00:00:00:00:99"
ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth0"}


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a command on one host.

    Attributes:
        code: Its exit status; None if it was still running at the timeout.
        stdout: What it printed.
        stderr: What it complained of.
        seconds: How long it took.
    """

    code: int | None
    stdout: str
    stderr: str
    seconds: float


class Job:
    """A command that runs on several hosts at once."""

    def __init__(
        self, processes: Mapping[int, subprocess.Popen[bytes]], folder: Path, stop: Callable[[int], None]
    ) -> None:
        self._processes = processes
        self._folder = folder
        self._stop = stop
        self._begun = time.monotonic()

    def until(self, happened: Callable[[], bool], timeout: float = 60) -> None:
        """Wait for something while it runs; TimeoutError with what it said if that does not come."""
        begun = time.monotonic()
        while not happened():
            ended = all(process.poll() is not None for process in self._processes.values()) and not happened()
            if ended or time.monotonic() > begun + timeout:
                raise TimeoutError("\n".join(result.stderr[-2000:] for result in self.wait(0)))
            time.sleep(0.02)

    def wait(self, timeout: float = 60) -> list[Result]:
        """Return what it did on each host, in their order; kill it on hosts that are not done in time."""
        ended: dict[int, float] = {}
        while len(ended) < len(self._processes) and time.monotonic() < self._begun + timeout:
            for host, process in self._processes.items():
                if host not in ended and process.poll() is not None:
                    ended[host] = time.monotonic() - self._begun
            time.sleep(0.02)
        for host in self._processes.keys() - ended.keys():
            self._stop(host)
            self._processes[host].wait()
        return [
            Result(
                process.returncode if host in ended else None,
                (self._folder / f"{host}.out").read_text(encoding="utf-8", errors="replace"),
                (self._folder / f"{host}.err").read_text(encoding="utf-8", errors="replace"),
                ended.get(host, timeout),
            )
            for host, process in self._processes.items()
        ]


@dataclass
class Bed:
    """Some hosts on one bridge; made by `hosts`."""

    switch: Holder
    machines: Sequence[Holder]
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _jobs: int = field(default=0)

    @staticmethod
    def address(host: int) -> str:
        """Return the address of a host, for all of them."""
        return f"10.0.0.{host + 1}"

    def slow(self, host: int, rate: str) -> None:
        """Let a host send and receive no faster than this, in tc's words: "100mbit"."""
        bucket = ("root", "tbf", "rate", rate, "burst", "128kb", "latency", "50ms")
        self.machines[host].run("tc", "qdisc", "replace", "dev", "eth0", *bucket)
        self.switch.run("tc", "qdisc", "replace", "dev", f"port{host}", *bucket)

    def down(self, host: int) -> None:
        """Pull the cable of a host: nobody is told, nothing is refused, nothing arrives."""
        self.switch.run("ip", "link", "set", f"port{host}", "down")

    def up(self, host: int) -> None:
        """Plug the cable in again."""
        self.switch.run("ip", "link", "set", f"port{host}", "up")

    def part(self, one: int, other: int, *, parted: bool = True) -> None:
        """Let nothing arrive between two hosts, which reach all others; or let it arrive again."""
        for here, there in ((one, other), (other, one)):
            neighbour = ("neigh", "replace", self.address(there), "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")
            again = ("neigh", "del", self.address(there), "dev", "eth0")
            self.machines[here].run("ip", *(neighbour if parted else again))

    def kill(self, host: int) -> None:
        """Kill all processes of a host; the host stays, so it says that their connections are closed."""
        self.machines[host].run("sh", "-c", "kill -KILL -1 || true")

    def start(
        self, commands: Mapping[int, Sequence[str]], *, env: Mapping[int, Mapping[str, str]] | None = None, cwd: Path
    ) -> Job:
        """Start a command on each of some hosts."""
        self._jobs += 1
        folder = self.folder / f"job{self._jobs}"
        folder.mkdir()
        processes = {}
        for host, command in commands.items():
            with open(folder / f"{host}.out", "w") as out, open(folder / f"{host}.err", "w") as err:
                processes[host] = subprocess.Popen(
                    (*self.machines[host].enter, "env", "--chdir", str(cwd), *command),
                    env={**os.environ, **ENVIRONMENT, **(env or {}).get(host, {})},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
        self.started += processes.values()
        return Job(processes, folder, self.kill)

    def ranks(self, *program: str, cwd: Path) -> Job:
        """Start one rank on each host, without an agent; the first one has the store."""
        count = str(len(self.machines))
        shared = {"WORLD_SIZE": count, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": self.address(0)}
        env = {
            host: {**shared, "MASTER_PORT": str(PORT), "RANK": str(host), "GROUP_RANK": str(host)}
            for host in range(len(self.machines))
        }
        return self.start(dict.fromkeys(env, (sys.executable, *program)), env=env, cwd=cwd)

    def launch(
        self,
        *program: str,
        nproc: int = 1,
        on: Sequence[int] | None = None,
        nnodes: str | None = None,
        static: bool = False,
        first: int | None = None,
        options: Sequence[str] = (),
        env: Mapping[int, Mapping[str, str]] | None = None,
        cwd: Path | None = None,
    ) -> Job:
        """Start one torchrun agent on each host.

        Args:
            program: A script or `-m module`, and its arguments.
            nproc: How many ranks a host has.
            on: The hosts; all by default. The first one has the rendezvous.
            first: The host that has it, if it was started before.
            nnodes: torchrun's `--nnodes`, where it is not the number of hosts.
            static: Whether hosts are numbered beforehand, instead of by the c10d rendezvous.
            options: More of torchrun's options.
            env: Environment variables of single hosts.
            cwd: Where it runs; all hosts see the same files.
        """
        chosen = range(len(self.machines)) if on is None else on
        first_host = chosen[0] if first is None else first
        address = self.address(first_host)
        commands = {}
        for position, host in enumerate(chosen):
            if static:
                meet = ("--node-rank", str(position), "--master-addr", address, "--master-port", str(PORT))
            else:
                # A host that is lost is given up after 3 s, and one that could still come is waited for as long.
                how = f"is_host={int(host == first_host)},keep_alive_interval=1,last_call_timeout=3"
                meet = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{address}:{PORT}", "--rdzv-conf", how)
            agent = ("-m", "torch.distributed.run", "--rdzv-id", "bed", "--nnodes", nnodes or str(len(chosen)))
            commands[host] = (
                *(sys.executable, *agent),
                *("--nproc-per-node", str(nproc), "--local-addr", self.address(host), *meet, *options, *program),
            )
        return self.start(commands, env=env, cwd=cwd or self.folder)

    def torchrun(self, *program: str, timeout: float = 60, **how: object) -> list[Result]:
        """`launch` and wait: what each agent did."""
        return self.launch(*program, **how).wait(timeout)  # type: ignore[arg-type]


@contextmanager
def hosts(count: int, rate: str | None = None) -> Iterator[Bed]:
    """Yield some hosts on one bridge, all with links of the same speed; remove them at the end of the block.

    Raises:
        BedError: where the machine does not allow it, with what it said.
    """
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise BedError(f"{' and '.join(missing)} (util-linux, iproute2) are not installed")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgregistry-hosts-")))
        names = folder / "hosts"
        # torch looks up who connects, as an IPv4 address in IPv6: where nobody answers, that can take 5 s.
        known = [f"{form}{Bed.address(host)} host{host}" for host in range(count) for form in ("", "::ffff:")]
        lines = ["127.0.0.1 localhost", *known]
        names.write_text("\n".join(lines) + "\n", encoding="utf-8")
        started: list[subprocess.Popen[bytes]] = []
        stack.callback(lambda: [process.wait() for process in started])  # when all of it is killed
        switch = stack.enter_context(Holder.start("switch", names))
        switch.run("ip", "-batch", "-", lines=["link add bridge type bridge", "link set bridge up"])
        machines = []
        for host in range(count):
            machine = stack.enter_context(Holder.start(f"host{host}", names, switch.enter))
            port = f"port{host}"
            links = [
                f"link add {port} type veth peer name eth0 netns {machine.pid}",
                f"link set {port} master bridge up",
            ]
            switch.run("ip", "-batch", "-", lines=links)
            machine.run("ip", "-batch", "-", lines=[f"address add {Bed.address(host)}/24 dev eth0", "link set eth0 up"])
            machines.append(machine)
        bed = Bed(switch, machines, folder, started)
        for host in range(count) if rate else ():
            bed.slow(host, rate or "")
        yield bed


@functools.cache
def why_not() -> str | None:
    """Return why this machine cannot have a bed, found out by trying; None if it can."""
    try:
        with hosts(2) as bed:
            bed.slow(1, "100mbit")
            bed.down(1)
            bed.up(1)
    except (BedError, OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces for several hosts here: {error}"
    return None
