"""Send functions to other processes by value, with cloudpickle.

Only `LocalRanks` imports this module, when it starts: cloudpickle comes with `pgregistry[test]`.
"""

from __future__ import annotations

import inspect
import io
import marshal
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
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
    module = _module_of_tests(function)
    if module is not None:
        cloudpickle.register_pickle_by_value(module)
    try:
        return pickled((function, args))
    except Exception as error:
        raise ConfigError(
            f"{function!r} cannot be sent to other processes: {error}.\nIts arguments and the values that it reads "
            "from outside must be values that pickle can write. Make other things inside the function."
        ) from error
    finally:
        if module is not None:
            cloudpickle.unregister_pickle_by_value(module)


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


def _module_of_tests(function: Callable[..., Any]) -> ModuleType | None:
    """Return the module of a function unless it is installed or goes by value anyway.

    The ranks import an installed module, but must not run a module of tests again.
    """
    while isinstance(function, partial):
        function = function.func
    module = inspect.getmodule(function)
    if module is None or not (file := getattr(module, "__file__", None)):
        return None
    folders = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), str(Path(pgregistry.__file__).parent))
    installed = any(Path(file).is_relative_to(folder) for folder in folders)
    return None if installed or module.__name__ in cloudpickle.list_registry_pickle_by_value() else module
