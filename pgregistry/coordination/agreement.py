"""One plan on all ranks, or an error on all ranks: compared through the store before anything is built.

Each rank makes five calls. The first rank's statement becomes the reference; every rank compares
its own with it, says so, and is counted where it is the same; the one that makes the count full
gives the word. Where somebody differs, that rank gives it, when all have spoken or some seconds
later; then every rank reads who said what and raises the same error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pgregistry.coordination.proposal import Statement, disagreement, versions
from pgregistry.coordination.store import Board, LostError
from pgregistry.coordination.within_conflicts import APART, Crossing
from pgregistry.errors import PlanMismatch, format_ranks

log = logging.getLogger("pgregistry")

SAME: Final = "="
GO: Final = "go"
GOOD: Final = "ok"
DIFFER: Final = "differ"
MISSING: Final = "missing "
#: How long the others may take to come once it is known that somebody differs, in seconds.
GRACE: Final = 5.0
#: How long ranks that know of a difference wait to hear the last ones, in seconds.
MOMENT: Final = 1.0
#: How long the rank that hosts the store stays for the others to read why, in seconds.
LEAVE: Final = 2.0


def agree(board: Board, mine: Statement, seconds: float) -> None:
    """Return when all ranks of the board say the same.

    Args:
        board: The corner of the store of this `init`.
        mine: What this rank would build.
        seconds: How long the others may take to come.

    Raises:
        PlanMismatch: on every rank, if one says something else or does not come.
    """
    until = time.monotonic() + seconds
    try:
        reference = Statement.decode(board.first("reference", mine.encode()))
        same = reference.digest == mine.digest
        board.set(_who(board.rank), SAME if same else mine.encode())
        if mine.error:
            board.first(GO, DIFFER)  # whoever waits need not; this rank raises its own error
            return
        if not same:
            word = _report(board, _expected(board, reference, mine), min(until, time.monotonic() + GRACE))
        elif board.count("same") == len(board.ranks):
            word = board.first(GO, GOOD)  # another may have given up just before
        else:
            word = _wait(board, until) or _give_up(board)
    except LostError as error:
        raise PlanMismatch(
            f"Rank {board.rank}: {board.host}, which hosts the store, is gone before all ranks agreed ({error})."
        ) from error
    if word == GOOD:
        _warn_versions(board, mine, reference)
    elif word == DIFFER:
        _raise_difference(board, reference, mine)
    elif word.startswith(MISSING):
        raise PlanMismatch(_who_was_missing(board, word, seconds))
    else:
        raise PlanMismatch(word)


def tell_stopped(board: Board, error: BaseException) -> None:
    """Tell ranks that still compare their plans that this one stopped."""
    with suppress(LostError):
        board.first(GO, f"Rank {board.rank} stopped while ranks compared their plans: {type(error).__name__}: {error}")


def leave(board: Board, *, hosts: bool, early: bool = False) -> None:
    """Go, after an error; the rank that hosts the store goes last, so that all others read why.

    Args:
        board: Where the others read.
        hosts: Whether this rank hosts the store.
        early: Whether the others may not have come yet.
    """
    try:
        board.count("left")
        if not hosts:
            return
        if early:
            board.read([_who(rank) for rank in board.ranks], GRACE)
        here = len(board.ranks) - len(_missing(board))
        until = time.monotonic() + LEAVE
        while board.count("left", by=0) < here and time.monotonic() < until:
            time.sleep(0.02)
    except (LostError, RuntimeError):
        return


def _who(rank: int) -> str:
    return f"who/{rank}"


def _expected(board: Board, reference: Statement, mine: Statement) -> Sequence[int]:
    """The ranks that can be waited for: where world sizes differ, those that all sides know of."""
    known = min(reference.world_size, mine.world_size)
    return [rank for rank in board.ranks if rank < known]


def _report(board: Board, ranks: Sequence[int], until: float) -> str:
    """Tell all that this rank differs, as soon as all have spoken."""
    board.read([_who(rank) for rank in ranks], max(until - time.monotonic(), 0))
    return board.first(GO, DIFFER)


def _give_up(board: Board) -> str:
    """The time is up: say who is missing, unless the word was given already."""
    return board.first(GO, MISSING + ",".join(map(str, _missing(board))))


def _missing(board: Board) -> list[int]:
    return [rank for rank in board.ranks if not board.has(_who(rank))]


def _wait(board: Board, until: float) -> str | None:
    """The word, or None when the time is up."""
    crossing = Crossing(board)
    try:
        word = board.watch(GO, until, lambda: _look_around(board, crossing))
    finally:
        crossing.end()
    if word and word.startswith(APART) and not crossing.said:
        return f"Rank {board.rank} came when the others gave up; it may call init() again. {word}"
    return word


def _look_around(board: Board, crossing: Crossing) -> None:
    """Every few seconds; the lowest rank that is there says who is missing, and whether they wait elsewhere."""
    crossing.say()
    for rank in board.ranks:
        if rank == board.rank:
            break
        if board.has(_who(rank)):
            return
    if missing := _missing(board):
        log.warning("pgregistry: waiting for %s of %d to agree on the plan", format_ranks(missing), len(board.ranks))
        crossed, elsewhere = crossing.find(missing)
        for name in (*elsewhere, board.name) if crossed else ():
            board.first(GO, crossed, name)


def _warn_versions(board: Board, mine: Statement, reference: Statement) -> None:
    for plugin, here, there in versions(mine, reference):
        log.warning(
            "pgregistry: plugin %r is %s on rank %d and %s on another; the plan is the same.",
            *(plugin, here, board.rank, there),
        )


def _raise_difference(board: Board, reference: Statement, mine: Statement) -> None:
    """Say on every rank who said what."""
    try:
        # A rank whose own plan failed does not wait for the others to speak; a moment more names all.
        board.read([_who(rank) for rank in _expected(board, reference, mine)], MOMENT)
        absent = _missing(board)
        here = [rank for rank in board.ranks if rank not in absent]
        said = board.read([_who(rank) for rank in here], LEAVE) or []
    except LostError as error:
        raise PlanMismatch(
            f"Rank {board.rank}: the ranks disagree, but {board.host}, which hosts the store, was gone before this "
            f"rank could read who ({error})."
        ) from error
    statements = {
        rank: reference if text == SAME else Statement.decode(text) for rank, text in zip(here, said, strict=False)
    }
    statements.setdefault(board.rank, mine)
    known = min(one.world_size for one in statements.values())
    raise PlanMismatch(disagreement(statements, [rank for rank in absent if rank < known]))


def _who_was_missing(board: Board, word: str, seconds: float) -> str:
    """The error of all ranks, those that came too late included."""
    absent = [int(rank) for rank in word.removeprefix(MISSING).split(",") if rank]
    here = [rank for rank in board.ranks if rank not in absent]
    late = f"Rank {board.rank} came when the others had given up. " if board.rank in absent else ""
    return (
        f"{late}{format_ranks(absent).capitalize()} of {len(board.ranks)} did not come within {seconds:g} s; "
        f"nothing was created.\n  Here were {format_ranks(here)}. "
        f"Look for the first error in the log of {format_ranks(absent)}, or raise agree_timeout."
    )
