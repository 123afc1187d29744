"""How good and how honest probabilities are: log loss, AUC, expected calibration error, each with what noise alone does.

Every function takes float64 arrays of shape (n,): `p` probabilities, `y` labels 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nba.stats import wilson

Array = NDArray[np.float64]
BINS = 10
DRAWS = 400
FEWEST_GROUPS = 10
_EDGE = 1e-12


def log_losses(p: Array, y: Array) -> Array:
    """The log loss of each row, in nats, (n,)."""
    inside = np.clip(p, _EDGE, 1.0 - _EDGE)
    return -(y * np.log(inside) + (1.0 - y) * np.log1p(-inside))


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of the reliability curve: rows, mean probability, share of acceptances, 95 % Wilson interval of the share."""

    rows: int
    predicted: float
    seen: float
    low: float
    high: float


def bin_places(p: Array, bins: int = BINS) -> NDArray[np.int64]:
    """Which of up to `bins` bins of about equal size each row falls into, (n,); equal probabilities share a bin."""
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    return np.searchsorted(edges, p, side="left")


def reliability(p: Array, y: Array) -> list[Bin]:
    """The reliability curve over bins of equal size, lowest probability first."""
    places = bin_places(p)
    found = []
    for place in np.unique(places):
        hit = places == place
        rows = int(hit.sum())
        low, high = wilson(float(y[hit].sum()), rows)
        found.append(Bin(rows, float(p[hit].mean()), float(y[hit].mean()), low, high))
    return found


def calibration_error(p: Array, y: Array, places: NDArray[np.int64] | None = None) -> float:
    """Expected calibration error: mean |share seen - mean probability| over bins of equal size, weighted by rows."""
    places = bin_places(p) if places is None else places
    gaps = np.bincount(places, weights=y - p)
    return float(np.abs(gaps).sum() / len(p))


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """`value` with a 95 % interval of the true error; `noise`: the 95th percentile that perfectly calibrated rows would show."""

    value: float
    low: float
    high: float
    noise: float


def calibration_error_with_interval(p: Array, y: Array, seed: int) -> CalibrationError:
    """The calibration error, its interval over resampled rows, and its size under labels drawn from `p` itself.

    Noise adds to an error and hardly ever takes away, and resampling adds it once more, so percentiles of resampled errors
    lie above the truth (of 0 they never hold it). By the triangle inequality the error is off by no more than the bins'
    gaps are in all: that is resampled, and the interval is wide rather than wrong. The bins' sums are drawn from the normal
    limit of the bootstrap, so that the cost does not grow with the rows.
    """
    rng = np.random.default_rng(seed)
    places = bin_places(p)
    gaps = _in_bins(places, y - p)
    spread = np.sqrt((_in_bins(places, p * (1.0 - p))).sum(axis=0))
    perfect = np.abs(rng.normal(0.0, 1.0, (DRAWS, len(spread))) * spread).sum(axis=1) / len(p)
    off = np.abs(_resampled(gaps, rng) - gaps.sum(axis=0)).sum(axis=1) / len(p)
    value, reach = calibration_error(p, y, places), float(np.quantile(off, 0.95))
    return CalibrationError(value, max(value - reach, 0.0), value + reach, float(np.quantile(perfect, 0.95)))


def _in_bins(places: NDArray[np.int64], values: Array) -> Array:
    """Each row's value in the column of its bin, 0 elsewhere: (n, bins)."""
    out = np.zeros((len(values), int(places.max()) + 1))
    out[np.arange(len(values)), places] = values
    return out


def _resampled(values: Array, rng: np.random.Generator) -> Array:
    """Sums over rows (n, k) as the Poisson bootstrap would draw them, in its normal limit: (DRAWS, k); NaN for NaN."""
    if not np.isfinite(values).all():  # the eigenvalues would not converge
        return np.full((DRAWS, values.shape[1]), np.nan)
    drawn: Array = rng.multivariate_normal(values.sum(axis=0), values.T @ values, DRAWS, method="eigh")
    return drawn


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference with its bootstrap 95 % interval."""

    value: float
    low: float
    high: float


def paired_difference(one: Array, other: Array, groups: NDArray[np.int64], seed: int) -> Difference:
    """mean(one - other) over rows (n,); whole groups are drawn (see `drawn_together`)."""
    places = drawn_together(groups)
    sums = np.bincount(places, weights=one - other)
    sizes = np.bincount(places).astype(np.float64)
    drawn = _resampled(np.stack([sums, sizes], axis=1), np.random.default_rng(seed))
    draws = drawn[:, 0] / np.maximum(drawn[:, 1], 1.0)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Difference(float((one - other).mean()), float(low), float(high))


def drawn_together(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """What a resample draws whole, (n,): groups, as rows of one customer are not independent; rows, where the groups are few.

    Fewer than FEWEST_GROUPS by weight (Kish) are no customers: one id stands for many, as "unknown" does. Drawn whole, it
    is there or not, and such an interval holds everything: no gate would stop anything.
    """
    places = by_appearance(groups)
    sizes = np.bincount(places).astype(np.float64)
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    return places if effective >= FEWEST_GROUPS else np.arange(len(groups))


def by_appearance(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups numbered as they first appear, so that no draw and no sum depends on how they were coded; (n,)."""
    _, first, places = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[places]


def calibration_difference(p: Array, other: Array, y: Array, seed: int) -> Difference:
    """calibration_error(p) - calibration_error(other) on the same rows, resampled together, each less what noise makes of it.

    Probabilities that differ fill more bins than those that hardly do, and noise makes an error in each: without that share
    taken away, a model that says one number for all is hardly ever beaten by one that is right. Centred on the difference,
    because resampled errors hold the noise twice.
    """
    places, places_other = bin_places(p), bin_places(other)
    one, two = _in_bins(places, y - p), _in_bins(places_other, y - other)
    drawn = np.abs(_resampled(np.hstack([one, two]), np.random.default_rng(seed)))
    draws = (drawn[:, : one.shape[1]].sum(axis=1) - drawn[:, one.shape[1] :].sum(axis=1)) / len(p)
    low, high = np.quantile(draws, (0.025, 0.975)) - draws.mean()
    value = calibration_error(p, y, places) - _usual_noise(p, places)
    value -= calibration_error(other, y, places_other) - _usual_noise(other, places_other)
    return Difference(value, value + float(low), value + float(high))


def _usual_noise(p: Array, places: NDArray[np.int64]) -> float:
    """The mean calibration error of perfectly calibrated rows: of each bin the mean size of a normal, sqrt(2 / pi) deviations."""
    deviations = np.sqrt(np.bincount(places, weights=p * (1.0 - p)))
    return float(np.sqrt(2.0 / np.pi) * deviations.sum() / len(p))


def gain_curve(p: Array, y: Array, points: int = 50) -> tuple[Array, Array]:
    """Share of rows by falling probability against share of acceptances among them, (points + 1,) each."""
    order = np.argsort(-p, kind="stable")
    caught = np.concatenate([[0.0], np.cumsum(y[order])]) / max(float(y.sum()), 1.0)
    asked = np.linspace(0.0, 1.0, points + 1)
    return asked, caught[np.round(asked * len(y)).astype(np.int64)]


def logit(p: float) -> float:
    """The inverse of the sigmoid, kept finite."""
    inside = min(max(p, _EDGE), 1.0 - _EDGE)
    return float(np.log(inside) - np.log1p(-inside))
