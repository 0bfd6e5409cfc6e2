"""A small GPT over bytes. It knows no layout: `parallel.py` lays it over ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.functional import gelu, scaled_dot_product_attention

from pgregistry import GroupHandle


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The shape of the model; a checkpoint of another shape is refused."""

    layers: int = 4
    width: int = 32
    heads: int = 4
    length: int = 32
    experts: int = 0
    dropout: float = 0.0


class Embedding(nn.Module):
    """Look up bytes and their positions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.token = nn.Embedding(256, config.width)
        self.position = nn.Embedding(config.length, config.width)
        self.first = 0  # the position of the first byte that this rank has

    def forward(self, tokens: Tensor) -> Tensor:
        """Return a vector for each byte."""
        positions = torch.arange(self.first, self.first + tokens.shape[1], device=tokens.device)
        return self.token(tokens) + self.position(positions.expand_as(tokens))


class Attention(nn.Module):
    """Let each byte see those before it."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.head_width = config.width // config.heads
        self.query, self.key, self.value, self.out = (nn.Linear(config.width, config.width) for _ in range(4))
        self.context: GroupHandle | None = None  # the ranks that have the other pieces of the sequence

    def forward(self, x: Tensor) -> Tensor:
        """Return what each byte takes from the others."""
        projected = (layer(x) for layer in (self.query, self.key, self.value))
        query, key, value = (each.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for each in projected)
        if self.context is None:
            seen = scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            key, value = (Gather.apply(each, self.context) for each in (key, value))
            places = torch.arange(key.shape[2], device=x.device)
            mine = places.chunk(self.context.size)[self.context.rank]
            seen = scaled_dot_product_attention(query, key, value, attn_mask=places <= mine[:, None])
        return self.out(seen.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Transform each byte."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the transformed bytes."""
        return self.down(gelu(self.up(x)))


class MixtureOfExperts(nn.Module):
    """Transform each byte with the expert that a gate chooses."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.experts, bias=False)
        self.experts = Experts(config)

    def forward(self, x: Tensor) -> Tensor:
        """Return the transformed bytes."""
        tokens = x.flatten(0, 1)
        weight, chosen = self.gate(tokens).softmax(-1).max(-1)
        order = chosen.argsort(stable=True)
        out = self.experts(tokens[order], chosen.bincount(minlength=self.gate.out_features))
        return (out[order.argsort()] * weight[:, None]).view_as(x)


class Experts(nn.Module):
    """The feed-forward layers that bytes are sent to; ranks along `expert` have different ones."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(config.experts, config.width, 4 * config.width) / config.width**0.5)
        self.down = nn.Parameter(
            torch.randn(config.experts, 4 * config.width, config.width) / (4 * config.width) ** 0.5
        )
        self.expert: GroupHandle | None = None

    def forward(self, tokens: Tensor, counts: Tensor) -> Tensor:
        """Return the tokens, which are sorted by expert, transformed and in the same order."""
        if self.expert is None:
            return self._transform(tokens, counts)
        received = torch.empty_like(counts)  # for each rank, how many tokens it has for each expert that is here
        dist.all_to_all_single(received, counts, group=self.expert.group)
        there, here = (table.view(self.expert.size, -1) for table in (counts, received))
        sent, got = there.sum(1).tolist(), here.sum(1).tolist()
        arrived = Exchange.apply(tokens, got, sent, self.expert)
        order = torch.arange(here.shape[1], device=here.device).repeat(len(here)).repeat_interleave(received)
        order = order.argsort(stable=True)
        out = self._transform(arrived[order], here.sum(0))[order.argsort()]
        return Exchange.apply(out, sent, got, self.expert)

    def _transform(self, tokens: Tensor, counts: Tensor) -> Tensor:
        up, down = (each.to_local() if isinstance(each, DTensor) else each for each in (self.up, self.down))
        parts = tokens.split(counts.tolist())
        return torch.cat([gelu(part @ up[n]) @ down[n] for n, part in enumerate(parts)])


class Block(nn.Module):
    """One layer of the GPT."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(config.width), Attention(config)
        self.norm2, self.feed = (
            nn.LayerNorm(config.width),
            (MixtureOfExperts if config.experts else FeedForward)(config),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the next layer's input."""
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.feed(self.norm2(x)))


class GPT(nn.Module):
    """Predict the next byte. A stage of a pipeline has some blocks, and perhaps neither embedding nor head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embedding: Embedding | None = Embedding(config)
        self.blocks = nn.ModuleDict({str(layer): Block(config) for layer in range(config.layers)})
        self.norm: nn.Module | None = nn.LayerNorm(config.width)
        self.head: nn.Module | None = nn.Linear(config.width, 256, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the next bytes, or what the next stage takes."""
        if self.embedding is not None:
            x = self.embedding(x)
        for block in self.blocks.values():
            x = block(x)
        return x if self.norm is None or self.head is None else self.head(self.norm(x))


class Gather(torch.autograd.Function):
    """Join the pieces of a sequence that the ranks of a group have."""

    @staticmethod
    def forward(ctx: Any, piece: Tensor, handle: GroupHandle) -> Tensor:
        """Return the whole sequence, along dimension 2."""
        ctx.handle = handle
        pieces = [torch.empty_like(piece) for _ in handle.ranks]
        dist.all_gather(pieces, piece.contiguous(), group=handle.group)
        return torch.cat(pieces, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the sum of all ranks' gradients of this rank's piece."""
        whole = gradients[0].contiguous()
        dist.all_reduce(whole, group=ctx.handle.group)
        return whole.chunk(ctx.handle.size, 2)[ctx.handle.rank], None


class Exchange(torch.autograd.Function):
    """Send rows to the ranks of a group, and receive others."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, got: list[int], sent: list[int], handle: GroupHandle) -> Tensor:
        """Return the rows that arrive; `got` and `sent` are how many for each rank."""
        ctx.got, ctx.sent, ctx.handle = got, sent, handle
        out = rows.new_empty(sum(got), *rows.shape[1:])
        dist.all_to_all_single(out, rows.contiguous(), got, sent, group=handle.group)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradients to the ranks that sent the rows."""
        return Exchange.forward(ctx, gradients[0], ctx.sent, ctx.got, ctx.handle), None, None, None
