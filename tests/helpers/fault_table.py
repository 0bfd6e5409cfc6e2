"""The fault matrix: one row a kind of fault, with what must come of it; `docs/reliability.md` shows it."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

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
        one_text: Whether all ranks raise the same text. They cannot if the store is gone.
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
    one_text: bool = True


def differ(what: str, others: str, odd: str) -> str:
    """Return the message of a mismatch."""
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
        differ("backend", "gloo", "fake"),
        ("{odd}", "backend", "fake"),
        odd={"backend": "fake"},
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
        differ("building", "name", "public (PGREGISTRY_BUILD)"),
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
        differ("the plan", "no error", "failed with ConfigError: timeout = -1 (keyword) must be a number"),
        ("{odd}", "timeout = -1 (keyword)"),
        odd={"timeout": -1},
        own="ConfigError: timeout = -1 (keyword) must be a number",
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
        log="pgregistry: plugin 'ring' is acme-ring {mine} on rank {rank} and acme-ring {theirs} on rank {other}; "
        "the plan is the same.",
    ),
    Fault("another plugin that declares nothing", None, plugins=("silent",)),
    Fault(
        "other world size",
        differ("world size", "{n} (WORLD_SIZE)", "{more} (WORLD_SIZE)"),
        ("{odd}", "world size", "{more} (WORLD_SIZE)"),
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
        "{Odd} of {n} did not come within 4 s; nothing was created.\n  Present: {others}. "
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
        one_text=False,
    ),
    Fault(
        "killed before agreement",
        "{Odd} of {n} did not come within 4 s; nothing was created.",
        ("{Odd}", "{others}"),
        tried="killed in Agreement",
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
        tried="killed in start_default_group, launcher",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "killed in build",
        "{Odd} is missing from the process group of mode",
        ("{Odd}", "the process group of mode"),
        tried="killed in create_group",
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
        "killed in build, its addresses published",
        # The system may have connected others to the dead rank.
        "could not make the process group of mode OR {Odd} is missing from the process group of mode OR "
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
        tried="killed in barrier",
        error="BuildError",
        soon=PATIENCE + 20,
    ),
    Fault(
        "the store's host killed before agreement",
        "rank 0, which hosts the store, is gone OR which rank 0 hosts, did not answer within 4 s",
        ("rank 0", "hosts"),
        tried="host killed in Agreement, launcher",
        soon=25,
        one_text=False,
    ),
    Fault(
        "the store's host killed in build",
        "rank 0, which hosts the store, is gone",
        ("rank 0", "hosts the store"),
        tried="host killed in create_group, launcher",
        error="BuildError",
        soon=25,
        one_text=False,
    ),
)


def of(tried: str) -> list[Fault]:
    return [fault for fault in FAULTS if fault.tried == tried]


def table() -> str:
    """Return the matrix as a table."""
    places: dict[str, Any] = {
        "odd": "rank N",
        "Odd": "Rank N",
        "others": "the others",
        "n": "W",
        "more": "W + 4",
        "half": "W/2",
    }
    rows = [("kind", "what the others raise", "named", "how soon allowed"), ("---",) * 4]
    for fault in FAULTS:
        if fault.says is None:
            says = "accepted, with a line in the log" if fault.log else "accepted"
            named = (
                [
                    fault.log.replace("{rank}", "N")
                    .replace("{mine}", "2")
                    .replace("{theirs}", "1")
                    .replace("{other}", "M")
                ]
                if fault.log
                else []
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
