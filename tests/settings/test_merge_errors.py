"""Values that cannot work, and names that no plugin declares: each error has the value, its origin and the rule."""

from __future__ import annotations

from typing import Any

import pytest
from origin import EIGHT
from sourced import planned, refusal

from pgregistry import Axis, ConfigError, Mode, PgregistryError
from pgregistry.planning.planner import Planner
from pgregistry.registry.discovery import discover

BUNDLED = "data, dummy, global, model, nettest, pipe, tensor and zero1"


KNOWN = "There are data, nettest, pipe, tensor and zero1."


@pytest.mark.parametrize("value", [0, -1, 2.0, 2.5, float("nan"), "2", "two", "", True, [2], "²", b"2"], ids=repr)
def test_what_is_not_a_size_is_refused(value: Any) -> None:
    assert refusal(tensor=value) == (f"tensor = {value!r} (keyword) must be a whole number from 1 to 1099511627776.")
    assert refusal(tensor={"size": value}) == refusal(tensor=value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-4", "-4"),
        ("1.5", "1.5"),
        ("true", "True"),
        ("two", "'two'"),
        ("", "''"),
        ("٤", "'٤'"),
        ("[2]", "[2]"),
    ],
)
def test_text_that_is_not_a_size_is_refused(text: str, value: str) -> None:
    assert refusal(environ={"PGREGISTRY": f"tensor={text}"}) == (
        f"tensor = {value} (PGREGISTRY) must be a whole number from 1 to 1099511627776."
    )


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"bakend": "x"}, "tensor (keyword) has 'bakend', which is not a setting of a mode. Did you mean 'backend'?"),
        (
            {"x": 1},
            (
                "tensor (keyword) has 'x', which is not a setting of a mode. "
                "There are backend, cpu, dedicated, options, size and timeout."
            ),
        ),
        ({"backend": ""}, "tensor (keyword) has backend=''; it must be the name of a torch backend, such as 'gloo'."),
        ({"backend": 3}, "tensor (keyword) has backend=3; it must be the name of a torch backend, such as 'gloo'."),
        ({"timeout": 0}, "tensor (keyword) has timeout=0; it must be a number of seconds from 0.001 to 31622400."),
        ({"timeout": "1"}, "tensor (keyword) has timeout='1'; it must be a number of seconds from 0.001 to 31622400."),
        (
            {"timeout": float("inf")},
            "tensor (keyword) has timeout=inf; it must be a number of seconds from 0.001 to 31622400.",
        ),
        ({"cpu": 1}, "tensor (keyword) has cpu = 1; it must be true or false."),
        ({"dedicated": "yes"}, "tensor (keyword) has dedicated = 'yes'; it must be true or false."),
    ],
)
def test_what_is_not_a_setting_of_a_mode_is_refused(table: dict[str, Any], text: str) -> None:
    assert refusal(tensor=table) == text


@pytest.mark.parametrize(
    ("key", "said"),
    [(5, "5"), (None, "None"), (("size",), "('size',)")],
    ids=repr,
)
def test_a_setting_that_is_no_text_is_refused(key: Any, said: str) -> None:
    assert refusal(tensor={key: 1}).startswith(f"tensor (keyword) has {said}, which is not a setting of a mode. ")


@pytest.mark.parametrize(
    "timeout",
    [1e300, 10**400, 366 * 24 * 3600 + 1, 0.0001],
    ids=lambda timeout: f"{timeout:.0e}"[:8] if isinstance(timeout, float) else len(str(timeout)),
)
def test_a_timeout_that_torch_could_not_keep_is_refused(timeout: float) -> None:
    said = repr(timeout) if len(repr(timeout)) <= 80 else f"1{'0' * 39}… (401 characters)"
    assert refusal(tensor={"timeout": timeout}) == (
        f"tensor (keyword) has timeout={said}; it must be a number of seconds from 0.001 to 31622400."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9" * 5000, f"'{'9' * 39}… (5002 characters)"),
        ("9" * 4000, f"{'9' * 40}… (4000 characters)"),
        ("[" * 5000, f"'{'[' * 39}… (5002 characters)"),
        ("[" * 50 + "]" * 50, f"{'[' * 40}… (100 characters)"),
        ("{a", "'{a'"),
    ],
    ids=["5000 digits", "4000 digits", "open lists", "lists", "open table"],
)
def test_a_value_that_toml_cannot_read_is_refused_as_text(text: str, said: str) -> None:
    assert refusal(environ={"PGREGISTRY": f"tensor={text}"}) == (
        f"tensor = {said} (PGREGISTRY) must be a whole number from 1 to 1099511627776."
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [(10**50, "1" + "0" * 50), (10**5000, "a number of thousands of digits")],
    ids=["51 digits", "5001 digits"],
)
def test_a_size_beyond_every_world_is_refused(value: int, said: str) -> None:
    for name in ("tensor", "nettest", "ranks_per_host"):
        assert refusal(**{name: value}).startswith(f"{name} = {said} (keyword) must be a whole number from 1")


def test_a_size_beyond_every_world_is_refused_with_the_largest() -> None:
    said = " = 1099511627777 (keyword) must be a whole number from 1 to 1099511627776."
    assert refusal(nettest=(1 << 40) + 1) == f"nettest{said}"


def test_a_timeout_of_5000_digits_is_refused() -> None:
    assert refusal(tensor={"timeout": 10**5000})


def test_a_number_of_5000_digits_from_a_launcher_does_not_stop_a_plan() -> None:
    environ = {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "9" * 5000}
    assert refusal(8, environ, tensor=3).startswith("tensor = 3 does not divide world size 8.")


@pytest.mark.parametrize("switch", ["order", "enable", "disable", "only", "require"])
@pytest.mark.parametrize("value", [5, [5], True], ids=repr)
def test_a_switch_is_a_list_of_names(switch: str, value: Any) -> None:
    rule = "must be a list of names, or a text of names with commas between them."
    assert f"{switch} = {value!r} (keyword) {rule}" in refusal(**{switch: value})


@pytest.mark.parametrize("value", [0, "x", True], ids=repr)
def test_ranks_per_host_is_a_number(value: Any) -> None:
    text = refusal(ranks_per_host=value)
    assert text == f"ranks_per_host = {value!r} (keyword) must be a whole number from 1 to 1099511627776."


@pytest.mark.parametrize("name", ["timeout", "backend", "within", "extra", "world_size", "device", "agree_timeout"])
def test_a_parameter_of_plan_or_init_is_no_size(name: str, toml: Any) -> None:
    text = " cannot be a size: plan() and init() have a parameter of that name."
    way_out = f" Write --{name.replace('_', '-')} or PGREGISTRY_{name.upper()}."
    text += way_out * (name not in ("extra", "world_size"))
    assert refusal(environ={"PGREGISTRY": f"{name}=4"}) == f"'{name}' (PGREGISTRY){text}"
    if name in ("extra", "world_size"):
        config = toml(f"{name} = 4\n")
        assert refusal(config=config) == f"'{name}' ({config}){text}"


def test_a_plugin_cannot_call_a_size_like_a_parameter() -> None:
    with pytest.raises(PgregistryError) as caught:
        planned(extra=[Mode("slow", over=Axis("timeout"))])
    assert str(caught.value) == (
        "mode 'slow' (plugin 'extra'): "
        "size 'timeout' has the name of a parameter of plan() or init(), which is reserved."
    )


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"tensr": 2}, "There is no size 'tensr' (keyword). Did you mean 'tensor'?"),
        ({"xyz": 2}, "There is no size 'xyz' (keyword). There are data, nettest, pipe, tensor and zero1."),
        (
            {"dummy": 2},
            f"There is no size 'dummy' (keyword): 'dummy' is a mode, whose groups follow from sizes. {KNOWN}",
        ),
        ({"tensr": None}, "There is no size 'tensr' (keyword). Did you mean 'tensor'?"),
        ({"tensr": {}}, "There is no size 'tensr' (keyword). Did you mean 'tensor'?"),
        ({"tensr": {"cpu": True}}, "There is no mode 'tensr' (keyword). Did you mean 'tensor'?"),
        ({"disable": "tensr"}, "disable: no plugin is called 'tensr' (keyword). Did you mean 'tensor'?"),
        ({"enable": ["xyz"]}, f"enable: no plugin is called 'xyz' (keyword). There are {BUNDLED}."),
        ({"only": "nettests"}, "only: no plugin is called 'nettests' (keyword). Did you mean 'nettest'?"),
        ({"order": "tensr"}, "order: 'tensr' is not an axis (keyword). Did you mean 'tensor'?"),
    ],
    ids=str,
)
def test_a_name_that_nobody_knows_is_refused_with_a_suggestion(keywords: dict[str, Any], text: str) -> None:
    eight = tuple(one for one in discover() if one.plugin.name in EIGHT)
    with pytest.raises(ConfigError) as caught:
        Planner.read(1, keywords, environ={}, installed=eight).plan()
    assert text in str(caught.value).split("\n- ")


def test_a_size_without_a_value_whose_plugin_is_off_says_why_it_is_not_there_too() -> None:
    assert refusal(only=["nettest"], tensor=None) == (
        "There is no size 'tensor' (keyword): plugin 'tensor' is not in only (keyword)."
    )


def test_a_size_whose_plugin_is_off_says_why_it_is_not_there() -> None:
    assert refusal(only=["nettest"], tensor=2) == (
        "There is no size 'tensor' (keyword): plugin 'tensor' is not in only (keyword)."
    )
    assert refusal(environ={"PGREGISTRY_DISABLE": "nettest"}, nettest=2) == (
        "There is no size 'nettest' (keyword): plugin 'nettest' is disabled (PGREGISTRY_DISABLE)."
    )


def test_a_mode_whose_axis_was_disabled_is_refused_with_where_that_was_said() -> None:
    assert refusal(environ={"PGREGISTRY_DISABLE": "data"}, only=EIGHT) == (
        "mode 'zero1' (plugin 'zero1', pgregistry 0.1.0) needs 'data', "
        "but plugin 'data' is disabled (PGREGISTRY_DISABLE).\n"
        "Switch 'data' on, or disable 'zero1' too."
    )


def test_every_origin_is_in_the_message_about_its_name(toml: Any) -> None:
    config = toml("tensr = 2\n")
    assert refusal(config=config) == f"There is no size 'tensr' ({config}). Did you mean 'tensor'?"
    assert refusal(typed={"tensr": 2}) == "There is no size 'tensr' (command line). Did you mean 'tensor'?"
    assert refusal(environ={"PGREGISTRY_ONLY": "tensr"}).startswith(
        "only: no plugin is called 'tensr' (PGREGISTRY_ONLY). "
    )


def test_tables_in_the_table_of_a_mode_are_no_settings(toml: Any) -> None:
    config = toml("[tensor.a.b]\nsize = 2\n")
    assert refusal(config=config) == (
        f"tensor ({config}) has 'a', which is not a setting of a mode. "
        "There are backend, cpu, dedicated, options, size and timeout."
    )


def test_all_problems_of_a_run_are_in_one_error(toml: Any) -> None:
    config = toml("pipe = 'x'\ntimeout = -3\n")
    text = refusal(8, {"PGREGISTRY": "data=zz"}, {"require": "nowhere"}, tensor=0, disable=["dumy"], config=config)
    assert text == (
        "6 problems:\n"
        f"- timeout = -3 ({config}) must be a number of seconds from 0.001 to 31622400.\n"
        "- disable: no plugin is called 'dumy' (keyword). Did you mean 'dummy'?\n"
        "- require: 'nowhere' (command line) is not installed. Install it: pip install 'nowhere'.\n"
        "- tensor = 0 (keyword) must be a whole number from 1 to 1099511627776.\n"
        "- data = 'zz' (PGREGISTRY) must be a whole number from 1 to 1099511627776.\n"
        f"- pipe = 'x' ({config}) must be a whole number from 1 to 1099511627776."
    )


def test_an_unknown_name_in_order_is_said_together_with_other_unknown_names() -> None:
    text = refusal(8, tensr=2, order=["data", "pip"], disable=["dumy"], zero2={"cpu": True})
    assert sorted(text.split("\n- ")) == [
        "4 problems:",
        "There is no mode 'zero2' (keyword). Did you mean 'zero1'?",
        "There is no size 'tensr' (keyword). Did you mean 'tensor'?",
        "disable: no plugin is called 'dumy' (keyword). Did you mean 'dummy'?",
        "order: 'pip' is not an axis (keyword). Did you mean 'pipe'?",
    ]
