"""The proof that the exported file answers as LightGBM does: the certificate without which nothing is promoted.

Asked on the validation rows, on rows that reach each numeric split with a value at its threshold and one float32 step
to both sides, on rows that reach each categorical split with each kind of code, and on NaN, infinities and categories
never seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.forest import Forest, Split, Tree, goes_left
from models.schema import Schema

TOLERANCE = 1e-6
CHUNK_ROWS = 8_192
Predict = Callable[[Matrix], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Pair:
    """One output: what it is called, what LightGBM says (calibrated), what the exported file says, and its forest."""

    name: str
    reference: Predict
    exported: Predict
    forest: Forest


@dataclass(frozen=True, slots=True)
class Certificate:
    """Rows asked and the largest difference of a probability, by output and kind of row; `passed` when all are within."""

    onnx_sha256: str
    tolerance: float
    rows: dict[str, int]
    largest: dict[str, dict[str, float]]
    passed: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data for `certificate.json`."""
        return asdict(self)


def certify(model: bytes, schema: Schema, pairs: list[Pair], rows: Matrix) -> Certificate:
    """Ask both sides of every output. `rows` float32 (m, columns): real rows, also the ground the other ones are made on."""
    counts: dict[str, int] = {}
    largest: dict[str, dict[str, float]] = {}
    for pair in pairs:
        kinds = {"rows": _in_chunks(rows), "splits": _at_splits(pair.forest, rows), "odd": _odd(schema, rows)}
        largest[pair.name] = {}
        for kind, batches in kinds.items():
            worst = 0.0
            for batch in batches:
                counts[kind] = counts.get(kind, 0) + len(batch)
                worst = max(worst, _difference(pair, batch))
            largest[pair.name][kind] = worst
    passed = all(value <= TOLERANCE for kinds_of in largest.values() for value in kinds_of.values())
    return Certificate(hashlib.sha256(model).hexdigest(), TOLERANCE, counts, largest, passed)


def _difference(pair: Pair, batch: Matrix) -> float:
    worst = float(np.abs(pair.reference(batch) - pair.exported(batch)).max())
    return worst if worst == worst else math.inf


def chunked(rows: Iterator[Matrix]) -> Iterator[Matrix]:
    """Single rows to matrices of up to CHUNK_ROWS."""
    held: list[Matrix] = []
    for row in rows:
        held.append(row)
        if len(held) == CHUNK_ROWS:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def _in_chunks(rows: Matrix) -> Iterator[Matrix]:
    return (rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS))


def _at_splits(forest: Forest, rows: Matrix) -> Iterator[Matrix]:
    return chunked(row for number, tree in enumerate(forest.trees) for row in _rows_of(tree, rows[number % len(rows)]))


def _rows_of(tree: Tree, base: Matrix) -> Iterator[Matrix]:
    """Rows that reach each split of the tree and stand on it, made from one real row by changing what has to change."""
    todo = [(0, base)] if tree.splits else []
    while todo:
        place, row = todo.pop()
        split = tree.splits[place]
        values = _on(split)
        for value in values:
            yield _with(row, split.feature, value)
        for child, left in ((split.left, True), (split.right, False)):
            if child >= 0:
                todo.append((child, _sent(row, split, left, values)))


def _on(split: Split) -> list[float]:
    """Values on the split: the float32 at or below its threshold and one step to both sides; codes in and not in the set."""
    if split.codes is not None:
        return [float(split.codes[0]), float(split.codes[-1]), float(split.codes[-1] + 1), 0.0, math.nan]
    at = np.float32(split.threshold)
    return [float(np.nextafter(at, np.float32(side))) for side in (-np.inf, np.inf)] + [float(at), math.nan]


def _sent(row: Matrix, split: Split, left: bool, values: list[float]) -> Matrix:
    """The row itself where it goes that way, else with a value that does. (An ancestor's split may then miss; most hold.)"""
    if goes_left(split, float(row[split.feature])) == left:
        return row
    fitting = [value for value in values if value == value and goes_left(split, value) == left]
    return _with(row, split.feature, fitting[0]) if fitting else row


def _with(row: Matrix, feature: int, value: float) -> Matrix:
    changed = row.copy()
    changed[feature] = value
    return changed


def _odd(schema: Schema, rows: Matrix) -> Iterator[Matrix]:
    return chunked(_odd_rows(schema, rows))


def _odd_rows(schema: Schema, rows: Matrix) -> Iterator[Matrix]:
    """NaN, infinities, zeros and unseen codes in each column in turn, and in all at once."""
    values = (math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-40, -1e-36, 3e38)
    for place, column in enumerate(schema.columns):
        unseen = float(len(column.words) + 1) if column.dtype == "category" else -3e38
        for i, value in enumerate((*values, unseen)):
            yield _with(rows[(place + i) % len(rows)], place, value)
    for value in values:
        yield np.full(len(schema.columns), value, dtype=np.float32)
