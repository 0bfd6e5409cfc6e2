"""Every bundled mode has the properties of a plugin; plugins that lack one are told which, and why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import origin
import pytest

import pgregistry
from pgregistry import ConfigError, Plan
from pgregistry.layouts.groups import ListedGroups
from pgregistry.testing import PluginConformance, write_distribution
from pgregistry.testing.oracle import Oracle
from pgregistry.testing.properties import PROPERTIES
from pgregistry.testing.subject import Subject, sized

for bundled in origin.EIGHT:
    title = f"Test{bundled.title()}"
    globals()[title] = type(title, (PluginConformance,), {"plugin": bundled})


HEAD = "import os, sys\nfrom pgregistry import HOST, REST, WORLD, Axis, ConfigError, Mode, Split, hookimpl\n\n"
Install = Callable[..., Path]


def modes(*bodies: str, before: str = "") -> str:
    """The source of a plugin whose `pgregistry_modes` has these lines."""
    return HEAD + before + "\n\n@hookimpl\ndef pgregistry_modes():\n" + "".join(f"    {body}\n" for body in bodies)


@pytest.fixture
def plugin(installed_plugin: Install, run_ranks: Callable[..., list[Any]]) -> Callable[..., Subject]:
    """Install a plugin `acme` of this source, to look at it."""

    def install(source: str, optional: bool = False, **how: Any) -> Subject:
        installed_plugin("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": source}, optional=optional)
        return Subject("acme", run_ranks=run_ranks, **how)

    return install


def wrong(subject: Subject, name: str) -> list[str]:
    (one,) = (one for one in PROPERTIES if one.name == name)
    return one.wrong(subject)


def verdicts(subject: Subject) -> dict[str, list[str]]:
    return {one.name: found for one in PROPERTIES if (found := one.wrong(subject))}


# --- plugins that are right -------------------------------------------------------------------------

ALL_KINDS = modes(
    "experts = Split('data', inner='acme', outer='copies')",
    "yield Mode('acme', over=experts)",
    "yield Mode('copies', over=experts.outer)",
    "halves = Split(experts.outer, inner='halves')",
    "yield Mode('halves', over=halves, dedicated=True, timeout=30)",
    "yield Mode('quarters', over=(halves.outer, 'tensor'))",
    "yield Mode('ends', over='pipe', at=(0, -1))",
    "yield Mode('runs', over=Split(WORLD, inner='runs', ragged=True), backend='nccl')",
    "yield Mode('alone', over=())",
    "yield Mode('lonely', over=Axis('lonely'))",
    "yield Mode('near', over=Split(WORLD, inner='near', size=HOST))",
    "yield Mode('opposite', groups=opposite)",
    before=(
        "def opposite(mesh):\n"
        "    if mesh.sizes['pipe'] == 3:\n        raise ConfigError('pipe = 3 has a stage without an opposite.')\n"
        "    size = mesh.world_size\n    return [(rank, size - 1 - rank) for rank in range(size // 2)]\n"
    ),
)


@pytest.mark.parametrize("optional", [False, True], ids=["on", "optional"])
def test_a_plugin_of_every_kind_of_mode_is_right(optional: bool, plugin: Any) -> None:
    source = ALL_KINDS.replace("if mesh.sizes['pipe'] == 3", "if mesh.sizes['pipe'] == 3 and mesh.sizes['acme'] > 1")
    subject = plugin(source, optional=optional)
    assert verdicts(subject) == {}
    assert {True, False} == {len(case.keywords) > 1 for case in subject.cases if case.world == 96}


def test_a_family_that_cannot_live_beside_the_others_is_right_alone(plugin: Any) -> None:
    source = modes("yield Mode('tensor', over=Axis('tensor', size=2))", "yield Mode('rows', over=Axis('rows', REST))")
    subject = plugin(source, optional=True)
    assert "is declared by" in verdicts(subject)["it_loads"][0]
    assert verdicts(replace(subject, only=["acme"])) == {}


def test_a_plugin_without_modes_is_right(plugin: Any) -> None:
    assert verdicts(plugin(HEAD + "@hookimpl\ndef pgregistry_check(plan):\n    pass\n")) == {}


def test_two_axes_that_nobody_nests_are_planned_in_an_order_that_a_user_could_say(plugin: Any) -> None:
    subject = plugin(modes("yield Mode('acme', over=Axis('acme'))"))
    assert wrong(subject, "groups_are_right") == []
    assert "order" in subject.case(8, {"acme": 2, "tensor": 2}).keywords


def test_what_is_looked_at_has_each_size_alone_and_several_at_once_and_is_the_same_every_time(plugin: Any) -> None:
    subject = plugin(modes("yield Mode('acme', over=Split('data', inner='acme'))"))
    sizes = [case.keywords for case in subject.cases if case.world == 24]
    assert all({"acme": size} in sizes for size in (2, 3, 4, 6, 8, 12))
    assert {} in sizes
    assert any(len(said) > 1 and "acme" in said for said in sizes)
    assert list(map(str, subject.cases)) == list(map(str, replace(subject).cases))


def test_sizes_to_try_can_be_given(plugin: Any) -> None:
    axis = "Axis('acme', inside='data')"
    subject = plugin(modes(f"yield Mode('acme', over={axis})"), sizes={"acme": (2, 3)}, worlds=(6, 8))
    assert [str(case) for case in subject.cases] == ["at 6 ranks, acme=2", "at 6 ranks, acme=3", "at 8 ranks, acme=2"]


def test_another_plugin_that_does_not_load_is_not_to_blame(plugin: Any, installed_plugin: Install) -> None:
    installed_plugin("pgregistry-broken", {"broken": "broken_plugin"}, {"broken_plugin.py": "1 / 0"})
    subject = plugin(modes("yield Mode('acme', over=())"))
    assert subject.switches["disable"] == ["broken"]
    assert wrong(subject, "it_loads") == []


# --- plugins that lack one property each ------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "1 / 0",
            "plugin 'acme', pgregistry-acme 0.1 (entry point pgregistry: acme = acme_plugin) does not load: Zero",
        ),
        (HEAD, "implements no hook"),
        (modes("yield Mode('acme', over='context')"), "needs 'context', which no plugin declares"),
        (modes("raise ValueError('no')"), "raised ValueError in pgregistry_modes: no"),
        (modes("yield Mode('data', over=())"), "mode 'data' is declared by"),
    ],
)
def test_a_plugin_that_does_not_load_is_told_why(source: str, says: str, plugin: Any) -> None:
    (said,) = wrong(plugin(source), "it_loads")
    assert says in said


def test_a_plugin_that_refuses_every_world_is_told_how_it_refuses_the_first(plugin: Any) -> None:
    source = HEAD + "@hookimpl\ndef pgregistry_check(plan):\n    yield 'It rains.'\n"
    (said,) = wrong(plugin(source + modes("yield Mode('acme', over=())").removeprefix(HEAD)), "it_loads")
    assert said == (
        "no world of 1, 2, 3, 5, 7, 8, 12, 24 and 96 ranks can be planned with it; the first is refused with: "
        "plugin 'acme', pgregistry-acme 0.1: It rains."
    )


def test_a_plugin_that_is_not_installed_is_an_error_with_a_suggestion() -> None:
    (said,) = wrong(Subject("tensr"), "it_loads")
    assert said == "No plugin is called 'tensr'. Did you mean 'tensor'?"


COUNT = "calls = []\ndef groups(mesh):\n    calls.append(1)\n    return [(0,)] * (len(calls) % 4 < 2)\n"


@pytest.mark.parametrize(
    ("body", "before", "says"),
    [
        (
            "yield Mode('acme', over='tensor' if os.environ.get('RANK') == '5' else 'pipe')",
            "",
            "another process of rank 5",
        ),
        ("yield Mode('acme', groups=lambda mesh: [(hash('acme') % mesh.world_size,)])", "", "(PYTHONHASHSEED="),
        ("yield Mode('acme', groups=groups)", COUNT, "planned "),
        ("assert 'torch' not in sys.argv; yield Mode(f'acme{os.getpid()}', over=())", "", "mode acme"),
    ],
    ids=["rank", "hash seed", "every call", "process"],
)
def test_a_plugin_that_answers_in_several_ways_is_told_where(body: str, before: str, says: str, plugin: Any) -> None:
    found = wrong(plugin(modes(body, before=before)), "it_answers_the_same_everywhere")
    assert found
    assert any(says in said for said in found), found


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ("[(0, 1), (1, 2)]", "puts rank 1 into two groups, (0, 1) and (1, 2)."),
        ("[(0, mesh.world_size)]", "has group (0, 3), but the ranks must be from 0 to 2."),
        ("[(1, 0)]", "has group (1, 0), whose ranks must ascend"),
    ],
    ids=["overlap", "out of range", "descending"],
)
def test_groups_that_are_not_disjoint_or_in_range_are_shown(groups: str, says: str, plugin: Any) -> None:
    subject = plugin(modes(f"yield Mode('acme', groups=lambda mesh: {groups})"), worlds=(3, 8))
    first, *_ = wrong(subject, "groups_are_disjoint_and_cover")
    assert says in first
    assert first.startswith("at 3 ranks: mode 'acme' (plugin 'acme', pgregistry-acme 0.1)")
    assert says in wrong(subject, "it_loads")[0]  # there is no world that it can plan


def test_a_mode_that_leaves_ranks_out_must_be_one_that_may(plugin: Any) -> None:
    subject = plugin(modes("yield Mode('acme', over=WORLD, at=0)", "yield Mode('b', groups=lambda mesh: [(0,)])"))
    assert wrong(subject, "groups_are_disjoint_and_cover") == []
    first, *_ = wrong(replace(subject, partial=["acme"]), "groups_are_disjoint_and_cover")
    assert first == "at 2 ranks: mode 'b' leaves out rank 1; only a mode with at= or groups= may."


def swapped(plan: Plan, mode: str, groups: Iterable[Sequence[int]]) -> Plan:
    """A plan in which a mode has other groups."""
    changed = (replace(one, groups=ListedGroups(groups)) if one.name == mode else one for one in plan.planned)
    return replace(plan, planned=tuple(changed))


def test_groups_other_than_those_of_brute_force_are_shown_beside_them(
    plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = plugin(modes("yield Mode('acme', over=Axis('acme', inside='data'))"), sizes={"acme": (2,)}, worlds=(4,))
    right, other = Subject.plan, [(0, 2), (1, 3)]
    monkeypatch.setattr(Subject, "plan", lambda self, *asked: swapped(right(self, *asked), "acme", other))
    first, *_ = wrong(subject, "groups_are_right")
    assert first == "at 4 ranks, acme=2: mode 'acme' has group (0, 2) where brute force finds group (0, 1)."


def test_listed_groups_are_compared_with_those_that_the_author_expects(plugin: Any) -> None:
    def expected(mode: str, plan: Plan) -> list[tuple[int, ...]] | None:
        return [(rank,) for rank in range(plan.world_size)] if mode == "acme" else None

    source = modes("yield Mode('acme', groups=lambda mesh: [range(mesh.world_size)])")
    first, *_ = wrong(plugin(source, expected=expected), "groups_are_right")
    assert first == "at 2 ranks: mode 'acme' has group (0, 1) where brute force finds group (0,)."


def test_a_default_size_that_moves_others_is_told_with_whose_ranks_it_moves(plugin: Any) -> None:
    source = modes("yield Mode('acme', over=Axis('acme', size=2, inside='data', outside=('pipe', 'tensor')))")
    first, second, *_ = wrong(plugin(source), "others_keep_their_ranks")
    assert first.startswith("at 1 rank can be planned without the plugin, and not with it: acme = 2 does not divide")
    assert second == "at 2 ranks: mode 'data' has group (0,) with the plugin at its defaults, and (0, 1) without it."
    first, *_ = wrong(plugin(source, optional=True), "others_keep_their_ranks")
    assert first == second


def test_one_that_others_need_is_compared_without_those_that_need_it() -> None:
    assert Subject("tensor").needing == ["tensor", "model"]
    assert Subject("data").needing == ["data", "zero1"]


RAISES = (
    "def groups(mesh):\n    if mesh.sizes['acme'] == 4:\n        raise ValueError('4 is bad luck')\n    return []\n"
)


def test_a_size_refused_with_another_error_than_configerror_is_told(plugin: Any) -> None:
    source = modes("yield Mode('a', over=Axis('acme'))", "yield Mode('acme', groups=groups)", before=RAISES)
    first, *_ = wrong(plugin(source), "bad_sizes_are_refused")
    assert first.startswith("a size must be refused with ConfigError, which tells users that the size is theirs: at ")
    assert "acme=4: mode 'acme' (plugin 'acme', pgregistry-acme 0.1): its groups function raised ValueError" in first


@pytest.mark.parametrize("bad", [0, -1, True, "two", 1.5, 9])
def test_a_size_that_cannot_be_must_not_be_planned(bad: Any, plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = plugin(modes("yield Mode('acme', over=Axis('acme'))"), worlds=(8,))
    right = Subject.plan

    def lenient(self: Subject, world: int, sizes: Any) -> Plan:
        return right(self, world, {} if sizes == {"acme": bad} else sizes)

    monkeypatch.setattr(Subject, "plan", lenient)
    said = wrong(subject, "bad_sizes_are_refused")
    assert f"at 8 ranks, acme={bad!r} is planned, but must be refused." in said


@pytest.mark.parametrize("where", ["top", "groups"])
def test_an_import_of_torch_is_told_with_its_line(where: str, plugin: Any) -> None:
    before = "import torch" if where == "top" else "def groups(mesh):\n    import torch\n    return []"
    over = "over=()" if where == "top" else "groups=groups"
    (said,) = wrong(plugin(modes(f"yield Mode('acme', {over})", before=before), worlds=(2,)), "it_imports_no_torch")
    assert re.search(r"acme_plugin.py:\d+: import torch", said)


def test_an_import_of_torch_is_told_in_a_folder_that_is_called_like_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = modes("yield Mode('acme', over=())", before="import torch")
    folder = write_distribution(
        tmp_path / "pgregistry" / "plugins", "pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": source}
    )
    monkeypatch.syspath_prepend(folder)
    (said,) = wrong(Subject("acme", worlds=(2,)), "it_imports_no_torch")
    assert f"{folder}/acme_plugin.py:4: import torch" in said


def test_a_plugin_that_fails_on_real_ranks_is_told_with_the_rank(plugin: Any) -> None:
    ready = (
        "@hookimpl\ndef pgregistry_ready(context):\n    if context.rank == 2:\n        raise RuntimeError('no disk')\n"
    )
    axis = "Axis('acme', inside='data', outside=('pipe', 'tensor'))"
    (said,) = wrong(plugin(modes(f"yield Mode('acme', over={axis})", before=ready)), "it_builds")
    assert said.startswith("at 4 ranks, acme=2, on real ranks:\nrank")
    assert "rank 2: PluginError: " in said
    assert "raised RuntimeError in pgregistry_ready: no disk" in said


# --- the oracle -------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 6, 8, 24])
def test_brute_force_finds_the_groups_of_the_origin(world: int) -> None:
    every = Subject("tensor").declared
    known = sized(mode for modes in every.values() for mode in modes)
    for tensor, pipe, zero1 in origin.valid_sizes(world):
        sizes = {"tensor": tensor, "pipe": pipe, "zero1": zero1, "nettest": 5}
        oracle = Oracle(pgregistry.plan(world, **sizes, only=origin.EIGHT), known)
        expected = origin.groups(world, **sizes)
        for name in origin.EIGHT:
            (mode,) = every[name]
            assert oracle.groups(mode) == sorted(map(tuple, expected[name])), (name, sizes)


# --- as pytest tests --------------------------------------------------------------------------------


def test_the_test_class_has_a_test_for_each_property() -> None:
    tests = [name for name in vars(PluginConformance) if name.startswith("test_")]
    assert tests == [f"test_{one.name}" for one in PROPERTIES]
    assert len({one.sentence for one in PROPERTIES}) == len(PROPERTIES)


SUITE = """
from pgregistry.testing import PluginConformance

class TestAcme(PluginConformance):
    plugin = "acme"
    worlds = (1, 4)
    partial = ()

    def expected(self, mode, plan):
        return [range(plan.world_size)]
"""


def test_a_subclass_fails_where_its_plugin_does_and_says_so_without_a_traceback(
    tmp_path: Path, installed_plugin: Install
) -> None:
    source = modes("yield Mode('acme', groups=lambda mesh: [range(mesh.world_size - (mesh.world_size > 1))])")
    folder = installed_plugin("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": source})
    (tmp_path / "test_acme.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_acme.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=90
    )
    assert "2 failed, 6 passed" in done.stdout, done.stdout + done.stderr
    assert "FAILED test_acme.py::TestAcme::test_groups_are_disjoint_and_cover" in done.stdout
    assert "plugin 'acme': groups are disjoint, in range, and leave no rank out. But\nat 4 ranks: mode" in done.stdout
    assert "pgregistry/testing" not in done.stdout


def test_the_pytest_plugin_imports_nothing_until_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_modules.py").write_text(
        "import sys\ndef test_modules():\n    assert not {'torch', 'pgregistry'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_modules.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "1 passed" in done.stdout, done.stdout


def test_an_installed_plugin_is_found_like_any_other_and_gone_after_the_test(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "acme/__init__.py": "from acme.modes import pgregistry_modes",
        "acme/modes.py": modes("yield Mode('a', over=())"),
    }
    folder = installed_plugin("pgregistry-acme", {"acme": "acme"}, files, version="1.2")
    plan = pgregistry.plan(2)
    assert str(plan["a"].plugin) == "plugin 'acme', pgregistry-acme 1.2"
    assert Path(sys.modules["acme.modes"].__file__ or "").parent == folder / "acme"
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    with pytest.raises(ConfigError, match="The plan has no mode 'a'"):
        pgregistry.plan(2)["a"]


def test_the_module_of_the_test_before_is_gone() -> None:
    assert not {"acme", "acme.modes", "acme_plugin"} & set(sys.modules)
