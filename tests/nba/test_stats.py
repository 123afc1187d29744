"""Tails and quantiles are two-sided where they say so, and those of the printed tables."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nba.stats import Z95, chi2_p, normal_p, normal_quantile, t_p, t_quantile, wilson


@pytest.mark.parametrize(("freedom", "at"), [(1, 12.706205), (3, 3.182446), (8, 2.306004), (40, 2.021075)])
def test_students_t_has_the_printed_quantiles(freedom: float, at: float) -> None:
    """Five per cent lie outside the printed quantiles, half of them on each side."""
    assert t_quantile(0.975, freedom) == pytest.approx(at, rel=1e-6)
    assert t_quantile(0.025, freedom) == pytest.approx(-at, rel=1e-6)
    assert t_p(at, freedom) == pytest.approx(0.05, rel=1e-5) == t_p(-at, freedom)
    assert (t_p(0.0, freedom), t_quantile(0.5, freedom)) == (1.0, 0.0)


@pytest.mark.parametrize(("freedom", "at"), [(1, 3.841459), (2, 5.991465), (7, 14.067140), (60, 79.081945)])
def test_chi_squared_has_the_printed_quantiles(freedom: int, at: float) -> None:
    """Five per cent lie above the printed quantiles, all above 0."""
    assert chi2_p(at, freedom) == pytest.approx(0.05, rel=1e-5)
    assert chi2_p(0.0, freedom) == chi2_p(-1e-12, freedom) == 1.0


def test_the_normal_has_its_quantiles_and_tails() -> None:
    """Its quantiles, and both tails far out."""
    assert normal_quantile(0.975) == pytest.approx(1.959964, abs=1e-6) == pytest.approx(Z95)
    assert normal_p(1.959963984540054) == pytest.approx(0.05) == normal_p(-1.959963984540054)
    assert normal_p(5.0) == pytest.approx(5.733031e-7, rel=1e-6)


@given(st.integers(0, 500), st.integers(1, 500))
@example(0, 3)
def test_the_interval_of_a_share_is_wilsons(yes: int, more: int) -> None:
    """Its ends are where the share is 1.96 standard errors of theirs away; nothing asked tells nothing."""
    of = yes + more
    low, high = wilson(yes, of)
    assert 0.0 <= low <= yes / of <= high <= 1.0
    for end in (low, high):
        assert (yes / of - end) ** 2 == pytest.approx(Z95**2 * end * (1 - end) / of, abs=1e-12)
    assert wilson(of - yes, of) == pytest.approx((1 - high, 1 - low))
    assert wilson(0, 0) == (0.0, 1.0)
