"""Faults across hosts: one row a kind, with what each rank is to get; `docs/reliability.md` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgregistry.errors import format_ranks

#: `agree_timeout`, `build_timeout` and the timeout of process groups in these tests, in seconds.
PATIENCE: Final = 5
#: How long ranks may take that have the store, and those that are cut off from it, on a busy machine.
SOON: Final = PATIENCE + 20
CUT_OFF: Final = PATIENCE + 35


@dataclass(frozen=True)
class HostFault:
    """One kind of fault across three hosts with a rank each; rank 0 has the store.

    Attributes:
        kind: What is wrong, and when.
        moment: Where all ranks stand when it begins.
        action: What the test does then.
        host: The odd host.
        others: What ranks of the other hosts get. {these} stands for the ranks that they do not reach.
        there: What ranks of the odd host get.
        soon: How long the others may take, in seconds.
        soon_there: How long the odd host may take.
        log: What is logged, if all is well.
    """

    kind: str
    moment: str
    action: str
    host: int
    others: str
    there: str
    soon: float = SOON
    soon_there: float = SOON
    log: str = ""


CONTEXT: Final = "a context"
TORCH: Final = "a context; in a collective RuntimeError, at the timeout of the process group"
ABSENT: Final = "PlanMismatch: {these} of 3 did not come within 5 s"
NO_STORE: Final = "PlanMismatch: which rank 0 hosts, did not answer within 5 s"
GONE_EARLY: Final = "PlanMismatch: rank 0, which hosts the store, is gone before all ranks agreed"
GONE: Final = "BuildError: rank 0, which hosts the store, is gone while process groups are built"
SILENT: Final = "BuildError: {these} did not answer"
PARTED: Final = "BuildError: All ranks answered: some are slow, or their hosts do not reach each other"


def _cut(when: str, moment: str, with_store: str, without: str) -> tuple[HostFault, HostFault]:
    """Return two rows of a link that goes down at a moment: that of another host, and that of the store's host."""
    return (
        HostFault(f"a link goes down {when}", moment, "down", 2, with_store, without, SOON, CUT_OFF),
        HostFault(f"the link of the store's host goes down {when}", moment, "down", 0, without, with_store, CUT_OFF),
    )


def _well(kind: str, moment: str, action: str, log: str = "") -> HostFault:
    return HostFault(kind, moment, action, 2, CONTEXT, CONTEXT, log=log)


def _parted(when: str, moment: str, says: str) -> HostFault:
    return HostFault(f"hosts 1 and 2 do not reach each other {when}", moment, "part", 2, says, says)


FAULTS: Final = (
    *_cut("before `init`", "start", ABSENT, NO_STORE),
    *_cut("before agreement", "before", ABSENT, GONE_EARLY),
    *_cut("between agreement and world", "between", SILENT, GONE),
    *_cut("between world and build", "world", SILENT, GONE),
    *_cut("while groups connect", "connecting", SILENT, GONE),
    *_cut("before the last confirmation of `init`", "last", SILENT, GONE),
    *_cut("after `init`", "after", TORCH, TORCH),
    _parted("before `init`", "start", PARTED),
    _parted("while groups connect", "connecting", PARTED),
    _parted("after `init`", "after", TORCH),
    _well("another plugin version on one host", "start", "version", "acme-ring 2 on rank"),
    _well("a host comes 10 s late", "start", "late", "waiting for rank 2 of 3 to agree on the plan"),
    _well("a port scan of the store's host, with random bytes at each port", "connecting", "scan"),
    _well("HTTP requests at the port of the store", "before", "http"),
    _well("random bytes at the port of the store", "before", "garbage"),
    _well("300 connections to the store that stay mute, or stop within a query", "before", "mute"),
    _well("connections to the store that are begun and never completed", "before", "half"),
)


def table() -> str:
    """Return the rows as a table."""
    rows = [("kind", "ranks of other hosts", "allowed", "ranks of that host", "allowed"), ("---",) * 5]
    for fault in FAULTS:
        others = _shown(fault.others.format(these="Rank N"), fault.log)
        there = _shown(fault.there.format(these="The other ranks"), fault.log)
        rows.append((fault.kind, others, f"{fault.soon:g} s", there, f"{fault.soon_there:g} s"))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _shown(text: str, log: str) -> str:
    kind, colon, said = text.partition(": ")
    line = f"; in the log: {log}" if log else ""
    return f"`{kind}`: {said}" if colon else text + line


def expected(fault: HostFault, rank: int) -> tuple[str, str, float]:
    """Return the error that a rank is to raise, a part of its text, and the seconds that it may take."""
    odd = rank == fault.host
    these = [other for other in range(3) if (other == fault.host) is not odd]
    kind, _, says = (fault.there if odd else fault.others).partition(": ")
    return kind, says.format(these=format_ranks(these).capitalize()), fault.soon_there if odd else fault.soon
