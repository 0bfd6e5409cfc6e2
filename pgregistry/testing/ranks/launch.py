"""Start local ranks for a command that has `--nproc`: torch's launcher, without its delays."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from typing import Any

from pgregistry.errors import need
from pgregistry.testing.ranks.local_ranks import LOCAL
from pgregistry.testing.ranks.refusal import work


def launch_ranks(
    count: int, function: Callable[..., None], arguments: Sequence[Any] = (), *, preload: Sequence[str] = ()
) -> int:
    """Run a function on `count` local ranks, in an environment like torchrun's, and return the exit status.

        sys.exit(launch_ranks(8, work, ("gloo",), preload=["my_tool.work"]))  # inside a click command

    The ranks write to the terminal of this process. A PgregistryError that several ranks raise is printed once, and
    each of them ends with 3 if it is a PlanMismatch, else with 1. A rank that is to end with a status of its own calls
    `sys.exit`.

    Args:
        count: How many ranks to start.
        function: A function of a module, which each rank imports.
        arguments: Its arguments, the same on every rank. They are pickled.
        preload: Modules that the ranks need and that take long to import. They are imported once.

    Returns:
        0 if every rank ended well, 3 if one ended with 3 (the ranks disagree), else 1.
    """
    need("Starting local ranks", "torch", starts_python=True)
    # A fork of this process could deadlock beside the launcher's store thread, and a fresh
    # interpreter for each rank would import torch each time. The fork server imports it once,
    # while this process does.
    forkserver.set_forkserver_preload([*preload])
    # torch warns that there is no name server.
    os.environ.update({**LOCAL, "TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ})
    forkserver.ensure_running()
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("torch.distributed.elastic", "torch.multiprocessing"):  # the ranks print their own errors
        logging.getLogger(name).setLevel(logging.CRITICAL)
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
        elastic_launch(config, work)(function, *arguments)
    except ChildFailedError as error:
        return 3 if any(failure.exitcode == 3 for failure in error.failures.values()) else 1
    return 0
