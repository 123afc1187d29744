"""The truth that no model sees: whether this customer takes this offer now, what it does to them, and when they leave.

An acceptance depends on what it saves, whether it fits what they really use, whether it answers what they called about,
and on being sold to while something is broken. It is written down here and read by nobody but the world and the oracle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from nba.candidates import Candidate
from nba.config import Offer
from nba.domain import SALES_KINDS, SERVICE_KINDS, Kind
from nba.simulate.population import Life, Tariff, World

FIXES = {"line": "line-check", "router": "router-restart", "sim": "sim-swap", "bill": "bill-check"}
SERVICE_INTENTS = frozenset({"technical", "outage", "fault", "sim", "complaint", "cancel"})
UNUSED_PASS = 9.9  # euros a month
_BASE: Mapping[Kind, float] = {"optimize": -1.1, "retain": -0.6, "cross_sell": -2.7, "up_sell": -2.2}
_ANSWERS = {
    "plan": ("optimize", "up_sell"), "usage": ("optimize", "up_sell", "cross_sell"), "billing": ("optimize", "inform"),
    "cancel": ("retain", "optimize"), "travel": (), "device": (), "general": ("inform",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why they call, and how they sound: -1 angry … 1 happy."""

    intent: str
    sentiment: float


def accept_probability(
    life: Life, candidate: Candidate, occasion: Occasion, plans: Mapping[str, Tariff], world: World
) -> float:
    """P(this customer accepts this offer in this call), in (0, 1)."""
    offer = candidate.offer
    if offer.kind in SERVICE_KINDS:
        return _wants_help(life, offer, occasion)
    push = _BASE[offer.kind] + life.traits.openness + _appeal(life, offer, occasion, plans)
    push += 0.16 * world.sensitivity * life.traits.sensitivity * _gain(candidate)
    push += 0.8 * (offer.kind in _ANSWERS.get(occasion.intent, ()))
    push -= 0.25 * life.bother + 0.7 * life.declined.get(offer.id, 0)
    if is_tone_deaf(life, offer, occasion):
        push -= 2.0
    return 1.0 / (1.0 + exp(-push))


def is_tone_deaf(life: Life, offer: Offer, occasion: Occasion) -> bool:
    """Selling to somebody who has something broken, or who calls for help."""
    return offer.kind in SALES_KINDS and (life.issue is not None or occasion.intent in SERVICE_INTENTS)


def _gain(candidate: Candidate) -> float:
    """Euros a month in their pocket, from -20 to 30: beyond that nobody feels the difference."""
    if candidate.saving_month is not None:
        return min(30.0, max(-20.0, candidate.saving_month))
    return -(candidate.offer.price_month or 0.0)


def _wants_help(life: Life, offer: Offer, occasion: Occasion) -> float:
    if offer.kind == "resolve":
        if life.fault is not None and FIXES[life.fault] == offer.id:
            return 0.92
        return 0.35 if occasion.intent in SERVICE_INTENTS or life.fault else 0.12
    if offer.kind == "escalate":
        return 0.75 if life.bother > 1.2 else 0.25
    wanted = {"bill-higher": "billing", "contract-ends": "cancel", "allowance-near": "usage"}
    return 0.75 if wanted.get(offer.id) == occasion.intent else 0.35


def _appeal(life: Life, offer: Offer, occasion: Occasion, plans: Mapping[str, Tariff]) -> float:
    """What an offer is to this person beside the money."""
    traits = life.traits
    if offer.id in plans:
        return _fit(life, plans[offer.id], plans[life.plan])
    away = life.trip_day - life.day
    by_offer = {
        "world-pass": 3.4 if -5 < away < 25 else -0.5,
        "world-pass-pause": -1.0 if away < 40 else 0.8,
        "wifi-calling": 3.0 * (0.8 - traits.quality),
        "autopay": 0.3,
        "family-line": 3.6 if traits.family and life.lines < 2 else -1.0,
        "data-plus-10": 2.0,
        "renewal-phone": 3.4 if traits.wants_phone and not life.phone else -1.5,
        "double-data": 1.2 * min(1.0, traits.data_gb / max(1.0, plans[life.plan].data_gb)),
        "loyalty-credit": 0.2,
    }
    leaving = 1.0 if offer.kind == "retain" and occasion.intent == "cancel" else 0.0
    return by_offer.get(offer.id, 0.0) + leaving


def _fit(life: Life, plan: Tariff, own: Tariff) -> float:
    """Too small a plan frightens, more room than needed pleases a little."""
    room = plan.data_gb / max(0.5, life.traits.data_gb)
    return (-1.4 if room < 1.1 else 0.0) + (0.4 if plan.data_gb > own.data_gb and room > 1.3 else 0.0)


def bother_after_no(life: Life, offer: Offer, occasion: Occasion) -> float:
    """What a declined offer leaves behind: nothing from help, a little from any other, much from one out of place."""
    rude = 0.5 if is_tone_deaf(life, offer, occasion) else 0.0
    return life.bother + rude + (0.0 if offer.kind in SERVICE_KINDS else 0.06)


def after_call(life: Life, offer: Offer, occasion: Occasion, accepted: bool) -> None:
    """What the offer does to them: the plan they are on, what they have, and what they think of us."""
    if not accepted:
        life.bother = bother_after_no(life, offer, occasion)
        life.declined[offer.id] = life.declined.get(offer.id, 0) + 1
        return
    if is_tone_deaf(life, offer, occasion):
        life.bother += 0.5
    if offer.kind == "optimize":
        life.advised_until = life.day + 365
    life.bother = max(0.0, life.bother - (0.5 if offer.kind in ("resolve", "retain", "escalate") else 0.1))
    _take(life, offer)


# What an offer changes in a life: a field and its value, or the day until which it lasts.
_GIVES: dict[str, tuple[str, bool | int]] = {
    "wifi-calling": ("wifi_calling", True),
    "autopay": ("autopay", True),
    "family-line": ("lines", 2),
    "data-plus-10": ("data_plus", True),
    "renewal-phone": ("phone", True),
}
_GIVES_FOR_DAYS = {"double-data": ("gift_until", 182), "loyalty-credit": ("credit_until", 365)}


def _take(life: Life, offer: Offer) -> None:
    if offer.is_plan:
        life.plan = offer.id
        life.contract_end_day = max(life.contract_end_day, life.day + 180)
    elif offer.kind == "retain":
        life.contract_end_day = max(life.contract_end_day, life.day) + 365
    if offer.id in ("world-pass", "world-pass-pause"):
        life.pass_paused = offer.id == "world-pass-pause"
        life.world_pass = not life.pass_paused
    elif offer.id in _GIVES:
        name, value = _GIVES[offer.id]
        setattr(life, name, value)
    elif offer.id in _GIVES_FOR_DAYS:
        name, days = _GIVES_FOR_DAYS[offer.id]
        setattr(life, name, life.day + days)


def is_fixed_by(life: Life, offer: Offer) -> bool:
    """Whether an accepted offer puts the fault right: the right fix always does, a person who may decide too."""
    return life.fault is not None and (FIXES[life.fault] == offer.id or offer.kind == "escalate")


def overpays(life: Life, plans: Mapping[str, Tariff]) -> float:
    """Euros a month that this customer pays above what suits their true use best: the plan, and a pass that lies idle."""
    traits = life.traits
    own = plans[life.plan].charge(traits.data_gb, traits.minutes, 10.0 * life.data_plus) + 600 * life.data_plus
    unused_pass = UNUSED_PASS if life.world_pass and life.trip_day - life.day > 60 else 0.0
    return (own - cheapest(life, plans)) / 100 + unused_pass


def cheapest(life: Life, plans: Mapping[str, Tariff]) -> float:
    """Cents a month on the plan that suits their true use best. Neither that use nor the plans change in a life."""
    if life.cheapest is None:
        use = (life.traits.data_gb, life.traits.minutes)
        life.cheapest = min(plan.charge(*use) for plan in plans.values())
    return life.cheapest


def leaving_rate(life: Life, overpaid: float, world: World) -> float:
    """Chance to leave on one day; `overpaid` is what `overpays` says of this life.

    Bad experience and tone-deaf selling (both in `bother`) and overpaying drive it; a running contract holds, and so do
    gifts and advice that was in their own interest.
    """
    traits = life.traits
    push = 0.07 * world.sensitivity * traits.sensitivity * min(30.0, overpaid)
    push += 0.9 * life.bother / (traits.patience * world.patience)
    held = 0.25 if life.contract_end_day - life.day > 30 else 2.0
    kept = 0.55 if life.credit_until > life.day or life.gift_until > life.day else 1.0
    if life.advised_until > life.day:
        kept *= 1.0 - 0.4 * world.trust
    return min(0.05, 0.00035 * held * kept * exp(min(push, 4.0)))
