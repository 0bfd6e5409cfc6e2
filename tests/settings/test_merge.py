"""One spelling of sizes and switches in four places; every value remembers where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from origin import EIGHT
from sourced import planned

from pgregistry import HOST, WORLD, Mode, Split


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


def test_a_year_is_a_timeout() -> None:
    assert planned(tensor={"timeout": 366 * 24 * 3600})["tensor"].timeout == 31622400.0


def test_a_name_that_is_there_may_be_said_without_a_value() -> None:
    assert planned(tensor=None, dummy=None, zero1={}, **{"global": {}}) == planned()
