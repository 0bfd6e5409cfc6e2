"""Functions as bytes: how a test sends its function to other processes, wherever it is defined.

pickle sends a function as the name of its module and its own, so it refuses lambdas and functions
inside functions, and the other side runs the whole test module again. Here a function of the test
module goes by value: its code, and of the globals those that the code reads.
"""

from __future__ import annotations

import builtins
import dis
import importlib
import io
import marshal
import pickle
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from pgregistry.errors import ConfigError

READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def to_bytes(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """A function and its arguments, for `from_bytes` in a process with the same `sys.path`.

    >>> two = 2
    >>> function, args = from_bytes(to_bytes(lambda number: number + two, (3,)))
    >>> function(*args)
    5

    Raises:
        ConfigError: if the function, or something that it reads, cannot be sent.
    """
    out = io.BytesIO()
    try:
        _Pickler(out, function).dump((function, args))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{function!r} cannot be sent to other processes: {error}.\n"
            "Its arguments and what it reads from around it must be plain values, functions, or classes of a module; "
            "make other things inside the function."
        ) from error
    return out.getvalue()


def from_bytes(data: bytes) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What `to_bytes` was given."""
    function, args = pickle.loads(data)
    return function, args


class _Pickler(pickle.Pickler):
    """Sends the functions of one module and of a script by value, and those inside functions of any module."""

    def __init__(self, out: io.BytesIO, function: Callable[..., Any]) -> None:
        super().__init__(out)
        self._module = getattr(function, "__module__", None)
        self._globals: dict[int, dict[str, Any]] = {}  # one for each module, so that its functions share it

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, ModuleType):
            return importlib.import_module, (value.__name__,)
        if isinstance(value, type) and value.__module__ == "__main__":
            raise pickle.PicklingError(f"{value!r} is of the script itself, which no other process imports")
        if not isinstance(value, FunctionType):
            return NotImplemented
        local = "<" in value.__qualname__  # a lambda, or inside a function
        if not local and (value.__module__ not in (self._module, "__main__") or value in (_make, _fill)):
            return NotImplemented
        around = self._globals.setdefault(id(value.__globals__), {})
        read = {name: value.__globals__[name] for name in _read(value.__code__) if name in value.__globals__}
        names = {"__name__": value.__module__, "__builtins__": builtins, **read}  # without which C cannot import
        cells = [_content(cell) for cell in value.__closure__ or ()]
        attributes = {
            "__defaults__": value.__defaults__,
            "__kwdefaults__": value.__kwdefaults__,
            "__qualname__": value.__qualname__,
            "__module__": value.__module__,
        }
        made = (marshal.dumps(value.__code__), around, len(cells))
        # What is around goes last: it may hold the function itself.
        return _make, made, (names, cells, attributes, dict(vars(value))), None, None, _fill


def _read(code: CodeType) -> Iterator[str]:
    """The globals that code reads, and the code inside it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in READS:
            yield str(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _read(inner)


def _content(cell: CellType) -> list[Any]:
    """What a cell holds; nothing where it has not been filled yet."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _make(code: bytes, around: dict[str, Any], cells: int) -> FunctionType:
    return FunctionType(marshal.loads(code), around, closure=tuple(CellType() for _ in range(cells)))


def _fill(
    function: FunctionType, state: tuple[dict[str, Any], list[list[Any]], dict[str, Any], dict[str, Any]]
) -> None:
    names, cells, attributes, own = state
    function.__globals__.update(names)
    for cell, content in zip(function.__closure__ or (), cells, strict=True):
        if content:
            cell.cell_contents = content[0]
    for name, value in attributes.items():
        setattr(function, name, value)
    vars(function).update(own)
