"""What drives staying (or accepting, without a stay head), in plain words, from the contributions of each column.

The contributions are LightGBM's own SHAP values (`pred_contrib`, log-odds), over a sample and offline: one row takes
milliseconds. They say what the model leans on, not what would happen if somebody changed it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.metrics import Array
from models.schema import Schema, SchemaColumn
from models.summary import Driver
from nba.config import Config

SAMPLE_ROWS = 300
MOST = 10
_FEWEST = 10


def drivers(schema: Schema, matrix: Matrix, contributions: Array, config: Config, verb: str) -> list[Driver]:
    """The strongest columns. `matrix` float32 (m, columns), `contributions` float64 (m, columns or more), verb: "stay"."""
    labels = {f"x.{name}": next(iter(label.values())) for name, label in config.features.labels.items()}
    strengths = np.abs(contributions).mean(axis=0)
    strongest = sorted(range(len(schema.columns)), key=lambda place: -strengths[place])[:MOST]
    found = []
    for place in strongest:
        column = schema.columns[place]
        of_offer = "offer " if column.scope == "offer" else ""
        label = labels.get(column.name) or of_offer + column.key.replace("_", " ")
        if strengths[place] > 0.0:
            says = _in_words(column, label, matrix[:, place], contributions[:, place], verb)
            found.append(Driver(column.name, round(float(strengths[place]), 4), says))
    return found


def _in_words(column: SchemaColumn, label: str, values: NDArray[np.float32], pushes: Array, verb: str) -> str:
    if column.dtype == "number":
        return _of_number(label, values, pushes, verb)
    words = column.words or ("no", "yes")
    first = 1 if column.words else 0
    means = {
        word: float(pushes[values == code].mean())
        for code, word in enumerate(words, start=first)
        if np.count_nonzero(values == code) >= _FEWEST
    }
    if len(means) < 2:
        return f"{label}: matters for a few customers only"
    most, least = max(means, key=lambda word: means[word]), min(means, key=lambda word: means[word])
    having = "offered" if column.scope == "offer" else "with"
    gap = _size(means[most] - means[least])
    return f"{label}: customers {having} {most} are the most likely to {verb}, {having} {least} the least ({gap})"


def _of_number(label: str, values: NDArray[np.float32], pushes: Array, verb: str) -> str:
    known = np.isfinite(values)
    if known.sum() < 3 * _FEWEST:
        return f"{label}: matters for a few customers only"
    low, high = np.quantile(values[known], (1 / 3, 2 / 3))
    if low == high:
        return _of_count(label, float(low), values[known], pushes[known], verb)
    gap = float(pushes[known & (values >= high)].mean() - pushes[known & (values <= low)].mean())
    if _small(gap, pushes):
        return f"{label}: matters, but neither more nor less is better for all ({low:.4g} to {high:.4g} is the middle third)"
    return _higher(label, f"{high:.4g} and more against {low:.4g} and less", gap, verb)


def _of_count(label: str, usual: float, values: NDArray[np.float32], pushes: Array, verb: str) -> str:
    """Where most have the same value, such as a count of nothing, no third differs from another: who has more, or less."""
    rising = np.count_nonzero(values > usual) >= np.count_nonzero(values < usual)
    apart = values > usual if rising else values >= usual
    if min(np.count_nonzero(apart), np.count_nonzero(~apart)) < _FEWEST:
        return f"{label}: matters for a few customers only"
    gap = float(pushes[apart].mean() - pushes[~apart].mean())
    if _small(gap, pushes):
        return f"{label}: matters, but neither more nor less is better for all (most have {usual:.4g})"
    ends = f"more than {usual:.4g}" if rising else f"{usual:.4g} and more"
    return _higher(label, f"{ends} against the rest", gap, verb)


def _small(gap: float, pushes: Array) -> bool:
    return abs(gap) < 0.3 * float(np.abs(pushes).mean())


def _higher(label: str, ends: str, gap: float, verb: str) -> str:
    direction = "more" if gap > 0 else "less"
    return f"the higher {label} ({ends}), the {direction} likely to {verb} ({_size(abs(gap))})"


def _size(gap: float) -> str:
    return f"odds times {np.exp(gap):.2f}"
