"""Marks for tests of what older versions of torch lack. A skipped test names it."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d
from torch.distributed.device_mesh import DeviceMesh

from pgregistry.torch_private import debug_server, flight_records

ORDER = pytest.mark.skipif(
    "sort_ranks" not in inspect.signature(dist.new_group).parameters,
    reason="needs torch 2.13: new_group keeps the order of ranks",
)
MESHES = pytest.mark.skipif(
    "_root_mesh" not in inspect.signature(DeviceMesh.__init__).parameters,
    reason="needs torch 2.13: flattened dimensions and other orders on root meshes",
)
DTENSOR_CACHE = pytest.mark.skipif(
    not hasattr(torch._C, "_clear_DTensor_sharding_propagator_cache"),
    reason="needs torch 2.13: a call that clears the C++ part of DTensor's cache",
)
REGISTERED_LAST = pytest.mark.skipif(
    not hasattr(c10d, "_register_pg_in_world"),
    reason="needs torch 2.13: a call of its own registers a process group",
)
RECORDS = pytest.mark.skipif(
    not flight_records.records_gloo(), reason="needs torch 2.13: flight records of gloo, for the watch"
)
QUIET = pytest.mark.skipif(
    not flight_records.records_gloo(), reason="needs torch 2.13: gloo that prints nothing on stdout"
)
PAGES = pytest.mark.skipif(not debug_server.available(), reason="needs torch 2.13: a debug server that takes pages")
KEYS = pytest.mark.skipif(
    not hasattr(dist.PrefixStore, "list_keys"),
    reason="needs torch 2.13: stores list their keys",
)
