"""What a rank says of its plan before anything is built, and how two ranks' statements differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from pgregistry.coordination.codec import pack, unpack
from pgregistry.errors import format_ranks
from pgregistry.planning.plans import difference, document
from pgregistry.planning.plans.plan import Plan

#: Variables that torch, gloo and NCCL read when they connect, and that must be equal everywhere.
WIRE: Final = (
    "GLOO_DEVICE_TRANSPORT",
    "GLOO_ENABLE_RANK_AS_SEQUENCE_NUMBER",
    "GLOO_ENABLE_STORE_V2_API",
    "NCCL_ALGO",
    "NCCL_PROTO",
    "PGREGISTRY_BUILD",
    "TORCH_DISTRIBUTED_DEBUG",
    "TORCH_DISTRIBUTED_USE_TORCHCOMMS",
    "TORCH_DIST_INIT_BARRIER",
    "TORCH_GLOO_LAZY_INIT",
)
#: Whose modes are given as objects.
EXTRA: Final = "extra"
#: Above this many bytes the groups of a mode that lists them are not told, only their digest.
LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Statement:
    """What one rank would build.

    Attributes:
        world_size: The world size that it was told.
        digest: Equal where the same would be built in the same way.
        error: Why its own plan failed; then there is no digest of a plan.
        plan: The JSON of its plan; None where that is too large to tell.
        plugins: For each installed plugin its distribution and version, or why it is off.
        run: What the run says beside the plan: backend, timeout, cpu.
        wire: The environment variables that change how ranks connect.
    """

    world_size: int
    digest: str
    error: str | None = None
    plan: str | None = None
    plugins: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, str] = field(default_factory=dict)
    wire: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> str:
        """The statement as text for the store."""
        return pack(asdict(self))

    @staticmethod
    def decode(text: str) -> Statement:
        """The statement that `encode` made."""
        return Statement(**unpack(text))


def state(plan: Plan, plugins: Mapping[str, str], run: Mapping[str, str], wire: Mapping[str, str]) -> Statement:
    """What a rank with a plan says."""
    told = document.dumps(document.of_plan(plan, keep_listed=True, list_all=False))
    parts = [plan.fingerprint, sorted(run.items()), sorted(wire.items())]
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
    return Statement(
        world_size=plan.world_size,
        digest=digest,
        plan=told if len(told) <= LARGEST else None,
        plugins=dict(plugins),
        run=dict(run),
        wire=dict(wire),
    )


def failed(world_size: int, error: Exception) -> Statement:
    """What a rank says whose own plan failed."""
    text = f"{type(error).__name__}: {error}"
    digest = hashlib.blake2b(f"{world_size} {text}".encode(), digest_size=12).hexdigest()
    return Statement(world_size=world_size, digest=digest, error=text)


def first_difference(here: Statement, there: Statement) -> tuple[str, str, str]:
    """(what, here, there) for the first thing that differs, causes before consequences."""
    if here.error or there.error:
        return "the plan", _outcome(here), _outcome(there)
    if here.world_size != there.world_size:
        return "world size", str(here.world_size), str(there.world_size)
    if here.plan is not None and there.plan is not None:
        plans = Plan.from_json(here.plan), Plan.from_json(there.plan)
        for found in difference.differences(*plans):
            if found.what.startswith("mode "):
                ours, others = _why(found.here, plans[0], here, plans[1]), _why(found.there, plans[1], there, plans[0])
                return found.what, ours, others
            return found.what, found.here, found.there
    for what, mine, theirs in (("", here.run, there.run), ("environment variable ", here.wire, there.wire)):
        for name in sorted({*mine, *theirs}):
            if mine.get(name) != theirs.get(name):
                return what + name, mine.get(name, "not set"), theirs.get(name, "not set")
    return "the plan", f"digest {here.digest}", f"digest {there.digest}"


def _outcome(one: Statement) -> str:
    return f"failed with {one.error}" if one.error else "no error"


def _why(text: str, plan: Plan, statement: Statement, other: Plan) -> str:
    """Why a mode is not there, from what became of its plugin."""
    if text != "none":
        return text
    missing = {mode.plugin.name for mode in other.planned} - {mode.plugin.name for mode in plan.planned}
    reasons = [
        "extra= has no such mode"
        if name == EXTRA
        else f"plugin {name!r} is {statement.plugins.get(name, 'not installed')}"
        for name in sorted(missing)
    ]
    return f"none ({'; '.join(reasons)})" if reasons else "none"


def versions(here: Statement, there: Statement) -> list[tuple[str, str, str]]:
    """(plugin, here, there) where both have a plugin in different versions."""
    common = sorted({*here.plugins} & {*there.plugins})
    return [
        (name, here.plugins[name], there.plugins[name]) for name in common if here.plugins[name] != there.plugins[name]
    ]


def disagreement(statements: Mapping[int, Statement], absent: Sequence[int]) -> str:
    """Who says what, for people: the ranks on each side and the first thing that differs."""
    sides: dict[str, list[int]] = {}
    for rank, one in sorted(statements.items()):
        sides.setdefault(one.digest, []).append(rank)
    ordered = sorted(sides.values(), key=lambda ranks: (-len(ranks), ranks[0]))
    most = statements[ordered[0][0]]
    lines = ["The ranks disagree about what to build; nothing was created."]
    for ranks in ordered[1:]:
        what, theirs, ours = first_difference(statements[ranks[0]], most)
        lines.append(f"  {what}:")
        lines.append(f"    {format_ranks(ordered[0])}: {ours}")
        lines.append(f"    {format_ranks(ranks)}: {theirs}")
    if absent:
        lines.append(f"  not here yet: {format_ranks(absent)}")
    return "\n".join(line.replace("\n", "\n      ") for line in lines)
