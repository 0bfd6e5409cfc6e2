"""Real text: the topics of Python's own documentation, which every Python has."""

from __future__ import annotations

from functools import cache
from pydoc_data.topics import topics

import torch
from torch import Tensor


@cache
def text() -> Tensor:
    """Return the whole text as bytes."""
    return torch.frombuffer(bytearray("\n".join(topics[name] for name in sorted(topics)), "utf-8"), dtype=torch.uint8)


def batch(step: int, samples: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the samples of a step and the bytes that follow, the same on every rank: a run can resume anywhere."""
    random = torch.Generator().manual_seed(1000 * seed + step)
    starts = torch.randint(len(text()) - length, (samples, 1), generator=random)
    chosen = text()[starts + torch.arange(length + 1)].long()
    return chosen[:, :-1], chosen[:, 1:]
