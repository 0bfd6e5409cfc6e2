"""Run the training script of examples/gpt on ranks of a test, and the same model in one process of plain torch."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GPT = Path(__file__).parents[2] / "examples" / "gpt"


def script(name: str) -> Any:
    """Return a module of the script."""
    if str(GPT) not in sys.path:
        sys.path.insert(0, str(GPT))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        return importlib.import_module(name)


def run(words: Sequence[str]) -> list[float]:
    """Return the losses of the script, which other ranks run too."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # torch's own
        losses: list[float] = script("train").main(words)
    return losses


def warned(words: Sequence[str]) -> list[str]:
    """Return the warnings of the script, which other ranks run too."""
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("always")
        script("train").main(words)
    return [str(one.message) for one in caught]


def run_all(layouts: Sequence[Sequence[str]], more: Sequence[str]) -> list[list[float]]:
    """Return the losses of each of several layouts, one after another in the same processes."""
    return [run([*words, *more]) for words in layouts]


def compare(layouts: Sequence[Sequence[str]], more: Sequence[str]) -> tuple[list[float], list[list[float]]]:
    """Return the losses of plain torch in one process, and those of each layout."""
    return alone(more), run_all(layouts, more)


def alone(words: Sequence[str]) -> list[float]:
    """Train the same model with plain torch in one process, and return the losses."""
    import torch

    train, gpt, text = script("train"), script("gpt"), script("text")
    said, _ = train.options(words)
    config = gpt.Config(layers=said.layers, experts=said.experts)
    torch.set_num_threads(1)
    torch.manual_seed(said.seed)
    model = gpt.GPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=said.rate, foreach=False)
    losses = []
    for step in range(said.steps):
        given, following = text.batch(step, said.batch, config.length, said.seed)
        loss = train.next_byte_loss(model(given), following)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
