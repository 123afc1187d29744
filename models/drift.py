"""How far each column moved from the training to the judged rows: the population stability index.

PSI = sum over bins of (share now - share then) * ln(share now / share then), bins by the deciles of then, words of a
category, and one for missing. With B bins, n rows then and m now it is about (B - 1)(1/n + 1/m) where nothing moved.
Rule of thumb of its users (Siddiqi 2006): below 0.1 stable, above 0.25 another population.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.schema import Schema
from models.summary import Shift

MOST_ROWS = 50_000
_FLOOR = 1e-4


def drift(schema: Schema, then: Matrix, now: Matrix) -> list[Shift]:
    """Every column, the furthest moved first; matrices float32 (rows, columns)."""
    then, now = thinned(then), thinned(now)
    found = []
    for place, column in enumerate(schema.columns):
        edges = _edges(then[:, place], column.dtype == "category")
        psi = _psi(_shares(then[:, place], edges), _shares(now[:, place], edges))
        noise = (len(edges) + 1) * (1 / max(len(then), 1) + 1 / max(len(now), 1))
        found.append(Shift(column.name, round(psi, 4), _in_words(psi, noise)))
    return sorted(found, key=lambda shift: (-shift.psi, shift.column))


def thinned(matrix: Matrix) -> Matrix:
    """Every k-th row, so that fewer than twice MOST_ROWS remain."""
    return matrix[:: max(len(matrix) // MOST_ROWS, 1)]


def _edges(values: NDArray[np.float32], category: bool) -> NDArray[np.float32]:
    known = values[np.isfinite(values)]  # between infinities there is no quantile; they fall beyond the last edges
    if category:
        return np.unique(known)[:50]  # codes are ranked by frequency: the rest shares a bin
    return np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9))) if len(known) else known


def _shares(values: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.float64]:
    missing = np.isnan(values)
    bins = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return np.bincount(bins, minlength=len(edges) + 2) / max(len(values), 1)


def _psi(then: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    a, b = np.maximum(then, _FLOOR), np.maximum(now, _FLOOR)
    return float(((b - a) * np.log(b / a)).sum())


def _in_words(psi: float, noise: float) -> str:
    if psi < 2.0 * noise:
        return "stable: not more than so few rows show by chance" if psi >= 0.1 else "stable"
    return "stable" if psi < 0.1 else "has moved" if psi < 0.25 else "another population"
