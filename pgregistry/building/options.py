"""Backend options: a plain mapping as what torch takes."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from pgregistry.building.specs import Request
from pgregistry.errors import BuildError


def torch_options(request: Request) -> Any:
    """Backend options as what torch takes."""
    if not request.options:
        return None
    options = dict(request.options)
    if request.backend in ("gloo", "mpi", "ucc", "fake"):
        raise BuildError(
            f"Mode {request.mode!r} has process group options {options}, but {request.backend} takes none."
        )
    if request.backend != "nccl":
        return options  # a backend from elsewhere reads its own
    converted: Any = dist.ProcessGroupNCCL.Options()
    for key, value in options.items():
        if hasattr(converted, key):
            setattr(converted, key, value)
        elif hasattr(converted.config, key):
            setattr(converted.config, key, value)
        else:
            raise BuildError(f"Mode {request.mode!r} has process group option {key!r}, which nccl does not know.")
    return converted
