"""Prove process groups: a collective in each whose result only the right members could give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
import torch.distributed as dist

from pgregistry.errors import BuildError
from pgregistry.runtime.context import ParallelContext
from pgregistry.runtime.handle import Handle


def prove(context: ParallelContext) -> Iterator[str]:
    """Prove every group that this rank is in, mode by mode; all ranks must call it together.

    Each member contributes a number made of the plan, the mode, the group and its rank, so a
    group that is wired to other ranks, or to another mode with the same ranks, shows.

    Yields:
        The name of each mode when its group is proved.

    Raises:
        BuildError: naming the mode, the group and the first rank that is not who it should be.
    """
    for name in context.plan.modes:
        if handle := context.get(name):
            _prove(context, handle, handle.group, "")
            if name in context.built.companions:
                _prove(context, handle, handle.cpu_group, "gloo ")
        yield name


def _prove(context: ParallelContext, handle: Handle, group: dist.ProcessGroup, kind: str) -> None:
    device = _device(group)
    expected = [_token(context, handle, kind, rank) for rank in handle.ranks]
    mine = torch.tensor([expected[handle.rank]], dtype=torch.int64, device=device)
    theirs = [torch.empty_like(mine) for _ in handle.ranks]
    what = f"the {kind}process group of mode {handle.mode!r}, group {handle.index} {handle.ranks}"
    try:
        dist.all_gather(theirs, mine, group=group)
    except RuntimeError as error:
        raise BuildError(f"Rank {context.rank}: all_gather failed in {what}: {error}") from error
    for rank, token, came in zip(handle.ranks, expected, theirs, strict=True):
        if int(came.item()) != token:
            raise BuildError(f"Rank {context.rank}: in {what}, what should come from rank {rank} came from another.")


def _token(context: ParallelContext, handle: Handle, kind: str, rank: int) -> int:
    text = f"{context.plan.fingerprint}/{handle.mode}/{handle.index}/{kind}/{rank}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def _device(group: dist.ProcessGroup) -> torch.device:
    """A device whose tensors the process group takes: the CPU where it can."""
    devices = [pair.split(":")[0] for pair in str(dist.get_backend_config(group)).split(",")]
    if dist.get_backend(group) in ("gloo", "mpi") or "cpu" in devices:
        return torch.device("cpu")
    return torch.device(devices[0], torch.accelerator.current_device_index())
