"""What a customer is worth in truth: the margin they bring until they leave, looked at over the three years to come.

Margins are those of the catalog. Money for gigabytes beyond the plan is left out: it pays for the network. A call costs
`CALL_COST`, so a fault that is put right saves the calls it would have caused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from nba.candidates import Candidate
from nba.config import Catalog
from nba.simulate.calls import Ringing
from nba.simulate.population import Life, Tariff, World, tariffs
from nba.simulate.truth import accept_probability, after_call, bother_after_no, is_fixed_by, leaving_rate, overpays

CALL_COST = 4.0  # euros
YEARS = 3  # how far ahead a customer's worth is counted
FAULT_COST = 2.5 * CALL_COST  # calls that an open fault still causes
FAULT_BOTHER = 0.6  # and what it still does to them: three weeks of symptoms, every other time a complaint
_MONTH = 365 / 12
_ADDONS = (
    "world-pass", "family-line", "data-plus-10", "renewal-phone", "loyalty-credit", "double-data", "autopay", "wifi-calling",
)  # fmt: skip


@dataclass(frozen=True)
class Market:
    """The plans and margins of a catalog."""

    plans: dict[str, Tariff]
    margins: Mapping[str, float]

    def margin_month(self, life: Life) -> float:
        """Euros a month that this customer brings as they stand."""
        has = (
            life.world_pass, life.lines > 1, life.data_plus, life.phone,
            life.credit_until > life.day, life.gift_until > life.day, life.autopay, life.wifi_calling,
        )  # fmt: skip
        extra = sum(self.margins.get(offer, 0.0) for offer, holds in zip(_ADDONS, has, strict=True) if holds)
        return self.margins[life.plan] + extra


def market_of(catalog: Catalog) -> Market:
    """The market that a catalog makes."""
    return Market(tariffs(catalog), {offer.id: offer.margin_month for offer in catalog.offers})


def worth(life: Life, market: Market, world: World) -> float:
    """Expected euros of the `YEARS` ahead: each month's margin times the chance to be still here.

    Month by month by the same rules as life itself, while bother fades and gifts, credits, contracts and the memory of
    good advice end when they end.
    """
    if life.gone:
        return 0.0
    ahead = copy(life)
    ahead.bother += FAULT_BOTHER if life.fault else 0.0
    overpaid = overpays(life, market.plans)
    stays, total, margin = 1.0, 0.0, market.margin_month(ahead)
    changes = max(life.credit_until, life.gift_until, life.trip_day if life.pass_paused else 0)
    for month in range(1, 12 * YEARS + 1):
        stays *= max(0.0, 1.0 - _MONTH * leaving_rate(ahead, overpaid, world))
        ahead.world_pass = life.world_pass or (life.pass_paused and ahead.day >= life.trip_day)
        margin = market.margin_month(ahead) if changes > life.day else margin  # nothing else in it changes
        total += stays * margin
        ahead.bother *= 0.63
        ahead.day = life.day + round(month * _MONTH)
    return total - (FAULT_COST if life.fault else 0.0)


def gains(life: Life, offered: Sequence[Candidate], call: Ringing, market: Market, world: World) -> list[float]:
    """What making each of these offers now adds to `worth`, taken or not; saying nothing adds 0."""
    before = worth(life, market, world) if offered else 0.0
    declined = {life.bother: before}  # of what declining changes only the bother counts for the worth
    found = []
    for candidate in offered:
        chance = accept_probability(life, candidate, call.occasion, market.plans, world)
        bother = bother_after_no(life, candidate.offer, call.occasion)
        if bother not in declined:
            declined[bother] = worth(_with(life, bother), market, world)
        taken = worth(_accepting(life, candidate, call), market, world)
        found.append(chance * taken + (1 - chance) * declined[bother] - before)
    return found


def _with(life: Life, bother: float) -> Life:
    changed = copy(life)
    changed.bother = bother
    return changed


def _accepting(life: Life, offered: Candidate, call: Ringing) -> Life:
    changed = copy(life)
    fixed = is_fixed_by(life, offered.offer)
    after_call(changed, offered.offer, call.occasion, accepted=True)
    if fixed:
        changed.fault = changed.issue = None
    return changed
