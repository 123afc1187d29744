"""Platt's calibration: probability = sigmoid(slope * raw + intercept), fitted on rows that training did not see.

Source: J. Platt, "Probabilistic outputs for support vector machines" (1999). Two parameters, not isotonic steps: it
keeps the order of the offers and fits into the leaves of the exported trees. A Gaussian prior around "leave it as it
is" (slope 1 with standard deviation 0.3, intercept 0 with 1) keeps it sane on a few dozen rows; on thousands it has no
weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = 50
_SLOPE, _INTERCEPT = 0.3, 1.0  # standard deviations of the prior


@dataclass(frozen=True, slots=True)
class Calibration:
    """`slope` > 0 keeps the order of the scores."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw scores to probabilities, float64 of the same shape."""
        return sigmoid(self.slope * raw + self.intercept)


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logit)) without overflow."""
    small = np.exp(-np.abs(logit))
    return np.where(logit >= 0, 1.0, small) / (1.0 + small)


def fit_calibration(
    raw: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> Calibration:
    """Newton's method on the penalised log loss of rows (n,); a slope that would turn the order round gives slope 1."""
    weight = np.ones_like(raw) if weight is None else weight
    columns = np.stack([raw, np.ones_like(raw)], axis=1)
    at = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        step = _newton_step(columns, label, weight, at)
        at -= step
        if np.abs(step).max() < 1e-10:
            break
    if at[0] > 1e-3 and np.isfinite(at).all():
        return Calibration(float(at[0]), float(at[1]))
    return Calibration(1.0, _intercept_only(raw, label, weight))


def _newton_step(
    columns: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    probability = sigmoid(columns @ at)
    pull = np.array([_SLOPE, _INTERCEPT]) ** -2.0
    gradient = columns.T @ (weight * (probability - label)) + pull * (at - np.array([1.0, 0.0]))
    curvature = (columns * (weight * probability * (1.0 - probability))[:, None]).T @ columns + np.diag(pull)
    step: NDArray[np.float64] = np.linalg.solve(curvature, gradient)
    return np.clip(step, -2.0, 2.0)


def _intercept_only(raw: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    intercept = 0.0
    for _ in range(_STEPS):
        probability = sigmoid(raw + intercept)
        slope = weight @ (probability * (1.0 - probability)) + 1.0
        intercept -= float(np.clip((weight @ (probability - label) + intercept) / slope, -2.0, 2.0))
    return intercept
