"""A world that is bound to a device. There is no GPU: a backend "lab" of gloo stands for NCCL, and splits are fakes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import alive, init_and_verify, run_ranks

import pgregistry
from pgregistry.building import by_name, by_public_calls
from pgregistry.building.communicators import splits
from pgregistry.building.communicators.splits import to_split
from pgregistry.building.specs import Defaults, GroupSpec, default_group_spec, new_specs
from pgregistry.torch_private import group_creation

DEVICE = torch.device("cuda", 0)


def start_lab(seen: list[Any]) -> None:
    """Start a world of a backend that notes what the world is bound to when a process group is made."""

    def create(options: Any, _: Any) -> Any:
        seen.append((len(options.global_ranks_in_group), group_creation.bound_device()))
        return dist.ProcessGroupGloo(options.store, options.group_rank, options.group_size, timeout=options.timeout)

    dist.Backend.register_backend("lab", create, extended_api=True, devices=["cpu", "cuda"])
    dist.init_process_group("lab")
    binding_of_world(DEVICE)


def binding_of_world(device: Any) -> None:
    dist.group.WORLD.bound_device_id = device  # type: ignore[union-attr]


def fake_split(calls: list[Any]) -> Any:
    """Return a `split_group` that notes its calls, and makes the process group by name."""

    def split_group(split_ranks: Any, timeout: Any, pg_options: Any, group_desc: str) -> Any:
        calls.append(split_ranks)
        mine = [ranks for ranks in split_ranks if dist.get_rank() in ranks]
        if not mine:
            return None
        world: Any = dist.group.WORLD
        with group_creation.unbound():
            return group_creation.create_group(
                mine[0],
                dist.get_rank(),
                name=f"split/{len(calls)}/{mine[0][0]}",
                backend="lab",
                store=world.get_group_store(),
                description=group_desc,
            )

    return split_group


def built(sizes: dict[str, Any], splits_are_there: bool) -> Any:
    seen: list[Any] = []
    calls: list[Any] = []
    start_lab(seen)
    seen.clear()
    before = alive()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "split_group", fake_split(calls))
        for module in (by_name, by_public_calls):
            patch.setattr(module, "split_backend", lambda: "lab" if splits_are_there else None)
        with pgregistry.init(**sizes) as context:
            context.verify()
            modes = list(context)
            alone = sorted({len(group.ranks) for group in context.values()})
            description = context["tensor"].group.group_desc
    assert alive() == before
    assert group_creation.bound_device() == DEVICE
    return modes, calls, seen, alone, description


SIZES = {"tensor": 2, "only": ["data", "dummy", "global", "tensor"]}


def test_one_call_of_all_ranks_splits_all_groups_of_a_mode_and_a_rank_alone_costs_none() -> None:
    ring = pgregistry.Mode("ring", groups=lambda mesh: [(3, 2, 1, 0)])
    answers = run_ranks(4, built, {**SIZES, "extra": [ring]}, True, world=False)
    for rank, (modes, calls, seen, _, description) in enumerate(answers):
        assert set(modes) == {*SIZES["only"], "ring"}
        assert calls == [[[0, 2], [1, 3]], [[0, 1], [2, 3]]]
        # The group of one rank, and the one whose order a split does not keep, are made apart, by their members.
        assert sorted(size for size, bound in seen if bound is None) == [1, 2, 2, 4]
        assert description == f"pgregistry:tensor/{rank // 2}"


def test_what_a_backend_does_not_split_is_made_by_its_members_in_a_world_bound_to_nothing() -> None:
    for _, calls, seen, *_ in run_ranks(4, built, SIZES, False, world=False):
        assert calls == []
        assert sorted(seen, key=str) == [(1, None), (2, None), (2, None)]


def test_public_calls_split_too() -> None:
    env = {"PGREGISTRY_BUILD": "public"}
    for _, calls, seen, *_ in run_ranks(4, built, SIZES, True, world=False, env=env):
        assert calls == [[[0, 2], [1, 3]], [[0, 1], [2, 3]]]
        assert (1, None) in seen  # `dummy`: no communicator before it is used


def half() -> Any:
    seen: list[Any] = []
    start_lab(seen)
    seen.clear()
    rank = dist.get_rank()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_name, "split_backend", lambda: "lab")
        with pgregistry.init(
            within=range(2) if rank < 2 else range(2, 4), only=["data", "tensor"], tensor=2
        ) as context:
            context.verify()
            return context["tensor"].ranks, seen


def test_within_can_leave_out_ranks_of_a_bound_world() -> None:
    answers = run_ranks(4, half, world=False)
    assert [ranks for ranks, _ in answers] == [(0, 1), (0, 1), (2, 3), (2, 3)]
    assert all(bound is None for _, seen in answers for _, bound in seen)


def gloo_in_a_bound_world() -> Any:
    """Build where torch lets a rank that is no member split the world's communicator: gloo has no such call."""
    binding_of_world(DEVICE)
    if dist.get_rank() == 1:
        with group_creation.unbound():
            dist.new_group([0])  # the others are behind, and catch up
    return init_and_verify({"tensor": 2}), str(group_creation.bound_device())


@pytest.mark.parametrize("build", ["name", "public"])
def test_process_groups_of_gloo_and_padding_call_no_collective_of_a_bound_world(build: str) -> None:
    modes = list(pgregistry.plan(4, tensor=2).modes)
    env = {"PGREGISTRY_BUILD": build}
    assert run_ranks(4, gloo_in_a_bound_world, env=env) == [(modes, "cuda:0")] * 4


def companions() -> Any:
    seen: list[Any] = []
    start_lab(seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_name, "split_backend", lambda: None)
        context = pgregistry.init(only=["data", "tensor"], tensor=2, cpu=True)
    with context:
        context.verify()
        return [dist.get_backend(context[mode].cpu_group) for mode in context]


def test_companions_of_a_bound_world_are_of_gloo() -> None:
    assert run_ranks(4, companions, world=False) == [["gloo", "gloo"]] * 4


def test_what_is_split_are_ascending_groups_of_several_ranks_of_the_backend_that_splits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splits, "selects", lambda: True)
    fits = GroupSpec((0, 1), "nccl")
    others = [GroupSpec((2,), "nccl"), GroupSpec((5, 4), "nccl"), GroupSpec((6, 7), "gloo")]
    assert to_split([fits, *others], "nccl") == [fits]
    assert to_split([fits, *others], None) == []
    monkeypatch.setattr(splits, "selects", lambda: False)
    assert to_split([fits], "nccl") == []


def test_the_default_process_group_of_torch_serves_what_is_over_all_ranks() -> None:
    plan = pgregistry.plan(4, tensor=2, only=["data", "global", "tensor"])
    mixed = "cpu:gloo,cuda:nccl"
    defaults = Defaults("nccl", cpu=True).beside(mixed)
    world = default_group_spec(plan, Defaults(mixed))
    new = new_specs(plan, defaults, world)
    assert {mode: [(spec.ranks, spec.backend) for spec in specs] for mode, specs in new.items()} == {
        "global": [],
        "data": [((0, 2), "nccl"), ((0, 2), "gloo"), ((1, 3), "nccl"), ((1, 3), "gloo")],
        "tensor": [((0, 1), "nccl"), ((0, 1), "gloo"), ((2, 3), "nccl"), ((2, 3), "gloo")],
    }
    assert Defaults("gloo").beside(mixed).world is None


def in_torchs_own_world() -> Any:
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend "fake"

    dist.init_process_group("cpu:gloo,cuda:fake")
    with pgregistry.init(backend="fake", tensor=2, cpu=True) as context:
        context.verify()
        whole = context["global"]
        same = whole.group is whole.cpu_group is dist.group.WORLD
        return same, dist.get_backend(context["tensor"].group), dist.get_backend(context["tensor"].cpu_group)


def test_the_default_process_group_of_torch_is_its_own_companion() -> None:
    assert run_ranks(4, in_torchs_own_world, world=False) == [(True, "fake", "gloo")] * 4
