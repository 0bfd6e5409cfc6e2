"""What one rank of `make gpu` does: `python rows.py NAME` under a launcher. Rank 0 prints the outcome."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

import pgregistry

#: The backend of all modes; None for what torch has here.
BACKEND: Final = os.environ.get("GPU_ROWS_BACKEND")
#: Seconds after which the watch speaks, and in which it has spoken.
WATCH, SPOKEN = 4.0, 20.0


def sizes() -> dict[str, Any]:
    """Return sizes that give every bundled mode groups of several ranks, if there are enough ranks."""
    world = int(os.environ["WORLD_SIZE"])
    wanted = {1: {}, 2: {"tensor": 2}, 4: {"tensor": 2, "pipe": 2}}.get(world, {"tensor": 2, "pipe": 2, "zero1": 2})
    return {**wanted, "timeout": 60, "build_timeout": 60, "agree_timeout": 60}


def proved(**keywords: Any) -> str:
    """Build all bundled modes, and prove each process group with a collective."""
    begun = time.perf_counter()
    with pgregistry.init(**{"backend": BACKEND, **sizes(), **keywords}) as context:
        built = time.perf_counter()
        context.verify()
        seconds = f"built in {built - begun:.2f} s, proved in {time.perf_counter() - built:.2f} s"
        world = dist.get_backend_config()
        whole = context["global"].group
        if BACKEND is None and "backend" not in keywords:  # torch's own default takes CPU tensors too
            dist.all_reduce(torch.ones(1), group=whole)
            dist.all_reduce(torch.ones(1, device=context.device), group=whole)
        return f"{len(context)} modes on {context.device.type}, world {world}: {seconds}"


def bound() -> str:
    """Build all bundled modes in a world that is bound to the device of each rank."""
    return proved(device=torch.accelerator.current_accelerator())


def companions() -> str:
    """Build gloo companions, and sum CPU tensors in each."""
    with pgregistry.init(backend=BACKEND, **sizes(), cpu=True) as context:
        context.verify()
        for handle in context.values():
            ones = torch.ones(1)
            dist.all_reduce(ones, group=handle.cpu_group)
            if ones.item() != handle.size:
                raise RuntimeError(f"the companion of {handle.mode} summed to {ones.item()}")
        return f"{len(context.process_groups.companions)} companions"


def options() -> str:
    """Ask for a stream of high priority and fewer thread blocks, and read both back from torch's backend."""
    asked = {"is_high_priority_stream": True, "max_ctas": 8}
    with pgregistry.init(backend=BACKEND, **{**sizes(), "global": {"options": asked, "dedicated": True}}) as context:
        context.verify()
        found = context["global"].group._get_backend(context.device).options
        seen = {"is_high_priority_stream": found.is_high_priority_stream, "max_ctas": found.config.max_ctas}
        if seen != asked:
            raise RuntimeError(f"torch has {seen}")
        return f"torch has {seen}"


def mesh() -> str:
    """Sum along each dimension of a device mesh, and shard a model with FSDP2 over one of them."""
    from torch.distributed.fsdp import fully_shard

    with pgregistry.init(backend=BACKEND, **sizes()) as context:
        whole = context.device_mesh("data", "tensor")
        for name in ("data", "tensor"):
            ones = torch.ones(1, device=context.device)
            dist.all_reduce(ones, group=whole.get_group(name))
            if ones.item() != context[name].size:
                raise RuntimeError(f"dimension {name} summed to {ones.item()}")
        model = fully_shard(torch.nn.Linear(64, 64).to(context.device), mesh=whole["data"])
        model(torch.ones(8, 64, device=context.device)).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return f"{tuple(whole.shape)} of {whole.device_type}, FSDP2 gradient {float(norm.full_tensor()):.1f}"  # type: ignore[attr-defined]


def within() -> str:
    """Build a plan on each half of the ranks alone."""
    world, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    half = range(world // 2) if rank < world // 2 else range(world // 2, world)
    with pgregistry.init(backend=BACKEND, within=half, only=["data", "tensor"], build_timeout=60) as context:
        context.verify()
        return f"data groups of {context['data'].size}"


def set_up() -> str:
    """Time the way to a first sum in each group, here and in torch's mesh of the same shape, in one world."""
    from torch.distributed.device_mesh import init_device_mesh

    kind = torch.accelerator.current_accelerator() if BACKEND is None else torch.device("cpu")
    if kind is not None and kind.type != "cpu":
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(BACKEND)
    ones = torch.ones(1, device=kind)
    dist.all_reduce(ones)
    ones.item()
    times = []
    for ours in (False, True):
        begun = time.perf_counter()
        if ours:
            context = pgregistry.init(only=["data", "tensor"], tensor=2, build_timeout=60)
            groups = [context["data"].group, context["tensor"].group]
        else:
            names = ("data", "tensor")
            shape = (dist.get_world_size() // 2, 2)
            groups = init_device_mesh(str(kind), shape, mesh_dim_names=names).get_all_groups()
        for group in groups:
            dist.all_reduce(ones, group=group)
        ones.item()
        times.append(time.perf_counter() - begun)
    context.close()
    dist.destroy_process_group()
    return f"init_device_mesh {times[0] * 1e3:.0f} ms, pgregistry.init with its imports {times[1] * 1e3:.0f} ms"


class Lines(logging.Handler):
    """The lines of the watch."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        logging.getLogger("pgregistry.watch").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def watch() -> str:
    """Let the last rank sleep while the others wait for it, and see whom the watch and `diagnose` name."""
    lines, folder = Lines(), Path(tempfile.gettempdir()) / f"gpu-watch-{os.environ['MASTER_PORT']}"
    with pgregistry.init(backend=BACKEND, **sizes(), watch=WATCH, watch_dir=str(folder)) as context:
        context.verify()
        last = context.world_size - 1
        if context.rank == last:
            time.sleep(SPOKEN - 4)
        dist.all_reduce(torch.ones(1, device=context.device), group=context["global"].group)
        if context.device.type != "cpu":
            torch.accelerator.synchronize()
        until = time.monotonic() + 4
        while not lines.lines and time.monotonic() < until:
            time.sleep(0.1)
        if context.rank == 0:
            named = [one.rank for one in pgregistry.diagnose(folder, context.plan).guilty]
            if named != [last] or not lines.lines or f"rank {last}" not in lines.lines[0]:
                raise RuntimeError(f"diagnose names {named}, and the watch wrote {lines.lines[:1]}")
        return f"rank {last} was named"


ROWS: Final[dict[str, Callable[[], str]]] = {
    "all modes": proved,
    "all modes, public calls": proved,
    "all modes, bound to devices": bound,
    "gloo companions": companions,
    "options of NCCL": options,
    "device mesh and FSDP2": mesh,
    "within= leaves out ranks": within,
    "set-up": set_up,
    "watch and diagnose": watch,
    "nccl2": lambda: proved(backend="nccl2"),
    "nccl-legacy": lambda: proved(backend="nccl-legacy"),
}

if __name__ == "__main__":
    outcome = ROWS[sys.argv[1]]()
    if os.environ["RANK"] == "0":
        print(f"outcome: {outcome}", flush=True)
