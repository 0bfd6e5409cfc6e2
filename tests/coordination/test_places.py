"""Where ranks are, compared with what a plan took for granted about hosts."""

from __future__ import annotations

import os
from typing import Any

import pytest
from environment import set_by_launchers
from ranks import run_ranks

import pgregistry
from pgregistry import DOMAIN, HOST, WORLD, Mode, Split
from pgregistry.coordination.places import Place, hosts_of, misplaced, out_of_order

HOST_MODE = Mode("host", over=Split(WORLD, inner="host", size=HOST))
NOTHING = "nothing was created."
LEADERS = Mode("leaders", groups=lambda mesh: [[host[0] for host in mesh.hosts]])
RACK = Mode("rack", over=Split(WORLD, inner="rack", size=DOMAIN))


def places(*names: str, local: bool = True) -> dict[int, Place]:
    """Return ranks on hosts with these names, each with its local rank."""
    return {rank: Place(name, "", names[:rank].count(name) if local else None) for rank, name in enumerate(names)}


def plan(*modes: Mode, size: int = 4, **hosts: Any) -> pgregistry.Plan:
    return pgregistry.plan(size, only=["data"], extra=modes, **({"ranks_per_host": 2} | hosts))


@pytest.mark.parametrize("mode", [HOST_MODE, LEADERS, RACK], ids=lambda mode: mode.name)
@pytest.mark.parametrize("local", [True, False])
def test_a_mode_that_needs_hosts_is_refused_where_ranks_of_two_hosts_are_taken_for_one(mode: Mode, local: bool) -> None:
    made = plan(mode, hosts_per_domain=1)
    assert misplaced(made, places("a", "a", "b", "b", local=local)) is None
    reason = misplaced(made, places("a", "b", "a", "b", local=local))
    assert reason is not None
    assert reason.mismatch
    assert reason.text.splitlines() == [
        f"Mode '{mode.name}' needs ranks 0-1 on one host, but rank 0 is on a and rank 1 on b, another host; {NOTHING}",
        "  ranks say: a has ranks 0, 2; b has ranks 1, 3",
        "  Bring the ranks of each host together: within=[0, 2, 1, 3]",
        "  Modes of groups= can also have the hosts as they are: hosts=[[0, 2], [1, 3]]",
    ]


def test_unequal_hosts_are_refused_with_the_hosts_to_list() -> None:
    made = plan(HOST_MODE, LEADERS)
    reason = misplaced(made, places("a", "a", "a", "b"))
    assert reason is not None
    assert reason.text.startswith("Modes 'host' and 'leaders' need ranks 2-3 on one host, but rank 2 is on a and")
    assert reason.text.endswith("For groups=: hosts=[[0, 1, 2], [3]]")
    assert misplaced(plan(LEADERS, ranks_per_host=None, hosts=[[0, 1, 2], [3]]), places("a", "a", "a", "b")) is None


@pytest.mark.parametrize(
    "modes",
    [(), (Mode("pair", over=Split(WORLD, inner="pair", size=2)),), (Mode("all", groups=lambda mesh: [[0, 1, 2, 3]]),)],
)
def test_modes_that_need_no_host_are_built_anywhere(modes: tuple[Mode, ...]) -> None:
    assert misplaced(plan(*modes), places("a", "b", "a", "b")) is None


def test_a_number_in_place_of_the_level_needs_no_host() -> None:
    assert misplaced(plan(HOST_MODE, host=2), places("a", "b", "a", "b")) is None


def test_hosts_of_a_plan_may_be_parts_of_those_of_the_ranks() -> None:
    assert misplaced(plan(HOST_MODE), places("a", "a", "a", "a")) is None


def test_what_is_pasted_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = places("a", "b", "a", "b")
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)  # a launcher says only how many
    made = pgregistry.plan(4, only=["data"], extra=[HOST_MODE, LEADERS], within=[0, 2, 1, 3])
    assert list(made["host"].groups) == [(0, 2), (1, 3)]
    assert misplaced(made, real) is None
    assert misplaced(made, places("a", "a", "b", "b")) is not None
    listed = pgregistry.plan(4, only=["data"], extra=[LEADERS], hosts=[[0, 2], [1, 3]])
    assert list(listed["leaders"].groups) == [(0, 1)]
    assert misplaced(listed, real) is None


def test_a_plan_from_json_needs_the_hosts_that_it_was_made_for() -> None:
    made = pgregistry.Plan.from_json(plan(HOST_MODE).to_json())
    assert made["host"].needs_hosts
    assert not made["data"].needs_hosts
    assert misplaced(made, places("a", "b", "a", "b")) is not None


def test_ranks_with_one_local_rank_are_on_two_hosts_whatever_their_names() -> None:
    same = {0: Place("vm", "", 0), 1: Place("vm", "", 0), 2: Place("vm", "", 1), 3: Place("vm", "", 1)}
    assert list(hosts_of(same)) == [(0, 2), (1, 3)]
    numbered = {0: Place("vm", "0", 0), 1: Place("vm", "1", 0), 2: Place("vm", "1", 1)}
    assert list(hosts_of(numbered)) == [(0,), (1, 2)]


def test_hosts_numbered_by_the_text_of_their_names_are_named_once_where_that_separates_neighbours() -> None:
    assert out_of_order(places("node1", "node1", "node10", "node10", "node2", "node2")) == (
        "torchrun numbered hosts by the text of their names (node1, node10, node2), so node1 and node2 are not "
        "neighbours. If near hosts have near numbers, give within=[0, 1, 4, 5, 2, 3]."
    )
    assert out_of_order(places("node8", "node9")) is None
    assert out_of_order(places("node2", "node10", "node1")) is None  # an order that the user chose
    assert out_of_order(places("node01", "node02", "node10")) is None
    assert out_of_order(places("node10", "node9")) is not None


@pytest.mark.parametrize("note", ["", "a", "a/b/c/d", "a/b/1", "a/b/1/c/d", f"{'x' * 200}///", f"///{'x' * 200}"])
def test_a_note_that_is_no_place_is_refused(note: str) -> None:
    with pytest.raises(ValueError):
        Place.read(note)


def test_a_name_of_any_kind_is_a_note_without_spaces() -> None:
    note = Place("a b/c\n" + "x" * 500, "1", 2, "fe80::1%eth0").note()
    assert Place.read(note) == Place("a_b_c_" + "x" * 74, "1", 2, "fe80::1%eth0")


def started(environs: list[dict[str, str]], seconds: float = 20) -> Any:
    """Return the group of mode host, or the error, of a process with these variables."""
    mine = environs[int(os.environ["RANK"])]
    kept = {name: os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT")}
    for name in set_by_launchers():
        os.environ.pop(name, None)
    os.environ.update(mine | kept)
    try:
        with pgregistry.init(only=["data"], extra=[HOST_MODE], backend="gloo", agree_timeout=seconds) as context:
            return context["host"].ranks
    except pgregistry.PgregistryError as error:
        return f"{type(error).__name__}: {error}"


def test_ranks_that_slurm_dealt_out_to_hosts_in_turn_are_refused_on_every_rank() -> None:
    dealt = [
        {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}
        | {"SLURM_NODEID": str(rank % 2), "SLURM_LOCALID": str(rank // 2)}
        for rank in range(4)
    ]
    texts = set(run_ranks(4, started, dealt, world=False))
    assert len(texts) == 1
    text = texts.pop()
    assert text.startswith("PlanMismatch: Mode 'host' needs ranks 0-1 on one host")
    assert "within=[0, 2, 1, 3]" in text
    within = [one | {"PGREGISTRY_WITHIN": "0,2,1,3"} for one in dealt]
    assert run_ranks(4, started, within, world=False) == [(0, 2), (1, 3), (0, 2), (1, 3)]


def test_agents_with_different_numbers_of_ranks_are_refused_with_the_hosts_to_list() -> None:
    agents = [(0, 4, rank) for rank in range(4)] + [(1, 2, rank) for rank in range(2)]
    environs = [
        {"RANK": str(rank), "WORLD_SIZE": "6", "LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": str(size)}
        | {"GROUP_RANK": str(node)}
        for rank, (node, size, local) in enumerate(agents)
    ]
    texts = run_ranks(6, started, environs, world=False)
    assert all("host = HOST must have an equal share on each host" in text for text in texts)
    assert all("hosts have different numbers of ranks: hosts=[[0, 1, 2, 3], [4, 5]]" in text for text in texts[4:])
