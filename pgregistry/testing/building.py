"""A plan built for real: local gloo ranks, and a proof of each group."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pgregistry.errors import PgregistryError, listing
from pgregistry.testing.case import Case, told
from pgregistry.testing.ranks.local_ranks import RanksFailed
from pgregistry.testing.subject import Subject


def build(subject: Subject) -> Iterator[str]:
    """What goes wrong when a plan with the plugin is built; one is chosen in which its groups have members."""
    case = _choose(subject)
    if case is None:
        yield "no world of up to 16 ranks can be planned with it, so nothing was built."
        return
    keywords = subject.keywords(case.world, _on_gloo(case))
    said_nothing = {name: "" for name in os.environ if name.startswith("PGREGISTRY")}
    try:
        answers = subject.run_ranks(case.world, build_and_prove, keywords, env=said_nothing)
    except RanksFailed as error:
        yield f"{case}, on real ranks: {error}"
        return
    failed: dict[str, list[str]] = {}  # ranks that say the same are told together
    for rank, answer in enumerate(answers):
        if isinstance(answer, str):
            failed.setdefault(answer, []).append(str(rank))
    if failed:
        said = (f"rank{'s' * (len(ranks) > 1)} {listing(ranks)}: {text}" for text, ranks in failed.items())
        yield "\n".join((f"{case}, on real ranks:", *said))
        return
    for rank, proved in enumerate(answers):
        if unproved := [mode for mode in case.plan.modes if mode not in proved]:
            yield f"{case}: rank {rank} did not prove {listing(unproved)}."


def build_and_prove(keywords: Mapping[str, Any]) -> list[str] | str:
    """On a rank: build, and the modes whose group was proved, or the error that says why not."""
    import pgregistry
    from pgregistry.runtime.verify import prove

    try:
        with pgregistry.init(**keywords, backend="gloo") as context:
            return list(prove(context))
    except PgregistryError as error:
        return f"{type(error).__name__}: {told(error)}"


def _choose(subject: Subject) -> Case | None:
    """The case in which most modes of the plugin have groups of several ranks, and of few worlds."""

    def score(case: Case) -> tuple[int, int]:
        largest = [max(case.plan[name].groups.sizes(), default=0) for name in subject.modes if name in case.plan]
        return sum(size > 1 for size in largest), sum(1 < size < case.world for size in largest)

    for worlds in ((4, 8), (16,), (2, 3, 6, 1)):
        if cases := [case for world in worlds for case in subject.look_at(world)[0]]:
            return max(cases, key=score)
    return None


def _on_gloo(case: Case) -> dict[str, Any]:
    """The sizes of a case, and gloo for modes that name a backend which needs what is not here."""
    keywords = dict(case.keywords)
    for mode in case.plan.planned:
        if mode.backend not in (None, "gloo"):
            size = {"size": keywords[mode.name]} if mode.name in keywords else {}
            keywords[mode.name] = {**size, "backend": "gloo"}
    return keywords
