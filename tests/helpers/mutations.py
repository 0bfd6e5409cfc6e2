"""Changes of JSON documents, each at random places."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any, Final

#: Values to put in the place of another: of every type, near what a plan holds and far from it.
JUNK: Final = (
    *(None, True, False, 0, -1, 1, 2, 3, 4, 8, 2**31, 10**30, 1.0, 0.5, float("nan"), float("inf")),
    *("", "x", "0", "\ud800", [], [0], [[0]], [[0, 1]], [[]], {}, {"a": 1}, [None], ["a"]),
    *([[2, 1], [2, 1]], [[2, 0]], [[-1, 1]], [[1, 2, 3]], [[10**12, 1]], [0, 1, 2, 3]),
)
BYTES: Final = (b"0", b"[", b"]", b"{", b",", b"-", b"1e9", b"null", b"\x00")


def mutated(text: str, chance: Random) -> str:
    """Return a JSON document with some values, keys or bytes changed."""
    return _bytes(text, chance) if chance.random() < 0.35 else json.dumps(_values(json.loads(text), chance))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _paths(value[key], (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _values(document: Any, chance: Random) -> Any:
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        paths = list(_paths(document))
        if not paths:
            return document
        path = chance.choice(paths)
        parent, key, way = _at(document, path[:-1]), path[-1], chance.random()
        if way < 0.2:
            del parent[key]
        elif way < 0.7:
            parent[key] = copy.deepcopy(chance.choice(JUNK))
        elif way < 0.8:
            number = type(parent[key]) is int
            parent[key] = parent[key] + chance.choice([1, -1]) if number else [parent[key]]
        elif way < 0.9 and isinstance(parent, dict):
            parent["unknown"] = copy.deepcopy(chance.choice(JUNK))
        else:
            parent[key] = copy.deepcopy(_at(document, chance.choice(paths)))
    return document


def _bytes(text: str, chance: Random) -> str:
    raw = bytearray(text.encode())
    for _ in range(chance.choice([1, 1, 2, 5])):
        place, way = chance.randrange(len(raw)), chance.random()
        if way < 0.5:
            raw[place] ^= 1 << chance.randrange(8)
        elif way < 0.75:
            del raw[place : place + chance.choice([1, 1, 5, 50])]
        else:
            raw[place:place] = chance.choice(BYTES)
    return raw.decode("latin-1")
