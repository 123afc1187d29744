"""What is best, by the formula that stands in the open, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kits.shop import POLICY, case_for
from nba.arbitration import Arbiter, Worths
from nba.candidates import Candidate
from nba.config import Offer, Worth
from nba.decide import Decider
from nba.domain import Scores
from nba.lifetime import Standing
from nba.load import load_config

WORTH = "{horizon_months: 12, margin: 1.0, saving: 1.0, of_kind: {resolve: 20, escalate: 5}}"


def candidate(margin_delta: float, saving: float | None) -> Candidate:
    return Candidate(
        Offer.model_validate({"id": "o", "kind": "optimize", "title": "o"}), 10.0, saving, True, margin_delta
    )


def test_the_worth_agrees_with_its_formula_by_hand() -> None:
    """12 months: margin 2 x 0.9 x -4 x 12, stay 1 x (0.9 - 0.6) x 18 x 12, saving 0.5 x 12 x 12, 7, 1.5 months of 18."""
    weights = {
        "margin": 2.0,
        "stay": 1.0,
        "saving": 0.5,
        "of_kind": {"optimize": 7.0},
        "keeps_months": {"optimize": 1.5},
    }
    worth = Worth.model_validate({"horizon_months": 12, **weights})
    found = Worths(worth).of(candidate(-4.0, 12.0), Standing(18.0), 0.9, 0.6)
    assert found == pytest.approx(-86.4 + 64.8 + 72.0 + 7.0 + 27.0)


def with_worth(shop, worth: str) -> Decider:
    return Decider(load_config(shop(policy=POLICY.replace(WORTH, worth))))


def market(shop, worth: str) -> list[str]:
    """Mr. Kraus overpays by 12 a month; what is said first in a market with these weights and this loyalty."""
    decider = with_worth(shop, worth)
    accept = np.array([0.0, 0.4, 0.2, 0.0, 0.0])
    stays = np.full(5, 0.6), np.where(np.arange(5) == 1, 0.95, 0.6)
    scores = Scores(accept, stay_if_accepted=stays[1], stay_if_not=stays[0])
    return [s.offer_id for s in decider.decide(case_for(decider), scores).suggestions]


def test_the_honest_cheaper_plan_wins_where_it_keeps_the_customer(shop) -> None:
    """It earns 4 less a month and keeps most of the customers who would leave: worth more than the add-on."""
    assert market(shop, "{horizon_months: 12, saving: 0.0, stay: 1.0}")[0] == "flex-10"


def test_and_loses_where_only_this_months_margin_counts(shop) -> None:
    """Nothing for loyalty, nothing for the customer's saving: it is not even said. The weights say so in the open."""
    assert market(shop, "{horizon_months: 12, saving: 0.0, stay: 0.0}") == ["music"]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-50, 50), st.floats(-50, 50))
def test_a_larger_saving_is_never_worth_less(stay_1: float, stay_0: float, margin: float, saving: float) -> None:
    """With any weight on it, the customer's own saving counts for the offer."""
    worths = Worths(Worth(saving=0.5))
    less, more = (worths.of(candidate(margin, s), Standing(10.0), stay_1, stay_0) for s in (saving, saving + 1))
    assert more > less


def test_levers_and_context_weigh_in_the_open(shop) -> None:
    """A lever multiplies one offer, a context weight a kind while its condition holds; unknown context weighs nothing."""
    weigh = "context: [{when: \"context.intent == 'billing'\", times: 50.0, kinds: [resolve]}]"
    decider = with_worth(shop, "{saving: 0.0, levers: {music: 100.0}, " + weigh + ", of_kind: {resolve: 200}}")
    scores = Scores(np.full(5, 0.2))
    calm = decider.decide(case_for(decider), scores).suggestions
    billing = decider.decide(case_for(decider, context={"intent": "billing"}), scores).suggestions
    assert [calm[0].offer_id, billing[0].offer_id] == ["music", "line-check"]


def test_weights_of_offers_and_kinds_multiply(shop) -> None:
    """Every condition that holds counts, by offer as by kind, and each factor as often as it is named."""
    weigh = "[{when: 'true', times: 3.0, offers: [music]}, {when: 'true', times: 2.0, offers: [music], kinds: [cross_sell]}]"
    decider = with_worth(shop, "{horizon_months: 1, context: " + weigh + ", levers: {music: 0.5}}")
    said = decider.decide(case_for(decider, limit=5), Scores(np.full(5, 0.2))).suggestions
    assert {s.offer_id: s.expected_value for s in said}["music"] == pytest.approx(0.2 * 3.0 * (3 * 2 * 2 * 0.5))


@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_never_and_always_are_probabilities(decider: Decider, sure: float) -> None:
    """A model, or its base rate, that is sure of an offer is believed: nothing else stands in for it."""
    case, arbiter = case_for(decider, limit=5), Arbiter(decider.config.policy)
    ranked = arbiter.rank(case.sayable, Scores(np.full(5, sure)), decider.rules.place, case.values, Standing(18.0))
    assert {(item.accept, item.scored) for item in ranked} == {(sure, True)}
    blind = Scores(np.full(5, np.nan), base=np.full(5, sure))
    ranked = arbiter.rank(case.sayable, blind, decider.rules.place, case.values, Standing(18.0))
    assert {(item.accept, item.scored) for item in ranked} == {(sure, False)}
    stays = Scores(np.full(5, 0.5), np.full(5, sure), np.full(5, 1.0 - sure))
    ranked = arbiter.rank(case.sayable, stays, decider.rules.place, case.values, Standing(18.0))
    assert {(item.accept, item.scored) for item in ranked} == {(0.5, True)}
