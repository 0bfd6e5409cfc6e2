"""Train on all ranks, of which the last stands still in its third step; the words of the command line go to `init`."""

import sys
import time

import torch
import torch.distributed as dist

import pgregistry

with pgregistry.init(args=sys.argv[1:]) as context:
    for step in range(9):
        if step == 2 and context.rank == context.world_size - 1:
            time.sleep(60)
        for mode in context:
            dist.all_reduce(torch.ones(1), group=context[mode].group)
