"""Values of the store: text that ranks write, and that is not trusted when it is read."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any, Final

#: Bytes of one value, as it stands in the store and decompressed, above which no rank has written it.
LARGEST: Final = 16 << 20
LARGEST_DECODED: Final = 64 << 20
#: Bytes below which a window of 2 KiB compresses as well as one of 32 KiB.
SHORT: Final = 2048
#: Calls of `init` above which no rank has counted.
MOST_CALLS: Final = 10**9
#: What Python raises when data is not as expected.
WRONG_DATA: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def encode(data: Any) -> str:
    """Return JSON data as short text without spaces for the store.

    >>> decode(encode({"tensor": [0, 1]}))
    {'tensor': [0, 1]}
    """
    text = json.dumps(data).encode()
    # For a short text, zlib's own tables of 256 KiB would take longer than all the rest.
    deflate = zlib.compressobj(wbits=11, memLevel=3) if len(text) < SHORT else zlib.compressobj()
    return base64.b64encode(deflate.compress(text) + deflate.flush()).decode()


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


def read_json(text: str) -> Any:
    """Return the data of JSON text; raise what Python raises if it is not that, or larger than anything of a rank."""
    if len(text) > LARGEST:
        raise ValueError(f"{len(text)} bytes")
    return json.loads(text)


def read_number(least: int, most: int, text: str) -> int:
    """Return a number; raise ValueError if it is not one from `least` to `most`."""
    if not least <= (number := int(text)) <= most:
        raise ValueError(f"{number} is not from {least} to {most}")
    return number


def read_call(name: str) -> int:
    """Return the number of a call of `init` from the name of its scope; raise ValueError if it has none.

    >>> read_call("pgregistry/all/3")
    3
    """
    return read_number(1, MOST_CALLS, name.rpartition("/")[2])


def read_numbers(text: str) -> int:
    """Return numbers as bits (5 is 0 and 2) from hexadecimal text; raise ValueError if no rank has written it."""
    if not re.fullmatch(r"[0-9a-f]+", text):
        raise ValueError(f"{text:.100} are not numbers")
    return int(text, 16)


def sendable(text: str) -> str:
    """Return text without surrogates, which torch cannot send: they come from paths that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def received(value: bytes | str) -> str:
    """Return a value of the store as text, whatever bytes it holds."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
