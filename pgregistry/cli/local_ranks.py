"""Local ranks for a command: torch's launcher, without its delays."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from typing import Any


def launch(count: int, worker: Callable[..., None], arguments: Sequence[Any], preload: Sequence[str]) -> int:
    """Run a function on local gloo ranks, in an environment like torchrun's; the exit status.

    Args:
        count: How many ranks.
        worker: A function of a module; ends with `sys.exit` where something is wrong.
        arguments: What it is called with, on every rank.
        preload: Modules that ranks need, and that take long to import.
    """
    # A fork of this process could deadlock beside the launcher's store thread, and a fresh
    # interpreter for each rank would import torch each time. The fork server imports it once,
    # while this process does.
    forkserver.set_forkserver_preload([*preload])
    # torch looks up the name of each peer, one after another: 5 s each where no name server answers.
    os.environ.setdefault("RES_OPTIONS", "attempts:0")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # and warns that there is none
    forkserver.ensure_running()
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # ranks speak for themselves
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        run_id=f"pgregistry-{os.getpid()}",
        max_restarts=0,
        start_method="forkserver",
    )
    try:
        elastic_launch(config, worker)(*arguments)
    except ChildFailedError as error:
        return 3 if any(failure.exitcode == 3 for failure in error.failures.values()) else 1
    return 0
