"""Runs in which one rank is killed, stopped, interrupted or slow at a random moment of `init`, and what came of each.

Used by tests as `run(count, seed)`; as a script it is the process that the ranks are forked from.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final, NoReturn

#: What happens to one rank.
DEEDS: Final = ("kill", "stop", "interrupt", "slow")
DONE: Final = {"kill": "killed", "stop": "stopped and continued", "interrupt": "interrupted", "slow": "slow"}
#: What must not come of a run, with its words in the table.
WRONG: Final = {
    "not begun": "ranks that did not start",
    "split": "some ranks return a context while others raise",
    "hang": "a rank hangs",
    "raw error": "another error than PlanMismatch and BuildError",
    "not proved": "a group that a collective does not prove",
    "retry failed": "a second `init` that fails",
    "left": "threads or descriptors that are left",
    "exit status": "an exit by a signal that nobody sent, or none",
}
PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN: Final = "<!-- random faults, written by `make soak` -->\n"
END: Final = "<!-- end of random faults -->\n"
#: agree_timeout and build_timeout of all ranks, in seconds.
PATIENCE: Final = 4
#: Timeout of the store of a world that is there. A thread that connects when its host dies ends after that.
STORE: Final = 5
#: Seconds after which a rank that has not answered hangs: both timeouts, and what a store that is silent may take.
HANGS: Final = 2 * PATIENCE + 32
#: Seconds after `init` begins until which the deed is done, at the latest.
MOMENT: Final = 0.5
HOOK: Final = """
import os, time
from pgregistry import hookimpl

@hookimpl
def pgregistry_ready(context):
    time.sleep(float(os.environ.get("SOAK_HOOK", "0")))
"""


@dataclass(frozen=True)
class Run:
    """One run: how many ranks there are, what is done to which, when (seconds), and what surrounds it.

    Attributes:
        size: How many ranks there are.
        victim: The rank to which the deed is done.
        deed: One of `DEEDS`.
        moment: Seconds after the beginning of `init`.
        pause: Seconds for which it is stopped.
        world: `own`, `of rank 0` or `of a server`: who starts the world and hosts its store.
        build: The value of PGREGISTRY_BUILD.
        hook: Seconds for which the hook `pgregistry_ready` sleeps; None if there is no such hook.
        retry: Whether all ranks (the living ones) call `init` again.
        when_used: Whether gloo connects two ranks when they first use a process group (TORCH_GLOO_LAZY_INIT).
    """

    size: int
    victim: int
    deed: str
    moment: float
    pause: float
    world: str
    build: str
    hook: float | None
    retry: bool
    when_used: bool

    @staticmethod
    def draw(chance: random.Random) -> Run:
        """Return a random run."""
        size = chance.randint(4, 8)
        return Run(
            size=size,
            victim=chance.choice((0, chance.randrange(size))),
            deed=chance.choice(DEEDS),
            moment=chance.uniform(0, MOMENT),
            pause=chance.choice((chance.uniform(0, 1), chance.uniform(PATIENCE - 1, PATIENCE + 4))),
            world=chance.choice(("own", "of rank 0", "of a server")),
            build=chance.choice(("name", "name", "public")),
            hook=chance.choice((None, None, 0.0, 0.1)),
            retry=chance.random() < 0.5,
            when_used=chance.random() < 0.5,
        )

    @property
    def retries(self) -> bool:
        """Return whether `init` can be called again: after a death only in a world and a store that live."""
        possible = self.build == "name" and (
            self.world == "of a server" or (self.world == "of rank 0" and self.victim != 0)
        )
        return self.retry and (self.deed != "kill" or possible)


def run(count: int, seed: int) -> Counter[str]:
    """Do random runs; return how often each of the outcomes of `judge` came. What is wrong is printed."""
    command = [sys.executable, __file__, str(count), str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        result = json.loads(line)
        found.update(["runs", *set(result["found"])])
        if result["wrong"]:
            print(line)
    return found


def table(found: Counter[str]) -> str:
    """Return what came of random runs as the rows of a table."""
    rows = {
        "runs": "runs",
        **{f"… with a rank that is {DONE[deed]}": deed for deed in DEEDS},
        "all living ranks return a context": "built",
        "… and the rank was killed or interrupted after the last word": "after the last word",
        "all living ranks raise": "refused",
        "all ranks (the living ones) call `init` again": "retried",
        **{f"**{words}**": kind for kind, words in WRONG.items()},
    }
    return "".join(f"| {words} | {found[kind]} |\n" for words, kind in rows.items())


def write_table(found: Counter[str]) -> None:
    """Write the table into docs/reliability.md."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}| | |\n|---|---|\n{table(found)}{END}{rest.split(END)[1]}", encoding="utf-8")


# --- what a rank does -------------------------------------------------------------------------------


def resources() -> tuple[set[str], set[str]]:
    """Return the threads and the descriptors of this process; a descriptor with what it is open for."""
    descriptors = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one with which the folder is read
            descriptors.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return set(os.listdir("/proc/self/task")), descriptors


def resources_left(before: tuple[set[str], set[str]]) -> list[str]:
    """Return the threads and descriptors that there are more than before, once nothing ends any more."""
    until = time.monotonic() + 3 * STORE
    while True:
        gc.collect()
        more = [sorted(now - then) for now, then in zip(resources(), before, strict=True)]
        if not any(more) or time.monotonic() > until:
            return [f"thread {thread}" for thread in more[0]] + [f"descriptor {one}" for one in more[1]]
        time.sleep(0.05)


def begun_before(error: BaseException) -> bool:
    """Return whether `init` had begun when this was raised: whether its first line was reached."""
    return any(
        frame.f_code.co_name == "_initialize" and line > frame.f_code.co_firstlineno
        for frame, line in traceback.walk_tb(error.__traceback__)
    )


def attempt(within: Sequence[int] | None) -> tuple[Any, list[Any]]:
    """Call `init`; return the context, or None, with what came of it: the outcome, the text, and the seconds."""
    import pgregistry

    begun = time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        context = pgregistry.init(tensor=1, agree_timeout=PATIENCE, build_timeout=PATIENCE, within=within)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not begun_before(error):
            return attempt(within)  # init had not begun, so this rank calls it as the others do
        return None, [type(error).__name__, str(error)[:300], time.monotonic() - begun]
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is to hit init alone
    return context, ["context", "", time.monotonic() - begun]


def live(rank: int, run: Run, port: int, pipe: Connection) -> None:
    """Be a rank: call `init`, say what came of it, and do what the driver asks for."""
    import torch.distributed as dist

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1)
    environ = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": run.size, "LOCAL_WORLD_SIZE": run.size}
    environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PGREGISTRY_BUILD": run.build}
    os.environ.update({name: str(value) for name, value in environ.items()})
    if run.hook is not None:
        os.environ["SOAK_HOOK"] = str(run.hook)
        sys.path.insert(0, os.environ["SOAK_FOLDER"])
    if run.world != "own":
        hosts = run.world == "of rank 0" and rank == 0
        store = dist.TCPStore(
            "127.0.0.1", port, run.size, is_master=hosts, wait_for_workers=False, timeout=timedelta(seconds=STORE)
        )
        dist.init_process_group("gloo", store=store, rank=rank, world_size=run.size)
    if run.when_used:  # not in a world that is there, whose connections would be left
        os.environ["TORCH_GLOO_LAZY_INIT"] = "1"
    # The first server of a process opens two descriptors that stay.
    dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    before, context = resources(), None
    pipe.send("ready")
    while (order := pipe.recv()) != "end":
        what, value = order
        if what == "init":
            context, answer = attempt(value)
        elif what == "verify":
            answer = ["verified"]
            if context is not None:
                context.verify()
        elif what == "close":
            if context is not None:
                context.close()
            context, answer = None, ["closed", *resources_left(before)]
        pipe.send(answer)


# --- what the driver does ---------------------------------------------------------------------------


class Ranks:
    """The forked ranks of one run."""

    def __init__(self, run: Run, port: int, log: Path) -> None:
        self.run = run
        self.pipes: dict[int, Connection] = {}
        self.ids: dict[int, int] = {}
        self.answered: set[int] = set()
        for rank in range(run.size):
            ours, theirs = Pipe()
            if (process := os.fork()) == 0:
                for pipe in (ours, *self.pipes.values()):
                    pipe.close()
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
                os.dup2(2, 1)
                live(rank, run, port, theirs)
                sys.exit(0)  # an ordinary end, with all that Python and torch do then
            theirs.close()
            self.pipes[rank], self.ids[rank] = ours, process

    def ask(self, order: Any) -> None:
        for rank in self.living():
            with suppress(OSError):  # it has died
                self.pipes[rank].send(order)

    def answers(self, seconds: float) -> dict[int, Any]:
        """Return the answers of all living ranks; None of a rank that dies, `hangs` of one that gives none in time."""
        found: dict[int, Any] = {}
        until = time.monotonic() + seconds
        while missing := {self.pipes[rank]: rank for rank in self.living() if rank not in found}:
            ready = wait(missing, max(until - time.monotonic(), 0))
            for pipe in ready:
                rank = missing[pipe]  # type: ignore[index]
                try:
                    found[rank] = pipe.recv()  # type: ignore[union-attr]
                    self.answered.add(rank)
                except (EOFError, OSError):
                    del self.pipes[rank]
                    found[rank] = None
            if not ready and time.monotonic() >= until:
                return found | dict.fromkeys(missing.values(), "hangs")
        return found

    def living(self) -> list[int]:
        return sorted(self.pipes)

    def end(self) -> dict[int, int]:
        """End all ranks; return the exit status of each."""
        self.ask("end")
        codes: dict[int, int] = {}
        until = time.monotonic() + 120
        while len(codes) < len(self.ids):
            for rank, process in self.ids.items():
                if rank not in codes and (found := os.waitpid(process, os.WNOHANG))[0]:
                    codes[rank] = os.waitstatus_to_exitcode(found[1])
            if time.monotonic() > until:
                for rank, process in self.ids.items():
                    if rank not in codes:
                        os.kill(process, signal.SIGUSR1)  # its stack goes into the log
                        time.sleep(0.2)
                        os.kill(process, signal.SIGKILL)
                        os.waitpid(process, 0)
                        codes[rank] = 1000  # it did not end by itself
            time.sleep(0.01)
        return codes


def do_deed(run: Run, ranks: Ranks) -> None:
    """Do what the run says to its victim, at its moment, unless `init` has ended there."""
    time.sleep(run.moment)
    if run.victim in ranks.answered:
        return
    process = ranks.ids[run.victim]
    match run.deed:
        case "kill":
            os.kill(process, signal.SIGKILL)
        case "interrupt":
            os.kill(process, signal.SIGINT)
        case "stop":
            os.kill(process, signal.SIGSTOP)
            time.sleep(run.pause)
            os.kill(process, signal.SIGCONT)
        case "slow":  # a tenth of its speed
            until = time.monotonic() + min(run.pause, 2)
            while time.monotonic() < until:
                os.kill(process, signal.SIGSTOP)
                time.sleep(0.045)
                os.kill(process, signal.SIGCONT)
                time.sleep(0.005)


def once(run: Run, log: Path) -> tuple[list[str], list[str]]:
    """Do one run; return what was found, by kind, and what is wrong, in words."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = _serve(port) if run.world == "of a server" else None
    ranks = Ranks(run, port, log)
    outcome = _follow(run, ranks)
    if server is not None:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    return outcome


def _serve(port: int) -> int:
    """Start a process that hosts a store, and return its id when it does."""
    ours, theirs = Pipe()
    if (process := os.fork()) == 0:
        import torch.distributed as dist

        store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
        theirs.send("up")
        signal.pause()
        del store
        os._exit(0)
    ours.recv()
    return process


def _follow(run: Run, ranks: Ranks) -> tuple[list[str], list[str]]:
    found, wrong = [run.deed], list[str]()
    if set(ranks.answers(60).values()) != {"ready"}:
        ranks.end()
        return ["not begun"], ["not begun"]
    ranks.answered.clear()
    deed = threading.Thread(target=do_deed, args=(run, ranks))
    ranks.ask(("init", None))
    deed.start()
    answers = ranks.answers(HANGS)
    deed.join()
    kinds = {rank: answer[0] if isinstance(answer, list) else str(answer) for rank, answer in answers.items()}
    excused = run.victim if run.deed in ("kill", "interrupt") else None
    others = {kind for rank, kind in kinds.items() if rank != excused}
    if "hangs" in kinds.values():
        wrong.append("hang")
    if "context" in others and others != {"context"}:
        wrong.append("split")
    if excused is not None and others == {"context"} and kinds[excused] != "context":
        found.append("after the last word")
    if not others <= {"context", "PlanMismatch", "BuildError", "hangs"}:
        wrong.append("raw error")
    if not isinstance(answers[run.victim], list):
        ranks.pipes.pop(run.victim, None)  # dead, or about to be
    found.append("built" if others == {"context"} else "refused")
    details = [f"{rank}: {answer}" for rank, answer in answers.items()]
    killed = run.deed == "kill" and not isinstance(answers[run.victim], list)
    if not wrong and others == {"context"} and kinds.get(run.victim) == "context":
        ranks.ask(("verify", None))
        if any(answer != ["verified"] for answer in ranks.answers(30).values()):
            wrong.append("not proved")
    ranks.ask(("close", None))
    left = ranks.answers(30)
    if run.retries and not wrong and all(isinstance(answer, list) for answer in left.values()):
        found.append("retried")
        living = ranks.living() if killed else None
        for order in (("init", living), ("verify", None), ("close", None)):
            ranks.ask(order)
            left = ranks.answers(HANGS)
            if order[0] == "init" and {answer[0] if answer else None for answer in left.values()} != {"context"}:
                wrong.append("retry failed")
                details += [f"retry {rank}: {answer}" for rank, answer in left.items()]
    if more := {
        rank: answer[1:] for rank, answer in left.items() if answer and answer[0] == "closed" and any(answer[1:])
    }:
        wrong.append("left")
        details.append(f"threads and descriptors left: {more}")
    codes = ranks.end()
    expected = (
        {0, -signal.SIGKILL} if run.deed == "kill" else {0, 1, -signal.SIGINT} if run.deed == "interrupt" else {0}
    )
    for rank, code in codes.items():
        if code not in (expected if rank == run.victim else {0}):
            wrong.append("exit status")
            details.append(f"rank {rank} ended with {code}")
    return found + wrong, [*wrong, *details] if wrong else []


def main(count: int, seed: int, only: int | None = None) -> NoReturn:
    """Do random runs, or only that of a number, and print a line of JSON for each."""
    import pgregistry.runtime.initialize  # noqa: F401 - once, so that no rank has to
    from pgregistry.testing.distribution import write_distribution

    chance, folder = random.Random(seed), Path(tempfile.mkdtemp())  # ranks leave through here too, and remove nothing
    write_distribution(folder, "acme-soak", {"soak": "acme_soak"}, {"acme_soak.py": HOOK})
    os.environ["SOAK_FOLDER"] = str(folder)
    gc.collect()
    gc.freeze()  # or each rank goes through all objects of torch before it ends, which takes seconds
    for number in range(count):
        drawn, log = Run.draw(chance), folder / f"{number}.log"
        begun = time.monotonic()
        if only not in (None, number):
            continue
        found, wrong = once(drawn, log)
        line = {"number": number, "found": found, "wrong": wrong, "seconds": round(time.monotonic() - begun, 1)}
        if wrong:
            line |= {"run": asdict(drawn), "log": log.read_text(errors="replace")[-60000:]}
        print(json.dumps(line), flush=True)
    shutil.rmtree(folder)
    sys.exit(0)


if __name__ == "__main__":
    os.environ |= {"RES_OPTIONS": "attempts:0", "GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    main(*map(int, sys.argv[1:]))
