"""Another program's value under one of our keys, of a type that MGET answers as if nothing were there."""

from __future__ import annotations

import pytest

from features.keys import customer_keys
from kits.activity import NOW_MS, customer_id, make_event
from nba.domain import Contact

PARTS = ("activity", "profile", "contacts", "thread")
TTL_S = 60


@pytest.fixture
def somebody(store, run):
    """A customer of whom all four values are there."""
    name = customer_id()
    run(store.append([make_event("e", NOW_MS, "complaint", customer_id=name)]))
    run(store.append_contacts(name, [Contact(NOW_MS, "o", "shown", "call")]))
    run(store.put_profile(name, {"plan": "l"}, NOW_MS))
    return name


def put_foreign(store, run, key: str) -> None:
    """A hash in the place of what was there."""
    for command in (("DEL", key), ("HSET", key, "field", "x"), ("EXPIRE", key, TTL_S)):
        run(store._client.execute_command(*command))


@pytest.mark.parametrize("part", PARTS)
def test_a_foreign_type_under_a_key_is_named_and_not_taken_for_nothing(store, run, somebody, part):
    """The customer's other values answer; this one is degraded."""
    put_foreign(store, run, customer_keys(somebody)[PARTS.index(part)])
    found = run(store.read(somebody, NOW_MS))
    assert found.degraded == (part,)
    assert (found.profile == {}) == (part == "profile")
    assert (found.contacts == ()) == (part == "contacts")


def test_a_foreign_type_is_named_for_a_customer_of_whom_nothing_else_is_known(store, run):
    """Nobody is taken for new because another program sits on their log."""
    name = customer_id()
    put_foreign(store, run, customer_keys(name).log)
    assert run(store.read(name, NOW_MS)).degraded == ("activity",)


def test_foreign_and_damaged_values_are_named_together(store, run, somebody):
    """In the order of the contract, each once."""
    keys = customer_keys(somebody)
    run(store._client.execute_command("APPEND", keys.log, b"noise"))
    put_foreign(store, run, keys.contacts)
    assert run(store.read(somebody, NOW_MS)).degraded == ("activity", "contacts")


def test_neither_a_known_nor_a_new_customer_costs_a_second_trip(store, run, somebody):
    """The types are asked for only when something is there that did not come back."""
    nodes = {"target_nodes": "primaries"} if store._lane is None else {}

    def asked() -> int:
        stats = run(store._client.info("commandstats", **nodes))
        of_each = stats.values() if nodes else [stats]
        return sum(node.get("cmdstat_type", {"calls": 0})["calls"] for node in of_each)

    before = asked()
    for name in (somebody, customer_id()):
        assert run(store.read(name, NOW_MS)).degraded == ()
    assert asked() == before
    put_foreign(store, run, customer_keys(somebody).thread)
    run(store.read(somebody, NOW_MS))
    assert asked() == before + 4
