"""One rank that some engine started: what it knows of its place, and the sum over all."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist

import pgregistry
from pgregistry import DOMAIN, HOST, WORLD, Mode, Split
from pgregistry.vocabulary import Special


def said(*levels: Special) -> str:
    """Return what this rank knows of its place, with a mode at a level or without, or why it cannot be built."""
    modes = [Mode("near", over=Split(WORLD, inner="near", size=level)) for level in levels]
    try:
        with pgregistry.init(only=["data"], extra=modes, backend="gloo", agree_timeout=60) as context:
            total = torch.ones(1)
            dist.all_reduce(total)
            near = context["near"].ranks if modes else None
            where = f"{context.rank} of {context.world_size} on {os.uname().nodename}"
            return f"{where}, sum {total.item():g}, near {near}"
    except pgregistry.PgregistryError as error:
        return f"{type(error).__name__}: {error}".replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(f"> {said(*[{'host': HOST, 'domain': DOMAIN}[word] for word in sys.argv[1:]])}\n")
