"""Verification: a collective in a process group whose result only the right members give."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pgregistry.errors import BuildError
from pgregistry.runtime.contexts.handle import GroupHandle

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def verify_handle(handle: GroupHandle, companion: ProcessGroup | None, fingerprint: str) -> None:
    """Verify the process group of a mode on this rank, and its gloo companion; all members must call it together.

    Each member contributes a number made of the plan, the mode, the group and its rank. A group that
    is connected to other ranks, or to another mode with the same ranks, therefore shows.

    Args:
        handle: One mode on this rank.
        companion: Its gloo process group, if it has one beside its own.
        fingerprint: The plan's.

    Raises:
        BuildError: naming the mode, the group and the first rank whose number is wrong.
    """
    _verify(handle, handle.group, fingerprint, "")
    if companion is not None:
        _verify(handle, companion, fingerprint, "gloo ")


def _verify(handle: GroupHandle, group: ProcessGroup, fingerprint: str, kind: str) -> None:
    import torch
    import torch.distributed as dist

    from pgregistry.building.communicators.backend import FAKE, tensor_device

    if dist.get_backend(group) == FAKE:
        return

    me = handle.ranks[handle.rank]
    expected = [_token(handle, fingerprint, kind, rank) for rank in handle.ranks]
    mine = torch.tensor([expected[handle.rank]], dtype=torch.int64, device=tensor_device(group))
    received = [torch.empty_like(mine) for _ in handle.ranks]
    what = f"the {kind}process group of mode {handle.mode!r}, group {handle.index} {handle.ranks}"
    try:
        dist.all_gather(received, mine, group=group)
    except RuntimeError as error:
        raise BuildError(f"Rank {me}: all_gather failed in {what}: {error}", ranks=[me]) from error
    for rank, token, number in zip(handle.ranks, expected, received, strict=True):
        if int(number.item()) != token:
            raise BuildError(
                f"Rank {me}: {what}, is connected to another process in the place of rank {rank}.", ranks=[rank]
            )


def _token(handle: GroupHandle, fingerprint: str, kind: str, rank: int) -> int:
    text = f"{fingerprint}/{handle.mode}/{handle.index}/{kind}/{rank}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
