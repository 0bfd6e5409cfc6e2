"""Send functions to other processes by value, with cloudpickle.

Only `LocalRanks` imports this module, when it starts: cloudpickle comes with `pgregistry[test]`.
"""

from __future__ import annotations

import inspect
import io
import marshal
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

import pgregistry
from pgregistry.errors import ConfigError


def pickled_call(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Return a function and its arguments as bytes for a process with the same `sys.path`.

    >>> import pickle
    >>> two = 2
    >>> function, args = pickle.loads(pickled_call(lambda number: number + two, (3,)))
    >>> function(*args)
    5

    Raises:
        ConfigError: if the function, or a value that it reads, cannot be sent.
    """
    with _by_value(function):
        try:
            return pickled((function, args))
        except Exception as error:
            raise ConfigError(
                f"{function!r} cannot be sent to other processes: {error}.\n"
                "Its arguments and the values that it reads from outside must be values that pickle can write. "
                "Make other things inside the function."
            ) from error


def pickled(value: object) -> bytes:
    """Return a value as bytes; functions and classes that are not part of an importable module go by value."""
    out = io.BytesIO()
    _Pickler(out).dump(value)
    return out.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Keep file names in code, which cloudpickle drops: a traceback on a rank shows the line that failed."""

    dispatch_table = cloudpickle.Pickler.dispatch_table.new_child(
        {CodeType: lambda code: (marshal.loads, (marshal.dumps(code),))}
    )


@contextmanager
def _by_value(function: Callable[..., Any]) -> Iterator[None]:
    """Send everything in the module of a function by value, unless the module is installed.

    The ranks import an installed module, but must not run a module of tests again.
    """
    while isinstance(function, partial):
        function = function.func
    module = inspect.getmodule(function)
    file = getattr(module, "__file__", None)
    known = module is None or module.__name__ in cloudpickle.list_registry_pickle_by_value()
    if module is None or file is None or known or _installed(Path(file)):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _installed(file: Path) -> bool:
    folders = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    return any(file.is_relative_to(folder) for folder in (*folders, Path(pgregistry.__file__).parent))
