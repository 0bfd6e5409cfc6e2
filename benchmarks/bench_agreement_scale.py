"""Let thousands of simulated ranks agree over one TCPStore, and real ones among them: time, calls and bytes of a rank.

    python benchmarks/bench_agreement_scale.py [WORLD …]

A simulated rank is a thread with a connection of its own that runs the agreement of `init`. Only the thread that `init`
makes for each call is left out. The last ranks are processes that call `init`: with ranks that agree, it is stopped
where it would start the world. The peers are as many clients, which make two calls each, in the same run.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

import measure
import torch.distributed as dist
import worlds

WORLDS = (1000, 5000)
ROUNDS = 3
#: Processes that ranks are threads of, and ranks that are processes.
PROCESSES = 4
REAL = 3
#: Seconds for which ranks wait for one that does not come.
PATIENCE = 4.0
#: Kinds of a round: ranks that connect, clients that are not ranks, ranks that all agree, one that differs, and one
#: that does not come.
CONNECT, PEER, AGREE, DIFFER, MISSING = "connect", "peer", "agree", "differ", "missing"
#: Seconds in which a rank or a client must be done.
LONGEST = 120
#: Where Linux has the bytes that a connection has sent and received, in what it says of it.
ACKNOWLEDGED, RECEIVED = 120, 128


@dataclass(frozen=True)
class Round:
    """A round of all ranks.

    Attributes:
        seconds: From the start until the last rank knew.
        server: CPU seconds of the process that hosts the store.
        real: Seconds until the slowest real rank knew.
        calls: Store calls of the busiest simulated rank.
        cpu: CPU seconds of a simulated rank, the middle one.
        sent, received: Bytes of the simulated ranks, by rank.
        keys, held: What the store holds more than before: keys, and bytes of those that all ranks share.
        texts: How many texts ranks raised.
    """

    seconds: float
    server: float
    real: float
    calls: int
    cpu: float
    sent: list[int]
    received: list[int]
    keys: int
    held: int
    texts: int


class Answer(NamedTuple):
    """The end of a round for one rank: when it knew, what it raised, and its store calls and CPU seconds until then."""

    known: float
    text: str
    calls: int = 0
    cpu: float = 0.0


# Processes.


def serve(pipe: Connection) -> None:
    """Host a store, and answer what it holds and has cost."""
    from pgregistry.coordination.meeting.claim import OPEN, START, Claim

    allow_descriptors()
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    pipe.send(store.port)
    while (token := pipe.recv()) is not None:
        if token:
            claim = Claim("", token=token)
            store.set(OPEN, claim.encode())
        shared = [
            f"{claim.token}/{START}/all/1/{name}"
            for name in ("tally", "agreement", "roster", "reference", "comparison")
        ]
        held = sum(len(key) + len(store.get(key)) for key in shared if store.check([key]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send((used.ru_utime + used.ru_stime, store.num_keys(), held))


def simulate(pipe: Connection, ranks: range, world: int, port: int) -> None:
    """Be some ranks, each a thread, in one round after another."""
    allow_descriptors()
    threading.stack_size(1 << 19)
    sys.setswitchinterval(1)  # or each of the threads that wait for the interpreter would wake every 5 ms
    pipe.send("here")
    pipe.recv()
    links = dict(zip(ranks, in_threads(lambda _: connect(port), ranks), strict=True))
    pipe.send(time.monotonic())
    while (message := pipe.recv()) is not None:
        kind, token = message
        act = client if kind == PEER else rank_of(kind, world)
        started, before = threading.Event(), traffic(port)

        def one(rank: int, act: Any = act, token: str = token, started: threading.Event = started) -> Any:
            started.wait(LONGEST)
            return act(dist.PrefixStore(token, links[rank][1]), rank, world)

        def go(started: threading.Event = started) -> None:
            pipe.send("ready")
            pipe.recv()
            started.set()

        answers = in_threads(one, ranks, go)
        after = traffic(port)
        moved = [(after[fd].sent - link.sent, after[fd].received - link.received) for fd, link in before.items()]
        used = [one for one in moved if any(one)]  # the other connection of each rank is for torch
        pipe.send((answers, *([one[way] for one in used] for way in (0, 1))))


def real(pipe: Connection, rank: int, world: int, port: int) -> None:
    """Be one rank that calls `init`, in one round after another."""
    import pgregistry
    from pgregistry.runtime import initialize

    os.environ.update(place(world, port), RANK=str(rank))
    agreed: list[float] = []
    pipe.send("here")
    pipe.recv()

    def stop(*_: Any) -> None:
        agreed.append(time.monotonic())
        raise SystemError("stopped where the world would start")

    initialize.start_default_group = stop
    pipe.send(time.monotonic())
    while (message := pipe.recv()) is not None:
        kind, _ = message
        pipe.send("ready")
        pipe.recv()
        try:
            if kind != PEER:
                pgregistry.init(**settings(kind, odd=False))
        except SystemError:
            pipe.send(Answer(agreed.pop(), "go"))
        except pgregistry.PlanMismatch as error:
            pipe.send(Answer(time.monotonic(), str(error)))
        else:
            pipe.send(Answer(time.monotonic(), ""))


def place(world: int, port: int) -> dict[str, str]:
    """Return the variables of a launcher that all ranks share."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    return {**shared, "LOCAL_WORLD_SIZE": "8", "LOCAL_RANK": "0"}


def settings(kind: str, *, odd: bool) -> dict[str, Any]:
    """Return what a rank gives `init`."""
    tensor = 4 if odd and kind == DIFFER else 2
    return {"tensor": tensor, "agree_timeout": PATIENCE if kind == MISSING else LONGEST, "backend": "gloo"}


# What a thread does.


def client(store: Any, rank: int, world: int) -> Answer:
    """Write 32 bytes and wait; the first client reads what all have written, and ends the wait."""
    store.compare_set(f"peer/{rank}", "", f"{rank:032}")
    if rank == 0:
        there = world - REAL
        store.multi_get([f"peer/{other}" for other in range(there)])
        store.set("peer done", "")
    store.wait(["peer done"], timedelta(seconds=LONGEST))
    return Answer(time.monotonic(), "", 2, time.thread_time())


def rank_of(kind: str, world: int) -> Callable[[Any, int, int], Answer]:
    """Return what a rank does in a round: the agreement of `init`, with the proposal that `init` would make."""
    from pgregistry import PlanMismatch
    from pgregistry.coordination.agreement import Agreement
    from pgregistry.coordination.meeting.claim import START
    from pgregistry.coordination.store.connections import StoreClient
    from pgregistry.coordination.store.scoped_store import ScopedStore
    from pgregistry.runtime.arguments import Arguments
    from pgregistry.runtime.attempt import Attempt
    from pgregistry.runtime.process import ProcessInfo
    from pgregistry.settings.launchers import launcher

    class Client(StoreClient):
        """Calls of this thread, without a thread for each."""

        calls = 0

        def _run(self, question: Any, seconds: float) -> Any:
            self.calls += 1
            return question()

    os.environ.update(place(world, 1))
    launch = launcher.read({**os.environ, "RANK": "0"})

    def process(rank: int, store: Any) -> ProcessInfo:
        client = Client(store, timeout=dist.default_pg_timeout)
        return ProcessInfo(rank, world, store, client, owns_world=True, hosts=False, launch=launch)

    odd_rank, absent = world // 2, world // 3
    attempts = [Attempt.at(process(0, None), Arguments(settings(kind, odd=odd))) for odd in (False, True)]
    proposals = [attempt.proposal(process(0, None)) for attempt in attempts]

    def agree(store: Any, rank: int, world: int) -> Answer:
        if kind == MISSING and rank == absent:
            return Answer(time.monotonic(), "", 0, 0)
        mine, odd = process(rank, store), kind == DIFFER and rank == odd_rank
        scope = ScopedStore.open(store, rank, range(world), everybody=True, below=START, client=mine.client)
        arrivals = mine.arrivals(scope, attempts[odd].plan())
        agreement = Agreement(scope, proposals[odd], settings(kind, odd=odd)["agree_timeout"], arrivals)
        text = "go"
        try:
            agreement.reach()
        except PlanMismatch as error:
            text = str(error)
        known, calls, cpu = time.monotonic(), mine.client.calls, time.thread_time()
        if text != "go":
            agreement.leave(hosts=False)
        return Answer(known, text, calls, cpu)

    return agree


def connect(port: int) -> tuple[Any, Any]:
    """Connect as `init` does: find out whether the store listens, and then over two connections that stay."""
    from pgregistry.coordination.store.connections import knock

    knock("127.0.0.1", port, LONGEST)
    patience = timedelta(seconds=LONGEST)
    store = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False, timeout=patience)
    return store, store.clone()


def in_threads(act: Callable[[int], Any], items: Sequence[int], go: Callable[[], None] = lambda: None) -> list[Any]:
    """Return what a function returns for each item, each in a thread; `go` is called when all threads run."""
    answers: dict[int, Any] = {}

    def run(item: int) -> None:
        try:
            answers[item] = act(item)
        except BaseException as error:
            answers[item] = error

    threads = [threading.Thread(target=run, args=(item,), daemon=True) for item in items]
    for thread in threads:
        thread.start()
    go()
    until = time.monotonic() + LONGEST
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    for error in answers.values():
        if isinstance(error, BaseException):
            raise error
    return [answers[item] for item in items]


def allow_descriptors() -> None:
    """Allow this process as many open files as the system lets it have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Link(NamedTuple):
    """A connection of this process: the ports of its ends, and its bytes as the kernel counts them."""

    local: int
    remote: int
    sent: int
    received: int


def links() -> dict[int, Link]:
    """Return each connection of this process over IP, by its descriptor."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        one = None
        try:
            one = socket.socket(fileno=int(name))
            if one.family in (socket.AF_INET, socket.AF_INET6):
                told = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
                moved = (struct.unpack_from("<Q", told, place)[0] for place in (ACKNOWLEDGED, RECEIVED))
                found[int(name)] = Link(one.getsockname()[1], one.getpeername()[1], *moved)
        except OSError:  # it is not a socket, or it listens, or another thread has closed it
            continue
        finally:
            if one is not None:
                one.detach()
    return found


def traffic(port: int) -> dict[int, Link]:
    """Return each connection of this process to a port."""
    return {descriptor: link for descriptor, link in links().items() if link.remote == port}


# All of it.


def rounds(world: int, kinds: Sequence[str]) -> list[Round]:
    """Return the round in which all connect, and one of each of these kinds."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    os.environ.update(RES_OPTIONS="attempts:0", GLOO_SOCKET_IFNAME="lo")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(worlds.IMPORTED))
    started: list[Any] = []

    def start(act: Callable[..., None], *arguments: Any) -> Connection:
        ours, theirs = context.Pipe()
        started.append(context.Process(target=act, args=(theirs, *arguments), daemon=True))
        started[-1].start()
        return ours

    try:
        server = start(serve)
        port, simulated = answer(server), world - REAL
        each = -(-simulated // PROCESSES)
        shares = [range(first, min(first + each, simulated)) for first in range(0, simulated, each)]
        pipes = [start(simulate, share, world, port) for share in shares]
        pipes += [start(real, rank, world, port) for rank in range(simulated, world)]
        for pipe in pipes:
            answer(pipe)
        connecting = connect_all(server, pipes)
        return [connecting, *(one_round(server, pipes, kind, f"round{number}") for number, kind in enumerate(kinds))]
    finally:
        for process in started:
            process.kill()


def connect_all(server: Connection, pipes: Sequence[Connection]) -> Round:
    """Let all ranks connect."""
    server.send("connecting")
    cpu, _, _ = answer(server)
    begun = time.monotonic()
    for pipe in pipes:
        pipe.send("go")
    connected = max(answer(pipe) for pipe in pipes)
    server.send("")
    return Round(connected - begun, answer(server)[0] - cpu, 0, 0, 0, [0], [0], 0, 0, 0)


def one_round(server: Connection, pipes: Sequence[Connection], kind: str, token: str) -> Round:
    """Return a round, whose keys are below a token of its own."""
    server.send(token)
    cpu, keys, _ = answer(server)
    for pipe in pipes:
        pipe.send((kind, token))
    for pipe in pipes:
        answer(pipe)
    begun = time.monotonic()
    for pipe in pipes:
        pipe.send("go")
    answers = [answer(pipe) for pipe in pipes]
    simulated = [one for told, _, _ in answers[:-REAL] for one in told]
    known = [*simulated, *answers[-REAL:]] if kind != PEER else simulated
    server.send("")
    cpu_after, keys_after, held = answer(server)
    sent, received = ([one for told in answers[:-REAL] for one in told[way]] for way in (1, 2))
    return Round(
        seconds=max(one.known for one in known) - begun,
        server=cpu_after - cpu,
        real=max(one.known for one in answers[-REAL:]) - begun,
        calls=max(one.calls for one in simulated),
        cpu=median(one.cpu for one in simulated),
        sent=sent,
        received=received,
        keys=keys_after - keys,
        held=held,
        texts=len({one.text for one in known} - {""}),
    )


def answer(pipe: Connection) -> Any:
    if not pipe.poll(LONGEST + 60):
        raise SystemExit("a process of the benchmark does not answer")
    return pipe.recv()


def series(world: int) -> dict[str, list[Round]]:
    """Return the rounds of each kind, which take turns."""
    kinds = [PEER, AGREE, DIFFER] * ROUNDS + [MISSING]
    found: dict[str, list[Round]] = {kind: [] for kind in (CONNECT, *kinds)}
    for kind, one in zip((CONNECT, *kinds), rounds(world, kinds), strict=True):
        found[kind].append(one)
    return found


def middle(found: Sequence[Round], of: Callable[[Round], float]) -> float:
    return median(map(of, found))


def until_known(kind: str, found: Sequence[Round]) -> float:
    """Return the seconds until all ranks knew, or if one does not come, until then from the end of their patience."""
    return middle(found, lambda one: one.seconds) - (PATIENCE if kind == MISSING else 0)


def main() -> None:
    names = {
        CONNECT: "ranks connect",
        PEER: "each client writes 32 bytes and waits",
        AGREE: "ranks agree",
        DIFFER: "one rank differs: all raise",
        MISSING: f"one rank does not come: all raise, {PATIENCE:g} s later",
    }
    for world in [int(word) for word in sys.argv[1:]] or WORLDS:
        begun, load = time.monotonic(), os.getloadavg()[0]
        found = series(world)
        peer = found[PEER]
        times, moved = [], []
        for kind, name in names.items():
            these, late = found[kind], until_known(kind, found[kind])
            cpu, asks = middle(these, lambda one: one.server), kind not in (CONNECT, PEER)
            times.append(
                (
                    name,
                    measure.duration(late),
                    f"{late / middle(peer, lambda one: one.seconds):.1f} ×",
                    measure.duration(cpu),
                    f"{cpu / middle(peer, lambda one: one.server):.1f} ×",
                    measure.duration(middle(these, lambda one: one.cpu)),
                    measure.duration(middle(these, lambda one: one.real)) if asks else "",
                    str(max(one.texts for one in these)) if asks else "",
                )
            )
            moved.append(
                (
                    name,
                    str(max(one.calls for one in these)),
                    f"{middle(these, lambda one: median(one.sent)):,.0f}",
                    f"{max(max(one.sent) for one in these):,}",
                    f"{middle(these, lambda one: median(one.received)):,.0f}",
                    f"{max(max(one.received) for one in these):,}",
                    f"{middle(these, lambda one: one.keys):,.0f}",
                    f"{middle(these, lambda one: one.held) / 1024:.0f} KiB",
                )
            )
        ranks = f"{world:,} ranks, {REAL} of them real"
        notes = (
            "Aim: agreeing and refusing take at most 2 × as long as the peer; at most 1 KiB sent a rank that agrees.",
            f"Load {load:.1f} before; {time.monotonic() - begun:.0f} s; at most {memory():.0f} MiB in one process.",
        )
        heads = (
            ranks,
            "until all know",
            "÷ clients",
            "CPU of the store",
            "÷ clients",
            "CPU of a rank",
            "real",
            "texts",
        )
        measure.show("Agreement at scale: time", heads, times, *notes)
        sides = ("sent, middle", "most", "read, middle", "most", "new keys", "all ranks' keys")
        measure.show("Agreement at scale: of one rank, in bytes", (ranks, "store calls", *sides), moved)


def memory() -> float:
    """Return the most memory that a process of this benchmark has had, in MiB."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


if __name__ == "__main__":
    main()
