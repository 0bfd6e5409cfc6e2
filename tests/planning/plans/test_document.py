"""A plan as JSON and back."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from mutations import mutated
from origin import EIGHT
from plans import SIXTEEN, extras, listing

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode, Plan, PlannedMode, Split
from pgregistry.planning.plans.document import dumps, of_plan

RAGGED = Split(WORLD, inner="near", outer="far", size=3, ragged=True)


PLANS = {
    "bundled": lambda: pgregistry.plan(16, **SIXTEEN),
    "within, ascending": lambda: pgregistry.plan(16, within=range(4, 12), tensor=2),
    "within, permuted": lambda: pgregistry.plan(16, within=[5, 1, 9, 3], tensor=2, nettest=3),
    "at": lambda: extras(8, Mode("ends", over=Axis("ring", 4), at=(0, -1))),
    "at nothing": lambda: extras(8, Mode("ends", over=Axis("ring", 4), at=9)),
    "hosts": lambda: pgregistry.plan(8, hosts=[[0, 1], [4, 5], [2, 3], [6, 7]], hosts_per_domain=2, within=range(8)),
    "options": lambda: pgregistry.plan(8, extra=[Mode("m", over="data", options={"depth": 3, "fast": None})]),
    "where": lambda: pgregistry.plan(8, pipe=4, extra=[Mode("m", over="data", where={"pipe": -1}, at=0)]),
    "where nothing": lambda: pgregistry.plan(8, pipe=4, extra=[Mode("m", over="data", where={"tensor": 3})]),
    "ragged": lambda: extras(8, Mode("near", over=RAGGED), Mode("far", over="far")),
    "ragged at": lambda: extras(8, Mode("near", over=RAGGED, at=(1, -1)), Mode("far", over="far", at=-1)),
    "ragged within": lambda: extras(9, Mode("far", over=RAGGED.outer, at=-1), within=range(1, 9)),
    "ragged and regular": lambda: extras(
        10,
        Mode("ring", over=Axis("ring", 2)),
        Mode("m", over=("ring", Split(Axis("lane", 5, "ring"), "n", size=2, ragged=True))),
    ),
    "listed": lambda: extras(8, Mode("odd", groups=listing)),
    "listed within": lambda: extras(8, Mode("odd", groups=listing), within=[7, 6, 5, 4, 3, 2]),
    "settings": lambda: pgregistry.plan(
        8, zero1={"dedicated": True, "cpu": False}, tensor={"size": 2, "backend": "gloo", "timeout": 1.5, "cpu": True}
    ),
    "above the listing limit": lambda: extras(4097, Mode("odd", groups=listing), Mode("all", over=WORLD)),
    "a million ranks": lambda: pgregistry.plan(1 << 20, tensor=8, pipe=16),
}


@pytest.mark.parametrize("name", PLANS)
def test_json_and_back_is_an_equal_plan(name: str) -> None:
    plan = PLANS[name]()
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.fingerprint == plan.fingerprint
    assert again.to_json() == plan.to_json()
    assert plan.diff(again) == ()


def test_the_document_has_its_keys_in_this_order() -> None:
    document = json.loads(pgregistry.plan(16, tensor=2, pipe=2, only=EIGHT).to_json())
    assert list(document) == ["schema", "world_size", "order", "sizes", "fingerprint", "checksum", "modes"]
    assert list(document["sizes"]) == ["data", "nettest", "pipe", "tensor", "zero1"]
    assert document["sizes"]["data"] == {"size": 4, "from": "what is left"}
    assert list(document["sizes"]["data"]) == ["size", "from"]
    assert (document["schema"], document["world_size"], document["order"]) == (1, 16, ["data", "pipe", "tensor"])
    entry = document["modes"][0]
    assert json.dumps(entry) == json.dumps(
        {
            "name": "data",
            "plugin": "data",
            "distribution": "pgregistry",
            "version": "0.1.0",
            "over": ["data"],
            "layout": [[4, 4]],
            "at": None,
            "ragged": False,
            "group_count": 4,
            "group_sizes": {"4": 4},
            "groups": [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]],
        }
    )


def test_the_document_says_within_and_what_a_mode_says_only_where_they_are_said() -> None:
    document = of_plan(pgregistry.plan(8, within=[0, 1], tensor={"size": 2, "backend": "gloo", "cpu": False}))
    assert document["within"] == [0, 1]
    (tensor,) = [mode for mode in document["modes"] if mode["name"] == "tensor"]
    assert list(tensor)[-4:] == ["groups", "backend", "cpu", "origins"]
    assert tensor["origins"] == {"backend": "keyword", "cpu": "keyword"}


def test_where_is_in_the_document_as_merged_positions_and_as_it_was_declared() -> None:
    asked = Mode("m", over="data", where={"tensor": 0, "pipe": -1})
    (m,) = [
        mode for mode in of_plan(pgregistry.plan(16, tensor=2, pipe=4, extra=[asked]))["modes"] if mode["name"] == "m"
    ]
    assert (m["layout"], m["where"], m["where_names"]) == ([[2, 8]], [[8, 1, 6]], {"tensor": 0, "pipe": -1})
    assert m["groups"] == [[6, 14]]


def test_a_listed_mode_has_no_layout_and_a_ragged_one_its_full_size() -> None:
    odd, near = of_plan(extras(8, Mode("odd", groups=listing), Mode("near", over=RAGGED)))["modes"][::-1]
    assert (odd["layout"], odd["groups"]) == (None, [[0, 5], [2, 3]])
    assert (near["layout"], near["ragged"], near["group_sizes"]) == ([[3, 1]], True, {"3": 2, "2": 1})


def test_groups_are_left_out_above_4096_ranks_unless_their_mode_is_named() -> None:
    assert all("groups" in mode for mode in of_plan(pgregistry.plan(4096))["modes"])
    plan = pgregistry.plan(4098, tensor=2)
    assert not any("groups" in mode for mode in of_plan(plan)["modes"])
    (tensor,) = of_plan(plan, mode="tensor", groups="all")["modes"]
    assert tensor["groups"][-1] == [4096, 4097]


def test_for_a_rank_each_mode_has_the_group_of_this_rank_instead() -> None:
    ends = Mode("ends", over="pipe", at=(0, -1))
    modes = {
        mode["name"]: mode for mode in of_plan(pgregistry.plan(12, pipe=3, tensor=2, extra=[ends]), rank=9)["modes"]
    }
    tensor = modes["tensor"]
    assert list(tensor)[-3:] == ["group", "rank_in_group", "group_index"]
    assert (tensor["group"], tensor["rank_in_group"], tensor["group_index"]) == ([8, 9], 1, 4)
    assert list(modes["ends"])[-1] == "group"
    assert modes["ends"]["group"] is None


def test_text_is_not_a_plan() -> None:
    for text in ("", "[]", "{}", "3", '"plan"', "null"):
        with pytest.raises(ConfigError, match=r"^This is not the JSON of a plan: "):
            Plan.from_json(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "RecursionError: "),
        ('{"a":' * 100_000, "RecursionError: "),
        # Python 3.10 and 3.11 word the rest differently.
        ('{"schema": ' + "9" * 5000 + "}", "ValueError: Exceeds the limit (4300"),
    ],
    ids=["lists", "tables", "digits"],
)
def test_text_that_python_will_not_read_is_not_a_plan(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(text)
    assert str(caught.value).startswith(f"This is not the JSON of a plan: {reason}")


@pytest.mark.parametrize("world_size", [-8, 0, 1 << 39, 10**30, 4.0, "4", None])
def test_a_world_size_that_was_changed_is_refused_without_a_traceback(world_size: Any) -> None:
    document = {**json.loads(pgregistry.plan(4).to_json()), "world_size": world_size}
    with pytest.raises(ConfigError):
        Plan.from_json(json.dumps(document))


def test_a_plan_of_another_schema_is_refused() -> None:
    document = json.loads(pgregistry.plan(4).to_json())
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(json.dumps({**document, "schema": 2}))
    assert str(caught.value) == "This plan has schema 2; this version reads schema 1."


CHANGED = r"^This plan was changed after it was written: it has checksum '[0-9a-f]{32}', but its contents have '"


@pytest.mark.parametrize(
    "path",
    [("sizes", "ring", "size"), ("sizes", "ring", "from"), ("order", 0), ("fingerprint",), ("world_size",)]
    + [
        ("modes", 0, key) for key in ("name", "plugin", "version", "over", "layout", "at", "groups", "dedicated", "new")
    ],
    ids=str,
)
def test_a_plan_of_which_any_part_was_changed_is_refused(path: tuple[Any, ...]) -> None:
    document = json.loads(extras(8, Mode("ring", over=Axis("ring", 4))).to_json())
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = 7
    with pytest.raises(ConfigError, match=CHANGED):
        Plan.from_json(json.dumps(document))


def test_a_changed_plan_is_refused_with_the_way_out() -> None:
    document = json.loads(extras(8, Mode("ring", over=Axis("ring", 4))).to_json())
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(json.dumps({**document, "checksum": "0"}))
    assert str(caught.value) == (
        f"This plan was changed after it was written: it has checksum '0', but its contents have "
        f"{document['checksum']!r}. Write it again: pgregistry plan --json, or plan.to_json()."
    )


@pytest.mark.parametrize("part", [{"mode": "ring"}, {"rank": 3}, {"mode": "ring", "rank": 3}], ids=str)
def test_a_document_of_one_mode_or_rank_is_no_plan(part: dict[str, Any]) -> None:
    plan = extras(8, Mode("ring", over=Axis("ring", 4)))  # the one mode is all of it
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(dumps(of_plan(plan, **part)))
    assert str(caught.value) == (
        "This plan must have the checksum with which it was written. A document with --mode or --rank is not a whole "
        "plan. Write it again: pgregistry plan --json, or plan.to_json()."
    )


def test_a_plan_of_a_version_with_other_fingerprints_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = extras(8, Mode("ring", over=Axis("ring", 4)))
    text = plan.to_json()
    monkeypatch.setattr(PlannedMode, "identity", lambda self: [self.name])
    with pytest.raises(
        ConfigError, match=f"^This plan has fingerprint '{plan.fingerprint}', but here .*another version"
    ):
        Plan.from_json(text)


@pytest.mark.parametrize(
    ("seed", "count"), [(1, 300), *(pytest.param(seed, 1000, marks=pytest.mark.slow) for seed in range(2, 7))]
)
def test_a_document_that_was_changed_is_refused_unless_it_is_equal(seed: int, count: int) -> None:
    """Of the values, keys and bytes of each kind of plan, some are changed at random."""
    chance = Random(seed)
    plans = [made() for name, made in PLANS.items() if name not in ("above the listing limit", "a million ranks")]
    texts = [plan.to_json() for plan in plans]
    refused = 0
    for place in range(count):
        plan, text = plans[place % len(plans)], mutated(texts[place % len(plans)], chance)
        try:
            read = Plan.from_json(text)
        except ConfigError:
            refused += 1
        else:
            assert read == plan, text
            assert read.to_json() == plan.to_json()
    assert refused > count * 0.8


def test_the_groups_of_a_function_are_listed_in_every_world() -> None:
    plan = extras(4097, Mode("odd", groups=listing), Mode("all", over=WORLD))
    for groups in ("small", "listed"):
        document = of_plan(plan, groups=groups)  # type: ignore[arg-type]
        assert {mode["name"]: "groups" in mode for mode in document["modes"]} == {"all": False, "odd": True}
    small = of_plan(extras(8, Mode("odd", groups=listing), Mode("all", over=WORLD)), groups="listed")
    assert {mode["name"]: "groups" in mode for mode in small["modes"]} == {"all": False, "odd": True}


def test_the_document_of_the_largest_world_is_short() -> None:
    assert len(pgregistry.plan(1 << 40, tensor=2).to_json()) < 10_000
