"""Check that a backend can work here: torch has it, there is an accelerator, and one for each local rank."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Final

import torch
import torch.distributed as dist
from packaging.version import Version

from pgregistry.building.communicators.backend import accelerator
from pgregistry.building.communicators.options import NCCL, backends_of
from pgregistry.errors import ConfigError, did_you_mean

#: The oldest torch, as major and minor version.
FLOOR: Final = (2, 9)
#: Entry points under which torch 2.14 and later find backends by name.
ENTRY_POINTS: Final = "torch.distributed.backends"
#: Variables by which a launcher shows each process a device of its own.
SHOWN_DEVICES: Final = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def check_torch() -> None:
    """Return if this torch is new enough.

    Raises:
        ConfigError: if not.
    """
    if Version(torch.__version__).release[:2] < FLOOR:
        floor = ".".join(map(str, FLOOR))
        raise ConfigError(
            f"torch {torch.__version__} is installed, but init() must have torch {floor} or later. Install it on all "
            f"hosts: pip install 'torch>={floor}'."
        )


def check_known(backend: str, said: str) -> None:
    """Return if torch knows a backend.

    Args:
        backend: One name, or one for each device: "cpu:gloo,cuda:nccl".
        said: The backend with its origin, for the error.

    Raises:
        ConfigError: if torch does not know it, or one of those for a device.
    """
    known = [name for name in dist.Backend.backend_list if name != "undefined"]
    if backends_of(backend) <= {*known}:
        return  # reading the metadata of all distributions takes longer than a plan
    known += [point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in known]
    for name in sorted(backends_of(backend)):
        if name not in known:
            raise ConfigError(
                f"{said} must be a backend that torch knows. {did_you_mean(name, known)} Import the module of another "
                "one before init()."
            )


def check_available(backend: str, said: str) -> None:
    """Return if this torch was built with a backend, and finds the devices that it needs.

    Raises:
        ConfigError: if not.
    """
    check_known(backend, said)
    way_out = "Leave it out to use what torch has here, or name gloo."
    for name in sorted(backends_of(backend)):
        if name in NCCL and not dist.is_nccl_available():
            build = "" if torch.version.cuda or torch.version.hip else " This is a build of torch for CPUs."
            raise ConfigError(f"{said} must be a backend with which torch was built.{build} {way_out}")
        if name in NCCL and not torch.cuda.is_available():
            raise ConfigError(f"{said} must have a GPU, but torch finds none on this host. {way_out}")
        if name not in NCCL and name in dist.Backend.backend_list and not dist.is_backend_available(name):
            raise ConfigError(f"{said} must be a backend with which torch was built. {way_out}")


def check_devices(backend: str, device: torch.device | None, local_rank: int | None) -> None:
    """Return if each local rank has an accelerator of its own, where a backend needs one.

    A launcher may show each process one device alone. Then nobody but the backend knows whether two have the same.

    Args:
        backend: The backend of a process group.
        device: The device that the run names, if it does.
        local_rank: The rank among those of its host, if known.

    Raises:
        ConfigError: if there are fewer accelerators than local ranks.
    """
    kind = accelerator()
    if kind is None or local_rank is None or device is not None or backends_of(backend) <= {"gloo", "fake", "mpi"}:
        return
    count = torch.accelerator.device_count()
    alone = count == 1 and any(os.environ.get(name, "").strip() for name in SHOWN_DEVICES)
    if local_rank < count or alone:
        return
    devices = "1 device" if count == 1 else f"{count} devices"
    raise ConfigError(
        f"Local rank {local_rank} must have an accelerator of its own for backend {backend!r}, but torch finds "
        f"{devices} ({kind}) on this host. Start at most {count} rank{'s' * (count > 1)} a host, or use backend='gloo'."
    )
