"""The probe of torch's flattened dimensions."""

from types import SimpleNamespace
from typing import Any

import needs
import pytest
from torch.distributed.device_mesh import DeviceMesh

from pgregistry.torch_private import root_mesh


def like_a_root(**others: Any) -> Any:
    """Return an object with all that a root mesh of this torch has."""
    layout = SimpleNamespace(collapse=lambda: None)
    fields = {"_layout": layout, "_flatten_mapping": {}, "_pg_registry": {}, "_dim_group_names": [], "_rank_map": None}
    return SimpleNamespace(**{**fields, **others})


@needs.MESHES
def test_what_this_torch_has_is_enough() -> None:
    assert root_mesh.available(like_a_root())


@pytest.mark.parametrize("name", ["_layout", "_flatten_mapping", "_pg_registry", "_dim_group_names", "_rank_map"])
def test_a_torch_without_a_private_field_has_no_flattened_dimensions(name: str) -> None:
    other = like_a_root()
    delattr(other, name)
    assert not root_mesh.available(other)


def test_a_torch_whose_meshes_take_other_parameters_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceMesh, "__init__", lambda self, device_type, mesh: None)
    assert not root_mesh.available(like_a_root())


def test_a_mesh_that_keeps_no_process_groups_has_none_to_release() -> None:
    root_mesh.release(SimpleNamespace())  # type: ignore[arg-type]
    kept = like_a_root(_pg_registry={"name": object()})
    root_mesh.release(kept)
    assert kept._pg_registry == {}
