"""The default process group, when `init` starts it."""

from ranks import init_and_verify, run_ranks

import pgregistry


def test_a_world_is_started_from_the_environment_of_a_launcher() -> None:
    assert (
        run_ranks(4, init_and_verify, {"tensor": 2, "only": ["data", "tensor"]}, world=False)
        == [["data", "tensor"]] * 4
    )


def timeout_of_the_store() -> str:
    import torch.distributed as dist

    with pgregistry.init(build_timeout=20):
        world = dist.group.WORLD
        assert world is not None
        return str(world.get_group_store().timeout)


def test_what_torch_connects_later_waits_longer_than_building_may_take() -> None:
    assert run_ranks(2, timeout_of_the_store, world=False) == ["0:30:00"] * 2
