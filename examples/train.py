"""Train a small model on data × pipe × tensor ranks, and the same model in one process: the losses are equal.

torchrun --nproc-per-node 4 examples/train.py tensor=2
torchrun --nproc-per-node 8 examples/train.py tensor=2 pipe=2
"""

from __future__ import annotations

import sys
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import mse_loss

import pgregistry

BLOCKS, WIDTH, HIDDEN, BATCH, STEPS, RATE = 4, 8, 16, 24, 5, 0.1


def weights(block: int) -> tuple[Tensor, Tensor]:
    """Return the first weights of a block, the same on every rank."""
    random = torch.Generator().manual_seed(block)
    return torch.randn(HIDDEN, WIDTH, generator=random) / 4, torch.randn(WIDTH, HIDDEN, generator=random) / 4


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Return all samples of a step and their targets, the same on every rank."""
    random = torch.Generator().manual_seed(1000 + step)
    samples = torch.randn(BATCH, WIDTH, generator=random)
    return samples, samples.flip(1)


def alone() -> list[float]:
    """Train in one process, and return the losses."""
    blocks = [[matrix.requires_grad_() for matrix in weights(block)] for block in range(BLOCKS)]
    matrices = list(chain(*blocks))
    losses = []
    for step in range(STEPS):
        x, wanted = batch(step)
        for up, down in blocks:
            x = x + torch.relu(x @ up.T) @ down.T
        loss = mse_loss(x, wanted)
        for matrix, gradient in zip(matrices, torch.autograd.grad(loss, matrices), strict=True):
            matrix.data -= RATE * gradient
        losses.append(loss.item())
    return losses


def summed(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return the sum of x over the ranks of a group."""
    x = x.clone()
    dist.all_reduce(x, group=group)
    return x


class SumThere(torch.autograd.Function):
    """Sum activations of which each rank of a group has a part; all ranks have the same gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        """Return the sum."""
        return summed(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient as it is."""
        return gradients[0], None


class SumBack(torch.autograd.Function):
    """Take activations that all ranks of a group share; each rank has a part of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        """Return the activations as they are."""
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the sum of the gradients."""
        return summed(gradients[0], ctx.group), None


def together(context: pgregistry.ParallelContext) -> list[float]:
    """Train on all ranks, and return the losses.

    Ranks along `data` have different samples, ranks along `pipe` different blocks, and ranks along `tensor`
    different hidden units of each block.
    """
    data, pipe, tensor = context["data"], context["pipe"], context["tensor"]
    blocks = []
    for block in range(BLOCKS)[pipe.rank * BLOCKS // pipe.size : (pipe.rank + 1) * BLOCKS // pipe.size]:
        up, down = weights(block)
        parts = up.chunk(tensor.size)[tensor.rank], down.chunk(tensor.size, dim=1)[tensor.rank]
        blocks.append([part.clone().requires_grad_() for part in parts])
    matrices = list(chain(*blocks))
    losses = []
    for step in range(STEPS):
        given, wanted = (samples.chunk(data.size)[data.rank].clone() for samples in batch(step))
        if not pipe.is_first:
            dist.recv(given, pipe.previous, group=pipe.group)
        x = given.requires_grad_()
        for up, down in blocks:
            hidden = torch.relu(SumBack.apply(x, tensor.group) @ up.T)  # type: ignore[no-untyped-call]
            x = x + SumThere.apply(hidden @ down.T, tensor.group)  # type: ignore[no-untyped-call]
        if pipe.is_last:
            loss = mse_loss(x, wanted)
            back, *gradients = torch.autograd.grad(loss, [given, *matrices])
        else:
            loss, slope = torch.zeros(()), torch.empty_like(x)
            dist.send(x.detach(), pipe.next, group=pipe.group)
            dist.recv(slope, pipe.next, group=pipe.group)
            back, *gradients = torch.autograd.grad(x, [given, *matrices], slope)
        if not pipe.is_first:
            dist.send(back, pipe.previous, group=pipe.group)
        for matrix, gradient in zip(matrices, gradients, strict=True):
            matrix.data -= RATE * summed(gradient, data.group) / data.size
        losses.append(summed(summed(loss.detach(), data.group), pipe.group).item() / data.size)
    return losses


def main(words: list[str]) -> None:
    """Train both ways on this rank, with the sizes of the command line."""
    torch.set_num_threads(1)
    sizes: dict[str, Any] = {name: int(size) for name, size in (word.split("=") for word in words)}
    with pgregistry.init(backend="gloo", **sizes) as context:
        losses, expected = together(context), alone()
        if context.rank == 0:
            axes = " × ".join(f"{name} {context.plan.sizes[name]}" for name in context.plan.order)
            print(f"{axes}: loss {losses[0]:.4f} → {losses[-1]:.4f}, in one process {expected[-1]:.4f}")
        if not torch.allclose(torch.tensor(losses), torch.tensor(expected), rtol=1e-5):
            raise SystemExit(f"rank {context.rank}: the losses are {losses}, in one process {expected}")


if __name__ == "__main__":
    main(sys.argv[1:])
