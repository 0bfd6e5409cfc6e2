"""How ranks that build wait for one another: they look whether one has failed, and name who is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from pgregistry.board import Board, LostError
from pgregistry.errors import BuildError
from pgregistry.requests import Request
from pgregistry.spans import spans

DONE: Final = "done"
GOOD: Final = "ok"
#: How long one look at the store takes while a rank waits for another, in seconds.
LOOK: Final = 0.5
#: How long ranks whose time is up wait for one another, to find out who is gone, in seconds.
ROLL_CALL: Final = 2.0


class Lookout:
    """What a rank looks at while it waits for others: whether one has failed, whether the time is up."""

    def __init__(self, board: Board, requests: Sequence[Request], until: float, seconds: float) -> None:
        self._board = board
        self.store: Any = None
        self._requests = {request.name: request for request in requests}
        self._until = until
        self._begun, self.seconds = until - seconds, seconds
        self._looked = self._begun
        self.took: dict[Request, float] = {}

    def made(self, request: Request) -> None:
        """Note that a process group is there."""
        self.took[request] = time.monotonic() - self._begun

    def __call__(self, keys: Sequence[str]) -> None:
        """Look around, at most every `LOOK` seconds; `keys` are what is waited for in the store."""
        now = time.monotonic()
        if now - self._looked < LOOK and now < self._until:
            return
        self._looked = now
        check_others(self._board)
        if now >= self._until:
            raise BuildError(
                f"Rank {self._board.rank} waited {self.seconds:g} s. {self._waits_for(keys)} {missing(self._board)}"
            )

    def _waits_for(self, keys: Sequence[str]) -> str:
        """Who does not come to which group; a key is …/NAME//DEVICE//POSITION."""
        for key in keys:
            for request in self._requests.values():
                position = key.rpartition("/")[2]
                if f"/{request.name}//" in key and position.isdigit() and self.store and not self.store.check([key]):
                    return f"Rank {request.ranks[int(position)]} does not come to {request}."
        left = [str(request) for request in self._requests.values() if request not in self.took]
        return f"These are not connected: {'; '.join(left)}." if left else "Another rank is not done."


def missing(board: Board) -> str:
    """Which ranks are gone: those that do not say in time that they wait too. Called when the time is up."""
    try:
        board.set(f"waiting/{board.rank}", "")
        board.read([f"waiting/{rank}" for rank in board.ranks], ROLL_CALL)
        gone = [rank for rank in board.ranks if not board.has(f"waiting/{rank}")]
    except LostError:
        return f"{board.host}, which hosts the store, is gone."
    return f"{spans(gone).capitalize()} did not answer." if gone else "All ranks are there."


def check_others(board: Board) -> None:
    """Raise what another rank failed with, if one did."""
    try:
        if board.has(DONE):
            (word,) = board.read([DONE], LOOK) or [GOOD]
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
    except LostError:
        return None  # the others find out as this rank did
    same = told in (GOOD, str(error)) or told.endswith(f": {type(error).__name__}: {error}")
    return None if same else BuildError(told)


def confirm(board: Board, seconds: float, turn: str) -> None:
    """Wait until all ranks are done.

    Raises:
        BuildError: at once where one fails; after `seconds` where one does not come.
    """
    until = time.monotonic() + seconds
    done = DONE if turn == "last" else f"done/{turn}"
    try:
        if board.count(f"count/{turn}") == len(board.ranks):
            board.first(done, GOOD)
            return
        while (left := until - time.monotonic()) > 0:
            if values := board.read([done], min(left, LOOK if done != DONE else 5.0)):
                if values[0] != GOOD:
                    raise BuildError(values[0])
                return
            if done != DONE:
                check_others(board)
    except LostError as error:
        raise lost(board, error) from error
    raise BuildError(
        f"Rank {board.rank} has its process groups, but waited {seconds:g} s for others to have theirs. "
        f"{missing(board)}"
    )
