"""Plugins are found through entry points, loaded only where they are on, and named where they fail."""

from __future__ import annotations

import ast
import importlib.metadata
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from origin import EIGHT

import pgregistry
from pgregistry import ConfigError, Mode, PgregistryError, PluginError
from pgregistry.errors import Problems
from pgregistry.planning.planner import Planner
from pgregistry.registry.discovery import discover
from pgregistry.registry.manager import Registry
from pgregistry.testing import write_distribution

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
HEAD = "from pgregistry import Axis, Mode, Split, hookimpl\n"
ACME = "plugin 'acme', pgregistry-acme 0.1"
POINT = f"{ACME} (entry point pgregistry: acme = acme_plugin)"
WAY_OUT = "\nTo run without it: disable=['acme'], --disable acme or PGREGISTRY_DISABLE=acme."


def modes_hook(body: str) -> str:
    """The source of a plugin with this body of `pgregistry_modes`."""
    return f"{HEAD}\n@hookimpl\ndef pgregistry_modes():\n    {body}\n"


GOOD = modes_hook("yield Mode('acme', over=())")


@pytest.fixture
def acme(distribution: Callable[..., Path]) -> Callable[..., Path]:
    """Install the distribution pgregistry-acme with one plugin of this source."""

    def install(source: str, name: str = "acme", attribute: str = "", **keywords: Any) -> Path:
        point = {name: f"acme_plugin{attribute}"}
        return distribution("pgregistry-acme", point, {"acme_plugin.py": source}, **keywords)

    return install


def refusal(kind: type[PgregistryError], **keywords: Any) -> str:
    with pytest.raises(kind) as caught:
        pgregistry.plan(4, **keywords)
    return str(caught.value)


def load(**keywords: Any) -> Registry:
    return Registry.read(Problems(), keywords=keywords, environ={})


def statuses(**keywords: Any) -> dict[str, tuple[str, str | None]]:
    return {status.installed.plugin.name: (status.name, status.reason) for status in load(**keywords).statuses}


# --- discovery ------------------------------------------------------------------------------------


def test_a_plugin_is_found_through_its_entry_point(acme: Any) -> None:
    acme(GOOD)
    (found,) = [one for one in discover() if one.plugin.name == "acme"]
    assert str(found) == POINT
    assert not found.optional
    assert "acme" in pgregistry.plan(4)


def test_discovery_imports_nothing(acme: Any) -> None:
    acme("raise RuntimeError")
    assert "acme" in {one.plugin.name for one in discover()}
    assert "acme_plugin" not in sys.modules


def test_a_plugin_can_be_an_object(acme: Any) -> None:
    acme(f"{HEAD}class Plugin:\n    @hookimpl\n    def pgregistry_modes(self):\n        yield Mode('acme', over=())\n"
         "plugin = Plugin()\n", attribute=":plugin")  # fmt: skip
    assert list(pgregistry.plan(2)["acme"].groups) == [(0,), (1,)]


def test_an_optional_plugin_is_found_and_off_until_enabled_or_in_only(acme: Any) -> None:
    acme(GOOD, optional=True)
    reason = "off until enabled (entry point group pgregistry.optional)"
    assert statuses()["acme"] == ("disabled", reason)
    assert "acme_plugin" not in sys.modules
    assert "acme" in pgregistry.plan(4, enable=["acme"])
    assert pgregistry.plan(4, only=["acme"]).modes == ("acme",)
    assert "acme" not in pgregistry.plan(4, enable=["acme"], disable=["acme"])


def test_plugins_are_sorted_by_name_whatever_the_metadata_say(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, read = discover(), importlib.metadata.distributions

    def shuffled(**keywords: Any) -> Any:
        found = list(read(**keywords))
        random.Random(1).shuffle(found)
        return found

    monkeypatch.setattr(importlib.metadata, "distributions", shuffled)
    assert [one.plugin for one in discover()] == [one.plugin for one in expected]
    assert [one.plugin.name for one in expected] == sorted(one.plugin.name for one in expected)


def test_a_distribution_counts_by_the_name_of_its_folder_as_for_pythons_own_entry_points(
    acme: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acme(GOOD)
    left = write_distribution(tmp_path, "pgregistry-acme", {"left": "acme_plugin"}, {})  # by a failed uninstall
    (left / "pgregistry_acme-0.1.dist-info").rename(left / "~gregistry_acme-0.1.dist-info")
    monkeypatch.syspath_prepend(left)
    installed = [point.name for point in importlib.metadata.entry_points(group="pgregistry")]
    assert {"acme", "left"} <= set(installed)
    assert [one.plugin.name for one in discover()] == sorted(installed)


@pytest.mark.parametrize("spelled", ["pgregistry-acme", "PGRegistry.Acme"])
@pytest.mark.parametrize("points", [{}, {"newer": "acme_plugin"}])
def test_the_first_distribution_of_a_name_on_the_path_hides_the_others(
    points: dict[str, str], spelled: str, acme: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acme(GOOD)
    monkeypatch.syspath_prepend(write_distribution(tmp_path, spelled, points, {}, "0.2"))
    installed = {point.name for point in importlib.metadata.entry_points(group="pgregistry")}
    assert {one.plugin.name for one in discover()} == installed
    assert "acme" not in installed
    assert ("newer" in installed) == bool(points)


def test_a_distribution_without_metadata_still_shows_its_plugins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "left-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[pgregistry]\nleft = left_over\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert statuses()["left"][0] == "failed"


def test_without_any_plugin_the_error_says_how_to_install() -> None:
    with pytest.raises(PluginError) as caught:
        Planner.read(4, {}, environ={}, installed=()).plan()
    text = str(caught.value)
    assert text.startswith("No mode plugins are installed. pgregistry is imported from ")
    assert text.endswith(f" without being installed; run `pip install -e {ROOT}`.")


def test_the_installed_entry_points_are_those_of_pyproject() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    installed: dict[str, dict[str, str]] = {}
    for point in importlib.metadata.distribution("pgregistry").entry_points:
        if point.group.split(".")[0] in ("pgregistry", "pytest11"):
            installed.setdefault(point.group, {})[point.name] = point.value
    assert installed == declared, "pyproject.toml was changed since it was installed: run pip install -e . again"


# --- switches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [{"disable": ["acme"]}, {"only": ["tensor"]}], ids=["disable", "only"])
@pytest.mark.parametrize("source", [GOOD, "raise RuntimeError", "def x(:"], ids=["good", "broken", "no Python"])
def test_a_plugin_that_is_off_is_not_imported_and_cannot_fail(source: str, switch: Any, acme: Any) -> None:
    acme(source)
    assert "acme" not in pgregistry.plan(4, **switch)
    assert "acme_plugin" not in sys.modules


def test_a_plugin_that_is_on_is_imported(acme: Any) -> None:
    acme(GOOD)
    pgregistry.plan(4, only=["acme"])
    assert "acme_plugin" in sys.modules


def test_a_status_says_what_became_of_each_plugin_and_why(acme: Any) -> None:
    acme("raise RuntimeError")
    said = statuses(disable=["tensor"])
    assert (said["acme"], said["tensor"], said["data"]) == (
        ("failed", None),
        ("disabled", "disabled (keyword)"),
        ("active", None),
    )
    assert statuses(only=["data"])["tensor"] == ("disabled", "not in only (keyword)")


# --- two of one name ------------------------------------------------------------------------------


def test_two_plugins_of_one_name_are_refused_with_both_distributions(acme: Any, distribution: Any) -> None:
    acme(GOOD)
    distribution("pgregistry-other", {"acme": "other_plugin"}, {"other_plugin.py": GOOD}, version="2")
    assert refusal(PluginError) == (
        f"2 plugins are called 'acme': {POINT} and "
        "plugin 'acme', pgregistry-other 2 (entry point pgregistry: acme = other_plugin).\n"
        "Uninstall all but one, or leave them out with disable=['acme']."
    )
    assert not {"acme_plugin", "other_plugin"} & set(sys.modules)


@pytest.mark.parametrize("switch", [{"disable": ["acme"]}, {"only": ["tensor"]}], ids=["disable", "only"])
def test_two_plugins_of_one_name_are_no_error_where_they_are_off(switch: Any, acme: Any, distribution: Any) -> None:
    acme(GOOD)
    distribution("pgregistry-other", {"acme": "other_plugin"}, {"other_plugin.py": GOOD})
    assert "acme" not in pgregistry.plan(4, **switch)


def test_an_optional_plugin_may_have_a_name_that_is_taken_until_it_is_enabled(acme: Any, distribution: Any) -> None:
    acme(GOOD)
    distribution("pgregistry-other", {"acme": "other_plugin"}, {"other_plugin.py": GOOD}, optional=True)
    assert "acme" in pgregistry.plan(4)
    assert refusal(PluginError, enable=["acme"]).startswith("2 plugins are called 'acme': ")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("yield Mode('tensor', over=())", "mode 'tensor'"),
        ("yield Mode('acme', over=Axis('tensor'))", "size 'tensor'"),
        ("yield Mode('acme', over=Split('data', inner='tensor'))", "size 'tensor'"),
    ],
)
def test_two_plugins_cannot_declare_one_mode_or_one_size(body: str, what: str, acme: Any) -> None:
    acme(modes_hook(body))
    assert refusal(PluginError) == (
        f"{what} is declared by {ACME} and by plugin 'tensor', pgregistry 0.1.0.\n"
        "Uninstall one, or leave one out with disable=['acme'] or disable=['tensor']; "
        "to use what another plugin declares, refer to it by name."
    )


@pytest.mark.parametrize("name", ["order", "extra", "within", "timeout"])
def test_a_plugin_cannot_be_called_like_a_parameter(name: str, acme: Any) -> None:
    acme(GOOD, name=name)
    assert refusal(PluginError) == (
        f"plugin '{name}', pgregistry-acme 0.1 has the name of a parameter of plan() or init(), which is reserved."
    )


# --- plugins that do not load ---------------------------------------------------------------------

BROKEN = [
    ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ("from pgregistry import Nothing", "ImportError: cannot import name 'Nothing' from 'pgregistry'"),
    ("x = 1 +", "SyntaxError: invalid syntax (acme_plugin.py, line 1)"),
    ("import sys; sys.exit(3)", "SystemExit: 3"),
    ("raise KeyError('a')", "KeyError: 'a'"),
]


@pytest.mark.parametrize(("source", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_plugin_that_does_not_load_is_named_with_its_distribution(source: str, reason: str, acme: Any) -> None:
    acme(source)
    text = refusal(PluginError)
    assert text.startswith(f"{POINT} does not load: {reason}")
    assert text.endswith(WAY_OUT)
    assert text.count("\n") == 1


def test_an_entry_point_to_nothing_does_not_load(acme: Any) -> None:
    acme(GOOD, attribute=":gone")
    assert refusal(PluginError) == (
        f"{ACME} (entry point pgregistry: acme = acme_plugin:gone) does not load: "
        f"AttributeError: module 'acme_plugin' has no attribute 'gone'{WAY_OUT}"
    )


def test_a_load_error_keeps_its_cause(acme: Any) -> None:
    acme("raise KeyError('a')")
    with pytest.raises(PluginError) as caught:
        pgregistry.plan(4)
    assert isinstance(caught.value.__cause__, KeyError)


def test_two_plugins_that_do_not_load_are_both_named(acme: Any, distribution: Any) -> None:
    acme("raise KeyError('a')")
    distribution("pgregistry-other", {"other": "other_plugin"}, {"other_plugin.py": "raise KeyError('b')"})
    text = refusal(PluginError)
    assert text.startswith(f"2 problems:\n- {POINT} does not load: KeyError: 'a'\n")
    assert "\n- plugin 'other', pgregistry-other 0.1 (" in text


def test_a_class_given_for_an_object_is_refused(acme: Any) -> None:
    acme(
        f"{HEAD}class Plugin:\n    @hookimpl\n    def pgregistry_modes(self):\n        return []\n", attribute=":Plugin"
    )
    assert refusal(PluginError) == (
        f"{ACME} (entry point pgregistry: acme = acme_plugin:Plugin) is a class; "
        f"a plugin must be a module or an object. Did you forget the '()'?{WAY_OUT}"
    )


NOT_HOOKS = [
    (
        "@hookimpl\ndef pgregistry_mode():\n    return []\n",
        " implements 'pgregistry_mode', which is not a hook. Did you mean 'pgregistry_modes'?",
    ),
    (
        "@hookimpl\ndef modes():\n    return []\n",
        (
            " implements 'modes', which is not a hook. There are pgregistry_check, pgregistry_commands, "
            "pgregistry_modes, pgregistry_process_group_options and pgregistry_ready."
        ),
    ),
    (
        "def pgregistry_modes():\n    return []\n",
        " has a function 'pgregistry_modes' without @hookimpl. Mark it, or give it another name.",
    ),
    (
        "@hookimpl\ndef pgregistry_modes():\n    return []\ndef pgregistry_modus():\n    return []\n",
        " has a function 'pgregistry_modus' without @hookimpl. Mark it, or give it another name.",
    ),
    (
        "",
        (
            " implements no hook (pgregistry_check, pgregistry_commands, pgregistry_modes, "
            "pgregistry_process_group_options or pgregistry_ready)."
        ),
    ),
    (
        "@hookimpl\ndef pgregistry_check(plans):\n    return []\n",
        (
            " is not valid: Plugin 'acme' for hook 'pgregistry_check' hookimpl definition: pgregistry_check(plans) "
            "Argument(s) {'plans'} are declared in the hookimpl but can not be found in the hookspec"
        ),
    ),
]


@pytest.mark.parametrize(("source", "text"), NOT_HOOKS, ids=[text for _, text in NOT_HOOKS])
def test_what_pluggy_would_pass_over_is_refused(source: str, text: str, acme: Any) -> None:
    acme(HEAD + source)
    assert refusal(PluginError) == f"{POINT}{text}{WAY_OUT}"


SPECNAME = "@hookimpl(specname='{}')\ndef declare():\n    yield Mode('acme', over=())\n"


def test_a_function_of_another_name_can_say_which_hook_it_is(acme: Any) -> None:
    acme(HEAD + SPECNAME.format("pgregistry_modes"))
    assert list(pgregistry.plan(2)["acme"].groups) == [(0,), (1,)]


def test_a_function_that_says_a_hook_that_is_none_is_refused(acme: Any) -> None:
    acme(HEAD + SPECNAME.format("pgregistry_mode"))
    text = " implements 'pgregistry_mode', which is not a hook. Did you mean 'pgregistry_modes'?"
    assert refusal(PluginError) == f"{POINT}{text}{WAY_OUT}"


def test_two_functions_for_one_hook_are_refused(acme: Any) -> None:
    first = SPECNAME.format("pgregistry_modes")
    acme(f"{HEAD}{first}@hookimpl\ndef pgregistry_modes():\n    yield Mode('other', over=())\n")
    assert refusal(PluginError) == (
        f"{POINT} has two functions for 'pgregistry_modes': 'declare' and 'pgregistry_modes'. "
        f"A plugin must have one for each hook: make them one function.{WAY_OUT}"
    )


@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused(kind: str, acme: Any) -> None:
    acme(f"{HEAD}@hookimpl({kind}=True)\ndef pgregistry_modes():\n    return (yield)\n")
    assert refusal(PluginError) == (
        f"{POINT} implements 'pgregistry_modes' with {kind}=True, which is not supported: "
        f"each plugin is called separately. Remove it.{WAY_OUT}"
    )


PROPERTY = """
class Plugin:
    @property
    def broken(self):
        raise {}

    @hookimpl
    def pgregistry_modes(self):
        yield Mode('acme', over=())

plugin = Plugin()
"""


def test_an_object_whose_property_raises_is_refused(acme: Any) -> None:
    acme(HEAD + PROPERTY.format("OSError('no\\n disk')"), attribute=":plugin")
    point = POINT.replace("acme_plugin)", "acme_plugin:plugin)")
    assert refusal(PluginError) == f"{point} is not valid: no disk{WAY_OUT}"


def test_an_object_whose_property_is_not_there_is_a_plugin(acme: Any) -> None:
    acme(HEAD + PROPERTY.format("AttributeError('not yet')"), attribute=":plugin")
    assert "acme" in pgregistry.plan(4)


# --- hooks that answer wrongly --------------------------------------------------------------------

WRONG_MODES = [
    ("raise KeyError('a')", " raised KeyError in pgregistry_modes: 'a'"),
    (
        "yield Mode('acme', over=()); 1 // 0",
        " raised ZeroDivisionError in pgregistry_modes: integer division or modulo by zero",
    ),
    (
        "return map(lambda number: 1 // number, [0])",
        " raised ZeroDivisionError in pgregistry_modes: integer division or modulo by zero",
    ),
    (
        "return type('Lazy', (), {'__iter__': lambda self: 1 // 0})()",
        " raised ZeroDivisionError in pgregistry_modes: integer division or modulo by zero",
    ),
    ("yield 'acme'", ": pgregistry_modes yielded 'acme', which is not a Mode."),
    ("return [None]", ": pgregistry_modes yielded None, which is not a Mode."),
    ("return None", ": pgregistry_modes returned None; yield each Mode."),
    ("return 5", ": pgregistry_modes returned 5; yield each Mode."),
    (
        "return Mode('acme', over=())",
        f": pgregistry_modes returned {Mode('acme', over=())!r}; yield each Mode.",
    ),
    (
        "yield Mode('acme', over=(), at=())",
        ": Mode('acme') has at=(); it must be positions in a group, such as (0, -1).",
    ),
]


@pytest.mark.parametrize(("body", "text"), WRONG_MODES, ids=[body for body, _ in WRONG_MODES])
def test_what_yields_no_modes_is_named_with_its_distribution(body: str, text: str, acme: Any) -> None:
    acme(modes_hook(body))
    assert refusal(PluginError) == f"{ACME}{text}"


def test_a_list_of_modes_is_as_good_as_a_generator(acme: Any) -> None:
    acme(modes_hook("return [Mode('acme', over=())]"))
    assert "acme" in pgregistry.plan(4)


def test_a_plugin_may_declare_no_mode(acme: Any) -> None:
    acme(modes_hook("return []"))
    assert pgregistry.plan(4).modes == pgregistry.plan(4, disable=["acme"]).modes


def check_hook(body: str) -> str:
    return f"{HEAD}\n@hookimpl\ndef pgregistry_check(plan):\n    {body}\n"


def test_the_sentences_of_all_checks_make_one_error(acme: Any, distribution: Any) -> None:
    acme(check_hook("yield f'data = {plan.sizes[\"data\"]} is odd.'; yield 'It rains.'"))
    distribution("pgregistry-other", {"other": "other_plugin"}, {"other_plugin.py": check_hook("return 'No.'")})
    assert refusal(ConfigError) == (
        f"3 problems:\n- {ACME}: data = 4 is odd.\n- {ACME}: It rains.\n- plugin 'other', pgregistry-other 0.1: No."
    )


@pytest.mark.parametrize("body", ["return None", "return []", "yield from ()"])
def test_a_check_without_a_sentence_says_that_all_is_well(body: str, acme: Any) -> None:
    acme(check_hook(body))
    assert pgregistry.plan(4).modes == pgregistry.plan(4, disable=["acme"]).modes


LAZY = "return type('Lazy', (), {'__iter__': lambda self: 1 // 0})()"


@pytest.mark.parametrize("body", ["1 // 0", "yield 1 // 0", "return map(lambda number: 1 // number, [0])", LAZY])
def test_a_check_that_raises_is_named(body: str, acme: Any) -> None:
    acme(check_hook(body))
    assert refusal(PluginError) == (
        f"{ACME} raised ZeroDivisionError in pgregistry_check: integer division or modulo by zero"
    )


@pytest.mark.parametrize("body", ["return 5", "return [5]", "return True", "yield None"])
def test_a_check_that_yields_no_sentences_is_named(body: str, acme: Any) -> None:
    acme(check_hook(body))
    assert refusal(PluginError).startswith(f"{ACME}: pgregistry_check ")


@pytest.mark.parametrize(
    ("body", "answer"),
    [("return ''", "''"), ("return ' '", "' '"), ("yield ''", "['']"), ("yield 'It rains.'; yield '\\t'", None)],
)
def test_a_check_that_yields_an_empty_sentence_is_named(body: str, answer: str | None, acme: Any) -> None:
    acme(check_hook(body))
    answer = answer or repr(["It rains.", "\t"])
    assert (
        refusal(PluginError)
        == f"{ACME}: pgregistry_check returned {answer}; it must yield one sentence for each reason."
    )


# --- process group options ------------------------------------------------------------------------


def options_hook(body: str) -> str:
    return f"{HEAD}\n@hookimpl\ndef pgregistry_process_group_options(mode, backend):\n    {body}\n"


def test_options_are_those_of_the_plugin_that_answers_for_a_mode(acme: Any) -> None:
    acme(options_hook("return {'fast': True, 'backend': backend} if mode in ('data', 'pipe') else None"))
    plan = Planner.read(4, {"data": {"backend": "nccl"}}, backend="gloo").plan()
    assert plan["data"].options == {"fast": True, "backend": "nccl"}
    assert plan["pipe"].options == {"fast": True, "backend": "gloo"}
    assert plan["tensor"].options == {}
    assert plan.fingerprint != pgregistry.plan(4, data={"backend": "nccl"}, disable=["acme"]).fingerprint


def test_two_plugins_that_answer_for_one_mode_are_refused(acme: Any, distribution: Any) -> None:
    source = options_hook("return {'fast': True} if mode == 'data' else None")
    acme(source)
    distribution("pgregistry-other", {"other": "other_plugin"}, {"other_plugin.py": source})
    assert refusal(PluginError) == (
        f"Both {ACME} and plugin 'other', pgregistry-other 0.1 give process group options for mode 'data'; "
        "disable one of them."
    )


@pytest.mark.parametrize("answer", ["'fast'", "5", "['fast']", "{1: 2}", "{'fast': object}", "{'fast': [1]}"])
def test_options_are_a_plain_mapping(answer: str, acme: Any) -> None:
    acme(options_hook(f"return {answer}"))
    assert refusal(PluginError) == (
        f"{ACME}: pgregistry_process_group_options returned {eval(answer)!r}; "
        "it must return a mapping of names to plain values."
    )


# --- the core -------------------------------------------------------------------------------------


def strings(tree: ast.Module) -> set[str]:
    """All string constants that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return {node.value for node in constants if isinstance(node.value, str)}


def imports(tree: ast.Module) -> set[str]:
    """All modules that are imported anywhere."""
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


SOURCES = sorted((ROOT / "pgregistry").rglob("*.py"))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_core_names_no_bundled_mode_and_imports_no_plugin(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bundled = {path.stem.removeprefix("pgregistry_") for path in (ROOT / "plugins").glob("pgregistry_*")}
    assert bundled >= set(EIGHT)
    assert strings(tree) & bundled == set()
    assert {name for name in imports(tree) if name.startswith("pgregistry_")} == set()


@pytest.mark.parametrize("hook", ["pgregistry_modes()", "pgregistry_check(plan)"])
def test_a_hook_that_exits_is_an_error_of_the_plugin(hook: str, acme: Any) -> None:
    acme(f"import sys\n{HEAD}\n@hookimpl\ndef {hook}:\n    sys.exit(4)\n")
    assert refusal(PluginError) == f"{ACME} raised SystemExit in {hook.partition('(')[0]}: 4"


def test_options_that_json_cannot_say_are_refused(acme: Any) -> None:
    acme(options_hook("return {'speed': float('nan')}"))
    said = f"{ACME}: pgregistry_process_group_options returned {{'speed': nan}}; "
    assert refusal(PluginError) == f"{said}it must return a mapping of names to plain values."
