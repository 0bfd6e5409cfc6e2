"""Data as short text, for the store."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any


def pack(data: Any) -> str:
    """Text for what JSON can say.

    >>> unpack(pack({"tensor": [0, 1]}))
    {'tensor': [0, 1]}
    """
    return base64.b64encode(zlib.compress(json.dumps(data).encode())).decode()


def unpack(text: str) -> Any:
    """What `pack` was given."""
    return json.loads(zlib.decompress(base64.b64decode(text)))
