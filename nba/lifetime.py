"""What a customer brings until they leave, as things stand and after a yes: their margin times the chance to be still here.

    leaving  = leave_month * exp(overpaid_month * overpaid) * [bound.times while bound] * [times for for_months after a yes]
    lifetime = sum over the stretches in which nothing changes of  margin * here * (1 - exp(-leaving * months)) / leaving

`here`: the chance to be still a customer when the stretch begins. That is a proportional hazard (Cox 1972), constant by
stretches, its survival integrated over `months` ahead: the customer lifetime value, undiscounted. `overpaid`: money a month
above the cheapest plan of the catalog for the same use (whether or not it may be offered; one with `competes: false` is left
out), and what a better use of what they have would save. The rates are the policy's (`worth.lifetime`); the costs and the
contract's end are known. A yes changes margin, overpaid, and how long they are bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, expm1
from typing import NamedTuple

from nba.candidates import Candidate
from nba.config import Lifetime, Offer
from nba.rules import Value

DAYS_A_MONTH = 365.0 / 12.0
_LONGEST_DAYS = 36_500.0


class Standing(NamedTuple):
    """How a customer stands with us before anything is said. Money a month in the catalog's currency.

    `margin`: of their own plan, 0 without one in the catalog. `month`: that and the policy's goodwill, 0 of who has no plan at
    all. `price`: of the own plan, None where not known. `overpaid`, `contract_days`: at least 0; until the minimum term ends, 0
    where that is not known. `lifetime`: money over the policy's months, as things stand.
    """

    margin: float
    month: float = 0.0
    price: float | None = None
    overpaid: float = 0.0
    contract_days: float = 0.0
    lifetime: float = 0.0


class _Offered(NamedTuple):
    """What is the same for every customer. `is_rival`: a plan that others are held against, see `competes` in catalog.yaml.

    `better_use`: of what they have; a gift comes from us and not from what they overpay.
    """

    is_plan: bool
    is_rival: bool
    better_use: bool
    binds_days: float
    extends_days: float
    times: float
    times_months: float
    margin_months: float


class Lifetimes:
    """The rates of a policy, asked of one customer after the other."""

    def __init__(self, rates: Lifetime) -> None:
        self._rates, self._months = rates, rates.months
        self._bound_days, self._bound_times = rates.bound.until_days, rates.bound.times
        self._offers: dict[str, _Offered] = {}

    def standing(
        self,
        candidates: Sequence[Candidate],
        sayable: Sequence[Candidate],
        own: Offer | None,
        columns: Mapping[str, Value],
    ) -> Standing:
        """Of the customer of a call. `candidates`: one an offer; `sayable`: those that passed; `columns`: as models see them."""
        rates = self._rates
        if own is None:
            is_ours = columns.get("plan") is not None  # on a plan that the catalog no longer has
            return self._with_lifetime(Standing(0.0, rates.goodwill_month if is_ours else 0.0))
        price = own.price_month
        overpaid = self._overpaid(candidates, price, plans=True) + self._overpaid(sayable, price, plans=False)
        days = _days(columns.get(rates.contract_end_days))
        standing = Standing(own.margin_month, own.margin_month + rates.goodwill_month, price, overpaid, days)
        return self._with_lifetime(standing)

    def gain(self, candidate: Candidate, standing: Standing) -> float:
        """What a yes adds to the lifetime; below 0 where it gives away more than it keeps."""
        overpaid, days = self.after(candidate, standing)
        offered = self._offered(candidate.offer)
        after = self._lifetime(standing.month, overpaid, days, offered, candidate.margin_delta_month)
        return after - standing.lifetime

    def after(self, candidate: Candidate, standing: Standing) -> tuple[float, float]:
        """How a customer stands after a yes: what they overpay a month, and for how many days they are bound."""
        offered = self._offered(candidate.offer)
        overpaid = max(0.0, standing.overpaid - self._saved(candidate, offered, standing.price))
        return overpaid, max(standing.contract_days + offered.extends_days, offered.binds_days)

    def _with_lifetime(self, standing: Standing) -> Standing:
        month, overpaid, days = standing.month, standing.overpaid, standing.contract_days
        return standing._replace(lifetime=self._lifetime(month, overpaid, days, _NOTHING_SAID, 0.0))

    def _offered(self, offer: Offer) -> _Offered:
        found = self._offers.get(offer.id)
        if found is None:
            change, is_plan = self._rates.change_of(offer), offer.is_plan
            lasts = self._months if change.lasts_months is None else change.lasts_months
            better_use = offer.kind == "optimize" and not is_plan
            found = self._offers[offer.id] = _Offered(
                is_plan, is_plan and offer.is_alternative, better_use, change.binds_days, change.extends_days, change.times,
                change.for_months, lasts,
            )  # fmt: skip
        return found

    def _overpaid(self, candidates: Sequence[Candidate], own_price: float | None, *, plans: bool) -> float:
        """What the best of the other plans would take off, or the best of the better uses; 0 where none takes off anything."""
        largest = 0.0
        for candidate in candidates:
            saving = candidate.saving_month
            if saving is not None and saving > 0.0:
                offered = self._offered(candidate.offer)
                if offered.is_rival if plans else offered.better_use:
                    largest = max(largest, self._saved(candidate, offered, own_price))
        return largest

    def _saved(self, candidate: Candidate, offered: _Offered, own_price: float | None) -> float:
        """What a yes takes off the overpaid: the difference in price, and of charges beyond it the share that comes again."""
        saving, price = candidate.saving_month, candidate.offer.price_month
        if saving is None or not (offered.is_plan or offered.better_use):
            return 0.0
        if offered.better_use or own_price is None or price is None:
            return saving
        charges = saving - (own_price - price)  # below 0: the other plan would cause them, and they are counted in full
        return own_price - price + (self._rates.charges_last * charges if charges > 0.0 else charges)

    def _lifetime(
        self, month: float, overpaid: float, contract_days: float, offered: _Offered, margin_delta: float
    ) -> float:
        rates, months = self._rates, self._months
        free = rates.leave_month * exp(rates.overpaid_month * min(overpaid, rates.overpaid_at_most))
        bound_months = (contract_days - self._bound_days) / DAYS_A_MONTH
        times_months, margin_months = offered.times_months, offered.margin_months
        total, here, start = 0.0, 1.0, 0.0
        for change_at in sorted((bound_months, times_months, margin_months, months)):
            end = min(change_at, months)
            if end <= start:
                continue
            leaving = free * self._bound_times if start < bound_months else free
            leaving = leaving * offered.times if start < times_months else leaving
            brings = month + margin_delta if start < margin_months else month
            gone = -expm1(-leaving * (end - start))
            total += brings * here * gone / leaving
            here, start = here * (1.0 - gone), end
        return total


def _days(value: Value) -> float:
    """Until a contract ends; 0 where it has ended or nothing is known of it."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return float(min(value, _LONGEST_DAYS)) if known else 0.0  # type: ignore[type-var, arg-type]


_NOTHING_SAID = _Offered(False, False, False, 0.0, 0.0, 1.0, 0.0, 0.0)
