"""Settings of plugins and keys of modes: given alike in every source, and refused with their origin."""

from __future__ import annotations

from typing import Any

import pytest

from pgregistry import Axis, ConfigError, Mode, Plan, Setting, hookimpl
from pgregistry.planning.planner import Planner


class Ring:
    """A plugin that is not installed, with a setting of each type."""

    @hookimpl
    def pgregistry_settings(self) -> list[Setting]:
        return [
            Setting("ring_backend", "safe", choices=("fast", "safe")),
            Setting("label", "none"),
            Setting("heads", 8),
            Setting("rate", 0.5),
            Setting("causal", False),
        ]

    @hookimpl
    def pgregistry_modes(self) -> list[Mode]:
        def listed(mesh: Any) -> list[list[int]]:
            return [[0, 1]] if mesh.settings["causal"] else []

        return [Mode("ring", over=Axis("ring", inside="data")), Mode("odd", groups=listed)]


OWNER = f"of plugin '{Ring.__module__.rpartition('.')[2]}'"


TEXT = "printable text on one line, of at most 1000 characters"


def planned(environ: Any = None, typed: Any = None, **keywords: Any) -> Plan:
    given = {"plugins": [Ring()], "only": ["data"], **keywords}
    return Planner.read(8, given, command_line=typed, environ=environ or {}).plan()


def refusal(environ: Any = None, typed: Any = None, **keywords: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        planned(environ, typed, **keywords)
    return str(caught.value)


def test_a_setting_that_nobody_gives_has_its_default() -> None:
    plan = planned()
    assert plan.settings == {"ring_backend": "safe", "label": "none", "heads": 8, "rate": 0.5, "causal": False}
    assert plan.origins["ring_backend"] == "plugin default"


def test_a_setting_comes_from_the_highest_source_that_gives_it(toml: Any) -> None:
    config = toml("ring_backend = 'fast'\nlabel = 'file'\nheads = 2\nrate = 1\ncausal = true\n")
    environ, typed = {"PGREGISTRY": "heads=3 rate=2e0 label=env"}, {"rate": 0.25, "label": "typed"}
    plan = planned(environ, typed, label="keyword", config=config)
    assert {name: (value, plan.origins[name]) for name, value in plan.settings.items()} == {
        "ring_backend": ("fast", config),
        "label": ("keyword", "keyword"),
        "heads": (3, "PGREGISTRY"),
        "rate": (0.25, "command line"),
        "causal": (True, config),
    }


@pytest.mark.parametrize("word", ["4", "true", "2e0", "{a=1}", "a,b", "x=y", '"quoted"', "[1]", "été"])
def test_a_setting_of_text_takes_the_word_as_it_stands(word: str) -> None:
    assert planned({"PGREGISTRY": f"'label={word}'"}).settings["label"] == word


@pytest.mark.parametrize(("word", "value"), [("true", True), ("false", False), ("1", True), ("0", False)])
def test_a_flag_is_true_or_false_and_in_text_also_1_or_0(word: str, value: bool) -> None:
    assert planned({"PGREGISTRY": f"causal={word}"}).settings["causal"] is value


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"ring_backend": "slow"}, "ring_backend = 'slow' (keyword) must be 'fast' or 'safe'. The default is 'safe'"),
        ({"ring_backend": True}, "ring_backend = True (keyword) must be 'fast' or 'safe'. The default is 'safe'"),
        ({"label": 4}, f"label = 4 (keyword) must be {TEXT}. The default is 'none'"),
        ({"label": "two\nlines"}, f"label = 'two\\nlines' (keyword) must be {TEXT}. The default is 'none'"),
        ({"label": "\ud800"}, f"label = '\\ud800' (keyword) must be {TEXT}. The default is 'none'"),
        (
            {"label": "x" * 1001},
            f"label = '{'x' * 39}… (1003 characters) (keyword) must be {TEXT}. The default is 'none'",
        ),
        ({"heads": "8"}, "heads = '8' (keyword) must be a whole number. The default is 8"),
        ({"heads": True}, "heads = True (keyword) must be a whole number. The default is 8"),
        ({"heads": 2.0}, "heads = 2.0 (keyword) must be a whole number. The default is 8"),
        ({"rate": float("nan")}, "rate = nan (keyword) must be a number. The default is 0.5"),
        ({"rate": False}, "rate = False (keyword) must be a number. The default is 0.5"),
        ({"causal": 1}, "causal = 1 (keyword) must be true or false. The default is False"),
        ({"causal": {"size": 2}}, "causal = {'size': 2} (keyword) must be true or false. The default is False"),
    ],
    ids=str,
)
def test_a_value_of_another_type_or_outside_the_choices_is_refused(given: dict[str, Any], rule: str) -> None:
    assert refusal(**given) == f"{rule} (setting '{next(iter(given))}' {OWNER})."


def test_a_wrong_value_is_refused_with_its_origin_whatever_a_higher_source_gives(toml: Any) -> None:
    config = toml("heads = 'x'\n")
    assert refusal({"PGREGISTRY": "heads=y"}, heads=4, config=config) == (
        f"2 problems:\n- heads = 'y' (PGREGISTRY) must be a whole number. The default is 8 (setting 'heads' {OWNER}).\n"
        f"- heads = 'x' ({config}) must be a whole number. The default is 8 (setting 'heads' {OWNER})."
    )


def test_a_setting_whose_plugin_is_off_says_which_plugins_are() -> None:
    text = refusal(ring_backend="fast", disable=[OWNER.split("'")[1], "dummy"], only=None)
    assert text.startswith("There is no size or setting 'ring_backend' (keyword). There are data, nettest, pipe, ")
    assert f"{OWNER.split(chr(39))[1]!r} is disabled (keyword)" in text


def test_a_misspelt_setting_is_refused_with_a_suggestion() -> None:
    text = "There is no size or setting 'ring_backnd' (keyword). Did you mean 'ring_backend'?"
    assert refusal(ring_backnd="fast") == text


def test_a_groups_function_reads_settings_from_the_mesh() -> None:
    assert [len(planned(causal=causal)["odd"].groups) for causal in (False, True)] == [0, 1]


def test_the_fingerprint_covers_every_setting_and_none_of_their_origins() -> None:
    plans = [planned(), planned(label="x"), planned(heads=4), planned(rate=0.25), planned(ring_backend="fast")]
    assert len({plan.fingerprint for plan in plans}) == len(plans)
    assert planned(heads=8, rate=0.5).fingerprint == planned().fingerprint
    assert planned({"PGREGISTRY": "heads=4"}).fingerprint == planned(heads=4).fingerprint


def test_settings_go_through_json_and_a_changed_one_is_refused() -> None:
    plan = planned(label="été", rate=2)
    assert Plan.from_json(plan.to_json()) == plan
    assert '"rate": {"value": 2.0, "from": "keyword"}' in plan.to_json()
    for old, new in (('"value": 2.0', '"value": 3.0'), ('"value": 2.0', '"value": null'), ('"value": 8', '"value": 9')):
        with pytest.raises(ConfigError):
            Plan.from_json(plan.to_json().replace(old, new))


def test_a_difference_names_the_setting_with_both_origins() -> None:
    found = planned(heads=4).diff(planned({"PGREGISTRY": "heads=2 label=x"}))
    assert found == (
        "setting heads: 4 (keyword) here, 2 (PGREGISTRY) there",
        "setting label: 'none' (plugin default) here, 'x' (PGREGISTRY) there",
    )


def test_the_text_of_a_plan_has_settings_and_keys_of_modes_with_their_origin() -> None:
    typed = {"data.timeout": 60, "data.options": {"a": 1}}
    plan = planned({"PGREGISTRY": "ring.backend=gloo ring.cpu=false ring_backend=fast"}, typed, label="4")
    assert [line.strip() for line in str(plan).partition("\n\n")[0].splitlines()[1:]] == [
        "data = 8 (what is left)",
        "ring = 1 (plugin default)",
        "causal = false (plugin default)",
        "heads = 8 (plugin default)",
        "label = 4 (keyword)",
        "rate = 0.5 (plugin default)",
        "ring_backend = fast (PGREGISTRY)",
        "data.timeout = 60 (command line)",
        "data.options.a = 1 (command line)",
        "ring.backend = gloo (PGREGISTRY)",
        "ring.cpu = false (PGREGISTRY)",
    ]


KEYS = {"backend": "mpi", "timeout": 60.0, "cpu": True, "dedicated": True, "options": {"a": 1, "b": "x"}}


def test_every_key_of_a_mode_comes_from_every_source(toml: Any) -> None:
    words = "data.backend=mpi data.timeout=60 data.cpu=true data.dedicated=true data.options.a=1 data.options.b=x"
    table = "data = {backend = 'mpi', timeout = 60, cpu = true, dedicated = true, options = {a = 1, b = 'x'}}\n"
    dotted = "data.backend = 'mpi'\ndata.timeout = 60\ndata.cpu = true\ndata.dedicated = true\ndata.options.a = 1\n"
    typed = {"data.backend": "mpi", "data.timeout": 60, "data.cpu": True, "data.dedicated": True}
    plans = {
        "keyword": planned(data=KEYS),
        "PGREGISTRY": planned({"PGREGISTRY": words}),
        "table": planned(config=toml(table)),
        "dotted": planned(config=toml(f"{dotted}data.options.b = 'x'\n")),
        "command line": planned(None, {**typed, "data.options": {"a": 1}, "data.options.b": "x"}),
    }
    for plan in plans.values():
        assert {key: getattr(plan["data"], key) for key in KEYS} == KEYS
    assert len({plan.fingerprint for plan in plans.values()}) == 1
    assert set(plans["PGREGISTRY"]["data"].origins.values()) == {"PGREGISTRY"}


def test_options_are_merged_key_by_key_each_from_the_highest_source(toml: Any) -> None:
    config = toml("data = {options = {a = 1, b = 1, c = 1}}\n")
    plan = planned({"PGREGISTRY": "data.options.b=2 data.options.a=2"}, data={"options": {"a": 3}}, config=config)
    assert plan["data"].options == {"a": 3, "b": 2, "c": 1}
    assert plan["data"].origins == {"options.a": "keyword", "options.b": "PGREGISTRY", "options.c": config}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ring=2 ring.size=4", "'ring' is given twice (PGREGISTRY): 2 and 4. Remove one."),
        ("data={timeout=3} data.timeout=5", "'data.timeout' is given twice (PGREGISTRY): 3.0 and 5.0. Remove one."),
        (
            "data.options={a=1,b=2} data.options.a=3",
            "'data.options.a' is given twice (PGREGISTRY): 1 and 3. Remove one.",
        ),
    ],
)
def test_a_value_that_one_source_writes_in_two_ways_is_refused(words: str, said: str) -> None:
    assert refusal({"PGREGISTRY": words}) == said
    assert planned({"PGREGISTRY": "ring=2 ring.size=2"}).sizes["ring"] == 2


@pytest.mark.parametrize("options", [5, "x", [1], {"a": []}, {"a": float("inf")}, {1: 2}], ids=str)
def test_options_that_are_no_mapping_of_plain_values_are_refused(options: Any) -> None:
    text = f"data (keyword) has options = {options!r}; it must be a mapping of names to numbers, texts, true, false"
    assert refusal(data={"options": options}).startswith(text)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sizes": {"data": 2, "ring": 4}}, "mode 'sizes' (keyword). Give each by its own name: data=2, ring=4."),
        ({"data-parallel": 2}, "size or setting 'data-parallel' (keyword). Did you mean 'data'?"),
        ({"data_parallel_size": 2}, "size or setting 'data_parallel_size' (keyword). Did you mean 'data'?"),
    ],
    ids=str,
)
def test_names_that_are_written_in_another_way_are_answered_with_what_to_write(given: Any, text: str) -> None:
    assert refusal(**given).startswith(f"There is no {text}")


def test_a_parameter_that_came_later_yields_to_a_size_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    later = "late_timeout"
    for module in ("merge", "named"):
        names = __import__(f"pgregistry.settings.{module}", fromlist=["NAMES"])
        monkeypatch.setattr(names, "NAMES", names.NAMES | {later})
    extra = [Mode("late", over=Axis(later, inside="data"))]
    assert planned(extra=extra, **{later: 2}).sizes[later] == 2
    planner = Planner.read(8, {later: 5}, environ={})
    planner.plan()
    assert planner.settings.run[later].value == 5
