"""A page of torch's debug server: the plan of a run, and who waits for whom at this moment."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pgregistry.diagnosis.api import report
from pgregistry.diagnosis.groups import Groups, contradictions
from pgregistry.diagnosis.records.event import Malformed, is_finished, with_states
from pgregistry.diagnosis.records.job import one_job
from pgregistry.diagnosis.records.record import Found, read_record
from pgregistry.diagnosis.report import Diagnosis
from pgregistry.diagnosis.verdict import judge
from pgregistry.diagnosis.waits import Job
from pgregistry.errors import ConfigError, clean, format_ranks
from pgregistry.planning.plans.plan import Plan
from pgregistry.torch_private import debug_server
from pgregistry.values import shown

#: The path of the page, and the name of its template.
PATH: Final = "/pgregistry"
TEMPLATE: Final = "pgregistry.html"
#: Seconds between the two looks at all ranks: what is pending in both is a wait.
SPAN: Final = 1.0

Records = Mapping[int, Sequence[Mapping[str, Any]]]


def debug_handler(plan: Plan) -> DebugHandler:
    """Return a page of the plan and of who waits for whom, for `torch.distributed.debug.start_debug_server`.

        from torch.distributed.debug import start_debug_server
        from torch.distributed.debug._debug_handlers import default_handlers

        with pgregistry.init(tensor=2) as context:
            start_debug_server(handlers=[*default_handlers(), pgregistry.debug_handler(context.plan)])

    It is then http://HOST:25999/pgregistry on the host of rank 0. Each view asks all ranks twice, a second apart.

    Args:
        plan: The plan of the run.

    Raises:
        ConfigError: if this torch has no debug server.
    """
    if not isinstance(plan, Plan):
        raise ConfigError(f"plan = {shown(plan)} must be a Plan, such as context.plan.")
    if not debug_server.available():
        raise ConfigError("This torch has no debug server that takes pages; it must be 2.13 or newer, with Jinja2.")
    return DebugHandler(plan.to_json())


class DebugHandler:
    """A page of torch's debug server, in the form that torch asks for. It goes to another process as a pickle.

    Args:
        plan: The plan as JSON.

    Attributes:
        fetch_timeout: Seconds in which each rank must answer; torch sets it.
    """

    fetch_timeout: float = debug_server.PATIENCE

    def __init__(self, plan: str) -> None:
        self._plan = plan

    def routes(self) -> list[debug_server.Route]:
        """Return the path of the page, and what makes it."""
        return [debug_server.Route(PATH, self._page)]

    def nav_links(self) -> list[debug_server.NavLink]:
        """Return the link that every page of the server shows."""
        return [debug_server.NavLink(PATH, "pgregistry")]

    def templates(self) -> dict[str, str]:
        """Return the page, without its text."""
        title = "{% block header %}<h1>{% block title %}pgregistry{% endblock %}</h1>{% endblock %}"
        content = "{% block content %}<pre>{{ text | e }}</pre>{% endblock %}"
        return {TEMPLATE: f"{{% extends 'base.html' %}}\n{title}\n{content}\n"}

    def dump(self) -> str:
        """Return the text of the page, for the files that the server writes now and then."""
        before, _ = debug_server.fetch_records(self.fetch_timeout)
        time.sleep(SPAN)
        now, silent = debug_server.fetch_records(self.fetch_timeout)
        return text_of(Plan.from_json(self._plan), before, now, silent)

    def dump_filename(self) -> str:
        """Return the name that `enabled_dumps` of the server has for this page."""
        return "pgregistry"

    def _page(self, request: Any) -> bytes:
        page: bytes = request.frontend.render_template(TEMPLATE, text=self.dump())
        return page


def text_of(plan: Plan, before: Records, now: Records, silent: Mapping[int, str]) -> str:
    """Return the text of the page.

    >>> import pgregistry
    >>> waits = {"process_group": ["0", "default_pg"], "profiling_name": "gloo:barrier", "collective_seq_id": 1}
    >>> records = {0: [{"entries": [waits]}], 1: [{"entries": []}]}
    >>> print(text_of(pgregistry.plan(2, only=["global"]), records, records, {}))
    Rank 1 holds up the run (process): it waits for nobody, and 1 rank waits for it.
      in      barrier #1 of global, group 0 (ranks 0-1): rank 0 waits
      now     in nothing that torch records: its own code, or a call that leaves no record
      waiting rank 0
    <BLANKLINE>
    barrier #1 of global, group 0 (ranks 0-1)
      rank 0 waits for rank 1
    <BLANKLINE>
    2 ranks
    ...

    Args:
        plan: The plan of the run.
        before: The records of each rank that answered, a moment ago.
        now: The same again.
        silent: Why each other rank did not answer.
    """
    diagnosis = look(plan, before, now)
    waits = [f"{one.name}\n  {_waits(one.ranks, one.held_by)}" for one in diagnosis.waiting]
    lines = [f"Rank {rank} does not answer: {clean(why, 200)}" for rank, why in sorted(silent.items())]
    return "\n".join([str(diagnosis), *diagnosis.problems, *lines, "", *waits, *[""] * bool(waits), str(plan)])


def _waits(ranks: Sequence[int], held_by: Sequence[int]) -> str:
    wait = "waits" if len(ranks) == 1 else "wait"
    return f"{format_ranks(ranks)} {wait}{' for ' if held_by else ''}{format_ranks(held_by) if held_by else ''}"


def look(plan: Plan, before: Records, now: Records) -> Diagnosis:
    """Return who holds up a run, by what was pending before and still is."""
    found = Found()
    for rank, tables in sorted(now.items()):
        for number, one in enumerate(tables):
            earlier = before.get(rank, ())[number : number + 1]
            try:
                found.records.append(read_record(_marked(one, earlier), rank))
            except Malformed as error:
                found.problems.append(f"The record of rank {rank} is left out: {error}.")
                found.unread.add(rank)
    records = one_job(found)
    known: Plan | None = plan
    if differences := contradictions(records, plan):
        found.problems.append(f"The plan is of another run, and left out. {' '.join(differences)}")
        known = None
    job = Job(records, Groups(records, known, found.unread))
    return report(job, judge(job, SPAN), known, found.problems)


def _marked(tables: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a record in which each operation that was pending before, and still is, has been so for `SPAN`."""
    old = {_identity(one) for one in _pending(earlier[0])} if earlier else set()
    still = {id(one) for one in _pending(tables) if _identity(one) in old}
    marked = [{**one, "pending_seconds": SPAN} if id(one) in still else one for one in tables.get("entries") or ()]
    return {**tables, "entries": marked} if marked else {**tables}


def _pending(tables: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = tables.get("entries") or ()
    stated = with_states(entries)
    return [one for one in entries if not is_finished(one, stated)]


def _identity(entry: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("record_id", "pg_id", "process_group", "collective_seq_id", "p2p_seq_id", "profiling_name")
    return tuple(str(entry.get(name)) for name in names)
