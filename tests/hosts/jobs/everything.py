"""Build every mode, and ask in each group who is there; two worlds, one after the other."""

import os
import socket

import torch.distributed as dist
from answers import answer

import pgregistry
from pgregistry import HOST, WORLD, Mode, Split

NEAR = Mode("near", over=Split(WORLD, inner="near", size=HOST))

worlds = []
for sizes in ({"tensor": 2, "zero1": {"dedicated": True}}, {"pipe": 2, "nettest": 4, "extra": [NEAR]}):
    with pgregistry.init(**sizes, agree_timeout=60, build_timeout=60) as context:
        context.verify()
        met = {}
        for name in context.plan.modes:
            if handle := context.get(name):
                here: list[object] = [None] * handle.size
                dist.all_gather_object(here, (dist.get_rank(), socket.gethostname()), group=handle.group)
                met[name] = here
        worlds.append(
            {
                "met": met,
                "groups": {name: context.plan[name].group_of(context.rank) for name in context.plan.modes},
                "world": dist.get_world_size(),
            }
        )
answer(worlds=worlds, host=socket.gethostname(), local=os.environ["LOCAL_RANK"])
