"""A history of simulated calls: every offer of the shop is met, propensities are exact, and it can be told again."""

from __future__ import annotations

from collections import Counter

import pytest

from features.spec import FeatureSpec
from nba.cli.memory import LocalMemory
from nba.config import Config
from nba.decide import Decider, Request
from nba.simulate.history import History, history

NOW_MS = 1_795_420_800_000  # 23 November 2026


@pytest.fixture(scope="module")
def told(telco: Config) -> tuple[History, LocalMemory]:
    memory = LocalMemory(FeatureSpec(telco.features))
    return history(telco, 700, 1, NOW_MS, memory, calls=4), memory


def test_every_shipped_offer_is_reachable(telco: Config, told: tuple[History, LocalMemory]) -> None:
    """Somebody meets each of the 24 offers."""
    met = Counter(row["offer_id"] for row in told[0].rows)
    assert set(met) == {offer.id for offer in telco.catalog.offers}


def test_every_offer_that_is_met_has_a_true_sentence(telco: Config, told: tuple[History, LocalMemory]) -> None:
    """For simulated customers as they stand now no offer that passes the funnel fails for want of evidence, in any language."""
    decider = Decider(telco)
    for customer_id in list(told[0].profiles)[:300]:
        known = told[1].read(customer_id, NOW_MS)
        for intent, locale in (("plan", "en"), ("technical", "de")):
            asked = Request(customer_id, NOW_MS, "d", context={"intent": intent}, locale=locale, limit=24)
            decision = decider.decide(decider.case(known, asked), None)
            assert not [w for w in decision.withheld if w.stage == "evidence"]
            assert all(
                "{" not in s.say and s.say.startswith(str(known.profile["salutation"])) for s in decision.suggestions
            )


def test_rows_are_those_of_the_decision_log(telco: Config, told: tuple[History, LocalMemory]) -> None:
    """Required columns, propensities in (0, 1], every x column of the vector, times in order."""
    columns = told[0].columns()
    assert {f"x.{column.name}" for column in telco.features.columns} <= set(columns)
    assert all(0 < p <= 1 for p in columns["propensity"])
    assert columns["at"] == sorted(columns["at"])
    assert len(set(columns["decision_id"])) == len(columns["decision_id"])
    assert set(columns["outcome"]) == {"accepted", "declined"}


def test_a_history_is_told_twice_the_same(telco: Config) -> None:
    """The seed decides everything."""
    first, second, other = (
        history(telco, 25, seed, NOW_MS, LocalMemory(FeatureSpec(telco.features))) for seed in (5, 5, 6)
    )
    assert first.activity == second.activity
    assert repr(first.rows) == repr(second.rows)  # NaN is not equal to itself
    assert first.activity != other.activity


def test_the_model_cannot_see_the_truth(told: tuple[History, LocalMemory]) -> None:
    """No hidden trait is a column."""
    hidden = {"traits", "bother", "sensitivity", "patience", "openness", "fault", "data_gb"}
    assert not hidden & {name.removeprefix("x.") for name in told[0].columns()}
