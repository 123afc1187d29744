"""The one mean and the two intervals that every estimator shares, from one value a row.

Rows of one customer belong together, so customers are drawn, not rows. The fixed interval is the bias-corrected and
accelerated bootstrap (Efron, "Better Bootstrap Confidence Intervals", JASA 1987): values of rare acceptances are skewed,
and plain percentiles then miss on one side. The acceleration of a mean is closed: Efron and Tibshirani 1993, eq. 14.15.
The other interval may be looked at every day: see nba/evaluate/sequence.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nba.evaluate.sequence import PLANNED, radius
from nba.stats import normal_p, normal_quantile

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
DRAWS = 1_000
_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error, 95 % bootstrap interval, and the 95 % interval that holds at every look."""

    value: float
    error: float
    low: float
    high: float
    always_low: float
    always_high: float


def estimates(
    values: Mapping[str, Array], customer: Numbers, *, seed: int, draws: int = DRAWS, planned: float = PLANNED
) -> dict[str, Estimate]:
    """Mean and intervals of several values a row (n,), all over the same draws of customers. `customer`: (n,)."""
    names = list(values)
    _, group = np.unique(customer, return_inverse=True)
    sums: Array = np.stack([np.bincount(group, weights=values[name]) for name in names], axis=1).astype(np.float64)
    rows = np.bincount(group).astype(np.float64)
    drawn = drawn_means(sums, rows, seed, draws)
    return {name: _estimate(sums[:, k], rows, drawn[:, k], planned) for k, name in enumerate(names)}


def drawn_means(sums: Array, rows: Array, seed: int, draws: int = DRAWS) -> Array:
    """Means of redrawn customers (draws, k) from their sums (groups, k) and rows (groups,): the Poisson bootstrap.

    Source: Chamandy et al., "Estimating Uncertainty for Massive Data Streams" (Google, 2012).
    """
    rng = np.random.default_rng(seed)
    portion = max(1, _CELLS // len(rows))
    found = []
    for start in range(0, draws, portion):
        counts = rng.poisson(1.0, (min(portion, draws - start), len(rows))).astype(np.float64)
        found.append((counts @ sums) / np.maximum(counts @ rows, 1.0)[:, None])
    return np.concatenate(found)


def _estimate(sums: Array, rows: Array, drawn: Array, planned: float) -> Estimate:
    groups = len(rows)
    mean = float(sums.sum() / rows.sum())
    pull = (sums - mean * rows) / rows.mean()  # influence of each customer on the mean
    deviation = float(np.sqrt((pull @ pull) / max(groups - 1, 1)))
    low, high = accelerated(drawn, mean, pull)
    half = radius(groups, deviation, planned=planned)
    return Estimate(mean, deviation / math.sqrt(groups), low, high, mean - half, mean + half)


def accelerated(drawn: Array, mean: float, pull: Array, level: float = 0.95) -> tuple[float, float]:
    """The bias-corrected and accelerated interval from draws (b,) and the influence of each unit (groups,)."""
    cubes = float((pull**2).sum()) ** 1.5
    if cubes <= 0.0:
        return mean, mean
    acceleration = float((pull**3).sum()) / (6.0 * cubes)
    below = (np.count_nonzero(drawn < mean) + 0.5 * np.count_nonzero(drawn == mean) + 0.5) / (len(drawn) + 1.0)
    shift = normal_quantile(float(below))
    ends = []
    for tail in ((1.0 - level) / 2.0, (1.0 + level) / 2.0):
        z = shift + normal_quantile(tail)
        moved = shift + z / max(1.0 - acceleration * z, 0.1)
        ends.append(1.0 - normal_p(moved) / 2.0 if moved > 0 else normal_p(moved) / 2.0)
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)
