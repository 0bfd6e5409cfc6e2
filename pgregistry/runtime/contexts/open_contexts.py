"""The open contexts of a process, and which of them is the current one."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final


class OpenContexts:
    """A stack of the open contexts of a process, whose last one is the current one.

    A context is in it from the time when its process groups exist until it is closed, and once more for each
    `as_current` whose body runs. The stack is that of the process, for autograd runs layers in threads of its own.
    A thread that has chosen a context does not see what other threads have chosen.
    """

    def __init__(self) -> None:
        # By a key of its own, each context with the thread that chose it. No call takes more than one step on the
        # dictionary, so that threads need no lock, which a fork could leave locked.
        self._stack: dict[object, tuple[Any, int | None]] = {}
        self._forks = False

    def add(self, context: Any) -> None:
        """Make a context the current one."""
        if not self._forks:
            self._forks = True
            os.register_at_fork(after_in_child=self._leave_to_parent)
        self._stack[object()] = context, None

    def remove(self, context: Any) -> None:
        """Forget a context, and every choice of it."""
        for key, (one, _) in tuple(self._stack.items()):
            if one is context:
                self._stack.pop(key, None)

    @contextmanager
    def chosen(self, context: Any) -> Iterator[Any]:
        """Make a context the current one while the body runs."""
        key = object()
        self._stack[key] = context, threading.get_ident()
        try:
            yield context
        finally:
            self._stack.pop(key, None)

    def current(self, fingerprint: str | None = None) -> Any:
        """Return the current context, or None if none is open.

        Args:
            fingerprint: Leave out contexts whose plan has another fingerprint.
        """
        stack, me = tuple(self._stack.values()), threading.get_ident()
        has_chosen = any(thread == me for _, thread in stack)
        for context, thread in reversed(stack):
            hidden = has_chosen and thread not in (None, me)
            if not hidden and fingerprint in (None, context.plan.fingerprint):
                return context
        return None

    def _leave_to_parent(self) -> None:
        """Let a forked child end with its own exit code: it never frees the process groups of its parent.

        A child does not have their threads, so freeing a process group there would hang or crash. So each gets one
        reference that nothing takes back.
        """
        for context, _ in tuple(self._stack.values()):
            for held in context.process_groups.leave_to_parent():
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))


#: torch keeps the process groups of a process for the whole process, so there is no narrower place for these.
OPEN: Final[OpenContexts] = OpenContexts()
