"""The output of rank 0: a bar while the run trains, and a plot of the losses at its end."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def show_progress(done: int, steps: int, loss: float, speed: float) -> None:
    """Draw the bar of a step over that of the step before."""
    bar = ("#" * (30 * done // steps)).ljust(30, ".")
    end = "\n" if done == steps else ""
    print(
        f"\r[{bar}] step {done}/{steps}  loss {loss:.4f}  {speed:,.0f} tokens/s ", end=end, file=sys.stderr, flush=True
    )


def plot(losses: Sequence[float], width: int = 60, height: int = 10) -> str:
    """Return the losses as lines of text, the highest first."""
    columns = min(width, len(losses))
    means = []
    for column in range(columns):
        part = losses[column * len(losses) // columns : (column + 1) * len(losses) // columns]
        means.append(sum(part) / len(part))
    top, low = max(means), min(means)
    rows = [round((top - mean) / ((top - low) or 1) * (height - 1)) for mean in means]
    label = {0: f"{top:.2f}", height - 1: f"{low:.2f}"}
    return "\n".join(
        f"{label.get(n, ''):>6} |{''.join('*' if row == n else ' ' for row in rows)}" for n in range(height)
    )
