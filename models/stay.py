"""The second head: is the customer still there H days later, whether they accept or not? Its rows, answers and gates.

One model over the columns of the first head and one more, accepted or not; asked twice, the difference is what
acceptance keeps. It is learnt from calls as they were: where the log explored, the difference is an effect; where one
fixed rule chose, it may only be a likeness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.challenge import CHUNK_ROWS
from models.delayed import Churn, stay_labels
from models.judge import Gate, against_base_rate, against_champion
from models.metrics import Array
from models.prepare import Prepared, in_time
from models.scorer import Scorer
from models.slices import Slices, Split, check_classes, split_in_time
from nba.clock import format_at
from nba.errors import ModelError, RefusedError

ACCEPTED = "accepted"


@dataclass(frozen=True)
class StayRows:
    """`rows` (n,) among all decisions in order of time; `matrix` float32 (n, columns + 1), last column: accepted or not."""

    rows: NDArray[np.int64]
    matrix: Matrix
    label: NDArray[np.float32]
    slices: Slices

    @property
    def base_rate(self) -> float:
        """The share that stayed, in the slices before the judged one."""
        return float(self.label[: self.slices.calibrate].mean())

    @property
    def judged(self) -> tuple[Matrix, NDArray[np.bool_], Array]:
        """Of the m judged rows: columns without the last one (m, columns), accepted or not (m,), label (m,)."""
        part = self.slices.judging
        columns = np.ascontiguousarray(self.matrix[part, :-1])
        return columns, self.matrix[part, -1] > 0.0, self.label[part].astype(np.float64)


def stay_rows(ready: Prepared, churn: Churn, horizon_ms: int, split: Split) -> StayRows:
    """The rows of the first head whose customer's staying is known. Raises RefusedError, saying why there are too few."""
    accepted = np.full(len(ready.assembler.decisions), np.nan, dtype=np.float32)
    accepted[ready.rows] = ready.label
    label = stay_labels(ready.assembler.decisions, churn, horizon_ms)
    rows = in_time(ready.assembler.decisions, np.where(np.isnan(accepted), np.nan, label).astype(np.float32))
    if not len(rows):
        until = format_at(churn.known_until_ms)
        raise RefusedError(f"stay: no decision is old enough: churn is known until {until}, the horizon is longer")
    # What became of a customer is known a horizon later: a day that splits the first head's rows is mostly past these.
    slices = split_in_time(ready.assembler.decisions.at_ms[rows], replace(split, valid_from_ms=None))
    check_classes(label[rows], slices, "stay")
    matrix = ready.assembler.matrix(ready.schema, rows, spare=1)
    matrix[:, -1] = accepted[rows]
    return StayRows(rows, matrix, label[rows], slices)


def stay_answers(scorer: Scorer, matrix: Matrix, accepted: NDArray[np.bool_]) -> Array:
    """P(stay) of each row given what the customer did, float64 (n,). Raises ModelError: no second head."""
    parts = []
    for start in range(0, len(matrix), CHUNK_ROWS):
        found = scorer.run(matrix[start : start + CHUNK_ROWS])
        if found.stay_if_accepted is None or found.stay_if_not is None:
            raise ModelError(f"{scorer.version} has no stay head: train with delayed outcomes")
        parts.append(np.where(accepted[start : start + CHUNK_ROWS], found.stay_if_accepted, found.stay_if_not))
    return np.concatenate(parts).astype(np.float64)


def stay_gates(ready: Prepared, stay: StayRows, p: Array, champion: Scorer | None, seed: int) -> list[Gate]:
    """The gates of the second head: against the champion's where it has one, else against the base rate."""
    rows = stay.rows[stay.slices.judging]
    customers = ready.assembler.decisions.customer[rows].astype(np.int64)
    _, accepted, y = stay.judged
    if champion is None or not champion.has_stay:
        found = against_base_rate(p, y, stay.base_rate, customers, seed)
    else:
        theirs = stay_answers(champion, ready.assembler.matrix(champion.schema, rows), accepted)
        found = against_champion(p, theirs, y, customers, seed)
    return [replace(gate, name=f"stay_{gate.name}") for gate in found]
