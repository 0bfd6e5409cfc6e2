"""Train a small GPT on ranks of data, pipe, context, tensor and experts: sizes on the command line choose the layout.

    python examples/gpt/train.py
    torchrun --nproc-per-node 4 examples/gpt/train.py tensor=2
    torchrun --nproc-per-node 8 examples/gpt/train.py pipe=2 tensor=2 --steps 100 --checkpoints gpt-checkpoints

It is written for CPUs and GPUs, and was tried on CPUs alone.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path

import torch
import torch.distributed as dist
from checkpoints import Checkpoints
from gpt import GPT, Config
from manifest import Refused
from parallel import average_gradients, optimizer, parallelize, zero1
from progress import plot, show_progress
from text import batch
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.nn.functional import cross_entropy

import pgregistry
from pgregistry import ParallelContext


def positive(word: str) -> int:
    """Return a number from 1 on."""
    if (number := int(word)) < 1:
        raise ValueError(word)
    return number


def whole(word: str) -> int:
    """Return a number from 0 on."""
    return 0 if int(word) == 0 else positive(word)


def options(words: Sequence[str]) -> tuple[Namespace, list[str]]:
    """Return the options of this script, and the words that pgregistry takes: sizes, `--order` and so on."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    for name, default in {"steps": 200, "batch": 16, "microbatches": 2, "save-every": 50}.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    for name in ("layers", "width", "heads", "length"):
        parser.add_argument(f"--{name}", type=positive, default=getattr(Config(), name))
    parser.add_argument("--experts", type=whole, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--checkpoints", type=Path, help="a folder to save to, and to resume from")
    return parser.parse_known_args(words)


def check(said: Namespace, sizes: Mapping[str, int]) -> None:
    """Refuse options that ranks cannot share out evenly: means of unequal parts are not those of one process.

    Raises:
        SystemExit: with one line for each.
    """
    parts = [
        ("batch", {"data": sizes["data"], "--microbatches": said.microbatches}),
        ("length", {"context": sizes["context"], "tensor": sizes["tensor"]}),
        ("width", {"--heads": said.heads}),
        ("heads", {"tensor": sizes["tensor"]}),
        ("experts", {"expert": sizes["expert"]}),
    ]
    if said.experts and not zero1(sizes):  # FSDP2 shards each expert along its width, in equal parts
        parts.append(("width", {"data / expert": sizes["data"] // sizes["expert"], "context": sizes["context"]}))
    few = [option for option in ("layers", "microbatches") if getattr(said, option) < sizes["pipe"]]
    wrong = [f"--{option} {getattr(said, option)} must be at least pipe = {sizes['pipe']}." for option in few]
    for option, factors in parts:
        value, least = getattr(said, option), prod(factors.values())
        if value % least or value < 1 < least:
            reason = " × ".join(f"{name} {factor}" for name, factor in factors.items())
            wrong.append(f"--{option} {value} must be a multiple of {least} ({reason}), and above 0.")
    if wrong:
        raise SystemExit("\n".join(wrong))


def next_byte_loss(logits: Tensor, following: Tensor) -> Tensor:
    """Return the mean loss over all bytes."""
    return cross_entropy(logits.flatten(0, 1), following.flatten())


def mine(samples: Tensor, context: ParallelContext) -> Tensor:
    """Return this rank's samples, and of each its piece."""
    data, pieces = context["data"], context["context"]
    return samples.chunk(data.size)[data.rank].chunk(pieces.size, 1)[pieces.rank].to(context.device)


def train(context: ParallelContext, said: Namespace) -> list[float]:
    """Train on this rank, and return the losses, which are those of all ranks."""
    config = Config(**{name: getattr(said, name) for name in asdict(Config())})
    torch.manual_seed(said.seed)  # the same whole model on every rank
    model = GPT(config)
    parallelize(model, context)
    model.to(context.device)
    optimize = optimizer(model, context, said.rate)
    saved = Checkpoints(said.checkpoints, config, context)
    first = saved.load(model, optimize)
    for group in optimize.param_groups:
        group["lr"] = said.rate  # not that of the run which saved the checkpoint
    pipe, tokens = context["pipe"], context["tokens"]
    stage = PipelineStage(model, pipe.rank, pipe.size, context.device, group=pipe.group)
    schedule = Schedule1F1B(stage, said.microbatches, loss_fn=next_byte_loss)
    # Dropout of activations: ranks that hold different ones, along any of these modes, draw different numbers.
    torch.manual_seed(context.seed("data", "pipe", "context", "tensor", base=said.seed + first))
    losses: list[float] = []
    began = time.perf_counter()
    for step in range(first, said.steps):
        given, following = (mine(each, context) for each in batch(step, said.batch, config.length, said.seed))
        optimize.zero_grad()
        parts: list[Tensor] = []
        schedule.step(*[given] * pipe.is_first, target=following if pipe.is_last else None, losses=parts)
        average_gradients(model, context)
        optimize.step()
        loss = torch.stack(parts).mean().detach() if parts else torch.zeros((), device=context.device)
        for handle in (tokens, pipe):
            dist.all_reduce(loss, group=handle.group)
        losses.append(loss.item() / tokens.size)
        if saved.folder is not None and ((step + 1) % said.save_every == 0 or step + 1 == said.steps):
            saved.save(model, optimize, step + 1)
        if context.rank == 0:
            speed = said.batch * config.length * len(losses) / (time.perf_counter() - began)
            show_progress(step + 1, said.steps, losses[-1], speed)
    return losses


def main(words: Sequence[str]) -> list[float]:
    """Train with the sizes and options of the command line."""
    said, sizes = options(words)
    with pgregistry.init(args=sizes, plugins=["pgregistry_gpt"]) as context:
        check(said, context.sizes)
        try:
            losses = train(context, said)
        except Refused as reasons:
            raise SystemExit(f"{reasons}\nGive another folder, or remove these checkpoints.") from None
        if context.rank == 0 and losses:
            axes = " × ".join(f"{name} {context.sizes[name]}" for name in context.plan.order)
            print(f"{plot(losses)}\n{axes}: loss {losses[0]:.4f} → {losses[-1]:.4f}")
        elif context.rank == 0:
            print(f"{said.checkpoints} has step {said.steps} or a later one: nothing to train. Give more --steps.")
    return losses


if __name__ == "__main__":
    main(sys.argv[1:])
