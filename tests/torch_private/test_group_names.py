"""A living process group answers to the name of a destroyed one."""

from typing import Any

import pytest
import torch.distributed as dist
from ranks import run_ranks
from torch.distributed import distributed_c10d as c10d

from pgregistry.torch_private import group_names
from pgregistry.torch_private.group_names import NamedGroup


@pytest.mark.parametrize("name", ["_register_process_group", "_unregister_process_group", "_world"])
def test_a_torch_that_lacks_a_private_call_hands_nothing_over(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert group_names.available()
    monkeypatch.delattr(c10d, name)
    assert not group_names.available()
    group_names.hand_over(NamedGroup("name", "description", (0, 1)))
    group_names.free("name")


def resolved(name: str) -> Any:
    try:
        return c10d._resolve_process_group(group_names.name_of(name))
    except RuntimeError:
        return None


def handed_over() -> list[bool]:
    one, other, third = (dist.new_group([0, 1], group_desc=text) for text in ("ours:0", "ours:0", "theirs"))
    left = NamedGroup(one.group_name, "ours:0", (0, 1))
    group_names.hand_over(left)
    answers = [resolved(left.name) is one]  # it lives
    dist.destroy_process_group(one)
    answers.append(resolved(left.name) is None)
    group_names.hand_over(NamedGroup(left.name, "ours:0", (1, 0)))
    group_names.hand_over(NamedGroup(left.name, "ours:1", (0, 1)))
    answers.append(resolved(left.name) is None)
    group_names.hand_over(left)
    answers.append(resolved(left.name) is other)
    group_names.free(other.group_name)
    answers.append(resolved(other.group_name) is other)  # it lives
    group_names.free(left.name)
    return [*answers, resolved(left.name) is None, resolved(third.group_name) is third]


def test_only_a_process_group_with_its_description_and_ranks_answers() -> None:
    assert run_ranks(2, handed_over) == [[True] * 7] * 2
