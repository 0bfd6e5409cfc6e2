"""Backend options: torch's objects have what the plan says, and what a backend does not take is refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from pgregistry import ConfigError
from pgregistry.building.communicators import options
from pgregistry.building.communicators.options import is_lazy, lazy_device, torch_options
from pgregistry.building.specs import GroupSpec
from pgregistry.torch_private import group_creation

#: torch's own NCCL, which needs no GPU to have options.
needs_nccl = pytest.mark.skipif(not dist.is_nccl_available(), reason="needs a build of torch with NCCL")


def spec(backend: str, **options: object) -> GroupSpec:
    return GroupSpec((0, 1), backend, tuple(options.items()), mode="tensor")


@pytest.mark.parametrize("backend", ["gloo", "nccl", "lab"])
def test_a_mode_without_options_has_none(backend: str) -> None:
    assert torch_options(spec(backend)) is None


def test_a_backend_of_a_third_party_takes_the_options_as_they_are() -> None:
    assert torch_options(spec("lab", depth=3)) == {"depth": 3}


def test_options_of_nccl_are_attributes_of_its_options_or_of_their_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=Options), raising=False)
    for backend in ("nccl", "cpu:gloo,cuda:nccl"):
        converted = torch_options(spec(backend, is_high_priority_stream=True, max_ctas=8))
        assert (converted.is_high_priority_stream, converted.config.max_ctas) == (True, 8)


class Config:
    """NCCL's configuration, as torch binds it: a value of another type is a TypeError."""

    @property
    def max_ctas(self) -> int:
        return self._max_ctas

    @max_ctas.setter
    def max_ctas(self, value: int) -> None:
        if not isinstance(value, int):
            raise TypeError("incompatible function arguments")
        self._max_ctas = value


class Options:
    def __init__(self) -> None:
        self.config, self.is_high_priority_stream, self.group_name = Config(), False, ""


@pytest.mark.parametrize(
    ("backend", "options", "text"),
    [
        (
            "nccl",
            {"max_cta": 8},
            (
                "option max_cta = 8 (keyword), which must be an attribute of ProcessGroupNCCL.Options or of its "
                "config. Did you mean 'max_ctas'?"
            ),
        ),
        (
            "nccl",
            {"group_name": "mine"},
            (
                "option group_name = 'mine' (plan), which must be an attribute of ProcessGroupNCCL.Options or of its "
                "config. There are is_high_priority_stream and max_ctas."
            ),
        ),
        (
            "nccl",
            {"max_ctas": "8"},
            "option max_ctas = '8' (plan), which NCCL must take: incompatible function arguments.",
        ),
        (
            "gloo",
            {"max_cta": 8, "fast": True},
            (
                "options max_cta = 8 (keyword) and fast = True (plan), but backend 'gloo' takes none. Leave them "
                "out, or let the hook pgregistry_process_group_options return them for backends that take them."
            ),
        ),
    ],
)
def test_options_that_a_backend_does_not_take_are_refused(
    backend: str, options: dict[str, object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=Options), raising=False)
    with pytest.raises(ConfigError) as raised:
        torch_options(spec(backend, **options), {"max_cta": "keyword"})
    assert str(raised.value) == f"Mode 'tensor' has {text}"


def test_options_of_nccl_are_refused_where_torch_has_no_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dist, "ProcessGroupNCCL", raising=False)
    with pytest.raises(ConfigError, match=r"max_ctas = 8 \(plan\), but this torch has no NCCL\.$"):
        torch_options(spec("nccl", max_ctas=8))


class LazyOptions(Options):
    """As of torch 2.15."""

    lazy_init = False


def test_where_torch_has_lazy_communicators_they_are_lazy_unless_the_plan_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=LazyOptions), raising=False)
    assert torch_options(spec("nccl"), lazy=True).lazy_init is True
    assert torch_options(spec("nccl2", max_ctas=8), lazy=True).lazy_init is True
    assert torch_options(spec("nccl", lazy_init=False), lazy=True).lazy_init is False
    assert [is_lazy(spec(name)) for name in ("nccl", "nccl-legacy", "cpu:gloo,cuda:nccl", "gloo", "lab")] == [
        *(True, True, True, False, False)
    ]
    assert torch_options(spec("gloo"), lazy=True) is None


def test_where_torch_has_no_lazy_communicators_nothing_is_lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=Options), raising=False)
    assert not is_lazy(spec("nccl"))
    assert torch_options(spec("nccl"), lazy=True) is None
    with pytest.raises(ConfigError, match="option lazy_init = True"):
        torch_options(spec("nccl", lazy_init=True))


def test_nccl_that_binds_by_itself_is_told_the_device_and_the_older_one_is_bound_to_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(options, "rank_device", lambda *_: torch.device("cuda", 3))
    backends = ("nccl", "nccl2", "cpu:gloo,cuda:nccl", "nccl-legacy", "gloo")
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=Options), raising=False)
    assert [lazy_device(name) for name in backends] == [None] * 5
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=LazyOptions), raising=False)
    third = torch.device("cuda", 3)
    assert [lazy_device(name) for name in backends] == [third, third, third, None, None]
    monkeypatch.setenv("TORCH_DIST_USE_NCCL2", "0")
    assert [lazy_device(name) for name in backends] == [None, third, None, None, None]
    monkeypatch.setattr(options, "bound_device", lambda: torch.device("cuda", 1))
    assert lazy_device("nccl2") == torch.device("cuda", 1)


#: Values other than torch's defaults.
SAID = {"is_high_priority_stream": True, "blocking": 0, "cga_cluster_size": 2, "max_ctas": 8, "min_ctas": 4}


def values(found: Any) -> dict[str, object]:
    return {key: getattr(found if hasattr(found, key) else found.config, key) for key in SAID}


@needs_nccl
@pytest.mark.parametrize("backend", ["nccl", "cpu:gloo,cuda:nccl"])
def test_torchs_own_options_of_nccl_have_what_the_plan_says(backend: str) -> None:
    assert values(dist.ProcessGroupNCCL.Options()) != SAID
    assert values(torch_options(spec(backend, **SAID))) == SAID


@needs_nccl
def test_the_options_reach_torchs_constructor_of_a_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def helper(*args: Any, **keywords: Any) -> Any:
        given.update(keywords)
        return object(), None

    monkeypatch.setattr(c10d, "_new_process_group_helper", helper)
    said = torch_options(spec("nccl", **SAID), lazy=True)
    group_creation.create_group((0, 1), 0, name="one", backend="nccl", store=None, options=said, timeout=5)
    assert isinstance(given["backend_options"], dist.ProcessGroupNCCL.Options)
    assert values(given["backend_options"]) == SAID


@needs_nccl
@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"max_cta": 8}, "option max_cta = 8 (plan), which must be an attribute of ProcessGroupNCCL.Options or"),
        ({"max_ctas": "8"}, "option max_ctas = '8' (plan), which NCCL must take: "),
    ],
)
def test_torchs_own_nccl_refuses_what_it_does_not_take(said: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        torch_options(spec("nccl", **said))
    assert str(raised.value).startswith(f"Mode 'tensor' has {text}")
