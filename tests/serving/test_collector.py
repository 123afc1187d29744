"""A decision lets go of all that it held: what waits for the cycle collector stops every call at once when it comes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from nba.decide import Case, Decision
from nba.domain import Customer
from nba.rules import Values

HELD = (Case, Customer, Decision, Values)


@contextmanager
def kept_for_the_collector() -> Iterator[list[object]]:
    """What of a decision only the collector would have freed, in the block."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += [each for each in gc.garbage if isinstance(each, HELD)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_a_decision_is_freed_when_its_answer_has_left_also_where_rules_cannot_be_evaluated(nba):
    """A shipped formula reads the slowest speed test, and this customer never ran one: each question meets an error."""
    customer = nba.customer()
    nba.recommend(customer)
    with kept_for_the_collector() as held:
        for number in range(5):
            assert nba.recommend(customer, interaction_id=f"call-{number}", explain=True)["source"] == "fallback"
    assert held == []


def test_a_refused_question_is_freed_as_well(nba):
    """A 422 leaves no cycle that only the collector could undo."""
    customer = nba.customer()
    with kept_for_the_collector() as held:
        assert nba.http.post("/v1/recommend", json={"customer_id": customer, "context": {"no": 1}}).status_code == 422
    assert held == []
