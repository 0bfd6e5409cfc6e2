"""Train a small model that goes on when workers and hosts are lost: with new groups, from its last checkpoint.

torchrun --nproc-per-node 4 --max-restarts 3 examples/elastic.py elastic-checkpoints
torchrun --nnodes 1:2 --nproc-per-node 4 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint host0:29400 \
    examples/elastic.py /shared/elastic

torchrun starts all workers anew when one is lost, or a host comes or goes. Nothing here asks why: `init` makes the
groups of the world that there is now. Each step has the same samples whatever the number of ranks, so the losses are
those of one process that nobody disturbed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

import pgregistry

STEPS, EVERY, BATCH, WIDTH = 300, 10, 24, 16
#: Seconds after which a collective raises because a rank is lost: only then does torchrun start the others anew.
TIMEOUT = 30


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Return all samples of a step and their targets, the same on every rank."""
    random = torch.Generator().manual_seed(step)
    samples = torch.randn(BATCH, WIDTH, generator=random, dtype=torch.float64)
    return samples, samples.sin() + torch.randn(BATCH, WIDTH, generator=random, dtype=torch.float64) / 10


def train(folder: Path) -> None:
    """Train from the last checkpoint in a folder that all hosts see."""
    torch.set_num_threads(1)
    latest = folder / "checkpoint.pt"
    with pgregistry.init(timeout=TIMEOUT) as context:
        data = context["data"]
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH)).double()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        losses: list[float] = []
        if latest.exists():  # all ranks read the same: the next is written after steps that need all of them
            saved = torch.load(latest, weights_only=True)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            losses = saved["losses"]
        if context.rank == 0:
            print(f"{data.size} ranks from step {len(losses)}", flush=True)
        for step in range(len(losses), STEPS):
            samples, targets = (part.tensor_split(data.size)[data.rank] for part in batch(step))
            loss = (model(samples) - targets).square().sum() / BATCH
            optimizer.zero_grad()
            loss.backward()
            for summed in (loss.detach(), *(weights.grad for weights in model.parameters())):
                dist.all_reduce(summed, group=data.group)
            optimizer.step()
            losses.append(loss.item())
            if context.rank == 0 and (step + 1) % EVERY == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
                torch.save(state, latest.with_suffix(".part"))
                latest.with_suffix(".part").replace(latest)  # at once, so a worker that dies leaves no half of one
        if context.rank == 0:
            print(f"loss {losses[0]:.4f} → {losses[-1]:.4f}", flush=True)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    train(Path(sys.argv[1]))
