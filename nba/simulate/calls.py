"""Calls to the service: who calls, about what, what the engine is asked, and what the customer makes of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nba.candidates import Candidate
from nba.clock import DAY_MS, HOUR_MS
from nba.decide import Request
from nba.domain import Activity, Contact, Customer
from nba.rules import Value
from nba.simulate.life import mend
from nba.simulate.population import Life, Tariff, World
from nba.simulate.truth import Occasion, accept_probability, after_call, is_fixed_by

_FAULT_INTENTS = {"line": "technical", "router": "technical", "sim": "sim", "bill": "billing"}


class Memory(Protocol):
    """What remembers the customers: the engine's store, or its pure functions over a dictionary. Order of calls is time."""

    def append(self, customer_id: str, events: Sequence[Activity]) -> None:
        """Keep what the customer did."""

    def put_profile(self, customer_id: str, profile: Mapping[str, Value], now_ms: int) -> None:
        """Replace the profile."""

    def append_contacts(self, customer_id: str, contacts: Sequence[Contact]) -> None:
        """Keep which offers met the customer."""

    def read(self, customer_id: str, now_ms: int) -> Customer:
        """What is known at this moment."""


@dataclass(frozen=True, slots=True)
class Ringing:
    """One call: when, why, its ids, and the luck of it: `pick` for a policy that draws, `mind` for the customer's answer."""

    now_ms: int
    interaction_id: str
    occasion: Occasion
    pick: float
    mind: float

    def request(self, customer_id: str) -> Request:
        """What the agent's desktop asks the engine."""
        context: dict[str, Value] = {"intent": self.occasion.intent, "sentiment": self.occasion.sentiment}
        return Request(
            customer_id=customer_id,
            now_ms=self.now_ms,
            decision_id=f"d-{self.interaction_id}",
            interaction_id=self.interaction_id,
            context=context,
        )


def call_of(life: Life) -> Ringing:
    """A call of this customer this evening (18:00 UTC); draws the reason from how they stand."""
    life.called_day = life.day
    rng = life.dice()
    mood = float(rng.normal(0.25, 0.3)) - 0.35 * min(life.bother, 3.0) - 0.2 * (life.fault is not None)
    occasion = Occasion(_intent(life, float(rng.random())), round(min(1.0, max(-1.0, mood)), 2))
    now_ms = life.day * DAY_MS + 18 * HOUR_MS
    return Ringing(now_ms, f"call-{life.customer_id}-{life.day}", occasion, float(rng.random()), float(rng.random()))


def _intent(life: Life, point: float) -> str:
    if life.fault is not None and point < 0.75:
        complains = life.issue is not None and point < 0.15
        return "complaint" if complains else _FAULT_INTENTS[life.fault]
    if life.bother > 0.8 * life.traits.patience and life.contract_end_day - life.day < 90 and point < 0.5:
        return "cancel"
    bills = life.last_bills
    if len(bills) > 1 and bills[-1] > bills[-2] + 800 and point < 0.6:
        return "billing"
    if -5 < life.trip_day - life.day < 14 and point < 0.6:
        return "travel"
    wishes = (("device", 0.15), ("plan", 0.2), ("usage", 0.15), ("billing", 0.15), ("general", 1.0))
    for intent, share in wishes:
        point = (point * 7919.0) % 1.0
        if point < share:
            return intent
    return "general"


def answer(
    life: Life, offered: Candidate, call: Ringing, plans: Mapping[str, Tariff], world: World
) -> tuple[bool, list[Activity], Contact]:
    """The customer hears the offer: accepted or not, what that sets off, and the contact to remember."""
    accepted = call.mind < accept_probability(life, offered, call.occasion, plans, world)
    fixed = accepted and is_fixed_by(life, offered.offer)
    after_call(life, offered.offer, call.occasion, accepted)
    events = support_contact(life, call)
    if fixed:
        events += mend(life, call.now_ms + 4 * 60_000, call.interaction_id)
    elif accepted and offered.offer.kind == "resolve":
        subject = offered.offer.id
        tried = Activity(life.next_id(), life.customer_id, call.now_ms + 3 * 60_000, "call", "fix_tried", None, subject)
        events.append(tried)
    outcome: Contact = Contact(
        at_ms=call.now_ms + 60_000,
        offer_id=offered.offer.id,
        outcome="accepted" if accepted else "declined",
        channel="call",
        decision_id=f"d-{call.interaction_id}",
        interaction_id=call.interaction_id,
    )
    return accepted, events, outcome


def support_contact(life: Life, call: Ringing) -> list[Activity]:
    """Every call is itself a contact with the service."""
    at_ms, intent = call.now_ms + 30_000, call.occasion.intent
    event_id = f"{call.interaction_id}-contact"
    return [
        Activity(event_id, life.customer_id, at_ms, "call", "support_contact", None, intent, None, call.interaction_id)
    ]
