"""How ranks that build wait for one another: they look whether one has failed, and name who is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from pgregistry.building.specs import Request
from pgregistry.coordination.store import Board, LostError
from pgregistry.errors import BuildError, format_ranks

Turn: TypeAlias = Literal["groups", "last"]

DONE: Final = "done"
GOOD: Final = "ok"
#: What stands in the place of addresses that will not come, because building has failed.
GONE: Final = "-"
#: How long a rank that connects to others goes on before it looks whether one failed, in seconds.
LOOK: Final = 2.0
#: How long ranks whose time is up wait for one another, to find out who is gone, in seconds.
ROLL_CALL: Final = 2.0


def addresses(rank: int) -> str:
    """The key under which a rank tells its addresses."""
    return f"addresses/{rank}"


class Lookout:
    """What a rank looks at while it waits for others: whether one has failed, whether the time is up."""

    def __init__(self, board: Board, requests: Sequence[Request], seconds: float) -> None:
        self._board = board
        self._requests = requests
        self._begun = time.monotonic()
        self.seconds = seconds
        self.took: dict[Request, float] = {}

    def made(self, request: Request) -> None:
        """Note that a process group is there."""
        self.took[request] = time.monotonic() - self._begun

    def next(self, seconds: float) -> float:
        """How long to wait before the next look: so many seconds, or less where the time is up before."""
        return max(min(seconds, self._begun + self.seconds - time.monotonic()), 0.001)

    def __call__(self) -> None:
        """Look around once.

        Raises:
            BuildError: with what another rank failed with, or who does not come when the time is up.
        """
        check_others(self._board)
        if time.monotonic() >= self._begun + self.seconds:
            raise BuildError(
                f"Rank {self._board.rank} waited {self.seconds:g} s. {self._waits_for()} {missing(self._board)}"
            )

    def _waits_for(self) -> str:
        """Who does not come to which group."""
        left = [request for request in self._requests if request not in self.took]
        told = self._board.has(addresses(self._board.rank))  # public calls tell them elsewhere
        for request in left if told else ():
            for rank in request.ranks:
                if not self._board.has(addresses(rank)):
                    return f"Rank {rank} does not come to {request}."
        return f"These are not connected: {'; '.join(map(str, left))}." if left else "Another rank is not done."


def missing(board: Board) -> str:
    """Which ranks are gone: those that do not say in time that they wait too. Called when the time is up."""
    try:
        board.set(f"waiting/{board.rank}", "")
        board.read([f"waiting/{rank}" for rank in board.ranks], ROLL_CALL)
        gone = [rank for rank in board.ranks if not board.has(f"waiting/{rank}")]
    except LostError:
        return f"{board.host}, which hosts the store, is gone."
    return f"{format_ranks(gone).capitalize()} did not answer." if gone else "All ranks are there."


def check_others(board: Board) -> None:
    """Raise what another rank failed with, if one did."""
    try:
        if board.has(DONE):
            (word,) = board.read([DONE], ROLL_CALL) or [GOOD]
            if word != GOOD:
                raise BuildError(word)
    except LostError as error:
        raise lost(board, error) from error


def lost(board: Board, error: Exception) -> BuildError:
    """The error for a store that does not answer any more."""
    return BuildError(
        f"Rank {board.rank}: {board.host}, which hosts the store, is gone while process groups are built ({error})."
    )


def tell_failure(board: Board, error: BaseException) -> BuildError | None:
    """Tell the others that this rank failed; the error of another one, if that failed before."""
    mine = f"Rank {board.rank} failed while process groups were built: {type(error).__name__}: {error}"
    try:
        told = board.first(DONE, mine)
        if told == mine:  # whoever waits for addresses or for a turn hears at once
            board.first(_done("groups"), mine)
            board.write({addresses(rank): GONE for rank in board.ranks})
    except LostError:
        return None  # the others find out as this rank did
    same = told in (GOOD, str(error)) or told.endswith(f": {type(error).__name__}: {error}")
    return None if same else BuildError(told)


def _done(turn: Turn) -> str:
    return DONE if turn == "last" else f"{DONE}/{turn}"


def confirm(board: Board, seconds: float, turn: Turn) -> None:
    """Wait until all ranks are done.

    Raises:
        BuildError: at once where one fails; after `seconds` where one does not come.
    """
    until = time.monotonic() + seconds
    try:
        if board.count(f"count/{turn}") == len(board.ranks):
            word = board.first(_done(turn), GOOD)
        else:
            word = board.watch(_done(turn), until) or _nobody_came(board, seconds)
    except LostError as error:
        raise lost(board, error) from error
    if word != GOOD:
        raise BuildError(word)


def _nobody_came(board: Board, seconds: float) -> str:
    return (
        f"Rank {board.rank} has its process groups, but waited {seconds:g} s for others to have theirs. "
        f"{missing(board)}"
    )
