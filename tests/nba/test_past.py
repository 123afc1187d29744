"""What a model is told of the times when this customer heard an offer before."""

from __future__ import annotations

import math

import pytest

from kits.shop import NOW_MS, case_for, customer
from nba.clock import DAY_MS
from nba.decide import Decider
from nba.domain import Contact
from nba.past import Past, pasts


def met(outcome: str, days: float = 1.0, decision: str = "", offer: str = "flex-10") -> Contact:
    return Contact(NOW_MS - round(days * DAY_MS), offer, outcome, "call", decision)


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        ([met("declined", 40), met("accepted", 2)], Past(1, 1, 1)),
        ([met("shown"), met("skipped", 2)], None),
        ([met("shown", 3, "d"), met("spoken", 2, "d"), met("declined", 1, "d")], Past(0, 1, 1)),
        ([met("accepted", 2, "d"), met("declined", 1, "d")], Past(1, 0, 1)),
        ([met("later", 2, "d"), met("later", 1, "e")], Past(0, 0, 2)),
        ([met("spoken", 30)], Past(0, 0, 0)),
        ([met("spoken", 30 - 1e-8)], Past(0, 0, 1)),
    ],
    ids=[
        "yes and no are counted apart",
        "what the agent kept to themselves was not heard",
        "one decision is one occasion",
        "the strongest outcome stands",
        "later is heard and neither",
        "thirty days to the millisecond are over",
        "a millisecond less is not",
    ],
)
def test_an_occasion_counts_once_with_its_strongest_outcome(contacts: list[Contact], expected: Past | None) -> None:
    """Each line of the list above."""
    assert pasts(contacts, NOW_MS).get("flex-10") == expected


def test_candidates_carry_the_past_of_their_own_offer(decider: Decider) -> None:
    """The offer that was declined knows it, the others do not."""
    case = case_for(decider, customer(contacts=(met("declined", 100), met("declined", 200))))
    found = {c.offer.id: c.past for c in case.candidates}
    assert found.pop("flex-10") == Past(0, 2, 0)
    assert set(found.values()) == {Past(0, 0, 0)}


def test_a_history_that_cannot_be_read_is_unknown_and_not_empty(decider: Decider) -> None:
    """Nobody claims that an offer was never declined when the contacts could not be read."""
    case = case_for(decider, customer(degraded=("contacts",)))
    assert all(math.isnan(value) for c in case.candidates for value in c.past)
