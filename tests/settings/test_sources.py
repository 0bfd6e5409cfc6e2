"""Words of the environment, variables with two values, and the TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sourced import planned, refusal

import pgregistry
from pgregistry import ConfigError
from pgregistry.settings.sources import chosen, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  tensor=2\tpipe=2\n", ["tensor=2", "pipe=2"]),
        ("'zero1={size = 2}' tensor=2", ["zero1={size = 2}", "tensor=2"]),
        ('"zero1={size = 2}"', ["zero1={size = 2}"]),
        ("zero1={size = 2, backend = 'a b'} tensor=2", ["zero1={size = 2, backend = 'a b'}", "tensor=2"]),
        ("tensor =4", ["tensor", "=4"]),
        ("tensor=2 'pipe", ["tensor=2", "'pipe"]),
        ("zero1={size=2", ["zero1={size=2"]),
        ("{size=2}", ["{", "size=2}"]),
    ],
)
def test_words_end_at_spaces_outside_of_quotes_and_braces(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_a_misspelt_way_of_building_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY_BUILD", "pubic")
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8)
    assert str(caught.value) == (
        "PGREGISTRY_BUILD = 'pubic' (environment) must be name or public. Did you mean 'public'?"
    )


@pytest.mark.parametrize(("value", "said"), [("name", "name"), ("public", "public"), ("", None), (None, None)])
def test_a_way_of_building_is_name_or_public_or_not_set(value: str | None, said: str | None) -> None:
    assert chosen("PGREGISTRY_BUILD", {} if value is None else {"PGREGISTRY_BUILD": value}) == said


def test_an_empty_variable_says_nothing() -> None:
    names = ("PGREGISTRY", "PGREGISTRY_ENABLE", "PGREGISTRY_DISABLE", "PGREGISTRY_ONLY", "PGREGISTRY_ORDER")
    empty = dict.fromkeys((*names, "PGREGISTRY_CONFIG", "PGREGISTRY_REQUIRE", "LOCAL_WORLD_SIZE"), "")
    assert planned(environ=empty) == planned()


def test_a_config_is_never_searched_for(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(toml("tensor = 2\n")).parent
    for name in ("pgregistry.toml", ".pgregistry.toml"):
        (folder / name).write_text("tensor = 2\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text("[tool.pgregistry]\ntensor = 2\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    assert planned().sizes["tensor"] == 1


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


@pytest.mark.parametrize("name", ["TENSOR", "FOO", "EXPERT_CACHE", "DATA", "PIPE", "EXTRA", "WORLD_SIZE", ""])
def test_every_variable_with_the_prefix_that_nothing_reads_is_refused_with_how_to_write_it(name: str) -> None:
    assert refusal(environ={f"PGREGISTRY_{name}": "2"}).startswith(
        f'Nothing reads PGREGISTRY_{name}. A size or a setting is written PGREGISTRY="{name.lower()}=2". '
        "There are PGREGISTRY_AGREE_TIMEOUT, PGREGISTRY_BACKEND, PGREGISTRY_BUILD, "
    )


def test_a_variable_without_the_prefix_is_a_plugin_s() -> None:
    assert planned(environ={"EXPERT_CACHE": "/tmp", "PGREGISTRYX": "1"}) == planned()


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


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    assert refusal(config=str(config)) == f"config = {config} (keyword) cannot be read: No such file or directory."


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refusal(config=tmp_path) == f"config = {tmp_path} (keyword) cannot be read: Is a directory."


def test_malformed_toml_is_refused_with_its_line(toml: Any) -> None:
    config = toml("tensor = 2\npipe = = 2\n")
    text = refusal(config=config)
    assert text.startswith(f"config = {config} (keyword) must be valid TOML: ")
    assert "line 2" in text


def test_a_size_twice_in_a_file_is_refused_with_its_line(toml: Any) -> None:
    config = toml("tensor = 2\ntensor = 4\n")
    text = refusal(config=config)
    assert text.startswith(f"config = {config} (keyword) must be valid TOML: ")
    assert "line 2" in text


@pytest.mark.parametrize("text", ["tensor = " + "[" * 100_000, "tensor = " + "9" * 5000], ids=["lists", "digits"])
def test_a_file_that_python_will_not_read_is_refused(text: str, toml: Any) -> None:
    config = toml(text)
    said = refusal(config=config)
    assert said.startswith(f"config = {config} (keyword) must be valid TOML: ")
    assert "\n" not in said


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_bytes(b"tensor = 2 # gr\xfc\xdfe\n")
    text = refusal(config=config)
    assert text.startswith(f"config = {config} (keyword) must be UTF-8: ")
    assert "0xfc" in text


def test_what_is_no_path_is_refused() -> None:
    assert refusal(config=5) == "config = 5 (keyword) must be the path of a TOML file."


def test_a_table_in_the_environment_keeps_its_own_quotes_and_spaces() -> None:
    said = planned(environ={"PGREGISTRY": """tensor=2 zero1={backend = "gloo", timeout = 60} pipe=2"""})
    assert (said.sizes["tensor"], said.sizes["pipe"]) == (2, 2)
    assert (said["zero1"].backend, said["zero1"].timeout) == ("gloo", 60)


def test_a_path_that_cannot_be_one_is_refused() -> None:
    assert refusal(config="a\0b") == "config = a\\x00b (keyword) must be valid TOML: embedded null byte."


PYPROJECT = """
[project]
name = "llm"

[tool.ruff]
line-length = 100

[tool.pgregistry]
tensor = 2
zero1 = {size = 2, timeout = 60}
disable = ["nettest"]
"""


def test_a_pyproject_has_its_settings_in_a_table_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(PYPROJECT, encoding="utf-8")
    plan = planned(config=file)
    assert plan.fingerprint == planned(tensor=2, zero1={"size": 2, "timeout": 60}, disable=["nettest"]).fingerprint
    assert plan.origins["tensor"] == str(file)
    assert planned(environ={"PGREGISTRY_CONFIG": str(file)}).fingerprint == plan.fingerprint


@pytest.mark.parametrize("text", ["", "tensor = 2", "[tool.ruff]\nfix = true", "tool = 3", "tool.pgregistry = 3"])
def test_a_pyproject_without_that_table_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(text, encoding="utf-8")
    rule = "must have a table [tool.pgregistry], from which a pyproject.toml is read"
    assert refusal(config=file) == f"config = {file} (keyword) {rule}."


def test_what_is_wrong_in_that_table_is_named_as_in_any_file(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.pgregistry]\ntensr = 2\nconfig = 'other.toml'\n", encoding="utf-8")
    text = refusal(config=file)
    assert f"There is no size 'tensr' ({file}). Did you mean 'tensor'?" in text
    assert f"'config' ({file}) cannot be a size" in text
