"""What may be looked at every day: the constants, bounds and p-values are what their definitions say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nba.evaluate.sequence import always_valid_p, looking_quantile, mixture_spread, radius


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
