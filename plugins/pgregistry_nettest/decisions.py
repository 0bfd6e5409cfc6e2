"""Decisions that ranks share through the store, although some of them may be gone."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, TimeoutError  # noqa: A004 - before Python 3.11 not the built-in one
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from torch.distributed import DistNetworkError, DistStoreError, PrefixStore, Store  # type: ignore[attr-defined]

from pgregistry import BuildError
from pgregistry_nettest.analysis.wording import format_ranks

#: Makes a decision of what each rank proposed. A rank that proposed nothing is not in the mapping.
Decide: TypeAlias = Callable[[Mapping[int, Any]], Any]

#: One wait in the store takes at most this many seconds, so that the loss of the store is noticed.
SLICE: Final = 5.0
#: One wait takes at least a millisecond: torch takes less for no limit.
LEAST: Final = 0.001
#: A store that does not answer for this many seconds is lost.
ANSWER: Final = 15.0

log = logging.getLogger("pgregistry.nettest")


class Decisions:
    """The decisions of one test, in the store.

    No collective is needed, so a rank that dies blocks nobody. The lowest rank that is present makes
    each decision. If it does not come, another rank decides, and the first decision that is written
    is the one that counts.

    Args:
        store: A store that all ranks reach.
        rank: This rank.
        ranks: The ranks of the test, ascending.

    Attributes:
        missing: The ranks that did not come to an earlier decision, with its name.
    """

    def __init__(self, store: Store, rank: int, ranks: Sequence[int]) -> None:
        self.missing: dict[int, str] = {}
        self._rank = rank
        self._ranks = ranks
        self._lost = ""  # or why
        self._written: list[str] = []
        self._read: list[str] = []
        # A rank counts its own tests, so it never meets the keys of an earlier one. The counters stay in the store.
        below = f"nettest/{ranks[0]}-{ranks[-1]}-{zlib.crc32(repr(list(ranks)).encode())}"
        self._store = store
        number = self._ask(lambda store: store.add(f"{below}/tests/{rank}", 1))
        self._store = PrefixStore(f"{below}/{number}", store)

    @property
    def present(self) -> list[int]:
        """Return the ranks that came to every decision so far."""
        return [rank for rank in self._ranks if rank not in self.missing]

    @property
    def is_first(self) -> bool:
        """Return True if this rank is the lowest that is present."""
        return self._rank == self.present[0]

    def decide(self, what: str, proposal: Any, decide: Decide, patience: float) -> Any:
        """Return the decision that all ranks go by.

        Args:
            what: The name of the decision, in words: "in partition 0".
            proposal: What this rank contributes, as JSON can hold it.
            decide: Makes the decision of all proposals. It is called on one rank, or on a few.
            patience: How much longer than this rank the others may take, in seconds.

        Raises:
            BuildError: if the store is lost, or the others have gone on without this rank.
        """
        present = self.present
        self.write(f"{what}/{self._rank}", _encode(proposal))
        text = None
        if not self.is_first:
            # If the first rank is missing, the second one decides a moment before the others.
            text = self.read(what, 2 * patience + (1.0 if self._rank == present[1] else 2.0))
        if text is None:
            decision = _encode(self._decision(what, decide, patience))
            text = self._ask(lambda store: store.compare_set(what, "", decision)).decode()
        self._read.append(what)
        missing, decided = _decode(text)
        if self._rank in missing:
            raise BuildError(
                f"Rank {self._rank} came too late to be counted {what} of the network test; "
                f"{format_ranks(set(present) - set(missing))} went on without it.",
                ranks=(self._rank,),
            )
        self.missing |= dict.fromkeys(missing, what)
        return decided

    def _decision(self, what: str, decide: Decide, patience: float) -> tuple[list[int], Any]:
        keys = {rank: f"{what}/{rank}" for rank in self.present}
        texts = self._wait(list(keys.values()), patience)
        if texts is None:
            keys = {rank: key for rank, key in keys.items() if self._ask(partial(_arrived, [key], LEAST))}
            texts = self._wait(list(keys.values()), patience) or []
        proposals = dict(zip(keys, map(_decode, texts), strict=False))
        return sorted(set(self.present) - proposals.keys()), decide(proposals)

    def write(self, key: str, value: str) -> None:
        """Write a key; BuildError if the store is lost."""
        self._ask(lambda store: store.set(key, value))
        self._written.append(key)

    def read(self, key: str, seconds: float) -> str | None:
        """Return the value of a key as soon as it is written, or None after `seconds`."""
        values = self._wait([key], seconds)
        return values[0] if values else None

    def forget(self) -> None:
        """Delete the keys of this test. If a rank is missing, the decisions stay, so that it learns of them."""
        try:
            self._delete(*self._written)
            # The last rank to come here knows that all others have read the decisions.
            if self._ask(lambda store: store.add("finished", 1)) == len(self._ranks):
                self._delete(*self._read, "finished")
        except (BuildError, RuntimeError) as error:
            log.debug("the keys of a network test stay in the store: %s", error)

    def _delete(self, *keys: str) -> None:
        self._ask(lambda store: [store.delete_key(key) for key in keys])

    def _wait(self, keys: Sequence[str], seconds: float) -> list[str] | None:
        """Return the values of `keys` as soon as all of them are written, or None after `seconds`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._ask(partial(_arrived, keys, min(left, SLICE))):
                return [value.decode() for value in self._ask(lambda store: store.multi_get(list(keys)))]
        return None

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Return the answer of the store.

        If the host of a store is cut off from the network, torch waits for ever, so a thread asks.
        """
        answer: Future[Any] = Future()

        def ask() -> None:
            try:
                answer.set_result(question(self._store))
            except Exception as error:
                answer.set_exception(error)

        if not self._lost:
            threading.Thread(target=ask, daemon=True).start()
            try:
                return answer.result(SLICE + ANSWER)
            except TimeoutError:
                self._lost = f"no answer for {SLICE + ANSWER:g} s"
            except DistNetworkError as error:
                self._lost = str(error).splitlines()[0]
        raise BuildError(
            f"Rank {self._rank}: the store is lost during the network test ({self._lost}). "
            "The process that hosts it (rank 0, or torchrun's agent) has ended or cannot be reached."
        )


def _encode(data: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(data).encode())).decode()


def _decode(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def _arrived(keys: Sequence[str], seconds: float, store: Any) -> bool:
    """Wait in the store until all keys are written; return False after `seconds`."""
    try:
        store.wait(list(keys), timedelta(seconds=max(seconds, LEAST)))
    except RuntimeError as error:
        # TCPStore raises DistStoreError, and each other kind of store words its RuntimeError differently.
        late = isinstance(error, DistStoreError) or "timeout" in str(error).lower()
        if isinstance(error, DistNetworkError) or not late:
            raise
        return False
    return True
