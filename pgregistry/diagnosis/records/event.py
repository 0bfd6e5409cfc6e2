"""One operation of one rank, as a flight record has it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

#: Operations that end on no rank before every member has entered them.
ALL_TOGETHER: Final = re.compile(
    r"(sparse_)?all_?reduce|barrier|_?all_?gather|_?reduce_scatter|all_?to_?all", re.IGNORECASE
)
#: Operations whose sizes differ between ranks that agree.
UNEQUAL_IN: Final = re.compile(r"all_?to_?all|scatter(?!_)|_v\b|coalesced|send|recv", re.IGNORECASE)
UNEQUAL_OUT: Final = re.compile(r"all_?to_?all|^gather|^reduce$|_v\b|coalesced|send|recv", re.IGNORECASE)

#: Backends of which torch records when the device begins and ends.
DEVICES: Final = frozenset(
    {"nccl", "nccl2", "nccl-legacy", "nccl-lazy", "ncclx", "rccl", "rcclx", "xccl", "mccl", "hccl"}
)

Sizes: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One operation that a rank has enqueued.

    Attributes:
        group: Name and description of the process group, as torch has them.
        operation: Such as "all_reduce", "send" or "coalesced".
        backend: Such as "gloo" or "nccl".
        sequence: The number of the operation in its process group, among the collectives or the point-to-point ones.
        place: How many operations of all process groups the rank had enqueued before it.
        peer: The other side of a send or recv, as a position in the process group; None if the record lacks it.
        finished: True if it has ended, without a timeout where the backend tells the two apart.
        started: True if its device has begun with it; False if not, or if that is not recorded.
        inputs, outputs: How many elements each tensor has.
        dtypes: Of inputs and outputs.
        created: Nanoseconds since the epoch; 0 if the record lacks it.
        timeout: Seconds.
        frames: The Python frames that called it, innermost first.
        batch: Equal for the operations of one batch, such as those of `batch_isend_irecv`.
        waited: Seconds for which nothing has ended in its process group, in an answer to a roll call; else 0.
    """

    group: tuple[str, str]
    operation: str
    backend: str
    sequence: int
    place: int
    point_to_point: bool
    peer: int | None
    finished: bool
    started: bool
    inputs: Sizes
    outputs: Sizes
    dtypes: tuple[str, ...]
    created: int
    timeout: float
    frames: tuple[str, ...]
    batch: tuple[int, int]
    waited: float = 0

    @property
    def together(self) -> bool:
        """Return True if it ends on no rank before every member has entered it."""
        return ALL_TOGETHER.match(self.operation) is not None

    @property
    def sends(self) -> bool:
        """Return True for a send, False for a recv."""
        return self.operation == "send"

    def signature(self) -> tuple[object, ...]:
        """Return what must be equal on all members."""
        inputs = () if UNEQUAL_IN.search(self.operation) else self.inputs
        outputs = () if UNEQUAL_OUT.search(self.operation) else self.outputs
        return (self.operation, inputs, outputs, self.dtypes if inputs and outputs else ())

    def called(self) -> str:
        """Return it as a person would: "all_reduce #3"."""
        return f"{self.operation} #{self.sequence}" if self.sequence else self.operation


class Malformed(Exception):  # noqa: N818 - what it says of a record
    """An entry of a record is not what torch writes."""


def backend_of(name: object) -> str:
    """Return the backend of an operation, such as "nccl" of "nccl:send 0->3"; empty if it names none."""
    return name.partition(" ")[0].rpartition(":")[0] if isinstance(name, str) else ""


def with_states(entries: Iterable[Any]) -> frozenset[str]:
    """Return the backends whose `state` shows if an operation has finished; for the others `retired` shows it.

    gloo before torch 2.15 leaves all "scheduled". NCCL retires an operation that timed out too.
    """
    names = {
        str(one.get("profiling_name"))
        for one in entries
        if isinstance(one, dict) and one.get("state") in ("started", "completed")
    }
    return DEVICES.union(map(backend_of, names))


def is_finished(entry: Any, stated: Set[str]) -> bool:
    """Return True if an entry of a record is of an operation that has ended."""
    if entry.get("state") == "completed":
        return True
    return entry.get("retired") is True and backend_of(entry.get("profiling_name")) not in stated


def read_event(entry: Any, place: int, stated: Set[str] = DEVICES) -> Event:
    """Return one entry of a record; `stated` are the backends whose `state` counts.

    >>> entry = {"process_group": ["1", "pgregistry:pipe/0"], "profiling_name": "nccl:send 0->3", "state": "started",
    ...          "collective_seq_id": 2, "p2p_seq_id": 7, "is_p2p": True, "input_sizes": [[2, 3]], "output_sizes": []}
    >>> event = read_event(entry, 0)
    >>> event.called(), event.peer, event.inputs
    ('send #7', 3, (6,))

    Raises:
        Malformed: if it lacks what every version of the format has, or a value has another type.
    """
    if not isinstance(entry, dict):
        raise Malformed("an entry is not a table")
    name, group = entry.get("profiling_name"), entry.get("process_group")
    if not isinstance(name, str) or not isinstance(group, tuple | list) or [*map(type, group)] != [str, str]:
        raise Malformed("an entry lacks profiling_name or process_group")
    backend = backend_of(name)
    operation, _, path = name.removeprefix(f"{backend}:").partition(" ")
    ends = re.fullmatch(r"(\d+)(?:->|<-)(\d+)", path) if path else None
    p2p = entry.get("is_p2p")
    try:
        return Event(
            group=(str(group[0]), str(group[1])),
            operation=operation,
            backend=backend,
            sequence=int(entry["p2p_seq_id" if p2p else "collective_seq_id"]),
            place=place,
            point_to_point=bool(p2p if p2p is not None else operation in ("send", "recv")),
            peer=int(ends[2]) if ends else None,
            finished=is_finished(entry, stated),
            started=entry.get("state") == "started",
            inputs=_elements(entry.get("input_sizes")),
            outputs=_elements(entry.get("output_sizes")),
            dtypes=(*_texts(entry.get("input_dtypes")), *_texts(entry.get("output_dtypes"))),
            created=int(entry.get("time_created_ns") or 0),
            timeout=int(entry.get("timeout_ms") or 0) / 1000,
            frames=_frames(entry.get("frames")),
            batch=(int(entry["collective_seq_id"]), int(entry.get("p2p_seq_id") or 0)),
            waited=float(entry.get("pending_seconds") or 0),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Malformed(f"an entry has an unknown form: {type(error).__name__} {str(error)[:80]}") from error


def _texts(given: Any) -> Iterable[str]:
    """Return the texts of a list; a pickle may hold a value whose text is longer than the memory."""
    return (one if isinstance(one, str) else "?" for one in given or ())


def _elements(sizes: Any) -> Sizes:
    return tuple([int(math.prod(one)) for one in sizes]) if sizes else ()


def _frames(frames: Any) -> tuple[str, ...]:
    """Return the innermost frames that are not torch's own."""
    found = []
    for frame in frames or ():
        if not all(isinstance(value, str | int) for value in (*map(frame.__getitem__, ("filename", "name", "line")),)):
            raise TypeError("a frame has a value of the wrong type")
        if "torch/distributed" not in str(frame["filename"]):
            found.append(f"{frame['name']}, {frame['filename']}:{frame['line']}")
            if len(found) == 3:
                break
    return tuple(found)


def whole_batches(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the events with the state of the batch that each belongs to.

    torch keeps the state of a batch in an entry "coalesced" behind those of its operations, which stay "scheduled". A
    batch of collectives becomes one event; the sends and recvs of the other kind have peers of their own.
    """
    batches = {(one.group, one.point_to_point, one.batch): one for one in events if one.operation == "coalesced"}
    found, kept = [], set()
    for one in events:
        key = (one.group, one.point_to_point, one.batch)
        end = batches.get(key)
        if end is None or (one is end and key not in kept):
            found.append(one)
        elif one is not end and one.point_to_point:
            found.append(replace(one, finished=end.finished, started=end.started))
            kept.add(key)
    return tuple(found)
