"""Train a little, and go on after a restart, with as many ranks as are left then.

`restarted.py FAULT`: "worker" kills rank 1 after the first `init`; "host" waits until the test has taken a host.
"""

import os
import signal
import socket
import sys

import torch
import torch.distributed as dist
from answers import answer, pause

import pgregistry

attempt, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
with pgregistry.init(timeout=5, agree_timeout=20, build_timeout=20) as context:
    context.verify()
    if attempt == 0 and sys.argv[1] == "worker" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if attempt == 0 and sys.argv[1] == "host":
        pause("here")
    total = torch.ones(1) * (1 + rank)
    dist.all_reduce(total, group=context["data"].group)
    answer(
        attempt=attempt,
        world=dist.get_world_size(),
        total=total.item(),
        host=socket.gethostname(),
        data=context["data"].ranks,
    )
