"""A plugin that raises anything, prints, or cannot be hashed or compared, is named or does no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import ACME, GOOD, HEAD, POINT, modes_hook, refusal

import pgregistry
from pgregistry import PluginError
from pgregistry.cli import run

PANIC = "class PanicException(BaseException):\n    pass\n\n\n"
RAISED = ["PanicException('no driver')", "GeneratorExit()", "SystemExit(3)", "MemoryError()"]
HOOKS = ["pgregistry_modes()", "pgregistry_check(plan)", "pgregistry_process_group_options(mode, backend)"]


@pytest.mark.parametrize("error", RAISED)
def test_whatever_a_module_raises_is_its_plugins(error: str, acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    acme(f"{PANIC}raise {error}")
    assert refusal(PluginError).startswith(f"{POINT} does not load: {error.partition('(')[0]}: ")
    for words in (["plugins"], ["plugins", "--json"], ["--help"], ["plan", "8", "--disable", "acme"]):
        assert run(words) == 0
    assert run(["plan", "8"]) == 1
    assert run(["check", "acme"]) == 1
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("error", ["PanicException('no driver')", "asyncio.CancelledError()"])
def test_whatever_a_hook_raises_is_its_plugins(error: str, hook: str, acme: Any) -> None:
    acme(f"import asyncio\n{PANIC}{HEAD}\n@hookimpl\ndef {hook}:\n    raise {error}\n")
    kind = error.partition("(")[0].rpartition(".")[2]
    assert refusal(PluginError).startswith(f"{ACME} raised {kind} in {hook.partition('(')[0]}: ")


def test_whatever_a_function_of_groups_raises_is_its_plugins(acme: Any) -> None:
    groups = "def groups(mesh):\n    raise PanicException('no')\n"
    acme(f"{PANIC}{groups}{modes_hook('yield Mode(`acme`, groups=groups)')}".replace("`", "'"))
    assert refusal(PluginError) == f"mode 'acme' ({ACME}): its groups function raised PanicException: no"


def test_an_interrupt_in_a_plugin_interrupts(acme: Any) -> None:
    acme("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        pgregistry.plan(4)


#: Objects that pluggy compares, hashes and looks through.
OBJECTS = {
    "a dataclass, which has no hash": "import dataclasses\n@dataclasses.dataclass\nclass Plugin:",
    "equal to everything": "class Plugin:\n    def __eq__(self, other): return True",
    "comparison raises": "class Plugin:\n    def __eq__(self, other): raise OSError",
    "no truth": "class Plugin:\n    def __bool__(self): raise OSError",
    "hash raises": "class Plugin:\n    def __hash__(self): raise OSError",
    "repr raises": "class Plugin:\n    def __repr__(self): raise SystemExit",
    "dir raises": "class Plugin:\n    def __dir__(self): raise OSError",
    "every attribute": "class Plugin:\n    def __getattr__(self, name): raise OSError(name)",
    "slots": "class Plugin:\n    __slots__ = ('size',)",
    "a property that raises": "class Plugin:\n    @property\n    def gpu(self): raise OSError('no GPU')",
    "a cached property": "import functools as f\nclass Plugin:\n    @f.cached_property\n    def a(self): raise OSError",
    "its class lies": "class Plugin:\n    @property\n    def __class__(self): raise OSError",
}


@pytest.mark.parametrize("what", OBJECTS)
def test_an_object_is_neither_compared_nor_looked_through(what: str, acme: Any) -> None:
    hook = "    @hookimpl\n    def pgregistry_modes(self):\n        yield Mode('acme', over=())\n"
    acme(f"{HEAD}\n{OBJECTS[what]}\n{hook}\nplugin = Plugin()\n", attribute=":plugin")
    assert "acme" in pgregistry.plan(4)
    assert run(["plugins"]) == 0


METHODS = """
class Base:
    @hookimpl
    @staticmethod
    def pgregistry_modes():
        yield Mode("acme", over=())

    @classmethod
    @hookimpl
    def pgregistry_check(cls, plan):
        yield f"{cls.__name__} {plan.world_size}"

class Plugin(Base):
    pass

plugin = Plugin()
"""


def test_static_and_class_methods_are_hooks_of_an_object_and_of_a_class_above(acme: Any) -> None:
    acme(HEAD + METHODS, attribute=":plugin")
    assert refusal(pgregistry.ConfigError) == f"{ACME}: Plugin 4"


def test_a_function_that_makes_a_plugin_is_refused_with_what_to_write(acme: Any) -> None:
    acme(f"{HEAD}def make():\n    return None\n", attribute=":make")
    text = "is a function; a plugin must be a module or an object. Write `plugin = make()` in acme_plugin"
    assert refusal(PluginError).startswith(f"{ACME} (entry point pgregistry: acme = acme_plugin:make) {text}")


@pytest.mark.parametrize(
    ("hook", "kind"),
    [
        ("functools.partial(list, ())", "partial"),
        ("hookimpl(functools.partial(list, ()))", "partial"),
        ("functools.lru_cache(hookimpl(lambda plan: []))", "_lru_cache_wrapper"),
        ("list", "type"),
        ("print", "builtin_function_or_method"),
    ],
)
def test_what_is_no_function_is_no_hook(hook: str, kind: str, acme: Any) -> None:
    acme(f"import functools\n{GOOD}\npgregistry_check = {hook}\n")
    text = f"has 'pgregistry_check' of type {kind}, but a hook must be a function. Use def."
    assert refusal(PluginError) == f"{POINT} {text}"


def test_an_object_in_the_place_of_its_module_is_looked_at_without_running_it(
    acme: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    lazy = "class Lazy:\n    def __getattr__(self, name):\n        raise RuntimeError(name)\n"
    acme(f"import sys\n{GOOD}\n{lazy}\nsys.modules[__name__] = Lazy()\n")
    assert refusal(PluginError).startswith(f"{POINT} implements no hook")
    assert run(["plugins", "--trace"]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("given", ["*given", "**given", "plan=None", "*, plan", "*, plan=None", "*, other"])
def test_arguments_that_pluggy_leaves_out_are_refused(given: str, acme: Any) -> None:
    acme(f"{HEAD}\n@hookimpl\ndef pgregistry_check({given}):\n    return []\n")
    rule = "pluggy passes only arguments without a default, none after a *; take those of (plan)"
    argument = given.removeprefix("*, ")
    assert refusal(PluginError) == f"{POINT} implements 'pgregistry_check' with the argument {argument!r}, but {rule}."


def test_an_argument_of_its_own_with_a_default_is_left_at_it(acme: Any) -> None:
    acme(f"{GOOD}\n@hookimpl\ndef pgregistry_check(plan, *, cache={{}}):\n    return []\n")
    assert "acme" in pgregistry.plan(4)


def test_an_optional_hook_of_another_version_is_passed_over(acme: Any) -> None:
    acme(f"{GOOD}\n@hookimpl(optionalhook=True)\ndef pgregistry_later(plan, more):\n    return []\n")
    assert "acme" in pgregistry.plan(4)


def test_a_hook_that_plans_is_named_once(acme: Any) -> None:
    acme(f"import pgregistry\n{modes_hook('yield from pgregistry.plan(4).planned')}")
    assert refusal(PluginError).count("acme'") == 1
    assert "raised RecursionError in pgregistry_modes" in refusal(PluginError)
    assert "(does it call plan() or init()?)" in refusal(PluginError)


def test_a_hook_that_plans_is_named_and_no_other(acme: Any, distribution: Callable[..., Path]) -> None:
    acme(f"import pgregistry\n{modes_hook('pgregistry.plan(4)')}")
    distribution("pgregistry-later", {"later": "later_plugin"}, {"later_plugin.py": GOOD.replace("acme", "later")})
    for deep in range(0, 12, 2):  # the limit is reached at another line in each
        found = below(deep, lambda: refusal(PluginError))
        assert found.startswith(f"{ACME} raised RecursionError in pgregistry_modes: ")
        assert "problems" not in found


def below(frames: int, function: Callable[[], str]) -> str:
    """Call a function that many frames further down."""
    return below(frames - 1, function) if frames else function()


def test_a_module_that_plans_when_it_is_imported_is_told_so_once(acme: Any) -> None:
    acme(f"import pgregistry\npgregistry.plan(4)\n{GOOD}")
    text = "makes a plan when it is imported, which needs the plugin itself. Do it later."
    assert refusal(PluginError) == f"{POINT} {text}"


def test_settings_that_a_module_leaves_in_the_environment_are_taken_back(
    acme: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGREGISTRY", "tensor=2")
    acme(f"import os\nos.environ['PGREGISTRY'] = 'tensor=4'\nos.environ['PGREGISTRY_DISABLE'] = 'pipe'\n{GOOD}")
    first = pgregistry.plan(8)
    assert os.environ["PGREGISTRY"] == "tensor=2"
    assert "PGREGISTRY_DISABLE" not in os.environ
    assert pgregistry.plan(8) == first
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_plugin_that_empties_the_path_hides_no_other(
    acme: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", before := [*sys.path])
    acme(f"import sys\nsys.path.clear()\n{GOOD}")
    assert "tensor" in pgregistry.plan(8)
    assert set(sys.path) >= set(before)
    assert "out of sys.path at import, which is undone." in caplog.text


OTHER = """
import sys
mine = sys.modules.pop("pgregistry.vocabulary")
import pgregistry.vocabulary as other
sys.modules["pgregistry.vocabulary"] = mine
"""


def test_a_mode_of_another_copy_of_pgregistry_is_told_so(acme: Any) -> None:
    acme(OTHER + modes_hook("yield other.Mode('acme', over=())"))
    place = Path(pgregistry.__file__).parent
    said = refusal(PluginError)
    assert f"which is a Mode of another copy of pgregistry ({place / 'vocabulary.py'}). This one is {place}" in said


LOUD = f"""
import os
print("hello")
os.system("echo hello")
{modes_hook("print('hello'); yield Mode('acme', over=())")}
"""


def test_what_a_plugin_and_its_programs_print_goes_to_stderr(installed_plugin: Callable[..., Path]) -> None:
    site = installed_plugin("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": LOUD})
    path = os.pathsep.join([str(site), *sys.path])
    for words in (["plugins", "--json"], ["plan", "8", "--json"]):
        command = [sys.executable, "-m", "pgregistry", *words]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)
        assert done.stderr.split() == ["hello"] * 3


def test_what_a_plugin_prints_is_not_taken_for_a_file_that_new_wrote(
    installed_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    site = installed_plugin("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": LOUD})
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-m", "pgregistry", "new", "ring"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert [line.partition("/")[0] for line in done.stdout.splitlines()] == ["pgregistry-ring"] * 4
    assert done.stderr.split()[:3] == ["hello"] * 3


ODD = """
@hookimpl
def pgregistry_commands(cli):
    print("hello")
    cli.commands["odd"] = None
"""


def test_help_is_not_disturbed_by_what_a_plugin_prints(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    acme(LOUD + ODD)
    assert run(["--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: ")
    assert "hello" in err
    assert f"Not available: {ACME} has a command 'odd', which is None. (Found in " in out
