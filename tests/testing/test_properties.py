"""Plugins that are right have every property; those that lack one are told which, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plugin_sources import HEAD, modes, verdicts, wrong

from pgregistry import Plan
from pgregistry.layouts.groups import ListedGroups
from pgregistry.testing import write_distribution
from pgregistry.testing.subject import Subject

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
    "yield Mode('ring', groups=lambda mesh: [range(mesh.world_size)[::-1]])",
    "yield Mode('loss', over='data', where={'pipe': -1, 'tensor': 0}, at=(0, 1))",
    before=(
        "def opposite(mesh):\n"
        "    if mesh.sizes['pipe'] == 3:\n        raise ConfigError('pipe = 3 has a stage without an opposite.')\n"
        "    size = mesh.world_size\n    return [(rank, size - 1 - rank) for rank in range(size // 2)]\n"
    ),
)


@pytest.mark.parametrize("optional", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["on", "optional"])
def test_a_plugin_of_every_kind_of_mode_is_right(optional: bool, plugin: Any) -> None:
    source = ALL_KINDS.replace("if mesh.sizes['pipe'] == 3", "if mesh.sizes['pipe'] == 3 and mesh.sizes['acme'] > 1")
    subject = plugin(source, optional=optional)
    assert verdicts(subject) == {}
    assert {True, False} == {len(case.keywords) > 1 for case in subject.cases if case.world == 96}


@pytest.mark.slow
def test_a_family_that_cannot_live_beside_the_others_is_right_alone(plugin: Any) -> None:
    source = modes("yield Mode('tensor', over=Axis('tensor', size=2))", "yield Mode('rows', over=Axis('rows', REST))")
    subject = plugin(source, optional=True)
    assert "is declared by" in verdicts(subject)["it_loads"][0]
    assert verdicts(replace(subject, only=["acme"])) == {}


SETTINGS = """
@hookimpl
def pgregistry_settings():
    yield Setting("kernel", "safe", choices=("fast", "safe"))
    yield Setting("heads", 8)
    yield Setting("label", "none")
    yield Setting("causal", False)
"""


def test_a_plugin_is_planned_with_each_choice_of_its_settings(plugin: Any) -> None:
    listed = "yield Mode('acme', groups=lambda mesh: [[0, 1]] if mesh.settings['causal'] else [])"
    subject = plugin(f"from pgregistry import Setting\n{modes(listed)}{SETTINGS}")
    tried = [case.keywords for case in subject.cases]
    assert [{"kernel": "fast"} in tried, {"causal": True} in tried] == [True, True]
    found = verdicts(subject)
    assert set(found) == {"groups_are_disjoint_and_cover"}
    assert found["groups_are_disjoint_and_cover"][0].startswith("at 1 rank, causal=True: mode 'acme' ")


def test_a_plugin_without_modes_is_right(plugin: Any) -> None:
    assert verdicts(plugin(HEAD + "@hookimpl\ndef pgregistry_check(plan):\n    pass\n")) == {}


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
        ("[(1, 1)]", "has group (1, 1), which must have each rank once"),
    ],
    ids=["overlap", "out of range", "twice"],
)
def test_groups_that_are_not_disjoint_or_in_range_are_shown(groups: str, says: str, plugin: Any) -> None:
    subject = plugin(modes(f"yield Mode('acme', groups=lambda mesh: {groups})"), worlds=(3, 8))
    first, *_ = wrong(subject, "groups_are_disjoint_and_cover")
    assert says in first
    assert first.startswith("at 3 ranks: mode 'acme' (plugin 'acme', pgregistry-acme 0.1)")
    assert says in wrong(subject, "it_loads")[0]  # there is no world that it can plan


def test_a_mode_with_options_that_gloo_does_not_take_is_built_without_them(plugin: Any) -> None:
    fast = "yield Mode('acme', over='tensor', backend='nccl', options={'is_high_priority_stream': True})"
    assert wrong(plugin(modes(fast)), "it_builds") == []


def test_a_mode_that_leaves_ranks_out_must_be_one_that_may(plugin: Any) -> None:
    subject = plugin(modes("yield Mode('acme', over=WORLD, at=0)", "yield Mode('b', groups=lambda mesh: [(0,)])"))
    assert wrong(subject, "groups_are_disjoint_and_cover") == []
    first, *_ = wrong(replace(subject, partial=["acme"]), "groups_are_disjoint_and_cover")
    assert first == "at 2 ranks: mode 'b' leaves out rank 1; only a mode with at=, where= or groups= may."


def swapped(plan: Plan, mode: str, groups: Iterable[Sequence[int]]) -> Plan:
    """Return a plan in which a mode has other groups."""
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


@pytest.fixture
def _small_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module `torch` first on the path, which other processes import at once."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "torch.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "small")


@pytest.mark.usefixtures("_small_torch")
@pytest.mark.parametrize("where", ["top", "groups"])
def test_an_import_of_torch_is_told_with_its_line(where: str, plugin: Any) -> None:
    before = "import torch" if where == "top" else "def groups(mesh):\n    import torch\n    return []"
    over = "over=()" if where == "top" else "groups=groups"
    (said,) = wrong(plugin(modes(f"yield Mode('acme', {over})", before=before), worlds=(2,)), "it_imports_no_torch")
    assert re.search(r"acme_plugin.py:\d+: import torch", said)


@pytest.mark.usefixtures("_small_torch")
@pytest.mark.parametrize("name", ["pgregistry", "importlib"])
def test_an_import_of_torch_is_told_in_a_folder_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = modes("yield Mode('acme', over=())", before="import torch")
    folder = write_distribution(
        tmp_path / name / "plugins", "pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": source}
    )
    monkeypatch.syspath_prepend(folder)
    (said,) = wrong(Subject("acme", worlds=(2,)), "it_imports_no_torch")
    assert f"{folder}/acme_plugin.py:4: import torch" in said


def test_a_plugin_may_annotate_its_arguments_with_public_names(plugin: Any) -> None:
    hooks = "from pgregistry import Mesh, ParallelContext, Plan\n\ndef groups(mesh: Mesh):\n    return []\n\n"
    hooks += "@hookimpl\ndef pgregistry_check(plan: Plan):\n    return []\n\n"
    hooks += "@hookimpl\ndef pgregistry_ready(context: ParallelContext) -> None:\n    pass\n"
    subject = plugin(modes("yield Mode('acme', groups=groups)", before=hooks), worlds=(2,))
    assert wrong(subject, "it_imports_no_torch") == []


def test_a_plugin_that_fails_on_real_ranks_is_told_with_the_rank(plugin: Any) -> None:
    ready = (
        "@hookimpl\ndef pgregistry_ready(context):\n    if context.rank == 2:\n        raise RuntimeError('no disk')\n"
    )
    axis = "Axis('acme', inside='data', outside=('pipe', 'tensor'))"
    (said,) = wrong(plugin(modes(f"yield Mode('acme', over={axis})", before=ready)), "it_builds")
    assert said.startswith("at 4 ranks, acme=2, on real ranks:\nrank")
    assert "rank 2: PluginError: " in said
    assert "raised RuntimeError in pgregistry_ready: no disk" in said
