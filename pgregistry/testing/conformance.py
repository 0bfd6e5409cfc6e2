"""The properties of a plugin as pytest tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from pgregistry.planning.plans.plan import Plan
from pgregistry.testing.properties import PROPERTIES
from pgregistry.testing.subject import WORLDS, Subject


class PluginConformance:
    """Subclass it, name a plugin, and pytest proves it right: without a cluster, and most of it without torch.

        class TestExpert(PluginConformance):
            plugin = "expert"

    Attributes:
        plugin: The name of the plugin, as in its entry point. One that is off until enabled is enabled.
        sizes: Values to try for each size, in all combinations, as `{"expert": (1, 2)}`; those that
            fit no world are left out. None to find some.
        worlds: The world sizes to plan.
        only: The plugins to be on, for one that cannot live beside all that are installed.
        partial: The modes that may leave ranks out; None for those with `at` or `groups`.
    """

    plugin: ClassVar[str]
    sizes: ClassVar[Mapping[str, Sequence[int]] | None] = None
    worlds: ClassVar[Sequence[int]] = WORLDS
    only: ClassVar[Sequence[str] | None] = None
    partial: ClassVar[Collection[str] | None] = None

    def expected(self, mode: str, plan: Plan) -> Iterable[Sequence[int]] | None:
        """Override it to say the groups of a mode by another way than the plugin's; None to say nothing.

        Modes over axes and splits need none: their groups are found from the coordinates.
        """

    @classmethod
    def subject(cls, run_ranks: Callable[..., list[Any]]) -> Subject:
        """The plugin, with what all tests of the class need to know of it; the fixture `conformance` keeps it."""
        return Subject(
            plugin=cls.plugin,
            sizes=cls.sizes,
            worlds=cls.worlds,
            only=cls.only,
            partial=cls.partial,
            expected=cls().expected,
            run_ranks=run_ranks,
        )

    def test_it_loads(self, conformance: Subject) -> None:
        """It loads, and some world can be planned with it."""
        _hold("it_loads", conformance)

    def test_it_answers_the_same_everywhere(self, conformance: Subject) -> None:
        """The same answer twice, and in other processes, whatever the hash seed and the rank."""
        _hold("it_answers_the_same_everywhere", conformance)

    def test_groups_are_disjoint_and_cover(self, conformance: Subject) -> None:
        """No rank is in two groups of a mode, out of the world, or left out unless that is declared."""
        _hold("groups_are_disjoint_and_cover", conformance)

    def test_groups_are_right(self, conformance: Subject) -> None:
        """Groups are those of ranks that agree on everything except what the mode is over."""
        _hold("groups_are_right", conformance)

    def test_others_keep_their_ranks(self, conformance: Subject) -> None:
        """At its default sizes no rank of another plugin's mode moves."""
        _hold("others_keep_their_ranks", conformance)

    def test_bad_sizes_are_refused(self, conformance: Subject) -> None:
        """Sizes that cannot be are refused, with ConfigError and nothing else."""
        _hold("bad_sizes_are_refused", conformance)

    def test_it_imports_no_torch(self, conformance: Subject) -> None:
        """A plan does without torch."""
        _hold("it_imports_no_torch", conformance)

    def test_it_builds(self, conformance: Subject) -> None:
        """It is built on real ranks, and every group is proved by a collective."""
        _hold("it_builds", conformance)


def _hold(name: str, subject: Subject) -> None:
    """Fail a test with what is wrong, and no traceback through pgregistry."""
    (one,) = (one for one in PROPERTIES if one.name == name)
    if wrong := one.wrong(subject):
        pytest.fail("\n".join((f"plugin {subject.plugin!r}: {one.sentence}. But", *wrong)), pytrace=False)
