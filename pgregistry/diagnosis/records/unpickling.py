"""Read a pickle of plain values without running anything in it."""

from __future__ import annotations

import io
import pickle
from typing import Any, Final, NoReturn

#: Bytes that the C code of pickle takes at once. Without a buffer it asks Python for each few of them.
BUFFER: Final = 1 << 17


class UnsafePickle(pickle.UnpicklingError):
    """A pickle wants a class or a function."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> NoReturn:
        raise UnsafePickle(f"it wants {module}.{name}, but a flight record holds plain values only")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise UnsafePickle("it wants an object from outside, but a flight record holds plain values only")


def unpickle(data: bytes) -> Any:
    """Return the plain values in a pickle.

    >>> unpickle(pickle.dumps({"version": "2.10"}))
    {'version': '2.10'}
    >>> unpickle(pickle.dumps(print))
    Traceback (most recent call last):
        ...
    pgregistry.diagnosis.records.unpickling.UnsafePickle: it wants builtins.print, but ...

    Raises:
        UnsafePickle: if it wants a class or a function, which is not looked up.
        Exception: of many classes, if it is damaged.
    """
    return _Plain(io.BufferedReader(io.BytesIO(data), BUFFER)).load()
