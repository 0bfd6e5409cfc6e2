"""Values of the store: text that ranks write, and that is not trusted when it is read."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pgregistry.coordination.store.connections import ANSWER
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import PlanMismatch

log = logging.getLogger("pgregistry")

#: Bytes of one value, as it stands in the store and decompressed, above which no rank has written it.
LARGEST: Final = 16 << 20
LARGEST_DECODED: Final = 64 << 20

#: What Python raises when data is not as expected.
WRONG_DATA: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Result = TypeVar("Result")


def encode(data: Any) -> str:
    """Return JSON data as short text for the store.

    >>> decode(encode({"tensor": [0, 1]}))
    {'tensor': [0, 1]}
    """
    return base64.b64encode(zlib.compress(json.dumps(data).encode())).decode()


def decode(text: str) -> Any:
    """Return the data that `encode` was given.

    Raises:
        ValueError: if the text is not of `encode`, or larger than anything that a rank writes.
    """
    if len(text) > LARGEST:
        raise ValueError(f"{len(text)} bytes")
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(base64.b64decode(text, validate=True), LARGEST_DECODED)
        if inflate.unconsumed_tail or not inflate.eof:
            raise ValueError("too large, or cut off")
        return json.loads(data)
    except (zlib.error, RecursionError) as error:
        raise ValueError(str(error)) from error


def parse(scope: ScopedStore, key: str, text: str, read: Callable[[str], Result]) -> Result:
    """Return what a value of the store means; a value that means nothing is read once more.

    Args:
        scope: The scope of the key.
        key: The key.
        text: Its value.
        read: Returns the meaning, or raises what Python raises for wrong data.

    Raises:
        PlanMismatch: if no rank of this version can have written it.
    """
    try:
        return read(text)
    except WRONG_DATA as error:
        log.debug("rank %d reads key %r again, which holds %.200r: %s", scope.rank, key, text, error)
    try:
        return read((scope.read([key], ANSWER) or [""])[0])
    except WRONG_DATA as error:
        raise PlanMismatch(
            f"The store holds what no rank wrote, in key {scope.name}/{key}. Another program writes to this store, "
            "or ranks run different versions of pgregistry."
        ) from error
