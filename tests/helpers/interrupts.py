"""Ctrl-C at every moment of a call: between any two steps of Python's code in it."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

RETURN: Final = dis.opmap["RETURN_VALUE"]


def interrupted(call: Callable[[], object], step: int, files: tuple[str, ...] = ("",)) -> bool:
    """Call a function, and interrupt it at a step; return whether it has as many.

    Args:
        call: The function. It may return before that step.
        step: The number of the step, from 1.
        files: How the names of the files end whose steps count.
    """
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith(files):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if frame.f_code.co_code[frame.f_lasti] == RETURN:
                return trace  # no interrupt comes between this step and the caller's next one
            count += 1
            if count == step:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
