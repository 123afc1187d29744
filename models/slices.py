"""The split in time: the earlier rows train, the first half of the later ones calibrates, the second half judges.

No row does two of the three. Rows of one moment, so also of one decision, stay together. A random split would let a
model look at its own future: on bank calls it turns an AUC of 0.62 into one of 0.80.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nba.clock import format_at
from nba.errors import DataError, RefusedError

MIN_ROWS = 100
MIN_OF_CLASS = 5
MIN_JUDGED = 50
_MORE_OF_BOTH = {
    "accept": "log the offers that were not accepted too",
    "stay": "give --delayed with those who left, by the customer_id of the decisions",
}


@dataclass(frozen=True, slots=True)
class Slices:
    """Ends of the slices among n rows in order of time: train [0, train), calibrate [train, calibrate), judge [calibrate, n)."""

    train: int
    calibrate: int
    rows: int

    @property
    def training(self) -> slice:
        """The rows that trees are grown on."""
        return slice(0, self.train)

    @property
    def calibration(self) -> slice:
        """The rows that stop the growing and calibrate."""
        return slice(self.train, self.calibrate)

    @property
    def judging(self) -> slice:
        """The rows that every reported figure and every gate is computed on."""
        return slice(self.calibrate, self.rows)


@dataclass(frozen=True, slots=True)
class Split:
    """Where to split: `valid_share` of the rows are later, or those from `valid_from_ms` on; `calibrate_share` of the
    later ones calibrate.
    """

    valid_share: float = 0.2
    valid_from_ms: int | None = None
    calibrate_share: float = 0.5


def split_in_time(at_ms: NDArray[np.int64], split: Split) -> Slices:
    """Split rows (n,), sorted by time.

    Raises DataError for a share outside (0, 1) and RefusedError when one of the three slices would be empty.
    """
    for name, share in (("valid_share", split.valid_share), ("calibrate_share", split.calibrate_share)):
        if not 0.0 < share < 1.0:
            raise DataError(f"{name} {share:g} is outside (0, 1): leave it out for a usual one")
    rows = len(at_ms)
    if split.valid_from_ms is None:
        near = _boundary(at_ms, round(rows * (1.0 - split.valid_share)), 0)
        train = min(near, _two_moments_left(at_ms))
    else:
        train = int(np.searchsorted(at_ms, split.valid_from_ms, side="left"))
    calibrate = _boundary(at_ms, train + round((rows - train) * split.calibrate_share), train)
    if not 0 < train < calibrate < rows:
        raise RefusedError(
            f"{rows} rows from {format_at(int(at_ms[0]))} to {format_at(int(at_ms[-1]))} cannot be split in time into "
            f"training, calibration and validation: give exact times, more days, or another --valid-from{_undated(at_ms)}"
        )
    return Slices(train, calibrate, rows)


def _undated(at_ms: NDArray[np.int64]) -> str:
    """A way out for one mailing, which has one date; not for rules that changed over time, whose order is all."""
    moments = len(np.unique(at_ms))
    if moments > 2:
        return ""
    return (
        f"; it has only {moments} different `at`: where offers were drawn at random and nobody knows the order, give each row "
        "a random moment of its day"
    )


def _boundary(at_ms: NDArray[np.int64], near: int, above: int) -> int:
    """The change of moment nearest to row `near`, beyond row `above` where there is one."""
    near = min(max(near, 1), len(at_ms) - 1)
    down = int(np.searchsorted(at_ms, at_ms[near], side="left"))
    up = int(np.searchsorted(at_ms, at_ms[near], side="right"))
    return down if down > above and near - down <= up - near else up


def _two_moments_left(at_ms: NDArray[np.int64]) -> int:
    """The first row of the moment before the last one: a campaign sent in a few waves has to keep one to judge by."""
    last = int(np.searchsorted(at_ms, at_ms[-1], side="left"))
    return int(np.searchsorted(at_ms, at_ms[max(last - 1, 0)], side="left"))


def check_classes(label: NDArray[np.float32], slices: Slices, head: Literal["accept", "stay"]) -> None:
    """Raises RefusedError when there are too few rows, or too few of one class, to learn anything from."""
    yes = int(label[slices.training].sum())
    no = slices.train - yes
    if slices.rows < MIN_ROWS:
        raise RefusedError(f"{head}: {slices.rows} usable rows: it takes {MIN_ROWS}; collect more outcomes first")
    if min(yes, no) < MIN_OF_CLASS:
        what = "one class only" if min(yes, no) == 0 else f"only {min(yes, no)} of one class"
        raise RefusedError(
            f"{head}: {what} in the training slice ({yes} yes, {no} no): it takes {MIN_OF_CLASS} of each; "
            f"{_MORE_OF_BOTH[head]}, or move --valid-from"
        )
    _check_judged(label[slices.judging], head)


def _check_judged(label: NDArray[np.float32], head: str) -> None:
    yes = int(label.sum())
    no = len(label) - yes
    if len(label) < MIN_JUDGED or min(yes, no) < MIN_OF_CLASS:
        raise RefusedError(
            f"{head}: {len(label)} judged rows ({yes} yes, {no} no) prove nothing: it takes {MIN_JUDGED}, and {MIN_OF_CLASS} "
            "of each; collect more outcomes, or keep more to judge with --valid-share or an earlier --valid-from"
        )
