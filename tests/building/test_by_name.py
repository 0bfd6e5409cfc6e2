"""Process groups by name: ranks that wait in torch for one another, and one that fails meanwhile."""

from typing import Any

import pytest
from ranks import alive, init_and_verify, run_ranks

import pgregistry
from pgregistry import BuildError


def one_fails_where_torch_waits() -> Any:
    """The last rank raises at its second process group; the others are in torch, which waits for half an hour."""
    import torch.distributed as dist
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend "fake"

    from pgregistry.torch_private import group_creation

    dist.init_process_group("cpu:gloo,cuda:fake")  # as a plain init_process_group() has it beside a GPU
    answers, before = [init_and_verify({"tensor": 2})], alive()
    create, calls = group_creation.create_group, iter((False, True))
    if dist.get_rank() == 3:
        with pytest.MonkeyPatch.context() as patch:
            fail_second = lambda *args, **keywords: 1 / 0 if next(calls) else create(*args, **keywords)  # noqa: E731
            patch.setattr(group_creation, "create_group", fail_second)
            with pytest.raises(BuildError) as raised:
                pgregistry.init(tensor=2, nettest=3)
    else:
        with pytest.raises(BuildError) as raised:
            pgregistry.init(tensor=2, nettest=3)
    answers += [str(raised.value).rpartition(": ")[2], alive() == before, init_and_verify({"tensor": 2})]
    dist.destroy_process_group()
    return answers


def test_a_rank_that_raises_frees_those_that_wait_in_torch_for_a_backend_beside_gloo() -> None:
    modes = list(pgregistry.plan(4, tensor=2).modes)
    assert run_ranks(4, one_fails_where_torch_waits, world=False) == [[modes, "division by zero", True, modes]] * 4
