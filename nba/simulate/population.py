"""Who the simulated customers are: what anyone may know of them, and the needs that stay hidden from every model.

Everything is drawn from `numpy.random.Generator`s seeded by (seed, customer, day), so customer 17 of seed 3 is the same
person in a population of 100 and of 10,000, and has the same good and bad luck under every policy that is tried on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil

import numpy as np

from nba.clock import DAY_MS
from nba.config import Catalog, Offer
from nba.rules import Value

_GIVEN = {"Mr.": ("Jonas", "Emre", "Paul", "Luca", "Omar", "Felix", "Henry", "Marek", "Samuel", "Viktor"),
          "Ms.": ("Anna", "Leyla", "Clara", "Sofia", "Ines", "Marie", "Ruth", "Julia", "Amira", "Helen")}  # fmt: skip
_FAMILY = (
    "Adler", "Berger", "Conrad", "Demir", "Ebert", "Falk", "Graf", "Haas", "Ilic", "Jansen", "Keller", "Lorenz", "Moser",
    "Novak", "Otto", "Petersen", "Quandt", "Reuter", "Schubert", "Thiel", "Ulrich", "Vogt", "Weber", "Yildiz", "Ziegler",
)  # fmt: skip
_GERMAN = {"Mr.": "Herr", "Ms.": "Frau"}
_BLOCK_DAYS = 32


@dataclass(frozen=True, slots=True)
class World:
    """The settings of a world; 1.0 is the world as shipped. Rates are a day and a customer unless said otherwise.

    `sensitivity`: how much a euro moves people. `patience`: how much they bear before they leave. `trust`: how much
    honest advice, once taken, binds them. `seasonality`: swing of data use over the year, as a share. `faults`: how
    often something breaks. `calls_a_year`: calls that need no occasion.
    """

    sensitivity: float = 1.0
    patience: float = 1.0
    trust: float = 1.0
    seasonality: float = 0.15
    faults: float = 1.0
    calls_a_year: float = 6.0


@dataclass(frozen=True, slots=True)
class Tariff:
    """A plan as the billing knows it. Money in cents; `minutes` None: all calls are included."""

    offer_id: str
    price: int
    data_gb: float
    gb_price: int
    minutes: float | None
    minute_price: int

    def charge(self, data_gb: float, minutes: float, extra_gb: float = 0.0) -> float:
        """Cents of one month with this use."""
        beyond = max(0.0, ceil(data_gb) - self.data_gb - extra_gb) * self.gb_price
        talk = 0.0 if self.minutes is None else max(0.0, minutes - self.minutes) * self.minute_price
        return self.price + beyond + talk


@dataclass(frozen=True, slots=True)
class Traits:
    """What a customer is like. All of it is hidden from the engine but the name.

    `data_gb`, `minutes`: true monthly use at the start; `growth`: factor a month on the data. `sensitivity`: how much a
    euro a month counts. `patience`: how much goes wrong before they go. `openness`: how gladly they hear an offer.
    `quality`: of the network where they live, 0 … 1. `travel`: trips a year outside the EU.
    """

    data_gb: float
    minutes: float
    growth: float
    sensitivity: float
    patience: float
    openness: float
    quality: float
    travel: float
    browsing: float
    family: bool
    wants_phone: bool
    router: bool


@dataclass(slots=True)
class Life:
    """One customer as they stand at the end of day `day` (UTC days since 1970). Changed by living and by accepting.

    `bother`: what has gone wrong for them and is not forgotten, in "complaints"; halves in a month and a half.
    `pass_paused`: their World Pass comes back with the next trip.
    `earned`, `saved`: euros so far: margin for the operator, and bills below those of the plan they began on. `cheapest`:
    see `truth.cheapest`.
    """

    customer_id: str
    names: dict[str, Value]
    traits: Traits
    seed: int
    number: int
    plan: str
    first_plan: str
    day: int
    since_day: int
    tenure_days: int
    contract_end_day: int
    autopay: bool
    wifi_calling: bool
    world_pass: bool
    lines: int
    serial: int = 0
    phone: bool = False
    pass_paused: bool = False
    data_plus: bool = False
    gift_until: int = 0
    credit_until: int = 0
    advised_until: int = 0
    month_mb: int = 0
    month_minutes: int = 0
    month_cents: int = 0
    month_top_ups: int = 0
    bill_error: int = 0
    fault: str | None = None
    fault_since: int = 0
    issue: str | None = None
    issue_since: int = 0
    trip_day: int = 0
    bother: float = 0.0
    last_bills: list[int] = field(default_factory=list)
    declined: dict[str, int] = field(default_factory=dict)
    called_day: int = 0
    calling: bool = False
    gone: bool = False
    earned: float = 0.0
    saved: float = 0.0
    cheapest: float | None = None
    block: int = -1
    chances: list[list[float]] = field(default_factory=list)
    amounts: list[float] = field(default_factory=list)

    def luck(self) -> tuple[list[float], float]:
        """Today's twelve uniform numbers and today's share of the usual use (mean 1): the same whatever happened before."""
        block, place = divmod(self.day, _BLOCK_DAYS)
        if block != self.block:
            rng = np.random.default_rng([self.seed, self.number, 1, block])
            self.block = block
            self.chances = rng.random((_BLOCK_DAYS, 12)).tolist()
            self.amounts = rng.gamma(4.0, 0.25, _BLOCK_DAYS).tolist()
        return self.chances[place], self.amounts[place]

    def dice(self) -> np.random.Generator:
        """What a call today is drawn from, apart from everything else."""
        return np.random.default_rng([self.seed, self.number, 2, self.day])

    def next_id(self) -> str:
        """A fresh event id."""
        self.serial += 1
        return f"{self.customer_id}-{self.serial}"


def tariffs(catalog: Catalog) -> dict[str, Tariff]:
    """The plans of a catalog that say how much data they include."""
    return {offer.id: _tariff(offer) for offer in catalog.offers if offer.is_plan and "data_gb" in offer.attributes}


def _tariff(offer: Offer) -> Tariff:
    given = {name: float(value) for name, value in offer.attributes.items() if not isinstance(value, str)}
    return Tariff(
        offer_id=offer.id,
        price=round((offer.price_month or 0.0) * 100),
        data_gb=given["data_gb"],
        gb_price=round(given.get("gb_price", 0.0) * 100),
        minutes=given.get("minutes_included"),
        minute_price=round(given.get("minute_price", 0.0) * 100),
    )


def populate(plans: dict[str, Tariff], count: int, seed: int, day: int) -> list[Life]:
    """`count` customers as they stand at the end of `day`, before they have done anything."""
    return [_born(plans, number, seed, day) for number in range(count)]


def _born(plans: dict[str, Tariff], number: int, seed: int, day: int) -> Life:
    rng = np.random.default_rng([seed, number, 0])
    traits = _traits(rng)
    tenure = int(rng.exponential(900)) + 40
    names = _names(rng)
    plan = _first_plan(list(plans.values()), traits, rng)
    life = Life(
        customer_id=f"sim-{seed}-{number}",
        names=names,
        traits=traits,
        seed=seed,
        number=number,
        plan=plan,
        first_plan=plan,
        day=day,
        since_day=day,
        tenure_days=tenure,
        contract_end_day=day + int(rng.integers(1, 731)),
        autopay=bool(rng.random() < 0.7),
        wifi_calling=bool(rng.random() < 0.4),
        world_pass=bool(rng.random() < (0.5 if traits.travel > 1 else 0.06)),
        lines=2 if traits.family and rng.random() < 0.4 else 1,
    )
    life.trip_day = day + _until_trip(rng, traits.travel)
    return life


def _names(rng: np.random.Generator) -> dict[str, Value]:
    salutation = "Mr." if rng.random() < 0.5 else "Ms."
    given = str(rng.choice(_GIVEN[salutation]))
    locale = "de" if rng.random() < 0.5 else "en"
    shown = _GERMAN[salutation] if locale == "de" else salutation
    return {"salutation": shown, "given_name": given, "family_name": str(rng.choice(_FAMILY)), "locale": locale}


def _traits(rng: np.random.Generator) -> Traits:
    return Traits(
        data_gb=float(np.clip(rng.lognormal(2.0, 1.1), 0.2, 140)),
        minutes=float(np.clip(rng.lognormal(4.9, 0.8), 5, 2500)),
        growth=float(rng.normal(1.012, 0.015)),
        sensitivity=float(rng.gamma(4.0, 0.25)),
        patience=float(rng.gamma(4.0, 0.25)) + 0.2,
        openness=float(rng.normal(0.0, 0.5)),
        quality=float(rng.beta(5, 1.5)),
        travel=float(rng.exponential(0.9)) if rng.random() < 0.45 else 0.0,
        browsing=float(rng.gamma(2.0, 0.5)),
        family=bool(rng.random() < 0.3),
        wants_phone=bool(rng.random() < 0.25),
        router=bool(rng.random() < 0.35),
    )


def _first_plan(plans: Sequence[Tariff], traits: Traits, rng: np.random.Generator) -> str:
    """Most people sit near the plan that suits them; a third pays for more than they use, a sixth for less."""
    by_size = sorted(plans, key=lambda plan: plan.data_gb)
    costs = [plan.charge(traits.data_gb, traits.minutes) for plan in by_size]
    best = int(np.argmin(costs))
    step = int(rng.choice([-1, 0, 1, 2], p=[0.16, 0.50, 0.22, 0.12]))
    chosen = min(max(best + step, 0), len(by_size) - 1)
    # Nobody stays on a plan that is too small when that costs them much more.
    return by_size[chosen if costs[chosen] < costs[best] + 3000 else best].offer_id


def _until_trip(rng: np.random.Generator, travel: float) -> int:
    return int(rng.exponential(365.0 / travel)) + 12 if travel > 0.05 else 10**6


def profile_of(life: Life, plans: Mapping[str, Tariff]) -> dict[str, Value]:
    """The profile that the operator keeps of this customer, as PUT /v1/customers takes it."""
    return {
        **life.names,
        "plan": life.plan,
        "monthly_price": plans[life.plan].price / 100,
        "tenure_months": float(life.tenure_days // 30),
        "contract_end_days": float(max(0, life.contract_end_day - life.day)),
        "autopay": life.autopay,
        "wifi_calling": life.wifi_calling,
        "world_pass": life.world_pass,
        "home_router": life.traits.router,
        "lines": float(life.lines),
        "addons_month": round(addons_cents(life) / 100, 2),
        "extra_data_gb": extra_gb(life, plans),
    }


def addons_cents(life: Life) -> int:
    """What the bill carries each month beside the plan: passes, a second line, a phone."""
    return 990 * life.world_pass + 1290 * (life.lines > 1) + 600 * life.data_plus + 1200 * life.phone


def extra_gb(life: Life, plans: Mapping[str, Tariff]) -> float:
    """Gigabytes a month beyond the plan: the add-on, and double data while it lasts."""
    gift = plans[life.plan].data_gb if life.gift_until > life.day else 0.0
    return 10.0 * life.data_plus + gift


def day_of_ms(at_ms: int) -> int:
    """The UTC day of a moment, counted from 1970."""
    return at_ms // DAY_MS


def calendar(day: int) -> datetime:
    """The date of a day, at midnight UTC."""
    return datetime.fromtimestamp(day * DAY_MS // 1000, UTC)


@lru_cache(maxsize=4096)
def day_of_month(day: int) -> int:
    """1 … 31."""
    return calendar(day).day
