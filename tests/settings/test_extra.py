"""`extra`: modes that are given as objects."""

from __future__ import annotations

from typing import Any

import pytest
from acme_plugin import without_ends
from sourced import planned, refusal

from pgregistry import Axis, Mode, PluginError, Split


@pytest.mark.parametrize("extra", ["tensor", 5])
def test_what_is_no_list_of_modes_cannot_be_extra(extra: Any) -> None:
    assert refusal(extra=extra) == f"extra = {extra!r} (keyword) must be a list of modes."


def test_a_mode_that_is_not_installed_has_sizes_like_all_others(toml: Any) -> None:
    mode = Mode("context", over=Axis("context", size=2, inside=("data", "pipe"), outside="tensor"))
    plan = planned(8, tensor=2, extra=[mode])
    assert (plan.sizes["context"], plan.origins["context"]) == (2, "plugin default")
    assert list(plan["context"].groups) == [(0, 2), (1, 3), (4, 6), (5, 7)]
    assert str(plan["context"].plugin) == "plugin 'extra'"
    assert planned(8, {"PGREGISTRY": "context=4"}, tensor=2, extra=[mode]).sizes["context"] == 4
    table = toml("context = {size = 1, timeout = 7}\n")
    assert planned(8, tensor=2, extra=mode, config=table)["context"].timeout == 7
    assert refusal(8, context=3, extra=[mode]).startswith("context = 3 does not divide world size 8.")


def test_a_mode_that_is_not_installed_moves_nobody() -> None:
    plan, with_it = (
        planned(8, tensor=2),
        planned(8, tensor=2, extra=[Mode("expert", over=Split("data", inner="expert"))]),
    )
    assert [with_it[name].groups == plan[name].groups for name in plan] == [True] * len(plan)


def test_a_mode_that_is_not_installed_cannot_be_called_like_one_that_is() -> None:
    with pytest.raises(PluginError) as caught:
        planned(extra=[Mode("tensor", over="data")])
    assert without_ends(str(caught.value)) == (
        "mode 'tensor' is declared by plugin 'tensor', pgregistry 0.1.0 and by plugin 'extra'.\n"
        "Uninstall one, or leave one out with disable=['tensor']; "
        "to use what another plugin declares, refer to it by name."
    )
    plan = planned(extra=[Mode("tensor", over="data")], disable=["tensor", "model"], only=["data"])
    assert plan["tensor"].groups == plan["data"].groups


def test_a_size_that_is_installed_is_not_declared_again_by_extra() -> None:
    with pytest.raises(PluginError) as caught:
        planned(extra=[Mode("slices", over=Axis("tensor"))])
    assert without_ends(str(caught.value)) == (
        "size 'tensor' is declared by plugin 'tensor', pgregistry 0.1.0 and by plugin 'extra'.\n"
        "Uninstall one, or leave one out with disable=['tensor']; "
        "to use what another plugin declares, refer to it by name."
    )


def test_two_modes_of_one_name_in_extra_are_refused() -> None:
    with pytest.raises(PluginError) as caught:
        planned(extra=[Mode("mine", over="data"), Mode("mine", over="tensor")])
    assert (
        str(caught.value)
        == "mode 'mine' is declared twice by plugin 'extra'.\nRename it, or refer to the first by name."
    )


def test_what_is_no_mode_in_extra_is_refused() -> None:
    assert refusal(extra=[Mode("mine", over="data"), "tensor"]) == (
        "extra (keyword) contains 'tensor', which must be a Mode."
    )


def test_a_generator_that_fails_in_extra_is_refused() -> None:
    assert refusal(extra=(1 // 0 for _ in "x")) == (
        "extra (keyword) raised ZeroDivisionError: integer division or modulo by zero"
    )


def test_modes_are_no_text_so_only_python_can_give_extra(toml: Any) -> None:
    reserved = "cannot be a size: plan() and init() have a parameter of that name."
    assert refusal(environ={"PGREGISTRY": "extra=1"}) == f"'extra' (PGREGISTRY) {reserved}"
    config = toml("extra = 1\n")
    assert refusal(config=config) == f"'extra' ({config}) {reserved}"
