"""Statistics that several rooms share: tails of distributions by SciPy, the interval of a share, the area under a ROC curve,
and what rows were left out for.

`scipy.special` and not `scipy.stats`: the same functions without the second that loading the latter takes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

Z95 = float(special.ndtri(0.975))


def normal_quantile(share: float) -> float:
    """The point below which `share` in (0, 1) of a standard normal lies."""
    return float(special.ndtri(share))


def normal_p(z: float) -> float:
    """Two-sided: P(|Z| >= |z|)."""
    return float(2.0 * special.ndtr(-abs(z)))


def t_quantile(share: float, freedom: float) -> float:
    """The point below which `share` in (0, 1) of Student's t with `freedom` degrees of freedom lies."""
    return float(special.stdtrit(freedom, share))


def t_p(t: float, freedom: float) -> float:
    """Two-sided: P(|T| >= |t|) with `freedom` degrees of freedom."""
    return float(2.0 * special.stdtr(freedom, -abs(t)))


def chi2_p(value: float, freedom: float) -> float:
    """P(X >= value) with `freedom` degrees of freedom."""
    return float(special.chdtrc(freedom, max(value, 0.0)))


def wilson(yes: float, of: float) -> tuple[float, float]:
    """95 % interval of the share `yes / of` (Wilson, JASA 1927); 0 to 1 of nothing."""
    if not of:
        return 0.0, 1.0
    share, z2 = yes / of, Z95 * Z95
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 * (share * (1 - share) / of + z2 / (4 * of * of)) ** 0.5 / (1 + z2 / of)
    low = max(centre - half, 0.0) if yes > 0 else 0.0  # rounding would leave a trace of it
    return low, min(centre + half, 1.0) if yes < of else 1.0


def ranks(values: Array) -> Array:
    """Ranks (n,) from 1, smallest first; equal values share the mean of theirs."""
    _, level, alike = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(alike) - (alike - 1) / 2.0)[level], dtype=np.float64)


def auc(p: Array, y: Array) -> float | None:
    """Area under the ROC curve of scores `p` (n,) for labels `y` (n,) 0 or 1, by ranks, ties half; None with one class only.

    Source: Mann and Whitney (1947).
    """
    positives = float(y.sum())
    negatives = len(y) - positives
    if positives == 0.0 or negatives == 0.0:
        return None
    return float((ranks(p) @ y - positives * (positives + 1.0) / 2.0) / (positives * negatives))


def first_reasons(reasons: Mapping[str, NDArray[np.bool_]]) -> dict[str, int]:
    """How many rows (n,) each reason leaves out, without any that a reason before it does: the counts add up to the rows."""
    counts: dict[str, int] = {}
    gone: NDArray[np.bool_] | None = None
    for why, hit in reasons.items():
        fresh = hit if gone is None else hit & ~gone
        gone = hit if gone is None else gone | hit
        if fresh.any():
            counts[why] = int(fresh.sum())
    return counts
