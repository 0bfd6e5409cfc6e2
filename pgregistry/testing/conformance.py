"""Test the properties of a plugin with pytest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from pgregistry.planning.plans.plan import Plan
from pgregistry.testing.case import NotTried
from pgregistry.testing.properties import PROPERTIES
from pgregistry.testing.subject import WORLDS, Subject


class PluginConformance:
    """Tests for a plugin: subclass it and name the plugin. They need no cluster, and most of them no torch.

        class TestExpert(PluginConformance):
            plugin = "expert"

    Attributes:
        plugin: The name of the plugin, as in its entry point. A plugin that is off until enabled is enabled.
        sizes: Values to try for each size, in all combinations, as `{"expert": (1, 2)}`. Combinations that
            fit no world are left out. None chooses some.
        worlds: The world sizes to plan.
        only: The plugins to be on, for a plugin that cannot be on beside all that are installed.
        plugins: Plugins that are not installed, as `plugins=` of `plan` names them; this one may be among them.
        partial: The modes that may leave ranks out. None allows it to modes with `at`, `where` or `groups`.
    """

    plugin: ClassVar[str]
    sizes: ClassVar[Mapping[str, Sequence[int]] | None] = None
    worlds: ClassVar[Sequence[int]] = WORLDS
    only: ClassVar[Sequence[str] | None] = None
    plugins: ClassVar[Sequence[str]] = ()
    partial: ClassVar[Collection[str] | None] = None

    def expected(self, mode: str, plan: Plan) -> Iterable[Sequence[int]] | None:
        """Return the groups of a mode, computed in another way than the plugin does, or None; override it.

        Modes over axes and splits do not need it: their groups are found from the coordinates.
        """

    @classmethod
    def subject(cls, run_ranks: Callable[..., list[Any]]) -> Subject:
        """Return the plugin under test; the fixture `conformance` keeps it for all tests of the class."""
        given = {name: getattr(cls, name) for name in ("plugin", "sizes", "worlds", "only", "plugins", "partial")}
        return Subject(**given, expected=cls().expected, run_ranks=run_ranks)

    def test_it_loads(self, conformance: Subject) -> None:
        """Load the plugin, and plan some world with it."""
        _hold("it_loads", conformance)

    def test_it_answers_the_same_everywhere(self, conformance: Subject) -> None:
        """Plan twice, and in other processes with another hash seed and rank: the plans are equal."""
        _hold("it_answers_the_same_everywhere", conformance)

    def test_groups_are_disjoint_and_cover(self, conformance: Subject) -> None:
        """Look for a rank that is in two groups of a mode, out of range, or left out without a declaration."""
        _hold("groups_are_disjoint_and_cover", conformance)

    def test_groups_are_right(self, conformance: Subject) -> None:
        """Compare the groups with those of ranks that agree on everything except what the mode is over."""
        _hold("groups_are_right", conformance)

    def test_others_keep_their_ranks(self, conformance: Subject) -> None:
        """Compare the groups of all other modes with and without the plugin at its default sizes."""
        _hold("others_keep_their_ranks", conformance)

    def test_bad_sizes_are_refused(self, conformance: Subject) -> None:
        """Give sizes that cannot work: each is refused with ConfigError and no other error."""
        _hold("bad_sizes_are_refused", conformance)

    def test_it_imports_no_torch(self, conformance: Subject) -> None:
        """Plan in a new process that notes an import of torch."""
        _hold("it_imports_no_torch", conformance)

    def test_it_builds(self, conformance: Subject) -> None:
        """Build a plan on real ranks and prove every group with a collective."""
        _hold("it_builds", conformance)


def _hold(name: str, subject: Subject) -> None:
    """Fail a test with a list of what is wrong, without a traceback through pgregistry."""
    (one,) = (one for one in PROPERTIES if one.name == name)
    try:
        wrong = one.wrong(subject)
    except NotTried as reason:
        pytest.skip(str(reason))
    if wrong:
        pytest.fail("\n".join((f"plugin {subject.plugin!r}: {one.sentence}. But", *wrong)), pytrace=False)
