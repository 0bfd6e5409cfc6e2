"""Python stacks of this process, as lines."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterator
from types import FrameType
from typing import Final

#: Frames of the main thread, and of each other thread; so many others.
MAIN: Final = 6
OTHER: Final = 3
THREADS: Final = 4


def main_frame() -> FrameType | None:
    """Return the innermost Python frame of the main thread."""
    identity = threading.main_thread().ident
    return None if identity is None else sys._current_frames().get(identity)


def stacks(without: Collection[str] = ()) -> list[str]:
    """Return the frames of the main thread, innermost first, and the innermost ones of some others in a line each.

    >>> stacks()[0].partition(",")[0]
    'stacks'

    Args:
        without: Names of threads to leave out.
    """
    frames, main = sys._current_frames(), threading.main_thread()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    if (frame := frames.pop(main.ident or 0, None)) is not None:
        lines += [text for _, text in zip(range(MAIN), _callers(frame), strict=False)]
    others = [(names.get(one, "unknown"), frame) for one, frame in frames.items()]
    for name, frame in [one for one in others if one[0] not in without][:THREADS]:
        called = [text for _, text in zip(range(OTHER), _callers(frame), strict=False)]
        lines.append(f"thread {name}: {' < '.join(called)}")
    return lines


def _callers(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        if frame.f_code.co_filename.endswith("c10d_logger.py"):  # around every call of torch.distributed
            frame = frame.f_back
            continue
        yield f"{frame.f_code.co_name}, {frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
