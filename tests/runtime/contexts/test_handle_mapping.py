"""A context as a mapping of the modes in which this rank has a group, and what it answers about all others."""

from __future__ import annotations

from typing import Any

import pytest
from ranks import run_ranks

import pgregistry
from pgregistry import Axis, BuildError, ConfigError, Mode

EDGES = Mode("edges", over=Axis("line"), at=(0, -1))


def error_of(context: Any, mode: object) -> str:
    with pytest.raises((BuildError, ConfigError)) as raised:
        context[mode]
    return f"{type(raised.value).__name__}: {raised.value}"


def as_a_mapping() -> Any:
    with pgregistry.init(extra=[EDGES], only=["dummy", "global"], line=4) as context:
        absent = object()
        answers = {
            "in": [name in context for name in ("edges", "edge", "tensor")] + [None in context, [] in context],
            "list": [list(context), list(context.keys()), [handle.mode for handle in context.values()], len(context)],
            "get": [context.get(name, absent) is absent for name in ("edges", "global", "tensor")],
            "group": [context.group(name) is None for name in ("edges", "global", "tensor")],
            "default": context.group("tensor", default=-1),
            "itself": context.group("global") is context["global"].group,
            "dict": dict(context)["global"] is context["global"],
            "identity": [context == context, context == dict(context), len({context, context})],
            "data": [context.rank, context.world_size, context.local_rank, str(context.device), context.sizes],
        }
        for name in ("edge", 0, None, []):
            for ask in (context.get, context.group):
                with pytest.raises(ConfigError, match="There is no mode"):
                    ask(name)
        return answers


def test_a_context_is_a_mapping_of_the_modes_in_which_the_rank_has_a_group() -> None:
    first, second, *_ = run_ranks(4, as_a_mapping)
    everything = ["dummy", "edges", "global"]
    assert first == {
        "in": [True, False, False, False, False],
        "list": [everything] * 3 + [3],
        "get": [False, False, True],
        "group": [False, False, True],
        "default": -1,
        "itself": True,
        "dict": True,
        "identity": [True, False, 1],
        "data": [0, 4, 0, "cpu", {"line": 4}],
    }
    assert second["list"] == [["dummy", "global"]] * 3 + [2]
    assert (second["in"][0], second["get"][0], second["group"][0]) == (False, True, True)


def errors() -> list[str]:
    ends = Mode("ends", over="pipe", at=(0, -1))
    with pgregistry.init(extra=[ends], disable=["nettest"], pipe=4) as context:
        assert context.get("shard") is context.group("replicate") is None
        answers = [error_of(context, name) for name in ("nettest", "tensr", "nettst", 0)]
        for names in (("nettest",), ("data", "nettest")):
            with pytest.raises(ConfigError) as raised:
                context.device_mesh(*names)
            assert f"ConfigError: {raised.value}" == answers[0]
        if "ends" not in context:
            answers.append(error_of(context, "ends"))
    with pgregistry.init(extra=[ends], only=["dummy", "pipe"], pipe=4) as context:
        return answers + [error_of(context, name) for name in ("tensor", "extra", "xyz", "shard")]


OFF = "or call context.get({0!r}), which returns None as long as the plugin is off."


def test_a_mode_that_is_not_there_is_an_error_with_the_reason_by_name() -> None:
    first, inside, *_ = run_ranks(4, errors)
    assert inside.pop(4) == (
        "BuildError: Rank 1 is in no group of mode 'ends'. On such a rank context.get('ends') returns None."
    )
    assert inside == first
    disabled, misspelt, misspelt_off, number, not_in_only, plugin, unknown, of_another = first
    assert disabled == (
        "ConfigError: There is no mode 'nettest': plugin 'nettest' is disabled (keyword). Remove it from there, "
        + OFF.format("nettest")
    )
    assert not_in_only == (
        "ConfigError: There is no mode 'tensor': plugin 'tensor' is not in only (keyword). Switch it on with "
        "enable=['tensor'], " + OFF.format("tensor")
    )
    assert misspelt == "ConfigError: There is no mode 'tensr'. Did you mean 'tensor'?"
    assert misspelt_off == "ConfigError: There is no mode 'nettst'. Did you mean 'nettest'?"
    assert number.startswith("ConfigError: There is no mode 0. There are data, dummy, ends, global, ")
    assert plugin == "ConfigError: There is no mode 'extra'. Plugin 'extra' is on, and declares ends."
    assert unknown == "ConfigError: There is no mode 'xyz'. There are dummy, ends and pipe."
    assert of_another == (
        "ConfigError: There is no mode 'shard': plugin 'hsdp' has it, but is not in only (keyword). Switch it on with "
        "enable=['hsdp'], " + OFF.format("shard")
    )


def closed() -> list[str]:
    answers = []
    context = pgregistry.init()
    context.close()
    for use in (
        lambda: "data" in context,
        lambda: list(context),
        lambda: len(context),
        lambda: context.get("data"),
        lambda: context.group("data"),
        lambda: context.seed("data", base=1),
        lambda: context.set_timeout(60),
        context.as_current,
    ):
        with pytest.raises(BuildError) as raised:
            use()
        answers.append(str(raised.value))
    assert repr(context).startswith("<closed ParallelContext of rank ")
    return answers


def test_a_closed_context_is_no_mapping_any_more() -> None:
    assert run_ranks(1, closed) == [["The context is closed, so its process groups are destroyed."] * 8]
