"""What a call would earn: a small regularised regression, never asked about a row whose customer or future it has seen.

Logistic where all rewards are 0 or 1, ridge otherwise; the intercept is free, and the L2 weight on standardised columns is
their number: before any data, all columns together move the log-odds by about 1, however many there are.
Newton's method: Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning" (2nd ed. 2009), sections 4.4.1
and 3.4.1. Cross-fitting: Chernozhukov et al., "Double/debiased machine learning" (2018); here the folds are blocks of
time, and a block is predicted from the blocks before it, without the customers who are predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Predict = Callable[[Array], Array]
Fit = Callable[[Array, Array], Predict]
BLOCKS = 5
FOLDS = 5
PORTION = 50_000
_STEPS = 60


def fit(x: Array, y: Array) -> Predict:
    """A predictor of rewards y (n,) from columns x (n, k); k may be 0."""
    penalty = float(max(x.shape[1], 1))
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    binary = bool(np.isin(y, (0.0, 1.0)).all()) and 0.0 < y.mean() < 1.0
    design = _with_one((x - centre) / scale)
    weights = logistic(design, y, penalty) if binary else ridge(design, y, penalty)

    def predict(rows: Array) -> Array:
        line = _with_one((rows - centre) / scale) @ weights
        return _share(line) if binary else line

    return predict


def fit_plain(x: Array, y: Array) -> Predict:
    """The logistic regression without standardising, as scikit-learn's default is: to reproduce published figures."""
    weights = logistic(_with_one(x), y, 1.0)
    return lambda rows: _share(_with_one(rows) @ weights)


def logistic(design: Array, y: Array, penalty: float) -> Array:
    """Weights (k,) that maximise the penalised likelihood; the last column of `design` (n, k) is the intercept."""
    rate = float(np.clip(y.mean(), 1e-6, 1.0 - 1e-6))
    weights = np.zeros(design.shape[1])
    weights[-1] = np.log(rate / (1.0 - rate))
    ridge_of = _penalties(design, penalty)
    for _ in range(_STEPS):
        p = _share(design @ weights)
        slope = design.T @ (p - y) + ridge_of * weights
        curve = (design * (p * (1.0 - p))[:, None]).T @ design + np.diag(ridge_of + 1e-12)
        step = np.linalg.solve(curve, slope)
        weights = weights - step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-9:
            break
    return weights


def ridge(design: Array, y: Array, penalty: float) -> Array:
    """Weights (k,) of the penalised least squares."""
    curve = design.T @ design + np.diag(_penalties(design, penalty) + 1e-12)
    return np.asarray(np.linalg.solve(curve, design.T @ y), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Pairs:
    """(row, offer) pairs that a target policy may say, m of them: `row` int64 (m,), `probability` (m,).

    `columns` gives the columns (j, k) of the pairs asked for (j,): all of them at once may not fit into memory.
    """

    row: Numbers
    probability: Array
    columns: Callable[[Numbers], Array]


@dataclass(frozen=True, slots=True)
class Foretold:
    """q of the logged offers (n,), q_target (n,), and what the poorest model had: `rows`, and `apart`, those that differ from
    the most frequent reward; `late`: rows foretold by a model that had to learn from later calls as well.
    """

    q_logged: Array
    q_target: Array
    rows: int
    apart: int
    late: int


def cross_fit(
    at_ms: Numbers,
    customer: Numbers,
    reward: Array,
    columns: Array,
    pairs: Pairs,
    learn: Fit = fit,
    blocks: int = BLOCKS,
) -> Foretold:
    """Each block of time predicted from earlier blocks, and no row from rows of its own customer.

    `columns` (n, k): of the logged offers. The first block has no past and is predicted from the second. Where customers of
    a block called before, it is predicted fold by fold of its customers, so that leaving a fold's own rows out leaves most
    of the past. A past without two different rewards teaches nothing: then later calls of other customers teach as well.
    """
    block = time_blocks(at_ms, blocks)
    q_logged, q_pair = np.zeros(len(reward)), np.zeros(len(pairs.row))
    rows, apart, late = len(reward), len(reward), 0
    for number in range(int(block.max()) + 1):
        past = (block < number) if number else (block == min(1, int(block.max())))
        for here in _folds(block == number, past, customer):
            known = past & ~np.isin(customer, customer[here])
            if not _apart(reward[known]):
                known = ~np.isin(customer, customer[here])
                late += int(here.sum()) if (block[known] > max(number, 1)).any() else 0
            rows, apart = min(rows, int(known.sum())), min(apart, _apart(reward[known]))
            if not known.any():
                continue
            predict = learn(columns[known], reward[known])
            q_logged[here] = predict(columns[here])
            asked = np.flatnonzero(here[pairs.row])
            for some in np.array_split(asked, len(asked) // PORTION + 1):
                q_pair[some] = predict(pairs.columns(some))
    q_target = np.zeros(len(reward))
    np.add.at(q_target, pairs.row, pairs.probability * q_pair)
    return Foretold(q_logged, q_target, rows, apart, late)


def _folds(here: NDArray[np.bool_], past: NDArray[np.bool_], customer: Numbers) -> Iterator[NDArray[np.bool_]]:
    """The block whole where none of its customers is in the past, else in parts by customer."""
    if not np.isin(customer[here], customer[past]).any():
        yield here
        return
    _, code = np.unique(customer, return_inverse=True)
    for fold in range(FOLDS):
        part = here & (code % FOLDS == fold)
        if part.any():
            yield part


def _apart(reward: Array) -> int:
    """How many rewards (n,) differ from the most frequent one."""
    return len(reward) - int(np.unique(reward, return_counts=True)[1].max(initial=0))


def time_blocks(at_ms: Numbers, blocks: int) -> Numbers:
    """The block (n,) of each row, about equal in size; rows of one moment stay together."""
    _, moment, counts = np.unique(at_ms, return_inverse=True, return_counts=True)
    before = np.cumsum(counts) - counts
    block = (before * blocks // len(at_ms))[moment]
    return np.asarray(np.unique(block, return_inverse=True)[1], dtype=np.int64)


def _penalties(design: Array, penalty: float) -> Array:
    return np.append(np.full(design.shape[1] - 1, penalty), 0.0)


def _with_one(x: Array) -> Array:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _share(line: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(line, -35.0, 35.0))), dtype=np.float64)
