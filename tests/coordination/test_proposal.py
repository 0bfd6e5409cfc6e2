"""The proposal of a rank, and how two proposals differ, in words that a user knows."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import pytest

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode, Split
from pgregistry.coordination.proposal import (
    Proposal,
    Summary,
    different_versions,
    disagreement,
    first_difference,
    propose,
    propose_failure,
    sides_of,
)
from pgregistry.errors import format_ranks

BUNDLED = dict.fromkeys("data dummy global model nettest pipe tensor zero1".split(), "pgregistry 0.1.0")
RUN = {"backend": "gloo", "timeout": "torch's default", "cpu": "False"}


def says(
    world_size: int = 8,
    *extra: Mode,
    plugins: Mapping[str, str] = BUNDLED,
    run: Mapping[str, str] = RUN,
    wire: Mapping[str, str] | None = None,
    **keywords: Any,
) -> Proposal:
    """Return the proposal of a rank whose plan was made with these keywords."""
    return propose(pgregistry.plan(world_size, extra=extra, **keywords), plugins, run, wire or {})


def alone(*modes: Mode, **keywords: Any) -> Proposal:
    """Return the proposal of a rank that has these modes and no others."""
    return says(8, *modes, only=[], **keywords)


# --- as text for the store --------------------------------------------------------------------------


def test_a_proposal_comes_back_from_the_store_as_it_went_in() -> None:
    there = says(
        8,
        Mode("ends", over=Axis("line", 4), at=(0, -1)),
        Mode("listed", groups=lambda mesh: [(0, 3), (1, 2)]),
        order=["pipe", "data", "line", "tensor"],
        tensor=2,
        plugins=BUNDLED | {"émile": "off until enabled (entry point group pgregistry.optional)"},
        wire={"TORCH_GLOO_LAZY_INIT": "1"},
    )
    back = Proposal.decode(there.encode())
    assert back == there
    assert back.plan is not None
    assert pgregistry.Plan.from_json(back.plan)["listed"].groups[1] == (1, 2)


def test_the_proposal_of_a_failed_plan_comes_back_too() -> None:
    there = propose_failure(8, ConfigError("tensor = 3 does not divide world size 8.\nSay tensor=2."))
    assert Proposal.decode(there.encode()) == there
    assert (there.world_size, there.plan) == (8, None)


def test_a_proposal_is_text_that_every_store_takes() -> None:
    assert says(tensor=2).encode().isascii()


def test_a_proposal_does_not_grow_with_the_world() -> None:
    assert len(says(65536, tensor=2).encode()) < len(says(8, tensor=2).encode()) + 200


def test_a_plan_too_large_to_tell_is_compared_by_its_digest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgregistry.coordination.proposal.LARGEST", 100)
    here, there = says(tensor=2), says(tensor=4)
    assert here.plan is None
    assert first_difference(here, there) == ("the plan", f"digest {here.digest}", f"digest {there.digest}")


# --- what the digest covers -------------------------------------------------------------------------


def test_the_digest_covers_all_that_changes_what_is_built() -> None:
    covered = {
        "a size": says(tensor=2),
        "a ragged size": says(nettest=3),
        "the world size": says(4),
        "a mode": says(disable=["nettest"]),
        "the order of axes": says(pipe=2, tensor=2, order=["pipe", "data", "tensor"]),
        "a timeout of a mode": says(zero1={"timeout": 7}),
        "a backend of a mode": says(zero1={"backend": "nccl"}),
        "a companion of a mode": says(zero1={"cpu": True}),
        "a dedicated mode": says(zero1={"dedicated": True}),
        "the ranks of the plan": says(within=range(4)),
        "the order of those ranks": says(tensor=2, within=[0, 2, 1, 3, 4, 5, 6, 7]),
        "the backend of the run": says(run=RUN | {"backend": "nccl"}),
        "the timeout of the run": says(run=RUN | {"timeout": "7 s"}),
        "an environment variable": says(wire={"TORCH_GLOO_LAZY_INIT": "1"}),
        "the order of modes": alone(Mode("a", over=()), Mode("b", over=())),
        "the order of modes, swapped": alone(Mode("a", over=(), after="b"), Mode("b", over=())),
    }
    digests = {what: one.digest for what, one in covered.items()} | {"nothing": says().digest}
    assert len(set(digests.values())) == len(digests)


def test_the_digest_does_not_cover_origins_versions_and_who_declares_a_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    here = says(tensor=2)
    assert says(tensor=2, plugins=BUNDLED | {"tensor": "pgregistry 0.2.0"}).digest == here.digest
    assert says(tensor=2, plugins=BUNDLED | {"extra_tools": "acme 1"}).digest == here.digest
    assert says(tensor={"size": 2}, nettest=32).digest == here.digest
    monkeypatch.setenv("PGREGISTRY", "tensor=2")
    assert says().digest == here.digest


def test_the_digest_does_not_depend_on_the_order_of_what_is_told() -> None:
    swapped = dict(reversed(RUN.items()))
    assert says(run=swapped, wire={"B": "1", "A": "2"}).digest == says(wire={"A": "2", "B": "1"}).digest


def test_failures_have_equal_digests_where_they_say_the_same() -> None:
    digests = [
        propose_failure(size, ConfigError(text)).digest for size, text in ((8, "a"), (8, "a"), (4, "a"), (8, "b"))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


# --- the first difference ---------------------------------------------------------------------------

LINE = Axis("line", 4)
Say: TypeAlias = Callable[[], Proposal]
#: What ranks would say; plans are made when a test asks.
rank, lone, lost = (partial(partial, say) for say in (says, alone, propose_failure))
DIFFERENCES: list[tuple[Say, Say, tuple[str, str, str]]] = [
    # sizes, with where each comes from
    (rank(tensor=2), rank(tensor=4), ("size tensor", "2 (keyword)", "4 (keyword)")),
    (rank(tensor=2), rank(), ("size tensor", "2 (keyword)", "1 (plugin default)")),
    (rank(tensor=2), rank(tensor=2, zero1=2), ("size zero1", "4 (plugin default)", "2 (keyword)")),
    (rank(), rank(nettest=3), ("size nettest", "32 (plugin default)", "3 (keyword)")),
    (rank(tensor=2, pipe=2), rank(tensor=4), ("size pipe", "2 (keyword)", "1 (plugin default)")),
    # plugins
    (
        rank(),
        rank(disable=["nettest"], plugins=BUNDLED | {"nettest": "disabled (PGREGISTRY_DISABLE)"}),
        (
            "mode nettest",
            "plugin 'nettest', pgregistry 0.1.0",
            "none (plugin 'nettest' is disabled (PGREGISTRY_DISABLE))",
        ),
    ),
    (
        rank(only=["data", "tensor"], plugins={"data": "a 1", "tensor": "a 1"}),
        rank(),
        ("mode dummy", "none (plugin 'dummy' is not installed", "plugin 'dummy', pgregistry 0.1.0"),
    ),
    # the world
    (rank(8), rank(16), ("world size", "8", "16")),
    (rank(within=[0, 1]), rank(within=[0, 2]), ("within", "ranks (0, 1)", "ranks (0, 2)")),
    (rank(within=[0, 1]), rank(), ("within", "ranks (0, 1)", "all ranks")),
    # order
    (
        rank(tensor=2, pipe=2),
        rank(tensor=2, pipe=2, order=["pipe", "tensor", "data"]),
        ("order", "data, pipe, tensor", "pipe, tensor, data"),
    ),
    (
        lone(Mode("a", over=()), Mode("b", over=())),
        lone(Mode("a", over=(), after="b"), Mode("b", over=())),
        ("execution order", "a, b", "b, a"),
    ),
    # groups
    (
        lone(Mode("half", over=Split(WORLD, inner="half", size=4))),
        lone(Mode("half", over=Split(WORLD, outer="half", size=4).outer)),
        ("group 0 of mode half", "(0, 1, 2, 3)", "(0, 2, 4, 6)"),
    ),
    (
        lone(Mode("ends", over=LINE, at=(0, -1))),
        lone(Mode("ends", over=LINE, at=0)),
        ("group 0 of mode ends", "(0, 3)", "(0,)"),
    ),
    (
        lone(Mode("pairs", groups=lambda mesh: [(0, 1), (2, 3)])),
        lone(Mode("pairs", groups=lambda mesh: [(0, 1), (2, 4)])),
        ("group 1 of mode pairs", "(2, 3)", "(2, 4)"),
    ),
    (
        lone(Mode("pairs", groups=lambda mesh: [(0, 1), (2, 3)])),
        lone(Mode("pairs", groups=lambda mesh: [(0, 1)])),
        ("group 1 of mode pairs", "(2, 3)", "missing"),
    ),
    (
        rank(16, Mode("all", over=WORLD), only=[]),
        rank(16, Mode("all", groups=lambda mesh: [range(12)]), only=[]),
        ("group 0 of mode all", "(0, 1, 2, 3, 4, 5, … 16 ranks)", "(0, 1, 2, 3, 4, 5, … 12 ranks)"),
    ),
    # settings of one mode
    (rank(zero1={"timeout": 7}), rank(), ("timeout of mode zero1", "7.0", "None")),
    (rank(), rank(zero1={"backend": "nccl"}), ("backend of mode zero1", "None", "nccl")),
    (rank(zero1={"cpu": False}), rank(), ("cpu of mode zero1", "False", "None")),
    (rank(), rank(zero1={"dedicated": True}), ("dedicated of mode zero1", "False", "True")),
    # settings of the run
    (rank(), rank(run=RUN | {"backend": "nccl"}), ("backend", "gloo", "nccl")),
    (rank(), rank(run=RUN | {"timeout": "7 s"}), ("timeout", "torch's default", "7 s")),
    (rank(run=RUN | {"cpu": "True"}), rank(), ("cpu", "True", "False")),
    (rank(run=RUN | {"ready hooks": "x"}), rank(), ("ready hooks", "x", "not set")),
    # the environment
    (
        rank(wire={"TORCH_GLOO_LAZY_INIT": "1"}),
        rank(),
        ("environment variable TORCH_GLOO_LAZY_INIT", "1", "not set"),
    ),
    (
        rank(wire={"NCCL_ALGO": "Ring"}),
        rank(wire={"NCCL_ALGO": "Tree"}),
        ("environment variable NCCL_ALGO", "Ring", "Tree"),
    ),
    # a plan that failed
    (
        rank(),
        lost(8, ConfigError("tensor = 3 does not divide world size 8.")),
        ("the plan", "no error", "failed with ConfigError: tensor = 3 does not divide world size 8."),
    ),
    (
        lost(8, ConfigError("a")),
        lost(8, ConfigError("b")),
        ("the plan", "failed with ConfigError: a", "failed with ConfigError: b"),
    ),
]


@pytest.mark.parametrize(
    ("here", "there", "said"), DIFFERENCES, ids=[f"{index}-{said[0]}" for index, (*_, said) in enumerate(DIFFERENCES)]
)
def test_the_first_difference_is_told_in_words_a_user_knows(here: Say, there: Say, said: tuple[str, str, str]) -> None:
    found = first_difference(here(), there())
    assert (found[0], found[2]) == (said[0], said[2])
    # Where several plugins are missing all are named, so the text may go on.
    assert found[1] == said[1] or found[1].startswith(f"{said[1]}; ")
    swapped = first_difference(there(), here())
    assert swapped == (found[0], found[2], found[1])


def test_where_a_size_was_set_is_part_of_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    here = says(tensor=2)
    monkeypatch.setenv("PGREGISTRY", "tensor=4")
    assert first_difference(here, says()) == ("size tensor", "2 (keyword)", "4 (PGREGISTRY)")


def test_options_of_process_groups_are_told(distribution: Any) -> None:
    fast = (
        "from pgregistry import hookimpl\n@hookimpl\ndef pgregistry_process_group_options(mode):\n"
        "    return {'is_high_priority_stream': True} if mode == 'tensor' else None\n"
    )
    distribution("acme-fast", {"fast": "acme_fast"}, {"acme_fast.py": fast})
    here, there = says(), says(disable=["fast"])
    said = ("options of mode tensor", "{'is_high_priority_stream': True}", "{}")
    assert first_difference(here, there) == said


def test_a_cause_comes_before_what_follows_from_it() -> None:
    """Another tensor size changes data, zero1 and many groups; another world size changes all of it."""
    assert first_difference(says(8, tensor=2), says(16, tensor=4))[0] == "world size"
    assert first_difference(says(tensor=2, zero1=2), says(tensor=4, run=RUN | {"backend": "nccl"}))[0] == "size tensor"
    assert first_difference(says(tensor=2), says(tensor=4, disable=["zero1"]))[0] == "mode zero1"
    missing = says(tensor=2, disable=["nettest"], wire={"NCCL_ALGO": "Ring"})
    assert first_difference(says(tensor=2), missing)[0] == "mode nettest"


def test_a_mode_given_to_some_ranks_only_is_not_told_as_a_plugin_that_is_not_installed() -> None:
    what, _, there = first_difference(says(8, Mode("probe", over=WORLD)), says())
    assert what == "mode probe"
    assert there.startswith("none")
    assert "not installed" not in there


def test_a_mode_that_another_version_of_its_plugin_lacks_is_told_with_no_false_reason(distribution: Any) -> None:
    source = "from pgregistry import Mode, hookimpl\n@hookimpl\ndef pgregistry_modes():\n    yield Mode('a', over=())\n"
    where = distribution("acme", {"acme": "acme"}, {"acme.py": source + "    yield Mode('b', over=())\n"}, version="2")
    here = says(plugins=BUNDLED | {"acme": "acme 2"})
    shutil.rmtree(where)
    distribution("acme", {"acme": "acme"}, {"acme.py": source}, version="1")
    sys.modules.pop("acme", None)
    there = says(plugins=BUNDLED | {"acme": "acme 1"})
    assert first_difference(here, there) == ("mode b", "plugin 'acme', acme 2", "none")


def test_proposals_of_one_digest_differ_in_the_versions_of_plugins_alone() -> None:
    here, there = says(), says(plugins=BUNDLED | {"tensor": "pgregistry 0.2.0", "more": "acme 1"})
    assert here.digest == there.digest
    ours, theirs = (Summary.decode(f"{rank} {one.summary}") for rank, one in enumerate((here, there)))
    assert different_versions(here, theirs) == [("tensor", "pgregistry 0.1.0", "pgregistry 0.2.0")]
    assert different_versions(there, ours) == [("tensor", "pgregistry 0.2.0", "pgregistry 0.1.0")]
    assert different_versions(here, ours) == []


# --- what all ranks say ---------------------------------------------------------------------------


def disagree(proposals: Mapping[int, Proposal], missing: list[int]) -> str:
    by_digest = {one.digest: one for _, one in sorted(proposals.items(), reverse=True)}
    return disagreement(sides_of({rank: one.digest for rank, one in proposals.items()}), by_digest, missing)


def test_two_sides_are_named_with_the_first_thing_that_differs() -> None:
    proposals = {rank: says(tensor=4 if rank == 3 else 2) for rank in range(8)}
    assert disagree(proposals, []) == (
        "The ranks disagree about what to build; nothing was created.\n"
        "  size tensor:\n"
        "    ranks 0-2, 4-7: 2 (keyword)\n"
        "    rank 3: 4 (keyword)"
    )


def test_each_of_three_sides_is_compared_with_the_largest() -> None:
    proposals = {rank: says(tensor={0: 4, 1: 8}.get(rank, 2)) for rank in range(8)}
    assert disagree(proposals, []) == (
        "The ranks disagree about what to build; nothing was created.\n"
        "  size tensor:\n"
        "    ranks 2-7: 2 (keyword)\n"
        "    rank 0: 4 (keyword)\n"
        "  size tensor:\n"
        "    ranks 2-7: 2 (keyword)\n"
        "    rank 1: 8 (keyword)"
    )


def test_of_two_sides_of_one_size_that_with_the_lowest_rank_comes_first() -> None:
    proposals = {rank: says(4, tensor=1 + rank // 2) for rank in (3, 2, 1, 0)}
    assert disagree(proposals, []).splitlines()[2:] == [
        "    ranks 0-1: 1 (keyword)",
        "    ranks 2-3: 2 (keyword)",
    ]


def test_ranks_that_are_not_here_yet_are_named() -> None:
    proposals = {0: says(tensor=2), 1: says(tensor=4)}
    assert disagree(proposals, [2, 3, 4, 5, 7]).splitlines()[-1] == "  not here yet: ranks 2-5, 7"


def test_an_error_of_several_lines_stays_below_the_rank_that_has_it() -> None:
    proposals = {rank: says() for rank in range(3)} | {3: propose_failure(8, ConfigError("2 problems:\n- a\n- b"))}
    assert disagree(proposals, []) == (
        "The ranks disagree about what to build; nothing was created.\n"
        "  the plan:\n"
        "    ranks 0-2: no error\n"
        "    rank 3: failed with ConfigError: 2 problems:\n"
        "      - a\n"
        "      - b"
    )


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ([3], "rank 3"),
        ([0, 1], "ranks 0-1"),
        ([0, 2], "ranks 0, 2"),
        ([7, 0, 1, 2, 5], "ranks 0-2, 5, 7"),
        (range(1024), "ranks 0-1023"),
        ({2, 1}, "ranks 1-2"),
        (range(0, 128, 2), f"ranks {', '.join(map(str, range(0, 64, 2)))}, … (64 in all)"),
    ],
)
def test_ranks_are_shown_as_runs(ranks: Any, text: str) -> None:
    assert format_ranks(ranks) == text


def test_what_is_told_is_json_that_tools_can_read() -> None:
    told = json.loads(says(tensor=2).plan or "")
    assert told["sizes"]["tensor"] == {"size": 2, "from": "keyword"}
    assert [mode["name"] for mode in told["modes"]] == list(pgregistry.plan(8, tensor=2).modes)
