"""Policies live with the same customers: the oracle gains most, rules are kept, and the seed decides everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from features.spec import FeatureSpec
from nba.cli.memory import LocalMemory
from nba.config import Config
from nba.decide import Case, Decider
from nba.domain import Scores
from nba.errors import InputError
from nba.simulate.contest import contest, lead_of, share_of_oracle
from nba.simulate.policies import (
    Engine,
    HighestMargin,
    HighestMarginUnruled,
    Nothing,
    Oracle,
    Policy,
    RandomEligible,
    RandomPassed,
)
from nba.simulate.population import World
from nba.simulate.sensitivity import GRID, with_prices, worlds
from nba.simulate.value import market_of
from nba.simulate.world import Result, run

START_MS = 1_763_856_000_000  # 23 November 2025
Run = Callable[..., Result]


class Untaught:
    """A teacher who only notes what came in: the engine then answers by base rates."""

    def __init__(self) -> None:
        self.rounds: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        self.rounds.append((rows, left))

    def score(self, case: Case) -> Scores | None:
        return None


@pytest.fixture(scope="module")
def live_with(telco: Config) -> Run:
    def play(policy: Policy, customers: int = 120, **more: Any) -> Result:
        memory = LocalMemory(FeatureSpec(telco.features))
        return run(telco, policy, memory, customers=customers, seed=2, start_ms=START_MS, rounds=3, **more)

    return play


@pytest.fixture(scope="module")
def results(telco: Config, live_with: Run) -> dict[str, Result]:
    policies: list[Policy] = [
        Nothing(),
        RandomEligible(),
        RandomPassed(),
        HighestMarginUnruled(),
        Oracle(market_of(telco.catalog), World()),
    ]
    return {policy.name: live_with(policy) for policy in policies}


def test_the_oracle_leaves_nothing_on_the_table(results: dict[str, Result]) -> None:
    """Its regret is 0 by definition; everybody else's is not."""
    assert results["oracle"].regret == 0.0
    assert results["oracle"].share_by_round == [1.0, 1.0, 1.0]
    assert max(map(abs, results["random passed"].share_by_round)) < 0.5
    assert all(result.regret > 0 for name, result in results.items() if name != "oracle")
    assert results["oracle"].value > max(results["nothing"].value, results["highest margin, no rules"].value)


def test_regret_is_told_by_what_was_said_and_what_the_oracle_would_have_said(results: dict[str, Result]) -> None:
    """The parts, largest first, add up to the whole where all of them are shown; the oracle has none."""
    parts = results["nothing"].regret_by_choice
    assert list(parts.values()) == sorted(parts.values(), reverse=True)
    assert all(name.startswith("nothing > ") for name in parts)
    assert sum(parts.values()) == pytest.approx(results["nothing"].regret, abs=0.5)
    assert results["oracle"].regret_by_choice == {}


def test_rules_are_kept_by_all_who_ask_the_funnel(results: dict[str, Result]) -> None:
    """No sale into an open issue and no dominated plan; the policies without rules show that the counter counts."""
    kept = ("nothing", "random passed", "oracle")
    assert all((result.violations == 0) == (name in kept) for name, result in results.items())
    assert results["highest margin, no rules"].violations > 50


def test_eligible_is_what_a_customer_may_have_whatever_the_other_rules_say(results: dict[str, Result]) -> None:
    """Only the first stage of the funnel: it speaks in more calls, and what the later stages are for it does."""
    bare, ruled = results["random eligible"], results["random passed"]
    assert bare.offers / bare.calls > ruled.offers / ruled.calls
    assert 0 < bare.violations < results["highest margin, no rules"].violations


def test_tone_deaf_selling_loses_customers(results: dict[str, Result]) -> None:
    """Selling without rules keeps fewer than saying nothing at all."""
    assert results["highest margin, no rules"].kept <= results["nothing"].kept
    assert results["random eligible"].kept > results["nothing"].kept


def test_customers_save_only_by_what_they_are_told(results: dict[str, Result]) -> None:
    """Without offers nobody's plan changes, so nobody saves."""
    assert results["nothing"].saved == 0.0
    assert results["random eligible"].saved > 0


def test_the_same_seed_gives_the_same_world(live_with: Run) -> None:
    """To the cent."""
    first, second = (live_with(RandomEligible(), customers=25) for _ in range(2))
    assert first.as_json() == second.as_json()


def test_the_engine_runs_for_real_and_hears_what_came_of_it(telco: Config, live_with: Run) -> None:
    """Its rows carry its own propensities and columns; it learns between the rounds, of churn too."""
    teacher = Untaught()
    result = live_with(Engine(Decider(telco), teacher))
    assert len(teacher.rounds) == 2
    rows, left = teacher.rounds[0]
    assert {row["policy"] for row in rows} == {"this engine"}
    assert all(0 < row["propensity"] <= 1 for row in rows)
    assert f"x.{telco.features.columns[0].name}" in rows[0]
    assert {entry["outcome"] for _, left in teacher.rounds for entry in left} == {"churned", "stayed"}
    assert max(row["at"] for row in rows) <= max(entry["at"] for entry in left)
    assert result.violations == 0
    assert len(result.share_by_round) == len(result.declared_share_by_round) == 3


def test_what_is_earned_is_what_the_plans_bring(telco: Config, live_with: Run) -> None:
    """A policy that sells dearly earns at most the highest margin for each customer and month."""
    result = live_with(HighestMargin(), customers=30)
    assert 0 < result.value < 30 * 12 * 4 * 60


def test_the_grid_changes_one_setting_at_a_time() -> None:
    """Plain world first; every other one differs from it in exactly the named setting."""
    made = list(worlds())
    assert made[0] == ("as shipped", World())
    assert len(made) == 1 + sum(len(values) for values in GRID.values())
    for name, world in made[1:]:
        changed = [field for field in GRID if getattr(world, field) != getattr(World(), field)]
        assert changed == [name.split()[0]]


def test_prices_can_be_scaled(telco: Config) -> None:
    """Plans cost and earn by the factor; add-ons stay."""
    dear = with_prices(telco, 1.5).catalog.by_id
    assert dear["flex-10"].price_month == 44.85
    assert dear["flex-10"].margin_month == 21.0
    assert dear["world-pass"].price_month == 9.9


def test_a_contest_gives_one_result_for_each_contender(telco: Config) -> None:
    """In the order asked for, and how far one comes from random, of either kind, towards the oracle."""
    names = ["random", "random-passed", "acceptance", "oracle"]
    found = dict(
        contest(
            telco, lambda: LocalMemory(FeatureSpec(telco.features)), lambda name: Untaught(),
            customers=20, seed=4, start_ms=START_MS, contenders=tuple(names), days=90, rounds=2,
        )
    )  # fmt: skip
    assert list(found) == names
    assert share_of_oracle(found, "random") in (0.0, None)
    assert share_of_oracle(found, "random-passed", base="random-passed") in (0.0, None)
    assert share_of_oracle(found, "oracle") in (1.0, None)


def test_a_lead_is_as_sure_as_its_customers_agree() -> None:
    """Luck that a customer has under both policies is no doubt; customers who differ are; the mean is the gap of the values."""
    luck = np.random.default_rng(5).normal(500.0, 300.0, 400)
    gap = 2.0 + np.tile([-3.0, 3.0], 200)
    values = {"engine": luck + gap, "alike": luck, "other": luck[::-1]}
    found = {name: Result(name, 400, by_customer=list(value)) for name, value in values.items()}
    mean, low, high = lead_of(found, "engine", over="alike")
    assert mean == pytest.approx(2.0) and (low, high) == pytest.approx((2.0 - 0.294, 2.0 + 0.294), abs=0.001)
    assert lead_of(found, "engine", over="other")[1] < 0.0


def test_an_unknown_contender_is_refused_by_name(telco: Config) -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match="'luck' is no contender: choose from nothing, random"):
        next(
            contest(
                telco, lambda: LocalMemory(FeatureSpec(telco.features)), lambda name: Untaught(),
                customers=1, seed=1, start_ms=START_MS, contenders=("luck",),
            )
        )  # fmt: skip
