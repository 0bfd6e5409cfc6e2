"""Lay the model over the ranks of a context: each size of the plan that is above 1 takes its part."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
import torch.distributed as dist
from gpt import GPT, Block, MixtureOfExperts
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleInputOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from pgregistry import ParallelContext


def parallelize(model: GPT, context: ParallelContext) -> None:
    """Keep this rank's part of the model, in place."""
    _keep_stage(model, context)
    _split_sequences(model, context)
    if context.sizes["tensor"] > 1:
        _split_layers(model, context)
    if not zero1(context.sizes):
        _place_experts(model, context)
        _shard_weights(model, context)


def zero1(sizes: Mapping[str, int]) -> bool:
    """Return True if the ranks of data have whole copies of the weights, and ZeRO-1 shares out the optimizer state."""
    return sizes["shard"] == 1 < sizes["replicate"]


def optimizer(model: nn.Module, context: ParallelContext, rate: float) -> torch.optim.Optimizer:
    """Return the optimizer of this rank's part of the model."""
    if zero1(context.sizes):
        group = context["zero1"].group
        return ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, process_group=group, lr=rate)
    return torch.optim.AdamW(model.parameters(), lr=rate, foreach=False)  # DTensors of two meshes: one by one


def average_gradients(model: nn.Module, context: ParallelContext) -> None:
    """Average the gradients over the ranks that see different tokens; FSDP has done so for weights that it shards."""
    if zero1(context.sizes):
        tokens = context["tokens"]
        for gradient in [weight.grad for weight in model.parameters() if weight.grad is not None]:
            dist.all_reduce(gradient, group=tokens.group)
            gradient /= tokens.size


def _keep_stage(model: GPT, context: ParallelContext) -> None:
    """Keep the blocks of this stage, and the embedding on the first and the head on the last."""
    pipe, layers = context["pipe"], len(model.blocks)
    stage = range(pipe.rank * layers // pipe.size, (pipe.rank + 1) * layers // pipe.size)
    model.blocks = nn.ModuleDict({name: block for name, block in model.blocks.items() if int(name) in stage})
    if not pipe.is_first:
        model.embedding = None
    if not pipe.is_last:
        model.norm = model.head = None


def _split_sequences(model: GPT, context: ParallelContext) -> None:
    """Say which piece of each sequence this rank has, and which ranks have the others."""
    handle = context["context"]
    if handle.size > 1:
        if model.embedding is not None:
            model.embedding.first = model.embedding.position.num_embeddings // handle.size * handle.rank
        for block in _blocks(model):
            block.attention.context = handle


def _place_experts(model: GPT, context: ParallelContext) -> None:
    """Keep the experts of this rank."""
    mesh = context.device_mesh("expert_copies", "expert")["expert"]
    for block in _blocks(model):
        if isinstance(block.feed, MixtureOfExperts):
            experts = block.feed.experts
            experts.expert = context["expert"]
            for name, whole in list(experts.named_parameters()):
                setattr(experts, name, nn.Parameter(distribute_tensor(whole, mesh, [Shard(0)], src_data_rank=None)))


def _split_layers(model: GPT, context: ParallelContext) -> None:
    """Split linear layers over `tensor`; between them each rank has a piece of the sequence (sequence parallel)."""
    mesh = context.device_mesh("replicate", "fsdp", "tensor")["tensor"]
    lookup = RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1))
    if model.embedding is not None:
        parallelize_module(model.embedding, mesh, {"token": lookup, "position": lookup})
    for block in _blocks(model):
        styles: dict[str, ParallelStyle] = {
            "norm1": SequenceParallel(),
            "attention": PrepareModuleInput(input_layouts=Shard(1), desired_input_layouts=Replicate()),
            "attention.query": ColwiseParallel(),
            "attention.key": ColwiseParallel(),
            "attention.value": ColwiseParallel(),
            "attention.out": RowwiseParallel(output_layouts=Shard(1)),
            "norm2": SequenceParallel(),
            "feed.up": ColwiseParallel(input_layouts=Shard(1)),
            "feed.down": RowwiseParallel(output_layouts=Shard(1)),
        }
        if isinstance(block.feed, MixtureOfExperts):  # all ranks of `tensor` send all bytes to whole experts
            del styles["feed.up"], styles["feed.down"]
            styles["feed"] = PrepareModuleInputOutput(
                input_layouts=Shard(1),
                desired_input_layouts=Replicate(),
                use_local_input=True,
                output_layouts=Replicate(),
                desired_output_layouts=Shard(1),
            )
        parallelize_module(block, mesh, styles)
    if model.head is not None:
        head = ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate())
        parallelize_module(model, mesh, {"norm": SequenceParallel(), "head": head})


def _shard_weights(model: GPT, context: ParallelContext) -> None:
    """Shard the weights with FSDP2 over `fsdp`, with copies over `replicate` (HSDP) if there are some."""
    # With `tensor` the logits are a view, which nothing here changes in place; torch warns of it on every rank.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module \(FSDPGPT\) returned a view")
    mesh = context.device_mesh("replicate", "fsdp", "tensor")
    mesh = mesh["replicate", "fsdp"] if context.sizes["replicate"] > 1 else mesh["fsdp"]
    for block in _blocks(model):
        if isinstance(block.feed, MixtureOfExperts):
            copies = context.device_mesh("expert_copies", "expert")["expert_copies"]
            experts = fully_shard(block.feed.experts, mesh=copies, shard_placement_fn=lambda _: Shard(1))
            experts.set_gradient_divide_factor(context["tokens"].size)
            experts.set_force_sum_reduction_for_comms(True)  # gloo cannot divide on the way
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _blocks(model: GPT) -> list[Block]:
    return [block for block in model.blocks.values() if isinstance(block, Block)]
