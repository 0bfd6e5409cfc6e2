"""The collectives that can be tested, and nccl-tests' arithmetic of bandwidth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pgregistry import ConfigError
from pgregistry.errors import listing

#: All that can be tested; each is a name of torch.distributed, or close to one.
OPS: Final = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all", "send_recv")
#: Those whose size is that of all ranks together: each rank gives, or gets, its share.
SHARED: Final = ("all_gather", "reduce_scatter", "all_to_all")
#: What is sent: numbers of torch.float32.
TYPE, WIDTH = "float", 4
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def bus_factor(op: str, members: int) -> float:
    """What a byte of the result costs on the wire of each rank: busbw = algbw × this, as nccl-tests has it.

    >>> bus_factor("all_reduce", 4), bus_factor("all_gather", 4), bus_factor("broadcast", 4)
    (1.5, 0.75, 1.0)
    """
    share = (members - 1) / members
    return 2 * share if op == "all_reduce" else share if op in SHARED else 1.0


def count(op: str, size: int, members: int) -> int:
    """How many numbers each rank gives to a collective of so many bytes, as nccl-tests counts them.

    >>> count("all_reduce", 1024, 4), count("all_gather", 1024, 4), count("all_gather", 1024, 3)
    (256, 64, 85)
    """
    return max(size // WIDTH // (members if op in SHARED else 1), 1)


def size_of(op: str, numbers: int, members: int) -> int:
    """The bytes of a collective to which each rank gives so many numbers."""
    return numbers * WIDTH * (members if op in SHARED else 1)


def calls(iterations: int, size: int) -> int:
    """How many calls to time: below 1 MiB more, up to ten times, for what is quick is soon disturbed.

    >>> calls(10, 64 << 20), calls(10, 1 << 19), calls(10, 1024)
    (10, 20, 100)
    """
    return iterations * max(min((1 << 20) // size, 10), 1)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Bytes as typed: one, several with commas, or a range that doubles.

    >>> parse_sizes("1K..8K"), parse_sizes("4,1M")
    ((1024, 2048, 4096, 8192), (4, 1048576))

    Raises:
        ConfigError: if it is none of these.
    """
    first, dots, last = text.partition("..")
    if not dots:
        return tuple(sorted({_bytes(part) for part in text.split(",")}))
    low, high = _bytes(first), _bytes(last)
    if low > high:
        raise ConfigError(f"size = {text!r} goes from more to less; say {last}..{first}.")
    return tuple(low << step for step in range((high // low).bit_length()))


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,18})([KMG]?)B?", text.strip().upper(), re.ASCII)
    number = int(match[1]) * _UNITS[match[2]] if match else 0
    if not WIDTH <= number <= 1 << 40:
        raise ConfigError(f"size = {text!r} is no number of bytes from {WIDTH} to 1024G, such as 64K, 1M or 1K..64M.")
    return number


def parse_ops(text: str) -> tuple[str, ...]:
    """Collectives as typed, with commas, each once.

    Raises:
        ConfigError: if one is unknown.
    """
    return check_ops(tuple(dict.fromkeys(part.strip() for part in text.split(","))))


def check_ops(ops: Sequence[str]) -> tuple[str, ...]:
    """The collectives, if all are known; ConfigError otherwise."""
    for op in ops:
        if op not in OPS:
            raise ConfigError(f"op = {op!r} is no collective that can be tested. There are {listing(OPS)}.")
    if not ops:
        raise ConfigError(f"No collective is named. There are {listing(OPS)}.")
    return tuple(ops)


def shown(size: int) -> str:
    """Bytes for people.

    >>> shown(1 << 20), shown(1536), shown(10)
    ('1M', '1536', '10')
    """
    for unit in ("G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
