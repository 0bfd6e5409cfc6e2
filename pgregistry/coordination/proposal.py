"""The proposal of one rank: what it would build, compared with the other ranks before anything is built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from pgregistry.coordination.store.codec import decode, encode, read_json
from pgregistry.errors import ConfigError, describe, format_ranks
from pgregistry.planning.plans import difference, document
from pgregistry.planning.plans.plan import Plan

#: Variables that torch, gloo and NCCL read when they connect. They must be equal on all ranks.
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
#: The plugin of modes that are given as objects.
EXTRA: Final = "extra"
#: Bytes above which the JSON of a plan (its listed groups) is not sent, only its digest.
LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Summary:
    """The part of a proposal that other ranks read, also where all agree: what shows that two ranks do.

    Attributes:
        rank: The rank that proposes.
        world_size: The world size that it was given.
        digest: Equal if the same would be built in the same way.
        versions: For each active plugin its distribution and version. They may differ.
    """

    rank: int
    world_size: int
    digest: str
    versions: Mapping[str, str]

    def encode(self) -> str:
        """Return the summary as text for the store: the rank, and what ranks that agree have in common."""
        return f"{self.rank} {_summary(self.world_size, self.digest, self.versions)}"

    @staticmethod
    def decode(text: str) -> Summary:
        """Return the summary that `encode` made text of; raise what Python raises if it is not one."""
        rank, _, shared = text.partition(" ")
        world_size, digest, versions = read_json(shared)
        if not (isinstance(world_size, int) and isinstance(digest, str)):
            raise TypeError(text)
        return Summary(int(rank), world_size, digest, _texts(versions))


@dataclass(frozen=True, slots=True)
class Proposal:
    """The whole of what one rank would build. It is sent only if ranks compare.

    Attributes:
        world_size: The world size that it was given.
        digest: Equal if the same would be built in the same way.
        origin: Where the world size comes from, such as the variable of a launcher. It may differ.
        error: The error with which planning failed. There is no plan then.
        made: The plan, or its JSON as another rank sent it; None if there is none, or the JSON was too large to send.
        plugins: For each installed plugin its distribution and version, or why it is off.
        run: The run's settings beside the plan: backend, timeout, cpu.
        wire: The environment variables that change how ranks connect.
        why: The reason of settings in `run` that have one. It may differ.
        in_use: The numbers in the names of living process groups of the plan on this rank, as bits: 5 is 0 and 2. They
            may differ.
        summary: Its summary as text, without the rank.
    """

    world_size: int
    digest: str
    origin: str = ""
    error: str | None = None
    made: Plan | str | None = field(default=None, repr=False, compare=False)
    plugins: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, str] = field(default_factory=dict)
    wire: Mapping[str, str] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    in_use: int = 0
    summary: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "summary", _summary(self.world_size, self.digest, self.plugins))

    @property
    def plan(self) -> str | None:
        """Return the JSON of the plan, which is written only when ranks differ; None if it is too large to send."""
        if not isinstance(self.made, Plan):
            return self.made
        text = document.dumps(document.of_plan(self.made, groups="listed"))
        return text if len(text) <= LARGEST else None

    def encode(self) -> str:
        """Return the proposal as text for the store."""
        sent = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("made", "summary")}
        return encode({**sent, "plan": self.plan})

    @staticmethod
    def decode(text: str) -> Proposal:
        """Return the proposal that `encode` made text of; raise what Python raises if it is not one."""
        sent = decode(text)
        made = sent.pop("plan")
        proposal = Proposal(**{**sent, "made": made})
        if not isinstance(proposal.error, str | None) or not isinstance(made, str | None):
            raise TypeError(text)
        if not isinstance(proposal.world_size, int) or not isinstance(proposal.in_use, int):
            raise TypeError(text)
        if not isinstance(proposal.digest, str) or not isinstance(proposal.origin, str):
            raise TypeError(text)
        if made is not None:
            try:
                Plan.from_json(made)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        given = (proposal.plugins, proposal.run, proposal.wire, proposal.why)
        plugins, run, wire, why = map(_texts, given)
        return replace(proposal, plugins=plugins, run=run, wire=wire, why=why)


def _summary(world_size: int, digest: str, versions: Mapping[str, str]) -> str:
    return json.dumps([world_size, digest, dict(versions)])


def _texts(given: Any) -> dict[str, str]:
    """Return a mapping of texts; raise TypeError for anything else."""
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise TypeError(f"{given!r:.100}")
    return given


def propose(
    plan: Plan, plugins: Mapping[str, str], run: Mapping[str, str], wire: Mapping[str, str], in_use: int = 0
) -> Proposal:
    """Return the proposal of a rank that has a plan."""
    options = [[mode.name, sorted(mode.options.items())] for mode in plan.planned if mode.options]
    parts = [plan.fingerprint, options, sorted(run.items()), sorted(wire.items())]
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
    return Proposal(
        world_size=plan.world_size,
        digest=digest,
        made=plan,
        plugins=dict(plugins),
        run=dict(run),
        wire=dict(wire),
        in_use=in_use,
    )


def propose_failure(world_size: int, error: BaseException) -> Proposal:
    """Return the proposal of a rank whose planning failed."""
    text = describe(error)
    digest = hashlib.blake2b(f"{world_size} {text}".encode(), digest_size=12).hexdigest()
    return Proposal(world_size=world_size, digest=digest, error=text)


def first_difference(here: Proposal, there: Proposal) -> tuple[str, str, str]:
    """Return (what, here, there) for the first thing that differs, causes before consequences."""
    if here.error or there.error:
        return "the plan", _outcome(here), _outcome(there)
    if here.world_size != there.world_size:
        return "world size", sized(here), sized(there)
    told = here.plan, there.plan
    if told[0] is not None and told[1] is not None:
        plans = Plan.from_json(told[0]), Plan.from_json(told[1])
        for found in difference.differences(*plans):
            if found.what.startswith("mode "):
                ours, others = _why(found.here, plans[0], here, plans[1]), _why(found.there, plans[1], there, plans[0])
                return found.what, ours, others
            return found.what, found.here, found.there
    for what, mine, theirs in (("", here.run, there.run), ("environment variable ", here.wire, there.wire)):
        for name in dict.fromkeys((*mine, *theirs)):  # causes first
            if mine.get(name) != theirs.get(name):
                ours, others = mine.get(name, "not set"), theirs.get(name, "not set")
                return what + name, _because(ours, here.why.get(name)), _because(others, there.why.get(name))
    return "the plan", f"digest {here.digest}", f"digest {there.digest}"


def _outcome(one: Proposal) -> str:
    return f"failed with {one.error}" if one.error else "no error"


def sized(one: Proposal) -> str:
    """Return the world size of a proposal, and where it comes from."""
    return _because(str(one.world_size), one.origin)


def _because(value: str, why: str | None) -> str:
    return f"{value} ({why})" if why else value


def _why(text: str, plan: Plan, proposal: Proposal, other: Plan) -> str:
    """Add why a mode is not there: the state of its plugin on that rank."""
    if text != "none":
        return text
    missing = {mode.plugin.name for mode in other.planned} - {mode.plugin.name for mode in plan.planned}
    reasons = [
        "extra= has no such mode"
        if name == EXTRA
        else f"plugin {name!r} is {proposal.plugins.get(name, 'not installed')}"
        for name in sorted(missing)
    ]
    return f"none ({'; '.join(reasons)})" if reasons else "none"


def different_versions(here: Proposal, there: Summary) -> list[tuple[str, str, str]]:
    """Return (plugin, here, there) for each plugin that both have in different versions."""
    common = sorted({*here.plugins} & {*there.versions})
    found = [(name, here.plugins[name], there.versions[name]) for name in common]
    return [one for one in found if one[1] != one[2]]


def sides_of(digests: Mapping[int, str]) -> dict[str, list[int]]:
    """Return the ranks of each digest, the largest side first, and of equal ones that with the lowest rank.

    >>> sides_of({0: "a", 1: "b", 2: "b"})
    {'b': [1, 2], 'a': [0]}
    """
    sides: dict[str, list[int]] = {}
    for rank in sorted(digests):
        sides.setdefault(digests[rank], []).append(rank)
    return dict(sorted(sides.items(), key=lambda side: -len(side[1])))


def disagreement(sides: Mapping[str, Sequence[int]], proposals: Mapping[str, Proposal], missing: Sequence[int]) -> str:
    """Return the text of a disagreement: the ranks on each side, and the first thing that differs.

    Args:
        sides: The ranks of each digest, as `sides_of` orders them.
        proposals: The proposal of each digest, as far as they could be read.
        missing: Ranks that have not come yet.
    """
    (most, most_ranks), *others = sides.items()
    lines = ["The ranks disagree about what to build; nothing was created."]
    for digest, ranks in others:
        what, theirs, ours = "the plan", f"digest {digest}", f"digest {most}"
        if digest in proposals and most in proposals:  # or the rank that had the proposal is gone
            what, theirs, ours = first_difference(proposals[digest], proposals[most])
        lines.append(f"  {what}:")
        lines.append(f"    {format_ranks(most_ranks)}: {ours}")
        lines.append(f"    {format_ranks(ranks)}: {theirs}")
    if missing:
        lines.append(f"  not here yet: {format_ranks(missing)}")
    return "\n".join(line.replace("\n", "\n      ") for line in lines)
