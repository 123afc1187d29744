"""Arms of a hundredth of the customers, means near nothing, columns that say nothing: where a quick formula misleads."""

from __future__ import annotations

import numpy as np
import pytest

from nba.cli.trial import _telling
from nba.errors import RefusedError
from nba.evaluate.ab import Metric, check_before, compare, holm

ARMS = ("control", "new")


def test_a_mean_near_nothing_has_no_lift_to_print() -> None:
    """Margins that nearly cancel each other: the difference is told, and no ratio to almost 0."""
    value = np.tile([1.0, -1.0, 1.0, -1.0], 50) + 1e-6
    found = compare(Metric("margin", value, np.ones(200)), np.repeat([0, 1], 100), ARMS)[0]
    assert found.relative_low is None and found.relative_high is None
    assert found.low < 0 < found.high


def test_what_nobody_in_the_control_has_has_no_lift() -> None:
    """A control that is offered nothing earns 0: what CUPED moves that by is no base for a ratio, and no day will change it."""
    rng, arm = np.random.default_rng(6), np.repeat([0, 1], 2000)
    x = rng.normal(size=(4000, 1))
    earned = np.where((arm == 1) & (rng.random(4000) < 0.2 + 0.1 * np.tanh(x[:, 0])), 5.0, 0.0)
    found = compare(Metric("margin", earned, np.ones(4000)), arm, ARMS, before=x + 0.01 * (arm == 0)[:, None])[0]
    assert found.control != 0.0 and found.relative is None
    assert found.says == "not sure yet: nothing of it in one of the arms so far"


def test_what_nobody_has_is_not_waited_for() -> None:
    """Savings of offers that save nothing: 0 in both arms, which more days do not make a difference of."""
    found = compare(Metric("saving", np.zeros(400), np.ones(400)), np.repeat([0, 1], 200), ARMS)
    assert holm(found)[0].says == "nothing of it in either arm: nothing to compare"


@pytest.mark.parametrize("share", [0.005, 0.01, 0.03])
def test_a_rare_feature_does_not_accuse_a_small_hold_out(share: float) -> None:
    """50 held out of 5,000 customers and a feature that few have: chance alone is never called a broken assignment."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        arm = (rng.random(5000) >= 0.01).astype(np.int64)
        rare = (rng.random((5000, 1)) < share).astype(np.float64)
        check_before(["x.rare"], rare, arm, Metric("m", (rng.random(5000) < 0.2).astype(float), np.ones(5000)))


def test_a_few_huge_values_do_not_accuse_a_small_hold_out() -> None:
    """Spending of which a few customers have most, 100 held out of 10,000."""
    rng = np.random.default_rng(2)
    for _ in range(100):
        arm = (rng.random(10_000) >= 0.01).astype(np.int64)
        spent = rng.lognormal(0, 2.5, (10_000, 1))
        check_before(["x.spent"], spent, arm, Metric("m", (rng.random(10_000) < 0.2).astype(float), np.ones(10_000)))


def test_a_small_hold_out_is_accused_where_it_differs() -> None:
    """Half of the 100 held out have what 2 % of the others have; and a column that is the arm itself."""
    rng = np.random.default_rng(3)
    arm = (np.arange(10_000) >= 100).astype(np.int64)
    goal = Metric("m", (rng.random(10_000) < 0.2).astype(float), np.ones(10_000))
    for column in (rng.random(10_000) < np.where(arm == 0, 0.5, 0.02), arm):
        with pytest.raises(RefusedError, match=r"x\.since differs|x\.since is to be from before"):
            check_before(["x.since"], column.astype(float)[:, None], arm, goal)


@pytest.mark.parametrize(("held", "tolerance"), [(0.5, 1.0), (0.05, 0.5)])
def test_what_is_allowed_of_a_guardrail_is_itself_uncertain(held: float, tolerance: float) -> None:
    """Harm just as large as allowed, looked at on 25 days: at most one in forty stops, and in one in forty it is excluded."""
    rng, stopped, excluded = np.random.default_rng(4), 0, 0
    for _ in range(200):
        arm = (rng.random(5000) >= held).astype(np.int64)
        left = (rng.random(5000) < np.where(arm == 1, 0.1 * (1 + tolerance), 0.1)).astype(float)
        says = {
            compare(Metric("left", left[:n], np.ones(n), harm=True), arm[:n], ARMS, tolerance=tolerance)[0].says[:4]
            for n in range(200, 5001, 200)
        }
        stopped += "STOP" in says
        excluded += "harm" in says
    assert stopped <= 5 and excluded <= 5


def test_columns_that_say_nothing_take_nothing_of_the_effect() -> None:
    """70 columns of noise and 150 customers: none is taken, so the effect is not shrunk and no variance is called saved."""
    rng, found = np.random.default_rng(5), []
    for _ in range(60):
        arm, x = rng.integers(0, 2, 150), rng.normal(size=(150, 70))
        goal = Metric("m", rng.normal(size=150) + 0.6 * arm, np.ones(150))
        found.append(compare(goal, arm, ARMS, before=x[:, _telling(x, goal)])[0])
    assert np.mean([e.difference for e in found]) == pytest.approx(0.6, abs=0.07)
    assert np.mean([e.saved for e in found]) < 0.02


def test_a_column_that_tells_is_taken() -> None:
    """Among 70 columns the one that explains a fifth of the goal."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(400, 70))
    assert _telling(x, Metric("m", 0.5 * x[:, 33] + rng.normal(size=400), np.ones(400))) == [33]


@pytest.mark.parametrize("share", [0.99, 0.9])
def test_skewed_money_and_a_small_hold_out_are_not_sure_too_soon(share: float) -> None:
    """200 experiments in which nothing differs, money of which a few have most, looked at on 20 days: at most 5 % are sure."""
    rng, fooled = np.random.default_rng(7), 0
    for _ in range(200):
        arm = (rng.random(6000) < share).astype(np.int64)
        value = (rng.random(6000) < 0.3) * rng.lognormal(0, 1.2, 6000)
        fooled += any(
            compare(Metric("margin", value[:n], np.ones(n)), arm[:n], ARMS)[0].always_p < 0.05
            for n in range(300, 6001, 300)
        )
    assert fooled <= 10


def test_a_column_of_another_scale_hides_no_other() -> None:
    """Bytes in the order of 10^17 beside a column that tells: as much variance is saved as without them."""
    rng = np.random.default_rng(8)
    x, arm = rng.normal(size=1000), rng.integers(0, 2, 1000)
    goal = Metric("m", x + rng.normal(size=1000), np.ones(1000))
    both = np.stack([x, rng.lognormal(40, 1, 1000)], axis=1)
    alone, beside = (compare(goal, arm, ARMS, before=columns)[0].saved for columns in (x[:, None], both))
    assert alone > 0.4 and beside == pytest.approx(alone, abs=0.01)


@pytest.mark.parametrize(("customers", "share"), [(5000, 0.03), (2000, 0.05)])
def test_the_end_of_a_small_hold_out_is_honest_of_rare_events(customers: int, share: float) -> None:
    """1 % held out, of whom often nobody leaves: of 500 intervals at the end at most 35 say that leaving differs."""
    rng, missed = np.random.default_rng(9), 0
    for _ in range(500):
        arm = (rng.random(customers) >= 0.01).astype(np.int64)
        left = (rng.random(customers) < share).astype(float)
        found = compare(Metric("left", left, np.ones(customers), harm=True), arm, ARMS)[0]
        missed += not found.low <= 0 <= found.high
    assert missed <= 35


@pytest.mark.parametrize(("customers", "held"), [(2000, 0.01), (10_000, 0.01), (2000, 0.1)])
def test_the_end_of_a_small_hold_out_is_honest_of_skewed_money(customers: int, held: float) -> None:
    """Nothing differs, and a few have most of the money: of 500 intervals at the end at most 35 say that the arms do."""
    rng, missed = np.random.default_rng(10), 0
    for _ in range(500):
        arm = (rng.random(customers) >= held).astype(np.int64)
        money = rng.lognormal(3, 1.5, customers)
        found = compare(Metric("margin", money, np.ones(customers)), arm, ARMS)[0]
        missed += not found.low <= 0 <= found.high
    assert missed <= 35
