"""One spelling of sizes and switches in four places; every value remembers where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from origin import EIGHT

from pgregistry import HOST, WORLD, Axis, ConfigError, Mode, PgregistryError, Plan, PluginError, Split
from pgregistry.planning.planner import Planner
from pgregistry.registry.discovery import discover

BUNDLED = "data, dummy, global, model, nettest, pipe, tensor and zero1"


def planned(world_size: int = 8, environ: dict[str, str] | None = None, typed: Any = None, **keywords: Any) -> Plan:
    return Planner.read(world_size, keywords, command_line=typed, environ=environ or {}).plan()


def refusal(world_size: int = 8, environ: dict[str, str] | None = None, typed: Any = None, **keywords: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        planned(world_size, environ, typed, **keywords)
    return str(caught.value)


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        file = tmp_path / "run.toml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


# --- precedence -----------------------------------------------------------------------------------


def test_a_size_comes_from_the_highest_source_that_says_it(toml: Any) -> None:
    config = toml("tensor = 1\npipe = 1\nzero1 = 1\nnettest = 1\n")
    environ = {"PGREGISTRY": "tensor=2 pipe=2 zero1=2"}
    plan = planned(64, environ, {"tensor": 4, "pipe": 4}, tensor=8, config=config, only=EIGHT)
    assert {name: (plan.sizes[name], plan.origins[name]) for name in plan.sizes} == {
        "tensor": (8, "keyword"),
        "pipe": (4, "command line"),
        "zero1": (2, "PGREGISTRY"),
        "nettest": (1, config),
        "data": (2, "what is left"),
    }


def test_a_size_that_nobody_says_is_the_plugin_default() -> None:
    assert (planned().sizes["tensor"], planned().origins["tensor"]) == (1, "plugin default")


def test_a_keyword_of_none_says_nothing() -> None:
    assert planned(environ={"PGREGISTRY": "tensor=2"}, tensor=None, order=None).origins["tensor"] == "PGREGISTRY"


def test_an_empty_variable_says_nothing() -> None:
    names = ("PGREGISTRY", "PGREGISTRY_ENABLE", "PGREGISTRY_DISABLE", "PGREGISTRY_ONLY", "PGREGISTRY_ORDER")
    empty = dict.fromkeys((*names, "PGREGISTRY_CONFIG", "PGREGISTRY_REQUIRE", "LOCAL_WORLD_SIZE"), "")
    assert planned(environ=empty) == planned()


def test_each_key_of_a_mode_comes_from_the_highest_source_that_says_it(toml: Any) -> None:
    config = toml("zero1 = {size = 2, backend = 'mpi', timeout = 1, cpu = true, dedicated = true}\n")
    environ = {"PGREGISTRY": """'zero1={backend="nccl", timeout=2, cpu=false}'"""}
    plan = planned(8, environ, {"zero1": {"backend": "ucc", "timeout": 3}}, zero1={"backend": "GLOO"}, config=config)
    zero1 = plan["zero1"]
    assert (zero1.backend, zero1.timeout, zero1.cpu, zero1.dedicated) == ("gloo", 3.0, False, True)
    assert (plan.sizes["zero1"], plan.origins["zero1"]) == (2, config)


def test_a_run_can_say_that_a_dedicated_mode_is_not() -> None:
    assert (planned()["nettest"].dedicated, planned(nettest={"dedicated": False})["nettest"].dedicated) == (True, False)


def test_order_comes_from_the_highest_source_that_says_it(toml: Any) -> None:
    environ, sizes = {"PGREGISTRY_ORDER": "pipe,tensor,data"}, {"tensor": 2, "pipe": 2}
    config = toml("order = ['tensor', 'pipe', 'data']\n")
    assert planned(config=config, **sizes).order == ("tensor", "pipe", "data")
    assert planned(8, environ, config=config, **sizes).order == ("pipe", "tensor", "data")
    assert planned(8, environ, {"order": "pipe,data,tensor"}, config=config, **sizes).order == (
        "pipe",
        "data",
        "tensor",
    )
    assert planned(8, environ, {"order": "pipe,data,tensor"}, order=["tensor", "data", "pipe"], **sizes).order == (
        "tensor",
        "data",
        "pipe",
    )


def test_only_comes_from_the_highest_source_that_says_it(toml: Any) -> None:
    environ, config = {"PGREGISTRY_ONLY": "dummy,nettest"}, toml("only = ['global']\n")
    assert planned(config=config).modes == ("global",)
    assert planned(8, environ, config=config).modes == ("dummy", "nettest")
    assert planned(8, environ, {"only": "nettest"}, config=config).modes == ("nettest",)
    assert planned(8, environ, {"only": "nettest"}, only=["tensor"]).modes == ("tensor",)


def test_disable_adds_up_over_the_sources(toml: Any) -> None:
    config = toml("disable = ['dummy']\n")
    environ = {"PGREGISTRY_DISABLE": "nettest model"}
    plan = planned(8, environ, {"disable": "zero1"}, disable=["global"], only=EIGHT, config=config)
    assert plan.modes == ("data", "pipe", "tensor")


def test_disable_wins_over_enable_and_only() -> None:
    assert planned(only=["tensor", "dummy"], enable=["dummy"], disable=["dummy"]).modes == ("tensor",)


def test_config_is_named_by_keyword_command_line_or_variable(toml: Any) -> None:
    config = toml("tensor = 2\n")
    assert planned(config=config).origins["tensor"] == config
    assert planned(config=Path(config)).sizes["tensor"] == 2
    assert planned(typed={"config": config}).sizes["tensor"] == 2
    assert planned(environ={"PGREGISTRY_CONFIG": config}).sizes["tensor"] == 2


def test_the_highest_source_names_the_config(toml: Any) -> None:
    assert (
        planned(8, {"PGREGISTRY_CONFIG": "/nowhere.toml"}, {"config": "/no.toml"}, config=toml("tensor=2")).sizes[
            "tensor"
        ]
        == 2
    )


def test_a_config_is_never_searched_for(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(toml("tensor = 2\n")).parent
    for name in ("pgregistry.toml", ".pgregistry.toml"):
        (folder / name).write_text("tensor = 2\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text("[tool.pgregistry]\ntensor = 2\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    assert planned().sizes["tensor"] == 1


def test_ranks_per_host_comes_from_the_highest_source_that_says_it(toml: Any) -> None:
    def host(environ: dict[str, str], typed: Any = None, **keywords: Any) -> tuple[int, str]:
        near = Mode("near", over=Split(WORLD, inner="near", size=HOST))
        plan = planned(8, environ, typed, extra=[near], **keywords)
        return plan.sizes["near"], plan.origins["near"]

    config = toml("ranks_per_host = 8\n")
    assert host({}, config=config) == (8, f"ranks_per_host, {config}")
    torchrun = {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}
    assert host(torchrun, config=config) == (4, "ranks_per_host, LOCAL_WORLD_SIZE")
    assert host(torchrun, {"ranks_per_host": 2}) == (2, "ranks_per_host, command line")
    assert host(torchrun, {"ranks_per_host": 2}, ranks_per_host=1) == (1, "ranks_per_host, keyword")


def test_ranks_per_host_has_a_variable_of_its_own() -> None:
    near = Mode("near", over=Split(WORLD, inner="near", size=HOST))
    plan = planned(8, {"PGREGISTRY_RANKS_PER_HOST": "4", "LOCAL_WORLD_SIZE": "8"}, extra=[near])
    assert (plan.sizes["near"], plan.origins["near"]) == (4, "ranks_per_host, PGREGISTRY_RANKS_PER_HOST")


# --- spelling -------------------------------------------------------------------------------------


def test_sizes_are_spelt_alike_in_the_environment_and_in_a_file(toml: Any) -> None:
    said = planned(environ={"PGREGISTRY": "tensor=2 zero1={size=2,timeout=60}"})
    config = toml("tensor = 2\nzero1 = {size = 2, timeout = 60}\n")
    table = toml("tensor = 2\n[zero1]\nsize = 2\ntimeout = 60\n")
    keyword = planned(tensor=2, zero1={"size": 2, "timeout": 60})
    fingerprints = {plan.fingerprint for plan in (said, keyword, planned(config=config), planned(config=table))}
    assert len(fingerprints) == 1
    assert (said["zero1"].timeout, said.sizes["zero1"]) == (60.0, 2)


def test_a_table_may_be_quoted_in_the_environment() -> None:
    assert planned(environ={"PGREGISTRY": "tensor=2 'zero1={size = 2, cpu = true}'"})["zero1"].cpu is True


def test_names_may_be_a_list_or_one_text_with_commas_or_spaces() -> None:
    for names in (
        ["data", "tensor"],
        ("data", "tensor"),
        "data,tensor",
        "data, tensor",
        "data tensor",
        " data,tensor,",
    ):
        assert planned(only=names).modes == ("data", "tensor")


def test_a_mode_that_has_no_size_can_be_set_too() -> None:
    assert planned(**{"global": {"backend": "gloo"}})["global"].backend == "gloo"


def test_a_size_twice_in_one_place_is_refused() -> None:
    text = refusal(environ={"PGREGISTRY": "tensor=2 pipe=2 tensor=4"})
    assert text == "'tensor' is given twice (PGREGISTRY): 2 and 4. Remove one."


def test_a_word_without_a_value_is_refused() -> None:
    assert refusal(environ={"PGREGISTRY": "tensor =4"}) == (
        "2 problems:\n"
        "- 'tensor' (PGREGISTRY) must have the form NAME=SIZE, as in tensor=2.\n"
        "- '=4' (PGREGISTRY) must have the form NAME=SIZE, as in tensor=2."
    )


def test_an_open_quote_is_refused() -> None:
    text = refusal(environ={"PGREGISTRY": "tensor=2 'pipe"})
    assert text == '"\'pipe" (PGREGISTRY) must have the form NAME=SIZE, as in tensor=2.'


def test_a_variable_that_nothing_reads_is_refused() -> None:
    text = refusal(environ={"PGREGISTRY_DISABEL": "nettest"})
    assert text == "Nothing reads PGREGISTRY_DISABEL. Did you mean 'PGREGISTRY_DISABLE'?"


def test_a_variable_of_a_plugin_is_the_plugin_s() -> None:
    assert planned(environ={"PGREGISTRY_EXPERT_CACHE": "/tmp", "PGREGISTRYX": "1"}) == planned()


def test_how_to_build_is_no_setting_of_a_plan() -> None:
    assert planned(environ={"PGREGISTRY_BUILD": "public"}) == planned()
    assert refusal(environ={"PGREGISTRY_BUILDS": "public"}) == (
        "Nothing reads PGREGISTRY_BUILDS. Did you mean 'PGREGISTRY_BUILD'?"
    )


@pytest.mark.parametrize(
    "stray", [{"RANK": "abc", "WORLD_SIZE": "4"}, {"RANK": "9", "WORLD_SIZE": "4"}, {"SLURM_NTASKS": "x"}], ids=str
)
def test_a_stray_variable_of_a_launcher_does_not_stop_a_plan(stray: dict[str, str]) -> None:
    assert planned(environ=stray) == planned()


def test_enable_adds_to_only(toml: Any) -> None:
    assert planned(only=["tensor"], enable=["dummy"]).modes == ("dummy", "tensor")
    config = toml("only = ['tensor']\n")
    assert planned(8, {"PGREGISTRY_ENABLE": "dummy"}, {"enable": "data"}, config=config).modes == (
        "data",
        "dummy",
        "tensor",
    )


def test_an_empty_list_of_names_says_that_nothing_is_on_and_an_empty_text_too() -> None:
    assert planned(only=[], enable=["dummy"]).modes == planned(only="", enable="dummy").modes == ("dummy",)


# --- bad values -----------------------------------------------------------------------------------


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
                "There are backend, cpu, dedicated, size and timeout."
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


def test_a_year_is_a_timeout() -> None:
    assert planned(tensor={"timeout": 366 * 24 * 3600})["tensor"].timeout == 31622400.0


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
    assert refusal(environ={"PGREGISTRY": f"{name}=4"}) == f"'{name}' (PGREGISTRY){text}"
    config = toml(f"{name} = 4\n")
    assert refusal(config=config) == f"'{name}' ({config}){text}"


def test_a_plugin_cannot_call_a_size_like_a_parameter() -> None:
    with pytest.raises(PgregistryError) as caught:
        planned(extra=[Mode("slow", over=Axis("timeout"))])
    assert str(caught.value) == (
        "mode 'slow' (plugin 'extra'): "
        "size 'timeout' has the name of a parameter of plan() or init(), which is reserved."
    )


# --- unknown names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"tensr": 2}, "There is no size 'tensr' (keyword). Did you mean 'tensor'?"),
        ({"xyz": 2}, "There is no size 'xyz' (keyword). There are data, nettest, pipe, tensor and zero1."),
        ({"dummy": 2}, "There is no size 'dummy' (keyword). There are data, nettest, pipe, tensor and zero1."),
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


def test_a_name_that_is_there_may_be_said_without_a_value() -> None:
    assert planned(tensor=None, dummy=None, zero1={}, **{"global": {}}) == planned()


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


# --- the file -------------------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    assert refusal(config=str(config)) == f"The configuration {config} cannot be read: No such file or directory."


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refusal(config=tmp_path) == f"The configuration {tmp_path} cannot be read: Is a directory."


def test_malformed_toml_is_refused_with_its_line(toml: Any) -> None:
    config = toml("tensor = 2\npipe = = 2\n")
    text = refusal(config=config)
    assert text.startswith(f"The configuration {config} is not valid TOML: ")
    assert "line 2" in text


def test_a_size_twice_in_a_file_is_refused_with_its_line(toml: Any) -> None:
    config = toml("tensor = 2\ntensor = 4\n")
    text = refusal(config=config)
    assert text.startswith(f"The configuration {config} is not valid TOML: ")
    assert "line 2" in text


@pytest.mark.parametrize("text", ["tensor = " + "[" * 100_000, "tensor = " + "9" * 5000], ids=["lists", "digits"])
def test_a_file_that_python_will_not_read_is_refused(text: str, toml: Any) -> None:
    config = toml(text)
    said = refusal(config=config)
    assert said.startswith(f"The configuration {config} is not valid TOML: ")
    assert "\n" not in said


def test_tables_in_the_table_of_a_mode_are_no_settings(toml: Any) -> None:
    config = toml("[tensor.a.b]\nsize = 2\n")
    assert refusal(config=config) == (
        f"tensor ({config}) has 'a', which is not a setting of a mode. "
        "There are backend, cpu, dedicated, size and timeout."
    )


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_bytes(b"tensor = 2 # gr\xfc\xdfe\n")
    text = refusal(config=config)
    assert text.startswith(f"The configuration {config} is not UTF-8: ")
    assert "0xfc" in text


def test_what_is_no_path_is_refused() -> None:
    assert refusal(config=5) == "config = 5 must be the path of a TOML file."


# --- all at once ----------------------------------------------------------------------------------


def test_all_problems_of_a_run_are_in_one_error(toml: Any) -> None:
    config = toml("pipe = 'x'\ntimeout = 3\n")
    text = refusal(
        8, {"PGREGISTRY": "data=zz"}, {"require": "nowhere"}, tensor=0, disable=["dumy"], only="tensors", config=config
    )
    assert text == (
        "7 problems:\n"
        "- tensor = 0 (keyword) must be a whole number from 1 to 1099511627776.\n"
        "- data = 'zz' (PGREGISTRY) must be a whole number from 1 to 1099511627776.\n"
        f"- pipe = 'x' ({config}) must be a whole number from 1 to 1099511627776.\n"
        f"- 'timeout' ({config}) cannot be a size: plan() and init() have a parameter of that name.\n"
        "- disable: no plugin is called 'dumy' (keyword). Did you mean 'dummy'?\n"
        "- only: no plugin is called 'tensors' (keyword). Did you mean 'tensor'?\n"
        "- require: 'nowhere' (command line) is not installed. Install it: pip install 'nowhere'."
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


# --- require --------------------------------------------------------------------------------------


def test_a_requirement_that_is_met_says_nothing() -> None:
    assert planned(require=["pgregistry>=0.1,<1", "pluggy"]) == planned()
    assert planned(require="pgregistry>=0.1,<1, pluggy") == planned()


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (
            "pgregistry>=9",
            (
                "require: 'pgregistry>=9' (keyword), but pgregistry 0.1.0 is installed. "
                "Install it: pip install 'pgregistry>=9'."
            ),
        ),
        (
            "nowhere>=1",
            "require: 'nowhere>=1' (keyword) is not installed. Install it: pip install 'nowhere>=1'.",
        ),
    ],
)
def test_a_requirement_that_is_not_met_is_refused(requirement: str, text: str) -> None:
    assert refusal(require=[requirement]) == text


def test_what_is_no_requirement_is_refused() -> None:
    text = refusal(require=["not a requirement"])
    rule = "must be a requirement such as pgregistry-expert>=1"
    assert text.startswith(f"require: 'not a requirement' (keyword) {rule}: ")


def test_requirements_add_up_and_keep_their_origin(toml: Any) -> None:
    config = toml("require = ['nowhere']\n")
    assert refusal(environ={"PGREGISTRY_REQUIRE": "pgregistry>=9"}, config=config) == (
        "2 problems:\n"
        "- require: 'pgregistry>=9' (PGREGISTRY_REQUIRE), but pgregistry 0.1.0 is installed. "
        "Install it: pip install 'pgregistry>=9'.\n"
        f"- require: 'nowhere' ({config}) is not installed. Install it: pip install 'nowhere'."
    )


def test_a_requirement_for_another_python_says_nothing() -> None:
    assert planned(require=["nowhere; python_version < '3'"]) == planned()


def test_a_table_in_the_environment_keeps_its_own_quotes_and_spaces() -> None:
    said = planned(environ={"PGREGISTRY": """tensor=2 zero1={backend = "gloo", timeout = 60} pipe=2"""})
    assert (said.sizes["tensor"], said.sizes["pipe"]) == (2, 2)
    assert (said["zero1"].backend, said["zero1"].timeout) == ("gloo", 60)


def test_a_path_that_cannot_be_one_is_refused() -> None:
    assert refusal(config="a\0b") == "The configuration a\0b is not valid TOML: embedded null byte."


@pytest.mark.parametrize("extra", ["tensor", 5])
def test_what_is_no_list_of_modes_cannot_be_extra(extra: Any) -> None:
    assert refusal(extra=extra) == f"extra = {extra!r} (keyword) must be a list of modes."


# --- require, in each of its spellings -------------------------------------------------------------


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        ("nowhere>=1", "is not installed. Install it: pip install 'nowhere>=1'."),
        ("pgregistry>=9", "but pgregistry 0.1.0 is installed."),
        ("pgregistry==0.1.0,!=0.1.0", "but pgregistry 0.1.0 is installed."),
        ("pgregistry>>1", "must be a requirement such as pgregistry-expert>=1: Expected"),
        ("pgregistry>=", "must be a requirement such as pgregistry-expert>=1: Expected"),
    ],
)
@pytest.mark.parametrize("origin", ["keyword", "command line", "PGREGISTRY_REQUIRE", "file"])
def test_a_requirement_is_refused_with_where_it_was_said(origin: str, requirement: str, text: str, toml: Any) -> None:
    if origin == "keyword":
        said = refusal(require=[requirement])
    elif origin == "command line":
        said = refusal(typed={"require": requirement})
    elif origin == "PGREGISTRY_REQUIRE":
        said = refusal(environ={origin: requirement})
    else:
        origin = toml(f"require = [{requirement!r}]\n")
        said = refusal(config=origin)
    comma = "" if text.startswith(("is", "must")) else ","
    assert said.startswith(f"require: {requirement!r} ({origin}){comma} {text}")


def test_a_requirement_may_ask_for_any_version_and_is_met_by_a_pre_release(distribution: Any) -> None:
    distribution("pgregistry-acme", {}, {}, version="2.0rc1")
    assert planned(require=["pgregistry-acme", "PGRegistry_Acme>=1.5"]) == planned()
    assert refusal(require=["pgregistry-acme>=2.0"]) == (
        "require: 'pgregistry-acme>=2.0' (keyword), but pgregistry-acme 2.0rc1 is installed. "
        "Install it: pip install 'pgregistry-acme>=2.0'."
    )


def test_a_requirement_is_of_what_is_installed_be_it_switched_off_or_not(distribution: Any) -> None:
    distribution("pgregistry-acme", {"acme": "acme_broken"}, {"acme_broken.py": "1 // 0"})
    assert planned(require=["pgregistry-acme>=0.1"], disable=["acme"]) == planned(disable=["acme"])


# --- extra: a mode that is not installed -----------------------------------------------------------


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
    assert str(caught.value) == (
        "mode 'tensor' is declared by plugin 'tensor', pgregistry 0.1.0 and by plugin 'extra'.\n"
        "Uninstall one, or leave one out with disable=['tensor']; "
        "to use what another plugin declares, refer to it by name."
    )
    plan = planned(extra=[Mode("tensor", over="data")], disable=["tensor", "model"], only=["data"])
    assert plan["tensor"].groups == plan["data"].groups


def test_a_size_that_is_installed_is_not_declared_again_by_extra() -> None:
    with pytest.raises(PluginError) as caught:
        planned(extra=[Mode("slices", over=Axis("tensor"))])
    assert str(caught.value) == (
        "size 'tensor' is declared by plugin 'tensor', pgregistry 0.1.0 and by plugin 'extra'.\n"
        "Uninstall one, or leave one out with disable=['tensor']; "
        "to use what another plugin declares, refer to it by name."
    )


def test_two_modes_of_one_name_in_extra_are_refused() -> None:
    with pytest.raises(PluginError) as caught:
        planned(extra=[Mode("mine", over="data"), Mode("mine", over="tensor")])
    assert str(caught.value) == "mode 'mine' is declared twice by plugin 'extra'."


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
