"""Whether a model foretells too well to be true: then a column was written after the call, and knows what came of it.

Measured among rows of the same offer, because offers that are always taken and offers that never are can be told apart
honestly. A leak that tells only part of the outcome stays below the bound: no figure of the log alone can find it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.judge import Gate
from models.metrics import Array
from nba.stats import auc

TOO_GOOD = 0.97
_ENOUGH_PAIRS = 400  # twenty accepted rows beside twenty others


def leak_gate(p: Array, y: Array, offer: NDArray[np.integer], matrix: Matrix, names: Sequence[str]) -> Gate:
    """The gate, from answers and labels (n,), the offer of each row, and the columns that were asked (n, columns)."""
    found = auc_within(p, y, offer)
    if found is None:
        return Gate("leak", True, "too few accepted and other rows of one offer to tell")
    says = f"AUC {found:.3f} among rows of one offer; above {TOO_GOOD} would be too good to be true"
    if found <= TOO_GOOD:
        return Gate("leak", True, says)
    name, alone = _plainest(y, offer, matrix, names)
    return Gate(
        "leak", False,
        f"AUC {found:.3f} among rows of one offer is too good to be true: a column was written after the call. {name} alone "
        f"has {alone:.3f}: leave it out of features.yaml, or log it as it was at the moment of the decision",
    )  # fmt: skip


def auc_within(p: Array, y: Array, offer: NDArray[np.integer]) -> float | None:
    """The share of pairs of one offer, an accepted row and another, in the right order; None with too few pairs. All (n,)."""
    right = pairs = 0.0
    for each in np.unique(offer):
        hit = offer == each
        label = y[hit]
        count = float(label.sum()) * float(len(label) - label.sum())
        area = auc(p[hit], label)
        right, pairs = right + count * (area or 0.0), pairs + count
    return right / pairs if pairs >= _ENOUGH_PAIRS else None


def _plainest(y: Array, offer: NDArray[np.integer], matrix: Matrix, names: Sequence[str]) -> tuple[str, float]:
    """The column that alone tells most, in either direction; missing values stand below all others."""
    areas = [_either_way(auc_within(_filled(matrix[:, place]), y, offer)) for place in range(len(names))]
    place = int(np.argmax(areas))
    return names[place], areas[place]


def _either_way(area: float | None) -> float:
    return 0.0 if area is None else max(area, 1.0 - area)


def _filled(column: NDArray[np.float32]) -> Array:
    return np.nan_to_num(column.astype(np.float64), nan=-math.inf, posinf=math.inf, neginf=-math.inf)
