"""Where ranks are, compared with what a plan took for granted about hosts."""

from __future__ import annotations

import logging
import os
import random
from itertools import product
from typing import Any

import pytest
from environment import set_by_launchers
from ranks import run_ranks

import pgregistry
from pgregistry import DOMAIN, HOST, WORLD, Mode, Split
from pgregistry.coordination.places.misplaced import misplaced
from pgregistry.coordination.places.place import Place

HOST_MODE = Mode("host", over=Split(WORLD, inner="host", size=HOST))
NOTHING = "nothing was created."
TOGETHER = [0, 1, 4, 5, 2, 3, 6, 7]
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
        "  Give the hosts as they are in place of ranks_per_host=, and for modes of groups=: hosts=[[0, 2], [1, 3]]",
    ]


def test_a_wrong_number_of_ranks_per_host_is_refused_with_the_right_one() -> None:
    reason = misplaced(plan(HOST_MODE, ranks_per_host=4), places("a", "a", "b", "b"))
    assert reason is not None
    assert reason.text.splitlines()[2] == (
        "  Give the number of ranks on each: ranks_per_host=2, or the hosts: hosts=[[0, 1], [2, 3]]"
    )
    assert misplaced(plan(HOST_MODE, ranks_per_host=2), places("a", "a", "b", "b")) is None


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
    given = plan(HOST_MODE, ranks_per_host=None, within=[0, 2, 1, 3], hosts=[[0, 2], [1, 3]])
    assert list(given["host"].groups) == [(0, 2), (1, 3)]
    assert misplaced(given, real) is None
    listed = pgregistry.plan(4, only=["data"], extra=[LEADERS], hosts=[[0, 2], [1, 3]])
    assert list(listed["leaders"].groups) == [(0, 1)]
    assert misplaced(listed, real) is None


def test_a_plan_from_json_needs_the_hosts_that_it_was_made_for() -> None:
    made = pgregistry.Plan.from_json(plan(HOST_MODE).to_json())
    assert made["host"].needs_hosts
    assert not made["data"].needs_hosts
    assert misplaced(made, places("a", "b", "a", "b")) is not None


def in_domains(*domains: str, each: int = 2) -> dict[int, Place]:
    """Return ranks on hosts n1, n2, … of these domains, neighbours on each."""
    return {rank: Place(f"n{rank // each + 1}", domain=domains[rank // each]) for rank in range(each * len(domains))}


def test_a_mode_that_needs_domains_is_refused_where_they_are_interleaved_and_takes_what_is_pasted() -> None:
    real = in_domains("s1", "s2", "s1", "s2")
    reason = misplaced(plan(RACK, size=8, hosts_per_domain=2), real)
    assert reason is not None
    assert reason.ranks == (0, 2)
    assert reason.text.splitlines() == [
        f"Mode 'rack' needs ranks 0-3 in one domain, but rank 0 is in s1 and rank 2 in s2; {NOTHING}",
        "  ranks say: s1 has ranks 0-1, 4-5; s2 has ranks 2-3, 6-7",
        f"  Bring them together: within={TOGETHER}, hosts=[[0, 1], [4, 5], [2, 3], [6, 7]], hosts_per_domain=2",
    ]
    pasted = {"within": TOGETHER, "hosts": [[0, 1], [4, 5], [2, 3], [6, 7]], "hosts_per_domain": 2}
    made = plan(RACK, size=8, ranks_per_host=None, **pasted)
    assert [*made["rack"].groups] == [(0, 1, 4, 5), (2, 3, 6, 7)]
    assert misplaced(made, real) is None


@pytest.mark.parametrize(
    ("domains", "number", "way_out"),
    [
        ("aabb", 4, "Give the number of hosts in each: hosts_per_domain=2"),
        ("aaab", 2, "DOMAIN needs equally many hosts in each domain: give that part a number."),
        ("abab", 4, "Bring them together: within=[0, 1, 4, 5, 2, 3, 6, 7], hosts=[[0, 1], [4, 5], [2, 3], [6, 7]], "),
    ],
)
def test_domains_of_other_sizes_are_refused_with_those_that_ranks_are_in(
    domains: str, number: int, way_out: str
) -> None:
    reason = misplaced(plan(RACK, size=8, hosts_per_domain=number), in_domains(*domains))
    assert reason is not None
    assert way_out in reason.text.splitlines()[2]


def test_a_plan_that_leaves_ranks_out_is_told_to_list_hosts_domain_by_domain() -> None:
    ranks = [0, 1, 2, 3, 4, 5, 6, 7]
    made = plan(RACK, size=10, within=ranks, hosts_per_domain=2)
    reason = misplaced(made, in_domains("a", "b", "a", "b"))
    assert reason is not None
    assert reason.text.endswith("list hosts= domain by domain, and within= so; hosts_per_domain=2")


def test_modes_that_need_no_domain_and_ranks_that_know_none_are_not_refused() -> None:
    real = in_domains("s1", "s2", "s1", "s2")
    assert misplaced(plan(HOST_MODE, LEADERS, size=8, hosts_per_domain=2), real) is None
    assert misplaced(plan(RACK, size=8, hosts_per_domain=2, rack=4), real) is None
    assert misplaced(plan(RACK, size=8, hosts_per_domain=2), in_domains("", "s1", "", "s2")) is None
    assert misplaced(plan(RACK, size=8, hosts_per_domain=1), real) is None  # parts of the real ones
    assert misplaced(plan(RACK, size=8, hosts_per_domain=2), in_domains("s1", "s1", "", "s2")) is None


def test_a_ragged_split_at_a_level_needs_it_too() -> None:
    ragged = Mode("ragged", over=Split(WORLD, inner="ragged", size=DOMAIN, ragged=True))
    assert misplaced(plan(ragged, size=8, hosts_per_domain=2), in_domains("s1", "s2", "s1", "s2")) is not None
    assert misplaced(plan(ragged, size=8, hosts_per_domain=2, ragged=4), in_domains("s1", "s2", "s1", "s2")) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_is_refused_if_and_only_if_a_group_leaves_its_domain(seed: int) -> None:
    chance = random.Random(seed)
    for hosts, number in product((2, 4, 6), (1, 2, 3)):
        each, names = chance.randint(1, 3), [chance.choice("abc") for _ in range(hosts)]
        if hosts % number or (hosts == 6 and chance.random() < 0.5):
            names, number = sorted(names), 2
        real = in_domains(*names, each=each)
        made = plan(RACK, size=each * hosts, ranks_per_host=each, hosts_per_domain=number)
        leaves = any(len({real[rank].domain for rank in group}) > 1 for group in made["rack"].groups)
        assert (misplaced(made, real) is not None) == leaves


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


def started_in_domains(addresses: list[str], known: dict[str, Any]) -> Any:
    """Return the line of groups across domains, or the error, of a rank that Slurm started in one."""
    rank, lines = int(os.environ["RANK"]), list[str]()
    mine = {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "1", "SLURM_LOCALID": "0"}
    mine |= {"SLURM_NODEID": str(rank), "SLURM_TOPOLOGY_ADDR": addresses[rank]}
    kept = {name: os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT")}
    for name in set_by_launchers():
        os.environ.pop(name, None)
    os.environ.update(mine | kept | {"SLURM_TOPOLOGY_ADDR_PATTERN": "switch.switch.node"})
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("pgregistry").addHandler(handler)
    logging.getLogger("pgregistry").setLevel(logging.INFO)
    try:
        with pgregistry.init(only=["data"], backend="gloo", agree_timeout=20, **known):
            return [line for line in lines if "across" in line]
    except pgregistry.PgregistryError as error:
        return f"{type(error).__name__}: {error}"


def test_ranks_are_refused_or_counted_by_the_domains_that_slurm_says() -> None:
    interleaved = [f"top.s{1 + rank % 2}.n{rank}" for rank in range(4)]
    texts = set(run_ranks(4, started_in_domains, interleaved, {"extra": [RACK], "hosts_per_domain": 2}, world=False))
    (text,) = texts
    assert text.startswith("PlanMismatch: Mode 'rack' needs ranks 0-1 in one domain, but rank 0 is in s1 and rank 1 in")
    assert "within=[0, 2, 1, 3], hosts=[[0], [2], [1], [3]], hosts_per_domain=2" in text
    pairs = Mode("pairs", over=Split(WORLD, inner="pairs", size=2))
    first, *others = run_ranks(4, started_in_domains, interleaved, {"extra": [pairs]}, world=False)
    assert first == ["pgregistry: groups across hosts: data 1 of 1, pairs 2 of 2; across domains: data 1, pairs 2"]
    assert others == [[], [], []]
