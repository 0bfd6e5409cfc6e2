"""The place of a rank as a note, and the hosts and domains of many."""

from __future__ import annotations

import pytest

from pgregistry.coordination.places.place import Place, domains_of, hosts_of, out_of_order


def places(*names: str) -> dict[int, Place]:
    """Return ranks on hosts with these names, each with its local rank."""
    return {rank: Place(name, "", names[:rank].count(name)) for rank, name in enumerate(names)}


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


@pytest.mark.parametrize("note", ["", "a", "a/b/c/d", "a/b/1/c", "a/b/1/c/d/e", f"{'x' * 200}////", f"////{'x' * 200}"])
def test_a_note_that_is_no_place_is_refused(note: str) -> None:
    with pytest.raises(ValueError):
        Place.read(note)


def test_a_name_of_any_kind_is_a_note_without_spaces() -> None:
    note = Place("a b/c\n" + "x" * 500, "1", 2, "fe80::1%eth0", "s 1").note()
    assert Place.read(note) == Place("a_b_c_" + "x" * 74, "1", 2, "fe80::1%eth0", "s_1")


def test_a_domain_has_the_ranks_that_say_so() -> None:
    known = {2: Place("c", domain="s1"), 0: Place("a", domain="s1"), 1: Place("b", domain="s2"), 3: Place("d")}
    assert domains_of(known) == {"s1": [0, 2], "s2": [1]}
