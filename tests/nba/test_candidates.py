"""What an offer would cost one customer: the same number wherever it is asked for."""

from __future__ import annotations

import pytest

from kits.shop import CATALOG, case_for, customer
from nba.candidates import make_candidate, rule_values
from nba.decide import Decider
from nba.load import load_config

MORE = """
  - {id: more, kind: cross_sell, title: More, margin_month: 2, cost_month: "own_cost_month + 5.0"}
  - {id: gift, kind: cross_sell, title: Gift, price_month: 0, covers: "features.data_gb_peak < 99.0"}
"""


@pytest.fixture
def decider(shop) -> Decider:
    """The shop with an add-on by formula and one that is free."""
    return Decider(load_config(shop(catalog=CATALOG + MORE)))


@pytest.mark.parametrize("used", [2150.0, 30_000.0, float("nan")])
@pytest.mark.parametrize("plan", ["l-40", "flex-10", "of another age"])
def test_one_offer_alone_is_as_it_is_among_all(decider: Decider, plan: str, used: float) -> None:
    """Training and estimates that ask of one offer are told what serving is told of it."""
    of = customer(profile={"plan": plan}, features={"data_mb_m1": used, "data_gb_peak": used / 1024})
    case, rules = case_for(decider, of), decider.rules
    for place, whole in enumerate(case.candidates):
        values = rule_values(of.features, of.profile, {}, case.own)
        assert make_candidate(rules, values, of.profile, place) == whole


@pytest.mark.parametrize("offer", ["gift", "line-check"])
def test_what_is_free_costs_what_they_pay_already(decider: Decider, offer: str) -> None:
    """In all they pay their own plan; whose plan is unknown, of them only the price is."""
    for plan, cost in (("l-40", 41.90), ("of another age", decider.config.catalog.by_id[offer].price_month)):
        case = case_for(decider, customer(profile={"plan": plan}))
        assert next(c for c in case.candidates if c.offer.id == offer).cost_month == cost
