"""Ranks and hosts as text: `0-3,8-11`, and one such list for each host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pgregistry.errors import ConfigError
from pgregistry.values import MOST_ITEMS

_RUN = r"\d{1,13}(?:-\d{1,13})?"


def read_ranks(text: str, world_size: int) -> list[int] | None:
    """Return the ranks of a text; None if it is not a list of ranks below the world size.

    >>> read_ranks("0-3,8", 16)
    [0, 1, 2, 3, 8]
    """
    words = re.split(r"[,\s]+", text.strip(" ,"))
    ranks: list[int] = []
    for word in words:
        if not re.fullmatch(_RUN, word, re.ASCII):
            return None
        first, _, last = word.partition("-")
        run = range(int(first), int(last or first) + 1)
        if not run or run.stop > world_size or len(ranks) + len(run) > MOST_ITEMS:
            return None
        ranks += run
    return ranks


def as_text(ranks: Iterable[int]) -> str:
    """Return the text of ranks, neighbours as a run, that `read_ranks` reads.

    >>> as_text([0, 1, 2, 3, 8, 5])
    '0-3,8,5'
    """
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1][1:] = [rank]
        else:
            runs.append([rank])
    return ",".join("-".join(map(str, run)) for run in runs)


def read_hosts(text: str, world_size: int) -> Any:
    """Return what a text has as the ranks of each host: lists with semicolons between them, JSON, or a file of JSON.

    >>> read_hosts("0-1;2-3", 4)
    [[0, 1], [2, 3]]

    Raises:
        ConfigError: if it is the path of a file that cannot be read.
    """
    if not re.fullmatch(r"[\d\s,;-]+", text, re.ASCII):
        try:
            return json.loads(text if text.lstrip().startswith("[") else Path(text).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot be read as a file: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:  # JSONDecodeError is one, as is a null byte in the path
            raise ConfigError(f"is not JSON: {error}") from None
    hosts = [read_ranks(part, world_size) for part in text.strip("; ").split(";")]
    return None if None in hosts else hosts
