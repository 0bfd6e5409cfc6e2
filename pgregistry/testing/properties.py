"""The properties of every plugin: each has a name, a sentence, and a check that reports what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pgregistry.errors import ConfigError, PgregistryError, PluginError, describe, format_ranks, lacking, listing
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.testing.case import Case, NotTried, Refused, at, explained
from pgregistry.testing.oracle import Oracle
from pgregistry.testing.ranks.local_ranks import NEEDED, RanksFailed
from pgregistry.testing.subject import Subject
from pgregistry.testing.subprocess_plans import plan_in_subprocess
from pgregistry.vocabulary import Part

SHOWN: Final = 3  # reports of one property, before the list is cut short


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a plugin. `check` yields a sentence for each thing that is wrong."""

    name: str
    sentence: str
    check: Callable[[Subject], Iterator[str]]

    def wrong(self, subject: Subject) -> list[str]:
        """Return the first few things that are wrong; nothing if the property holds.

        Raises:
            NotTried: if it cannot be tried here, and nothing is wrong so far.
        """
        found: list[str] = []
        try:
            for one in islice(self.check(subject), SHOWN + 1):
                found.append(one)
        except NotTried:
            if not found:
                raise
        except Exception as error:
            found.append(explained(error) if isinstance(error, PgregistryError) else describe(error))
        return [*found[:SHOWN], "…"] if len(found) > SHOWN else found


def _try(what: str, *modules: str) -> None:
    """Raise NotTried if something needs what is not here."""
    if why := lacking(what, *modules, starts_python=True):
        raise NotTried(why)


def _loads(subject: Subject) -> Iterator[str]:
    for status in subject.registry.statuses:
        if status.installed.plugin.name == subject.plugin and status.error:
            yield explained(status.error)
            return
    on = [plugin for plugin in subject.registry.active if plugin.name == subject.plugin]
    if not on:
        yield f"plugin {subject.plugin!r} is off: {subject.registry.off.get(subject.plugin)}."
    elif not subject.cases:
        yield f"no world of {listing(subject.worlds)} ranks can be planned with it; {_refusal(subject)}"


def _refusal(subject: Subject) -> str:
    if subject.faults:
        return str(subject.faults[0])
    first = subject.case(subject.worlds[0], {})
    if isinstance(first, Refused):
        return f"the first is refused with: {first.error}"
    return f"none fits the sizes {subject.sizes}."


def _same(subject: Subject) -> Iterator[str]:
    cases = subject.cases[:: max(1, len(subject.cases) // 24)]
    for case in cases:
        yield from _differs(f"{case}, planned twice", case.plan, subject.plan(case.world, case.keywords))
    for fault in subject.faults[:8]:
        if len(answers := {_attempt(subject, fault) for _ in range(4)}) > 1:
            yield f"{at(fault.world, fault.keywords)}, planned several times, gives {' or '.join(sorted(answers))}"
    _try("Another process")
    asked = [(case.world, subject.keywords(case.world, case.keywords)) for case in cases]
    for seed, rank, backwards, where in ((1, 0, False, ""), (2, 5, True, " of rank 5, distributions found backwards")):
        plans, _ = plan_in_subprocess(asked, hash_seed=seed, rank=rank, backwards=backwards)
        for case, there in zip(cases, plans, strict=True):
            what = f"{case}, in another process{where} (PYTHONHASHSEED={seed})"
            if "error" in there:
                yield f"{what}: {there['error']}"
            else:
                yield from _differs(what, case.plan, Plan.from_json(there["plan"]))


def _attempt(subject: Subject, fault: Refused) -> str:
    try:
        return f"a plan ({subject.plan(fault.world, fault.keywords).fingerprint})"
    except PgregistryError as error:
        return str(error)


def _differs(what: str, here: Plan, there: Plan) -> Iterator[str]:
    if here.fingerprint != there.fingerprint or here.modes != there.modes:
        found = here.diff(there) or (f"modes {listing(here.modes)} here, {listing(there.modes)} there",)
        yield f"{what}: {found[0]}"


def _covers(subject: Subject) -> Iterator[str]:
    partial = subject.partial
    if partial is None:
        modes = subject.modes.items()
        partial = [name for name, mode in modes if mode.at is not None or mode.where or mode.groups is not None]
    yield from map(str, subject.faults)
    for case in subject.cases:
        for name in subject.modes:
            owner: dict[int, tuple[int, ...]] = {}
            for group in case.plan[name].groups:
                if not group or len(set(group)) != len(group) or not 0 <= min(group) <= max(group) < case.world:
                    yield f"{case}: mode {name!r} has group {group}, which must be a list of different ranks."
                for rank in group:
                    if rank in owner:
                        yield f"{case}: mode {name!r} has rank {rank} in two groups, {owner[rank]} and {group}."
                    owner[rank] = group
            missing = set(range(case.world)) - owner.keys()
            if missing and name not in partial:
                rule = "only a mode with at=, where= or groups= may"
                yield f"{case}: mode {name!r} leaves out {format_ranks(missing)}; {rule}."


def _right(subject: Subject) -> Iterator[str]:
    sized = {**subject.others, **subject.own}
    for case in subject.cases:
        oracle = Oracle(case.plan, sized)
        for name, mode in subject.modes.items():
            groups = subject.expected(name, case.plan)
            if groups is not None:
                yield from _unlike(case, case.plan[name], sorted(map(tuple, groups)))
            elif mode.groups is None:
                yield from _unlike(case, case.plan[name], oracle.groups(mode))


def _unlike(case: Case, mode: PlannedMode, expected: list[tuple[int, ...]]) -> Iterator[str]:
    groups = list(mode.groups)
    if groups != expected:
        there, right = (_first_beside(mine, others) for mine, others in ((groups, expected), (expected, groups)))
        yield f"{case}: mode {mode.name!r} has {there} where brute force finds {right}."
    for index, group in enumerate(expected):
        for rank in group:
            if mode.group_of(rank) != group or mode.groups.index_of(rank) != index:
                yield f"{case}: mode {mode.name!r} has rank {rank} in {mode.group_of(rank)} instead of {group}."
                return


def _first_beside(groups: list[tuple[int, ...]], others: list[tuple[int, ...]]) -> str:
    return next((f"group {group}" for group in groups if group not in others), "nothing")


def _alone(subject: Subject) -> Iterator[str]:
    """Compare the ranks of all other modes, with the plugin at its default sizes and without it."""
    optional = any(one.optional for one in subject.found if one.plugin.name == subject.plugin)
    off = {"enable": [], "disable": [*subject.switches["disable"], *subject.needing]}
    for world in subject.worlds:
        for sizes in subject.beside(world):
            case, without = subject.case(world, sizes), subject.case(world, {**sizes, **off})
            if isinstance(without, Refused):
                continue  # nothing to move
            if isinstance(case, Case):
                yield from _moved(case, without.plan)
            elif isinstance(case.error, ConfigError) and not optional:
                # `groups_are_disjoint_and_cover` reports a PluginError.
                yield f"{at(world, sizes)} can be planned without the plugin, and not with it: {case.error}"


def _moved(case: Case, without: Plan) -> Iterator[str]:
    for mode in without.planned:
        now = case.plan[mode.name].groups
        if now != mode.groups:
            one = next((group for group in mode.groups if group not in now), mode.groups[0] if mode.groups else ())
            to = now.group_of(one[0]) if one else None
            yield f"{case}: mode {mode.name!r} has group {to} with the plugin at its defaults, and {one} without it."
            return


def _refuses(subject: Subject) -> Iterator[str]:
    for world in sorted({7, 8, 12} & {*subject.worlds} or {min(subject.worlds)}):
        if any(fault.world == world and not fault.keywords for fault in subject.faults):
            continue  # the size is not at fault
        for setting in subject.settings:
            choices, text = setting.choices or (), isinstance(setting.default, str)
            wrong: tuple[object, ...] = ([],) if text and not choices else ([], "no such value")
            for value in wrong:
                yield from _not_refused(subject, world, {setting.name: value}, must=value not in choices)
        for name in subject.varied:
            item = subject.own.get(name)
            ragged = item is None or (isinstance(item, Part) and item.split.ragged)
            for bad in (0, -1, True, "two", 1.5):
                yield from _not_refused(subject, world, {name: bad}, must=True)
            for size in range(2, world + 3):
                yield from _not_refused(subject, world, {name: size}, must=size > world and not ragged)


def _not_refused(subject: Subject, world: int, sizes: Mapping[str, Any], *, must: bool) -> Iterator[str]:
    case = subject.case(world, sizes)
    if isinstance(case, Refused):
        if isinstance(case.error, PluginError):
            yield f"a size must be refused with ConfigError, which tells users that the size is theirs: {case.error}"
    elif must:
        yield f"{case} is planned, but must be refused."


def _no_torch(subject: Subject) -> Iterator[str]:
    _try("It")
    cases = subject.cases[:: max(1, len(subject.cases) // 8)]
    asked = [(case.world, subject.keywords(case.world, case.keywords)) for case in cases]
    _, torch = plan_in_subprocess(asked or [(1, subject.switches)], hash_seed=1, rank=0, backwards=False)
    if torch:
        yield "\n  ".join(("torch is imported for a plan; import it in the function that uses it:", *torch[-3:]))


def _builds(subject: Subject) -> Iterator[str]:
    _try("It", *NEEDED)
    case = subject.case_to_build()
    if case is None:
        yield "no world of up to 16 ranks can be planned with it, so nothing was built."
        return
    bare = case.without_options()
    keywords = subject.keywords(case.world, case.on_gloo()) if bare is None else {"plan": bare}
    unset = {name: "" for name in os.environ if name.startswith("PGREGISTRY")}
    try:
        answers = subject.run_ranks(case.world, build_and_prove, keywords, env=unset)
    except RanksFailed as error:
        yield f"{case}, on real ranks: {error}"
        return
    failed: dict[str, list[int]] = {}  # ranks with the same error are reported together
    for rank, answer in enumerate(answers):
        if answer is not None:
            failed.setdefault(answer, []).append(rank)
    if failed:
        yield "\n".join((f"{case}, on real ranks:", *(f"{format_ranks(who)}: {text}" for text, who in failed.items())))


def build_and_prove(keywords: Mapping[str, Any]) -> str | None:
    """Build a plan on this rank and prove all groups; return the text of the error, or None."""
    import pgregistry

    try:
        with pgregistry.init(**keywords, backend="gloo") as context:
            context.verify()
    except PgregistryError as error:
        return f"{type(error).__name__}: {explained(error)}"
    return None


PROPERTIES: Final = (
    Property("it_loads", "it loads, and some world can be planned with it", _loads),
    Property("it_answers_the_same_everywhere", "the same answer twice, under any hash seed and on any rank", _same),
    Property("groups_are_disjoint_and_cover", "groups are disjoint, in range, and leave no rank out", _covers),
    Property("groups_are_right", "groups are those that brute force finds from the coordinates", _right),
    Property("others_keep_their_ranks", "at its default sizes no other mode's ranks move", _alone),
    Property("bad_sizes_are_refused", "sizes that cannot be are refused with ConfigError", _refuses),
    Property("it_imports_no_torch", "a plan does without torch", _no_torch),
    Property("it_builds", "it is built on real ranks, and every group proved", _builds),
)
