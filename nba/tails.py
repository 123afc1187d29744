"""Tails of the normal, Student's t and chi-squared distributions, and the interval of a share, by SciPy's special functions.

`scipy.special` and not `scipy.stats`: the same functions without the second that loading the latter takes.
"""

from __future__ import annotations

from scipy import special

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
