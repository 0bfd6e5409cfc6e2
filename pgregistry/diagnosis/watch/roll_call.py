"""The roll call in the store: one rank calls, all answer, one judges, all read the judgement.

Each rank waits for a key of its own, `watch/wake/RANK/NUMBER`, so that `close()` can end the wait of one rank. Answers
are lines of few keys, so that one call reads them all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Any, Final

from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]

from pgregistry.coordination.places.arrivals import ROSTER, names_of_hosts
from pgregistry.coordination.store.codec import WRONG_DATA, decode, encode, received
from pgregistry.coordination.store.connections import read_together
from pgregistry.errors import clean, describe

#: Keys in one request, and ranks whose answers are lines of one key.
CHUNK: Final = 8192
SHARED: Final = 64
#: The value that ends the wait of a rank whose context is closed.
CLOSED: Final = "closed"
#: The key in which ranks that leave with an error write it.
LEFT: Final = "watch/left"


def wake_key(rank: int, number: int) -> str:
    """Return the key that a rank waits for until a roll call."""
    return f"watch/wake/{rank}/{number}"


class RollCall:
    """One roll call, on one connection to the store.

    Args:
        store: The store below the prefix of this `init`, over a connection of its own.
        rank: This rank.
        ranks: The ranks of the context.
        number: The number of the roll call, from 0.
    """

    def __init__(self, store: Any, rank: int, ranks: Sequence[int], number: int) -> None:
        self._store, self._rank, self._ranks, self._number = store, rank, ranks, number
        self._keys = [self._key(f"answers/{part}") for part in range((len(ranks) + SHARED - 1) // SHARED)]

    def _key(self, name: str) -> str:
        return f"watch/{name}/{self._number}"

    def call(self) -> None:
        """Call the roll, unless another rank has; if one has begun and has not come far, go on in its name.

        All ranks must read the name of one caller, or two callers each wait for the judgement of the other.
        """
        me = str(self._rank)
        caller = received(self._store.compare_set(self._key("call"), "", me))
        first = caller == me
        wakes = [wake_key(rank, self._number) for rank in self._ranks]
        values = dict.fromkeys(self._keys, "") if first else {}
        if not first and not self._store.check(self._keys[-1:]):
            return  # the next call finds it
        values |= dict.fromkeys(wakes, caller)  # behind the keys that the ranks that wake write
        keys = [*values]
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            self._store.multi_set(chunk, [values[key] for key in chunk])

    def wait(self, seconds: float) -> str | None:
        """Return the rank that calls this roll, or CLOSED; None if none does within `seconds`."""
        found = read_together([wake_key(self._rank, self._number)], seconds, self._store)
        return None if found is None else received(found[0])

    def look(self) -> str | None:
        """Return the same without waiting."""
        key = wake_key(self._rank, self._number)
        return received(self._store.get(key)) if self._store.check([key]) else None

    def answer(self, data: Any) -> None:
        """Write the answer of this rank."""
        key = self._keys[list(self._ranks).index(self._rank) // SHARED]
        self._store.append(key, f"{self._rank} {encode(data)}\n")
        if int(self._store.add(self._key("count"), 1)) == len(self._ranks):
            self._store.set(self._key("all"), "")

    def answers(self, seconds: float) -> dict[int, Any]:
        """Return the answers by rank: as soon as all are there, else those of `seconds`."""
        read_together([self._key("all")], seconds, self._store)
        texts = self._store.multi_get(self._keys)
        ranks = frozenset(self._ranks)
        return {rank: data for text in texts for rank, data in _lines(received(text), ranks)}

    def left(self) -> dict[int, Any]:
        """Return the error of each rank that left its context with one."""
        text = received(self._store.compare_set(LEFT, "", ""))
        return dict(_lines(text, frozenset(self._ranks)))

    def host_names(self) -> dict[int, str]:
        """Return the name of the host of each rank, as it signed the agreement; none had to if all are on this host."""
        signed = names_of_hosts(received(self._store.compare_set(ROSTER, "", "")))
        here = os.uname().nodename
        return signed if {*signed.values()} - {here} else dict.fromkeys(self._ranks, here)

    def decide(self, data: Any) -> Any:
        """Write the judgement unless there is one; return the one that counts."""
        return decode(received(self._store.compare_set(self._key("judgement"), "", encode(data))))

    def decision(self, seconds: float) -> Any:
        """Return the judgement, or None if there is none within `seconds`."""
        found = read_together([self._key("judgement")], seconds, self._store)
        return None if found is None else decode(received(found[0]))

    def forget(self, caller: str) -> None:
        """Delete the answers that share a key with that of this rank, if it is the first of them that did not call."""
        place = list(self._ranks).index(self._rank) // SHARED
        sharing = [one for one in self._ranks[place * SHARED : (place + 1) * SHARED] if str(one) != caller]
        if sharing and sharing[0] == self._rank:
            with suppress(RuntimeError):  # a store that is written in Python may not be able to
                self._store.delete_key(self._keys[place])


def _lines(text: str, ranks: Set[int]) -> list[tuple[int, Any]]:
    found = []
    for line in text.splitlines():
        try:
            rank, answer = line.split(" ")
            if int(rank) in ranks:
                found.append((int(rank), decode(answer)))
        except WRONG_DATA:
            continue
    return found


def waits_in_server(store: Any) -> bool:
    """Return True if a wait in this store costs nothing; a store in a file looks at the file all the time."""
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return isinstance(store, TCPStore)


def leave(rank: int, error: BaseException, store: Any) -> None:
    """Write why a rank leaves, and whether that only followed from what another rank did."""
    followed = isinstance(error, DistError) or "gloo/transport" in str(error)
    store.append(LEFT, f"{rank} {encode([clean(describe(error), 200), followed])}\n")


def end_wait(rank: int, number: int, store: Any) -> None:
    """End the wait of a rank for a roll call."""
    store.set(wake_key(rank, number), CLOSED)


def delete_wake(rank: int, number: int, store: Any) -> None:
    """Delete what ended that wait."""
    store.delete_key(wake_key(rank, number))
