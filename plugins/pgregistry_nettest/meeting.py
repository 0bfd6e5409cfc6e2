"""How ranks go on together when some of them may be gone: each says its part, and one draws the conclusion."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pgregistry import BuildError
from pgregistry.coordination.store import LostError, ScopedStore, decode, encode
from pgregistry.errors import format_ranks

#: From what each rank said to what all of them go by; a rank that said nothing is not in it.
Conclude: TypeAlias = Callable[[Mapping[int, Any]], Any]


class Meeting:
    """The ranks of a test, in the store.

    No collective is needed to agree, so a rank that dies stops nobody. The first rank that is
    present draws every conclusion; where it does not come, another one does.

    Attributes:
        board: Where they meet.
        absent: Ranks that did not come to an earlier conclusion, with its name.
    """

    def __init__(self, board: ScopedStore) -> None:
        self.board = board
        self.absent: dict[int, str] = {}

    @property
    def present(self) -> list[int]:
        """The ranks that came to every conclusion so far."""
        return [rank for rank in self.board.ranks if rank not in self.absent]

    @property
    def first(self) -> bool:
        """Whether this rank is the first that is present."""
        return self.board.rank == self.present[0]

    def conclude(self, what: str, part: Any, conclude: Conclude, patience: float) -> Any:
        """What all ranks go by from here on.

        Args:
            what: The name of this conclusion, in words: "in partition 0".
            part: What this rank has to say.
            conclude: What is made of all parts; called on one rank, or on few.
            patience: How long the others may take longer than this rank, in seconds.

        Raises:
            BuildError: if the store is gone, or the others have gone on without this rank.
        """
        board, present = self.board, self.present
        try:
            board.set(f"{what}/{board.rank}", encode(part))
            text = None
            if board.rank != present[0]:
                # If it is the first rank that is missing, the second one is heard a moment later.
                longer = 1.0 if board.rank == present[1] else 2.0
                text = board.wait_for(what, time.monotonic() + 2 * patience + longer)
            if text is None:
                text = board.set_if_absent(what, encode(self._conclusion(what, conclude, patience)))
        except LostError as error:
            raise BuildError(
                f"Rank {board.rank}: {board.host}, which hosts the store, is gone during the network test ({error})."
            ) from error
        absent, conclusion = decode(text)
        if board.rank in absent:
            raise BuildError(
                f"Rank {board.rank} came too late to be counted {what} of the network test; "
                f"{format_ranks(set(present) - set(absent))} went on without it."
            )
        self.absent |= dict.fromkeys(absent, what)
        return conclusion

    def _conclusion(self, what: str, conclude: Conclude, patience: float) -> tuple[list[int], Any]:
        board, present = self.board, self.present
        keys = [f"{what}/{rank}" for rank in present]
        parts = board.read(keys, patience)
        here = present
        if parts is None:
            here = [rank for rank, key in zip(present, keys, strict=True) if board.has(key)]
            parts = board.read([f"{what}/{rank}" for rank in here], patience) or []
        said = {rank: decode(part) for rank, part in zip(here, parts, strict=False)}
        return sorted(set(present) - said.keys()), conclude(said)
