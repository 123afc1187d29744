"""Intervals that hold at every look at once, so that somebody may look every day and stop when they like.

`radius`: asymptotic confidence sequences, for any mean with a finite variance. Source: Waudby-Smith, Arbour, Sinha,
Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (2021), arXiv:2103.06476,
theorem 2.2 (Robbins' normal mixture boundary). Like every central limit statement it needs a first look that is not too
early: `FIRST_LOOK` units.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ALPHA = 0.05
PLANNED = 5_000
FIRST_LOOK = 100
FEWEST_EVENTS = 10  # in each arm


def mixture_spread(planned: float, alpha: float = ALPHA) -> float:
    """rho squared of the mixture that is tightest after `planned` units (section 2.3 of the source, closed form)."""
    reach = -2.0 * math.log(alpha)
    return (reach + math.log(reach + 1.0)) / planned


def radius(units: float, deviation: float, *, planned: float = PLANNED, alpha: float = ALPHA) -> float:
    """Half the width of the interval of a mean after `units` values with that standard deviation; infinite too early.

    `planned`: after how many units the interval should be tightest; fixed before the start, never from the outcomes.
    """
    if units < FIRST_LOOK:
        return math.inf
    spread = units * mixture_spread(planned, alpha)
    return deviation * math.sqrt(2.0 * (spread + 1.0) / (units * spread) * math.log(math.sqrt(spread + 1.0) / alpha))


def always_valid_p(units: float, mean: float, deviation: float, *, planned: float = PLANNED) -> float:
    """The p-value of "the mean is 0" that stays valid under looking: 1 / the mixture martingale, at most 1."""
    if units < FIRST_LOOK:
        return 1.0
    if deviation <= 0.0:
        return 1.0 if mean == 0.0 else 0.0
    spread = units * mixture_spread(planned)
    squared = units * (mean / deviation) ** 2
    log_martingale = spread * squared / (2.0 * (spread + 1.0)) - 0.5 * math.log(spread + 1.0)
    return math.exp(-max(log_martingale, 0.0))


def looking_quantile(alpha: float = ALPHA) -> float:
    """What takes the place of 1.96 at the planned number of units, for the price of being allowed to look: 3.03."""
    return radius(1e6, 1.0, planned=1e6, alpha=alpha) * 1e3


def cautious(one: float, other: float, units: tuple[float, float]) -> tuple[float, float]:
    """The variances of two arms with so many units, where the smaller arm may not be far more alike than the larger.

    Of skewed values a small arm often lacks the large ones: its mean and its own variance are then too small together, and
    the larger arm looks surely better. By as much as it is smaller it takes the larger arm's variance where that is more.
    """
    lack = 1.0 - min(units) / max(*units, 1e-12)
    if units[0] < units[1]:
        return one + lack * max(other - one, 0.0), other
    return one, other + lack * max(one - other, 0.0)
