"""Tails of the normal, Student's t and chi-squared distributions, in plain Python.

Incomplete beta and gamma functions by continued fractions: Press et al., "Numerical Recipes" (3rd ed. 2007), sections
6.2 and 6.4; the same fractions are 8.17.22 and 8.9.2 of the NIST Digital Library of Mathematical Functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_NORMAL = NormalDist()
_TINY = 1e-300
_MOST_STEPS = 10_000


def normal_quantile(share: float) -> float:
    """The point below which `share` in (0, 1) of a standard normal lies."""
    return _NORMAL.inv_cdf(share)


def normal_p(z: float) -> float:
    """Two-sided: P(|Z| >= |z|)."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def t_p(t: float, freedom: float) -> float:
    """Two-sided: P(|T| >= |t|) with `freedom` degrees of freedom."""
    return _beta_share(freedom / (freedom + t * t), freedom / 2.0, 0.5)


def t_quantile(share: float, freedom: float) -> float:
    """The point below which `share` in (0, 1) of Student's t lies."""
    if share < 0.5:
        return -t_quantile(1.0 - share, freedom)
    if share == 0.5:
        return 0.0
    found = normal_quantile(share)
    log_front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    for _ in range(
        100
    ):  # Newton on the logarithm of the tail, which is concave: it comes from the left and stays there
        tail = t_p(found, freedom) / 2.0
        density = math.exp(log_front - (freedom + 1) / 2 * math.log1p(found * found / freedom))
        step = math.log(tail / (1.0 - share)) * tail / density
        found += step
        if abs(step) < 1e-13 * max(found, 1.0):
            break
    return found


def chi2_p(value: float, freedom: float) -> float:
    """P(X >= value) with `freedom` degrees of freedom."""
    half, a = value / 2.0, freedom / 2.0
    if half <= 0.0:
        return 1.0
    front = math.exp(a * math.log(half) - half - math.lgamma(a))
    return 1.0 - front * _gamma_series(half, a) if half < a + 1.0 else front * _gamma_fraction(half, a)


def _gamma_series(x: float, a: float) -> float:
    total = term = 1.0 / a
    for step in range(1, _MOST_STEPS):
        term *= x / (a + step)
        total += term
        if term < total * 1e-16:
            break
    return total


def _gamma_fraction(x: float, a: float) -> float:
    """1 / (x + 1 - a - 1(1 - a) / (x + 3 - a - …))."""
    return 1.0 / _lentz(x + 1.0 - a, lambda k: (-k * (k - a), x + 2.0 * k + 1.0 - a))


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front / (a * _beta_fraction(x, a, b))
    return 1.0 - front / (b * _beta_fraction(1.0 - x, b, a))


def _beta_fraction(x: float, a: float, b: float) -> float:
    def term(k: int) -> tuple[float, float]:
        m = k // 2
        if k % 2:
            return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)), 1.0
        return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), 1.0

    return _lentz(1.0, term)


def _lentz(first: float, term: Callable[[int], tuple[float, float]]) -> float:
    """b0 + a1 / (b1 + a2 / (b2 + …)) with (a, b) from `term`, by Lentz's method."""
    found = first or _TINY
    c, d = found, 0.0
    for k in range(1, _MOST_STEPS):
        a, b = term(k)
        d = 1.0 / ((b + a * d) or _TINY)
        c = (b + a / c) or _TINY
        found *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return found
