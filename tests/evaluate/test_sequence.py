"""What may be looked at every day: the constants, bounds and p-values are what their definitions say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba.evaluate.sequence import always_valid_p, bounded, looking_quantile, mixture_spread, radius


def test_the_mixture_is_tightest_where_it_is_planned() -> None:
    """No other spread gives a narrower interval at the planned number of units by more than a thousandth."""
    planned = 5000
    best = min(
        math.sqrt(2 * (planned * s + 1) / (planned**2 * s) * math.log(math.sqrt(planned * s + 1) / 0.05))
        for s in mixture_spread(planned) * np.exp(np.linspace(-1, 1, 401))
    )
    assert radius(planned, 1.0, planned=planned) == pytest.approx(best, rel=1e-3)
    assert looking_quantile() == pytest.approx(3.03, abs=0.01)


def test_the_p_value_and_the_interval_say_the_same() -> None:
    """The p-value is 0.05 where the interval just touches 0, and nothing is said before the first look."""
    mean = radius(4000, 2.0)
    assert always_valid_p(4000, mean, 2.0) == pytest.approx(0.05, rel=1e-9)
    assert radius(99, 1.0) == math.inf and always_valid_p(99, 5.0, 1.0) == 1.0
    assert radius(100, 1.0) < 1.0 and always_valid_p(100, 5.0, 1.0) < 1e-6


def test_what_does_not_vary_is_known() -> None:
    """Values that are all the same leave no doubt: the mean is 0 or it is not. No p-value is above 1."""
    assert always_valid_p(100, 0.0, 0.0) == 1.0 and always_valid_p(100, 0.1, 0.0) == 0.0 == radius(100, 0.0)
    assert always_valid_p(5000, 0.0, 1.0) == 1.0
    assert always_valid_p(5000, -0.1, 1.0) == always_valid_p(5000, 0.1, 1.0) < 0.05


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(-100, 100), st.floats(0.1, 100))
def test_bounds_know_neither_unit_nor_side(values: list[float], low: float, span: float) -> None:
    """In another unit they are the same bounds, seen from above they are mirrored, and they stay within what is possible."""
    x = np.array(values)
    lower, upper = bounded(x, 0.0, 1.0)
    assert (lower >= 0.0).all() and (lower <= upper).all() and (upper <= 1.0).all()
    np.testing.assert_allclose(bounded(1.0 - x, 0.0, 1.0), (1.0 - upper, 1.0 - lower), atol=1e-9)
    scaled = bounded(low + span * x, low, low + span)
    np.testing.assert_allclose(scaled, (low + span * lower, low + span * upper), atol=1e-7)


def by_the_paper(values: list[float], alpha: float) -> tuple[list[float], list[float]]:
    """Theorem 2 of Waudby-Smith and Ramdas (2023) value by value, with the bets of their section 3.3 cut at 3/4."""
    mean, variance, seen, spread = 0.5, 0.25, 0.5, 0.25
    staked = won = paid = 0.0
    low, high = [], []
    for t, x in enumerate(values, 1):
        bet = min(math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(t + 1))), 0.75)
        staked, won = staked + bet, won + bet * x
        paid += 4 * (x - mean) ** 2 * (-math.log(1 - bet) - bet) / 4
        half = (math.log(2 / alpha) + paid) / staked
        low.append(max(won / staked - half, 0.0))
        high.append(min(won / staked + half, 1.0))
        seen += x
        mean = seen / (t + 1)
        spread += (x - mean) ** 2
        variance = spread / (t + 1)
    return low, high


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=80), st.floats(0.01, 0.5))
def test_the_bounds_are_those_of_the_paper(values: list[float], alpha: float) -> None:
    """All at once as one after the other, whatever the values and the level."""
    np.testing.assert_allclose(bounded(np.array(values), 0.0, 1.0, alpha), by_the_paper(values, alpha), atol=1e-9)
