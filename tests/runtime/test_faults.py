"""The fault matrix: what all other ranks say when one is wrong, late or gone; `docs/reliability.md` shows it.

Each row of `FAULTS` is one kind. Kinds that kill nobody are tried one after another in one set of
processes, the odd rank first or last.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import json
import logging
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import torch.distributed as dist
from random_settings import random_settings
from ranks import alive, run_ranks

import pgregistry
from pgregistry import Mode, PlanMismatch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: How many ranks there are, and which of them is the odd one.
SIZES: Final = (4, 8)
PLACES: Final = tuple((size, odd) for size in SIZES for odd in (0, size - 1))
#: How long a killed or absent rank is waited for in these tests, in seconds.
PATIENCE: Final = 4


@dataclass(frozen=True)
class Fault:
    """One kind of fault, and what is to come of it.

    Attributes:
        kind: What is wrong with one rank.
        says: The error of the other ranks; {odd}, {others} and {n} stand for ranks. None where all is well.
        named: What a reader must find in it.
        soon: How long the others may take to answer, in seconds; generous, for busy machines.
        odd: Keywords of `init` on the odd rank, beside those of all.
        all: Keywords of `init` on all ranks.
        env: Environment variables of the odd rank.
        env_all: Environment variables of the other ranks.
        plugins: Distributions on the odd rank; those of all others, where it says nothing.
        plugins_all: Distributions on all other ranks.
        error: The class of the error.
        own: What the odd rank says, where that is not what all say.
        log: What is logged, where all is well.
        tried: How: all of one process set, with the launcher's environment, late, or killed at a moment.
    """

    kind: str
    says: str | None
    named: tuple[str, ...] = ()
    soon: float = 20
    odd: Mapping[str, Any] = field(default_factory=dict)
    all: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    env_all: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] | None = None
    plugins_all: tuple[str, ...] = ()
    error: str = "PlanMismatch"
    own: str | None = None
    log: str = ""
    tried: str = "together"


def differ(what: str, others: str, odd: str) -> str:
    """The message of a mismatch."""
    return (
        "The ranks disagree about what to build; nothing was created.\n"
        f"  {what}:\n    {{others}}: {others}\n    {{odd}}: {odd}"
    )


FAULTS: Final = (
    Fault(
        "size by keyword",
        differ("size tensor", "2 (keyword)", "4 (keyword)"),
        ("{odd}", "{others}", "size tensor", "4 (keyword)"),
        all={"tensor": 2},
        odd={"tensor": 4},
    ),
    Fault(
        "size from the environment",
        differ("size tensor", "2 (PGREGISTRY)", "4 (PGREGISTRY)"),
        ("{odd}", "size tensor", "4 (PGREGISTRY)"),
        env_all={"PGREGISTRY": "tensor=2"},
        env={"PGREGISTRY": "tensor=4"},
    ),
    Fault(
        "size from the environment on one rank alone",
        differ("size pipe", "1 (plugin default)", "2 (PGREGISTRY)"),
        ("{odd}", "size pipe", "2 (PGREGISTRY)"),
        env={"PGREGISTRY": "pipe=2"},
    ),
    Fault(
        "disabled",
        differ(
            "mode nettest",
            f"plugin 'nettest', pgregistry {importlib.metadata.version('pgregistry')}",
            "none (plugin 'nettest' is disabled (PGREGISTRY_DISABLE))",
        ),
        ("{odd}", "mode nettest", "disabled (PGREGISTRY_DISABLE)"),
        env={"PGREGISTRY_DISABLE": "nettest"},
    ),
    Fault(
        "plugin missing",
        differ("mode ring", "plugin 'ring', acme-ring 1", "none (plugin 'ring' is not installed)"),
        ("{odd}", "mode ring", "'ring' is not installed"),
        plugins_all=("ring",),
        plugins=(),
    ),
    Fault(
        "plugin with other groups under the same name",
        differ("group 0 of mode ring", "(0, 1)", "(0, {half})"),
        ("{odd}", "group 0 of mode ring", "(0, 1)", "(0, {half})"),
        plugins_all=("ring",),
        plugins=("ring with other groups",),
    ),
    Fault(
        "order",
        differ("order", "data, tensor", "tensor, data"),
        ("{odd}", "order", "tensor, data"),
        all={"tensor": 2},
        odd={"order": ["tensor", "data"]},
    ),
    Fault(
        "split",
        differ("size zero1", "{n} (plugin default)", "2 (keyword)"),
        ("{odd}", "size zero1", "2 (keyword)"),
        odd={"zero1": 2},
    ),
    Fault(
        "ragged size",
        differ("size nettest", "3 (keyword)", "2 (keyword)"),
        ("{odd}", "size nettest", "2 (keyword)"),
        all={"nettest": 3},
        odd={"nettest": 2},
    ),
    Fault(
        "timeout",
        differ("timeout", "torch's default", "7 s"),
        ("{odd}", "timeout", "7 s"),
        odd={"timeout": 7},
    ),
    Fault(
        "timeout of a mode",
        differ("timeout of mode zero1", "None", "7.0"),
        ("{odd}", "timeout of mode zero1", "7.0"),
        odd={"zero1": {"timeout": 7}},
    ),
    Fault(
        "backend",
        differ("backend", "gloo", "ucc"),
        ("{odd}", "backend", "ucc"),
        odd={"backend": "ucc"},
    ),
    Fault(
        "dedicated",
        differ("dedicated of mode zero1", "False", "True"),
        ("{odd}", "dedicated of mode zero1"),
        odd={"zero1": {"dedicated": True}},
    ),
    Fault(
        "wire variables",
        differ("environment variable TORCH_GLOO_LAZY_INIT", "not set", "1"),
        ("{odd}", "TORCH_GLOO_LAZY_INIT", "1"),
        env={"TORCH_GLOO_LAZY_INIT": "1"},
    ),
    Fault(
        "public calls on one rank",
        differ("building", "name", "public"),
        ("{odd}", "building", "public"),
        env={"PGREGISTRY_BUILD": "public"},
    ),
    Fault(
        "a plan that fails on one rank",
        differ("the plan", "no error", "failed with ConfigError: tensor = 3 does not divide world size {n}."),
        ("{odd}", "ConfigError", "tensor = 3 does not divide"),
        odd={"tensor": 3},
        own="ConfigError: tensor = 3 does not divide world size {n}.",
    ),
    Fault(
        "a plugin missing on one rank with its size given",
        differ("the plan", "no error", "failed with ConfigError: There is no size 'context' (keyword)."),
        ("{odd}", "There is no size 'context' (keyword)"),
        all={"context": 2},
        plugins_all=("context",),
        plugins=(),
        own="ConfigError: There is no size 'context' (keyword).",
    ),
    Fault(
        "a plugin that does not load on one rank",
        differ("the plan", "no error", "failed with PluginError: plugin 'ring', acme-ring 1"),
        ("{odd}", "plugin 'ring'", "does not load", "RuntimeError: no driver"),
        plugins_all=("ring",),
        plugins=("ring that does not load",),
        own="PluginError: plugin 'ring', acme-ring 1",
    ),
    Fault(
        "a setting of the run that cannot be, on one rank",
        differ("the plan", "no error", "failed with ConfigError: init() has timeout=-1"),
        ("{odd}", "timeout=-1"),
        odd={"timeout": -1},
        own="ConfigError: init() has timeout=-1",
        tried="alone",
        soon=10,
    ),
    Fault(
        "raising in a ready hook",
        "{Odd} failed while process groups were built: PluginError: plugin 'ready', acme-ready 1 raised RuntimeError "
        "in pgregistry_ready: no disk",
        ("{Odd}", "plugin 'ready'", "RuntimeError", "no disk"),
        error="BuildError",
        plugins_all=("ready",),
        env={"RAISE": "no disk"},
        own="PluginError: plugin 'ready', acme-ready 1 raised RuntimeError in pgregistry_ready: no disk",
    ),
    Fault(
        "raising in a ready hook while the others are in a collective",
        "{Odd} failed while process groups were built: PluginError: plugin 'collective', acme-collective 1 raised "
        "RuntimeError in pgregistry_ready: no disk",
        ("{Odd}", "plugin 'collective'", "RuntimeError", "no disk"),
        error="BuildError",
        plugins_all=("collective",),
        env={"RAISE": "no disk"},
        own="PluginError: plugin 'collective', acme-collective 1 raised RuntimeError in pgregistry_ready: no disk",
        tried="alone",
        soon=10,
    ),
    Fault(
        "swapped discovery order",
        None,
        all={"context": 2},
        plugins_all=("ring", "context"),
        plugins=("context", "ring"),
    ),
    Fault(
        "other plugin version",
        None,
        plugins_all=("ring",),
        plugins=("ring 2",),
        log="pgregistry: plugin 'ring' is acme-ring {mine} on rank {rank} and acme-ring {theirs} on another; "
        "the plan is the same.",
    ),
    Fault("another plugin that declares nothing", None, plugins=("silent",)),
    Fault(
        "other world size",
        differ("world size", "{n}", "{more}"),
        ("{odd}", "world size", "{more}"),
        tried="launcher",
        soon=25,
    ),
    Fault(
        "the store hosted by the odd rank",
        differ("size tensor", "2 (keyword)", "4 (keyword)"),
        ("rank 0", "size tensor", "4 (keyword)"),
        all={"tensor": 2},
        odd={"tensor": 4},
        tried="launcher",
        soon=25,
    ),
    Fault(
        "late 8 s",
        None,
        log="pgregistry: waiting for {odd} of {n} to agree on the plan",
        tried="late",
    ),
    Fault(
        "absent",
        "{Odd} of {n} did not come within 4 s; nothing was created.\n  Here were {others}. "
        "Look for the first error in the log of {odd}, or raise agree_timeout.",
        ("{Odd}", "{others}", "agree_timeout"),
        tried="absent",
        soon=PATIENCE + 20,
    ),
    Fault(
        "the store's host absent",
        "which rank 0 hosts, did not answer within 4 s",
        ("rank 0", "the store at"),
        tried="absent, launcher",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed before agreement",
        "{Odd} of {n} did not come within 4 s; nothing was created.",
        ("{Odd}", "{others}"),
        tried="killed in agree",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed between agreement and build",
        "{Odd} is missing from the process group of mode",
        ("{Odd}", "the process group of mode"),
        tried="killed in build",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed between agreement and build, in a world that init starts",
        "{Odd}",
        ("{Odd}",),
        tried="killed in start_world, launcher",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed in build",
        "{Odd} is missing from the process group of mode",
        ("{Odd}", "the process group of mode"),
        tried="killed in make",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed in a build by public calls",
        "{Odd}",
        ("{Odd}",),
        all={"timeout": 40},
        env_all={"PGREGISTRY_BUILD": "public"},
        tried="killed in new_group",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed in build, its addresses told",
        "could not make the process group of mode OR These are not connected: the process group of mode OR "
        "{Odd} did not answer",
        (),
        tried="killed in read",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed with all its process groups made",
        "{Odd} OR could not make the process group of mode",  # where another was not yet connected to all
        (),
        tried="killed in confirm",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "the store's host killed before agreement",
        "rank 0, which hosts the store, is gone OR which rank 0 hosts, did not answer within 4 s",
        ("rank 0", "hosts"),
        tried="host killed in agree, launcher",
        soon=25,
    ),
    Fault(
        "the store's host killed in build",
        "rank 0, which hosts the store, is gone",
        ("rank 0", "hosts the store"),
        tried="host killed in make, launcher",
        error="BuildError",
        soon=25,
    ),
)


def of(tried: str) -> list[Fault]:
    return [fault for fault in FAULTS if fault.tried == tried]


# --- distributions that only some ranks have ------------------------------------------------------

MODES = """
from pgregistry import WORLD, Axis, Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode({mode})
"""
READY = """
import os
import torch.distributed as dist
from pgregistry import hookimpl

@hookimpl
def pgregistry_ready(context):
    if "RAISE" in os.environ:
        raise RuntimeError(os.environ["RAISE"])
    {then}
"""
RING = '"ring", over=Split(WORLD, inner="ring", size=2)'
OUTER = '"ring", over=Split(WORLD, outer="ring", size=2).outer'
DISTRIBUTIONS = {
    "ring": ("ring", "1", MODES.format(mode=RING)),
    "ring 2": ("ring", "2", MODES.format(mode=RING)),
    "ring with other groups": ("ring", "1", MODES.format(mode=OUTER)),
    "ring that does not load": ("ring", "1", "raise RuntimeError('no driver')"),
    "context": ("context", "1", MODES.format(mode='"context", over=Axis("context", inside="data", outside="tensor")')),
    "silent": (
        "silent",
        "1",
        "from pgregistry import hookimpl\n@hookimpl\ndef pgregistry_check(plan):\n    return []\n",
    ),
    "ready": ("ready", "1", READY.format(then="pass")),
    "collective": ("collective", "1", READY.format(then="dist.barrier(context['nettest'].group)")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one folder for each distribution."""
    root = tmp_path_factory.mktemp("distributions")
    for label, (name, version, source) in DISTRIBUTIONS.items():
        info = root / label / f"acme_{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pgregistry]\n{name} = acme_{name}\n")
        (root / label / f"acme_{name}.py").write_text(source)
    return root


@contextlib.contextmanager
def installed(folder: Path, labels: tuple[str, ...]) -> Iterator[None]:
    """These distributions in this process, found in this order."""
    before = list(sys.path)
    sys.path[:0] = [str(folder / label) for label in labels]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
        for name in [name for name in sys.modules if name.startswith("acme_")]:
            del sys.modules[name]


# --- what each rank does ----------------------------------------------------------------------------


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """What pgregistry logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("pgregistry")
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)


def attempt(fault: Fault, folder: Path, *, odd: bool) -> dict[str, Any]:
    """What `init` does on this rank, what it left, and how long it took."""
    from pgregistry.runtime.verify import prove

    keywords = {"build_timeout": PATIENCE, "agree_timeout": 15, **fault.all, **(fault.odd if odd else {})}
    labels = fault.plugins if odd and fault.plugins is not None else fault.plugins_all
    before, begun = alive(), time.monotonic()
    answer: dict[str, Any] = {"error": None, "text": "", "odd": odd}
    with pytest.MonkeyPatch.context() as patch, installed(folder, labels), logged() as lines:
        for name, value in (fault.env if odd else fault.env_all).items():
            patch.setenv(name, value)
        try:
            context = pgregistry.init(**keywords)
        except Exception as error:
            answer |= {"error": type(error).__name__, "text": str(error)}
        answer |= {"seconds": time.monotonic() - begun, "left": alive() - before, "log": list(lines)}
        if answer["error"] is None:
            with context:
                answer["proved"] = list(prove(context)) == list(context.plan.modes)
            answer["left"] = alive() - before
    return answer


def try_each(kinds: list[str], odd: int, folder: Path) -> list[dict[str, Any]]:
    """Try kinds one after another in an existing world; then build, to see that nothing stayed behind."""
    rank, answers = dist.get_rank(), []
    for fault in FAULTS:
        if fault.kind in kinds:
            dist.barrier()
            answers.append(attempt(fault, folder, odd=rank == odd))
    dist.barrier()
    with pgregistry.init(tensor=2) as context:
        from pgregistry.runtime.verify import prove

        assert list(prove(context)) == list(context.plan.modes)
    return answers


def check(fault: Fault, size: int, odd: int, answers: Mapping[int, dict[str, Any]]) -> None:
    """Hold what the ranks said against the matrix."""
    others = [rank for rank in range(size) if rank != odd]
    places: dict[str, Any] = {
        "odd": f"rank {odd}",
        "Odd": f"Rank {odd}",
        "others": f"ranks {others[0]}-{others[-1]}",
        "n": size,
        "more": size + 4,
        "half": size // 2,
    }
    for rank, answer in answers.items():
        shown = f"{fault.kind}: rank {rank} of {size}, odd {odd}: {answer}"
        assert answer["left"] == 0, shown
        assert answer["seconds"] < fault.soon, shown
        if fault.says is None:
            assert answer["error"] is None, shown
            assert answer["proved"], shown
        elif rank == odd and fault.own:
            assert f"{answer['error']}: {answer['text']}".startswith(fault.own.format(**places)), shown
        else:
            assert answer["error"] == fault.error, shown
            assert any(text in answer["text"] for text in fault.says.format(**places).split(" OR ")), shown
            for word in fault.named:
                assert word.format(**places) in answer["text"], shown


# --- kinds that kill nobody -------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "odd"), PLACES)
def test_what_one_rank_has_wrong_is_refused_on_every_rank(size: int, odd: int, folder: Path) -> None:
    faults = of("together")
    answers = run_ranks(size, try_each, [fault.kind for fault in faults], odd, folder, timeout=100)
    wrong = []
    for index, fault in enumerate(faults):
        said = {rank: answer[index] for rank, answer in enumerate(answers)}
        try:
            check(fault, size, odd, said)
            check_log(fault, odd, said)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, "\n\n".join(wrong)


def check_log(fault: Fault, odd: int, said: Mapping[int, dict[str, Any]]) -> None:
    """Versions that differ are logged by the ranks that differ from the first that spoke; nothing else is."""
    lines = {line for answer in said.values() for line in answer["log"]}
    mine = fault.log.format(rank=odd, mine=2, theirs=1)
    if not fault.log:
        assert not lines, fault.kind
    elif mine in lines:
        assert lines == {mine}
    else:  # the odd rank came first
        assert len(lines) == len(said) - 1, lines
        assert all("is acme-ring 1 on rank" in line and "and acme-ring 2 on another" in line for line in lines), lines


def alone(fault: Fault, odd: int, folder: Path) -> dict[str, Any]:
    dist.barrier()
    rank, world = dist.get_rank(), dist.group.WORLD
    assert world is not None
    answer = attempt(fault, folder, odd=rank == odd)
    world.get_group_store().set(f"answered {rank}", "")  # nobody is freed by another's end
    world.get_group_store().wait([f"answered {other}" for other in range(dist.get_world_size())], timedelta(seconds=40))
    return answer


@pytest.mark.parametrize(("size", "odd"), PLACES)
@pytest.mark.parametrize("fault", of("alone"), ids=lambda fault: fault.kind)
def test_a_rank_that_raises_where_others_wait_frees_them(fault: Fault, size: int, odd: int, folder: Path) -> None:
    check(fault, size, odd, dict(enumerate(run_ranks(size, alone, fault, odd, folder))))


def other_world(fault: Fault, odd: int, folder: Path) -> dict[str, Any]:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if fault.kind == "other world size" and rank == odd:
        os.environ["WORLD_SIZE"] = str(size + 4)
    return attempt(fault, folder, odd=rank == odd) | {"world": dist.is_initialized()}


@pytest.mark.parametrize(
    ("kind", "size", "odd"),
    [("other world size", *place) for place in PLACES]
    + [("the store hosted by the odd rank", size, 0) for size in SIZES],
)
def test_a_difference_is_told_before_a_world_is_started(kind: str, size: int, odd: int, folder: Path) -> None:
    (fault,) = [fault for fault in FAULTS if fault.kind == kind]
    answers = dict(enumerate(run_ranks(size, other_world, fault, odd, folder, world=False)))
    check(fault, size, odd, answers)
    assert not any(answer["world"] for answer in answers.values())


def late(fault: Fault, odd: int, folder: Path) -> dict[str, Any]:
    rank = dist.get_rank()
    dist.barrier()
    time.sleep(8 if rank == odd else 0)
    return attempt(fault, folder, odd=rank == odd)


@pytest.mark.parametrize(("size", "odd"), PLACES)
def test_a_rank_that_is_late_is_waited_for_and_named(size: int, odd: int, folder: Path) -> None:
    (fault,) = of("late")
    answers = dict(enumerate(run_ranks(size, late, fault, odd, folder)))
    check(fault, size, odd, answers)
    teller = 1 if odd == 0 else 0
    assert {rank: answer["log"] for rank, answer in answers.items() if answer["log"]} == {
        teller: [fault.log.format(odd=f"rank {odd}", n=size)]
    }


def absent(fault: Fault, odd: int, folder: Path) -> dict[str, Any] | None:
    if int(os.environ["RANK"]) == odd:
        return None
    return attempt(replaced(fault, agree_timeout=PATIENCE), folder, odd=False)


def replaced(fault: Fault, **keywords: Any) -> Fault:
    return replace(fault, all={**fault.all, **keywords})


@pytest.mark.parametrize(("size", "odd"), PLACES)
def test_a_rank_that_never_comes_is_named(size: int, odd: int, folder: Path) -> None:
    (fault,) = of("absent")
    answers = dict(enumerate(run_ranks(size, absent, fault, odd, folder)))
    assert answers.pop(odd) is None
    check(fault, size, odd, answers)


@pytest.mark.parametrize("size", SIZES)
def test_a_store_whose_host_never_comes_is_named(size: int, folder: Path) -> None:
    (fault,) = of("absent, launcher")
    answers = dict(enumerate(run_ranks(size, absent, fault, 0, folder, world=False)))
    assert answers.pop(0) is None
    check(fault, size, 0, answers)


# --- kinds that kill a rank -------------------------------------------------------------------------


def survivors(
    size: int, dead: int, function: Callable[..., Any], *args: Any, folder: Path, world: bool = True
) -> dict[int, dict[str, Any]]:
    """What the others answer when one rank is killed; they write it down, for `run_ranks` fails then."""
    with pytest.raises(AssertionError) as raised:
        run_ranks(size, told, str(folder), function, dead, *args, world=world, timeout=80)
    found = re.findall(r"^rank (\d+):\nended with (-?\d+)", str(raised.value), re.MULTILINE)
    assert found == [(str(dead), str(-signal.SIGKILL))], str(raised.value)
    assert len(re.findall(r"^rank \d+:$", str(raised.value), re.MULTILINE)) == 1, str(raised.value)
    return {rank: json.loads((folder / f"{rank}.json").read_text()) for rank in range(size) if rank != dead}


def told(folder: str, function: Callable[..., Any], dead: int, *args: Any) -> None:
    rank = int(os.environ["RANK"])
    answer = function(dead, *args)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(answer))


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(dead: int, fault: Fault, moment: str, folder: Path) -> dict[str, Any]:
    """Be killed at a moment, if this is the rank; what it says otherwise."""
    from pgregistry.coordination.store import Board
    from pgregistry.runtime import initialize as start
    from pgregistry.torch_private import group_creation

    rank = int(os.environ["RANK"])
    if dist.is_initialized():
        dist.barrier()
    if rank == dead:
        if moment == "read":  # its addresses are told, and nobody can connect to it
            read = Board.read

            def read_some(self: Board, keys: Any, seconds: float) -> Any:
                return die() if keys[0].startswith("addresses/") else read(self, keys, seconds)

            Board.read = read_some  # type: ignore[method-assign]
        elif moment == "make":  # in the middle of several process groups
            create, created = group_creation.create_group, []

            def create_some(ranks: Any, *args: Any, **keywords: Any) -> Any:
                created.append(ranks)
                return create(ranks, *args, **keywords) if len(created) == 1 else die()

            group_creation.create_group = create_some
        elif moment == "new_group":
            new_group, called = dist.new_group, []

            def call_some(*args: Any, **kwargs: Any) -> Any:
                called.append(args)
                return new_group(*args, **kwargs) if len(called) <= 3 else die()

            dist.new_group = call_some  # type: ignore[assignment]
        else:
            wait_first = 2 if dead == 0 and not dist.is_initialized() else 0  # the others are to meet its store
            setattr(start, moment, lambda *_, **__: (time.sleep(wait_first), die()))
    sizes = {"agree_timeout": PATIENCE} if moment == "agree" else {"tensor": 2, "pipe": 2, "agree_timeout": 60}
    return attempt(replaced(fault, **sizes), folder, odd=False)


KILLED = {fault.kind: fault.tried for fault in FAULTS if "killed" in fault.tried}


@pytest.mark.parametrize(
    ("kind", "size", "odd"),
    [
        (kind, size, odd)
        for kind, tried in KILLED.items()
        for size, odd in PLACES
        if "launcher" not in tried or (odd == 0) == tried.startswith("host")  # the first one hosts the store
    ],
)
def test_a_killed_rank_ends_the_wait_of_all_others(
    kind: str, size: int, odd: int, folder: Path, tmp_path: Path
) -> None:
    (fault,) = [fault for fault in FAULTS if fault.kind == kind]
    moment = fault.tried.partition("killed in ")[2].partition(",")[0]
    world = "launcher" not in fault.tried
    answers = survivors(size, odd, killed, fault, moment, folder, folder=tmp_path, world=world)
    check(fault, size, odd, answers)


# --- the table --------------------------------------------------------------------------------------

PAGE = ROOT / "docs" / "reliability.md"


def table() -> str:
    """The matrix, for people."""
    places: dict[str, Any] = {
        "odd": "rank N",
        "Odd": "Rank N",
        "others": "the others",
        "n": "W",
        "more": "W + 4",
        "half": "W/2",
    }
    rows = [("kind", "what the others say", "named", "how soon allowed"), ("---",) * 4]
    for fault in FAULTS:
        if fault.says is None:
            says = "accepted, with a line in the log" if fault.log else "accepted"
            named = (
                [fault.log.replace("{rank}", "N").replace("{mine}", "2").replace("{theirs}", "1")] if fault.log else []
            )
        else:
            heading = "The ranks disagree about what to build; nothing was created.\n"
            text = fault.says.removeprefix(heading).strip()
            says = f"`{fault.error}`: " + re.sub(r":?\n\s+", " / ", text).replace(" OR ", "`, or `")
            named = list(fault.named)
        soon = "" if fault.says is None else f"{fault.soon:g} s"
        row = (fault.kind, says.format(**places), "; ".join(named).format(**places), soon)
        rows.append(tuple(cell.replace("|", "\\|") for cell in row))  # type: ignore[arg-type]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_page_shows_the_matrix_that_these_tests_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = "".join(line for line in text.splitlines(keepends=True) if line.startswith("| "))
    assert found == table(), f"Paste this into {PAGE}:\n{table()}"


def test_the_matrix_has_sixteen_kinds_and_more() -> None:
    kinds = [fault.kind for fault in FAULTS]
    assert len(set(kinds)) == len(kinds) >= 16


# --- what must always work --------------------------------------------------------------------------


def build_many(seeds: range) -> int:
    from pgregistry.runtime.verify import prove

    proved = 0
    for seed in seeds:
        settings = random_settings(random.Random(seed), dist.get_world_size())
        time.sleep(random.Random(seed * 64 + dist.get_rank()).choice([0, 0, 0, 0.002, 0.01]))
        with pgregistry.init(**settings, agree_timeout=60, build_timeout=60) as context:
            assert list(prove(context)) == list(context.plan.modes), (seed, settings)
            for name in context.plan.modes:
                handle = context.get(name)
                assert (handle.ranks if handle else None) == context.plan[name].group_of(context.rank), (seed, name)
        proved += 1
    return proved


PLANS: Final = 500


@pytest.mark.timeout(600)
def test_random_plans_are_built_and_every_group_is_proved() -> None:
    assert run_ranks(8, build_many, range(PLANS), timeout=550) == [PLANS] * 8


def open_things() -> tuple[int, int]:
    """Threads and file descriptors of this process."""
    gc.collect()
    time.sleep(0.05)  # a thread that was told to end
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def many_rounds(rounds: int) -> list[tuple[int, int]]:
    found = []
    for round_ in range(rounds):
        with pgregistry.init(tensor=2, nettest=3, zero1={"dedicated": True}):
            pass
        if round_ in (1, rounds - 1):
            dist.barrier()
            found.append(open_things())
    return found


def test_nothing_grows_in_a_hundred_rounds_of_init_and_close() -> None:
    for first, last in run_ranks(4, many_rounds, 100, timeout=100):
        assert last <= first


def many_worlds(rounds: int) -> list[tuple[int, int]]:
    found = []
    for round_ in range(rounds):
        with pgregistry.init(tensor=2):
            pass
        assert not dist.is_initialized()
        if round_ in (1, rounds - 1):
            time.sleep(0.5)
            found.append(open_things())
    return found


def test_nothing_grows_when_worlds_are_started_and_ended() -> None:
    for first, last in run_ranks(4, many_worlds, 20, world=False):
        assert last <= first


def refused_rounds() -> list[tuple[int, int]]:
    found = []
    for round_ in range(12):
        with pytest.raises(PlanMismatch):
            pgregistry.init(tensor=2 if dist.get_rank() == 1 else 1)
        if round_ in (1, 11):
            found.append(open_things())
    return found


def test_nothing_grows_when_plans_are_refused() -> None:
    for first, last in run_ranks(4, refused_rounds):
        assert last <= first


def summed(group: Any) -> float:
    import torch

    ones = torch.ones(1) * (1 + dist.get_rank())
    dist.all_reduce(ones, group=group)
    return float(ones.item())


def beside_a_users_own_groups() -> list[Any]:
    """Ranks 0 and 1 make a group that the others do not know of, before and after."""
    from pgregistry.runtime.verify import prove

    rank = dist.get_rank()
    answers: list[Any] = []
    dist.new_group([0, 1])  # on all ranks, as torch wants it
    if rank < 2:
        answers.append(summed(dist.new_group([0, 1], use_local_synchronization=True, timeout=timedelta(seconds=20))))
    with pgregistry.init(tensor=2, pipe=2, extra=[ENDS]) as context:
        answers.append(list(prove(context)) == list(context.plan.modes))
        answers.append(summed(dist.new_group([0, 2], timeout=timedelta(seconds=20))) if rank in (0, 2) else None)
        if rank not in (0, 2):
            dist.new_group([0, 2])
        with pgregistry.init(pipe=2) as second:
            answers.append(list(prove(second)) == list(second.plan.modes))
    after = dist.new_group([1, 3], timeout=timedelta(seconds=20))
    answers.append(summed(after) if rank in (1, 3) else None)
    return answers


ENDS = Mode("ends", over="pipe", at=0)


@pytest.mark.parametrize("how", ["name", "public"])
def test_groups_that_a_user_makes_and_ours_do_not_disturb_each_other(how: str) -> None:
    first, second, third, fourth = run_ranks(
        4, beside_a_users_own_groups, env={} if how == "name" else {"PGREGISTRY_BUILD": "public"}
    )
    assert first == [3, True, 4, True, None]
    assert second == [3, True, None, True, 6]
    assert third == [True, 4, True, None]
    assert fourth == [True, None, True, 6]


def after_asymmetric_groups() -> bool:
    """A user made groups on some ranks only, so ranks have counted differently."""
    from pgregistry.runtime.verify import prove

    rank = dist.get_rank()
    for _ in range(rank):
        dist.new_group([rank], use_local_synchronization=True, timeout=timedelta(seconds=20))
        if rank == 3:
            dist.new_group([0, 1])  # a group of others, which only this rank counts
    good = []
    for sizes in ({"tensor": 2}, {"pipe": 2, "tensor": 2, "nettest": 3}):
        with pgregistry.init(**sizes) as context:
            good.append(list(prove(context)) == list(context.plan.modes))
    return all(good)


@pytest.mark.parametrize("how", ["name", "public"])
def test_groups_are_right_after_a_users_own_that_only_some_ranks_made(how: str) -> None:
    env = {} if how == "name" else {"PGREGISTRY_BUILD": "public"}
    assert run_ranks(4, after_asymmetric_groups, env=env) == [True] * 4


def seen(sizes: dict[str, Any]) -> Any:
    from pgregistry.runtime.verify import prove

    with pgregistry.init(**sizes) as context:
        proved = list(prove(context))
        members = {name: dist.get_process_group_ranks(context[name].group) for name in proved}
        return proved, members, len(context.process_groups.created)


@pytest.mark.parametrize("world", [True, False])
def test_public_calls_build_the_same_groups(world: bool) -> None:
    sizes = {"tensor": 2, "pipe": 2, "zero1": {"dedicated": True}, "nettest": 3}
    by_name = run_ranks(8, seen, sizes, world=world)
    assert run_ranks(8, seen, sizes, world=world, env={"PGREGISTRY_BUILD": "public"}) == by_name


def in_public(seeds: range) -> int:
    return build_many(seeds)


def test_public_calls_build_random_plans_too() -> None:
    env = {"PGREGISTRY_BUILD": "public"}
    assert run_ranks(4, in_public, range(2000, 2030), env=env, timeout=100) == [30] * 4


def trainer_beside_generator() -> Any:
    from pgregistry.runtime.verify import prove

    rank = int(os.environ["RANK"])
    trains = rank < 4
    answers = []
    for _ in range(2):
        if trains:
            context = pgregistry.init(within=range(4), tensor=2, pipe=2)
        else:
            context = pgregistry.init(within=range(4, 6), tensor=2)
        with context:
            answers.append((list(prove(context)) == list(context.plan.modes), context["tensor"].ranks))
            answers.append((summed(None), dist.get_world_size()))
    return answers


@pytest.mark.parametrize("world", [True, False])
def test_a_trainer_beside_a_generator(world: bool) -> None:
    for rank, answer in enumerate(run_ranks(6, trainer_beside_generator, world=world)):
        pair = (rank // 2 * 2, rank // 2 * 2 + 1)
        assert answer == [(True, pair), (21, 6)] * 2


def trainer_is_wrong(first: int) -> Any:
    """One trainer differs; the generator's ranks wait for a world that does not come."""
    rank, begun = int(os.environ["RANK"]), time.monotonic()
    trains = rank // 2 == first // 2
    mine = [rank // 2 * 2, rank // 2 * 2 + 1]
    with pytest.raises(pgregistry.PgregistryError) as raised:
        pgregistry.init(within=mine, tensor=1 + rank % 2 if trains else 2, build_timeout=30)
    return type(raised.value).__name__, str(raised.value), time.monotonic() - begun, dist.is_initialized()


@pytest.mark.parametrize("first", [0, 2])
def test_ranks_that_wait_for_a_world_hear_at_once_that_others_were_refused(first: int) -> None:
    for rank, (kind, text, seconds, world) in enumerate(run_ranks(4, trainer_is_wrong, first, world=False)):
        assert not world
        assert kind == ("PlanMismatch" if rank // 2 == first // 2 else "BuildError")
        assert seconds < 15, text
        assert f"rank {first + 1}: 2 (keyword)" in text, text


def a_world_that_one_cannot_join(odd: int, alone: bool) -> Any:
    """Two parts of two ranks, or one and two ranks that are in none."""
    rank, begun = int(os.environ["RANK"]), time.monotonic()
    if rank == odd:
        os.environ["GLOO_SOCKET_IFNAME"] = "none"
    elif rank >= 2:
        time.sleep(1)
    with pytest.raises(pgregistry.BuildError) as raised:
        pgregistry.init(within=[0, 1] if alone else [rank // 2 * 2, rank // 2 * 2 + 1], build_timeout=60)
    return str(raised.value), time.monotonic() - begun, dist.is_initialized()


@pytest.mark.parametrize(("odd", "alone"), [(0, False), (3, False), (0, True), (3, True)])
def test_a_rank_that_cannot_join_the_world_tells_also_ranks_of_no_or_another_part(odd: int, alone: bool) -> None:
    answers = run_ranks(4, a_world_that_one_cannot_join, odd, alone, world=False)
    for rank, (text, seconds, world) in enumerate(answers):
        assert not world
        assert seconds < 20, text
        assert f"Rank {odd}{' of 4' if rank == odd else ' failed'}" in text, text


# --- processes that a launcher starts -----------------------------------------------------------------

AGAIN = """
import os
import pgregistry, torch.distributed as dist
from pgregistry.runtime.verify import prove
for sizes in ({"tensor": 2}, {"tensor": 2}, {"pipe": 2}):
    with pgregistry.init(**sizes) as context:
        proved = list(prove(context))
    assert not dist.is_initialized()
    os.write(1, f"proved {len(proved)}\\n".encode())  # in one piece, also beside another rank's
"""
RESTARTED = """
import os, signal, sys
import pgregistry
from pgregistry.runtime.verify import prove
attempt, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
if attempt == 0 and sys.argv[1] == "before" and rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if attempt == 0 and sys.argv[1] == "in build" and rank == 1:
    from pgregistry.runtime import initialize as start
    start.build = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with pgregistry.init(tensor=2, agree_timeout=20, build_timeout=20) as context:
    list(prove(context))
    if attempt == 0 and sys.argv[1] == "after":
        os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else list(prove(context))
    open(f"proved by {rank} in attempt {attempt}", "w").close()
"""


def torchrun(folder: Path, source: str, *arguments: str, ranks: int = 2, restarts: int = 0) -> str:
    """What a script prints under torchrun's agent; fails with all it said if it fails."""
    script = folder / "script.py"
    script.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [*command, "--max-restarts", str(restarts), str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_worlds_follow_one_another_under_one_agent(tmp_path: Path) -> None:
    assert torchrun(tmp_path, AGAIN).count("proved 8") == 6


@pytest.mark.parametrize("moment", ["before", "in build", "after"])
def test_a_restart_of_all_workers_works(moment: str, tmp_path: Path) -> None:
    """One worker is killed; the agent restarts both, and its store still has all keys of the first attempt."""
    said = torchrun(tmp_path, RESTARTED, moment, restarts=1)
    proved = sorted(path.name for path in tmp_path.glob("proved *"))
    assert proved == ["proved by 0 in attempt 1", "proved by 1 in attempt 1"], said


LEFT = """
import os, sys, time
import pgregistry
from pgregistry.runtime import initialize as start
if os.environ["RANK"] == "1":
    start.start_world = lambda *_, **__: (sys.stdout.flush(), os._exit(9))
begun = time.monotonic()
try:
    pgregistry.init(build_timeout=2)
except pgregistry.BuildError as error:
    print("refused", flush=True)
"""


CLEAN = """
import pgregistry
from pgregistry.runtime.verify import prove
with pgregistry.init(tensor=2) as context:
    print(len(list(prove(context))), flush=True)
"""


def processes(folder: Path, source: str, ranks: int = 2) -> list[tuple[str, str, int]]:
    """What a script prints on each rank, its errors and exit code, with nothing of multiprocessing around it."""
    script = folder / "script.py"
    script.write_text(source, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    where = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, **where, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        return [(*process.communicate(timeout=40), process.returncode) for process in started]
    finally:
        for process in started:
            process.kill()


def test_a_process_ends_after_an_error_though_torch_still_waits(tmp_path: Path) -> None:
    """The thread that torch blocks in must keep nobody: not `sys.exit`, and not the scheduler behind it."""
    (said, errors, code), _ = processes(tmp_path, LEFT)
    assert (said, code) == ("refused\n", 0), errors


def test_a_process_that_had_no_error_ends_without_one(tmp_path: Path) -> None:
    for _ in range(8):
        for said, errors, code in processes(tmp_path, CLEAN):
            assert (said, code) == ("8\n", 0), errors
