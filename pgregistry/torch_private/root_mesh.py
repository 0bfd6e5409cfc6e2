"""Flattened dimensions of a root DeviceMesh over process groups that exist, and the process groups that it keeps.

torch keeps the flattened dimensions of a mesh by name on its root: `root["model"]`, `slice.get_group("model")` and
`slice._flatten("model")` find them there, and DTensor sums over several dimensions once if one is there for them.
torch's own `_flatten` makes a process group for each. If `available` returns False, a mesh has the flattened
dimensions that a user makes with it; `context.device_mesh("data", "model")` is a mesh over the same groups in public
calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

#: The parameters of DeviceMesh that are passed by name.
_PARAMETERS = frozenset({"mesh_dim_names", "_init_backend", "_layout", "_rank_map", "_root_mesh"})


def available(root: DeviceMesh) -> bool:
    """Return True if this torch keeps flattened dimensions on root meshes, in the way that `add_flattened` writes."""
    layout = getattr(root, "_layout", None)
    return (
        set(inspect.signature(DeviceMesh.__init__).parameters) >= _PARAMETERS
        and callable(getattr(layout, "collapse", None))
        and all(isinstance(getattr(root, name, None), dict) for name in ("_flatten_mapping", "_pg_registry"))
        and isinstance(getattr(root, "_dim_group_names", None), list)
        and hasattr(root, "_rank_map")
    )


def add_flattened(root: DeviceMesh, name: str, dimensions: Sequence[str], group: ProcessGroup) -> None:
    """Make some dimensions of a root mesh a flattened dimension of it, with a process group that exists.

    Args:
        root: The root mesh. `available(root)` must be True.
        name: The name of the flattened dimension; no dimension of the mesh has it.
        dimensions: The names of the dimensions, in their order in the mesh.
        group: The process group over them: its ranks are those along the dimensions, in their order.
    """
    layout = root[tuple(dimensions)]._layout
    flattened = DeviceMesh(
        root.device_type,
        mesh_dim_names=(name,),
        _init_backend=False,
        _layout=type(layout)([layout.collapse()]),
        _rank_map=root._rank_map,
        _root_mesh=root,
    )
    flattened._dim_group_names = [group.group_name]
    root._pg_registry[group.group_name] = group  # where torch.compile finds it
    root._flatten_mapping[name] = flattened


def release(root: DeviceMesh) -> None:
    """Let a root mesh keep no process group alive.

    gloo frees the ranks that wait for this one only when nothing refers to the process group any more.
    """
    getattr(root, "_pg_registry", {}).clear()
