"""One rank that some engine started: what it knows of its place, and the sum over its host."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist

import pgregistry
from pgregistry import HOST, WORLD, Mode, Split

modes = [Mode("near", over=Split(WORLD, inner="near", size=HOST))] if "host" in sys.argv else []
try:
    with pgregistry.init(only=["data"], extra=modes, backend="gloo", agree_timeout=60) as context:
        total = torch.ones(1)
        dist.all_reduce(total)
        near = context["near"].ranks if modes else None
        said = f"{context.rank} of {context.world_size} on {os.uname().nodename}, sum {total.item():g}, near {near}"
except pgregistry.PgregistryError as error:
    said = f"{type(error).__name__}: {error}".replace("\n", " ")
sys.stdout.write(f"> {said}\n")
