"""What is wrong with logged rows before anything is averaged: outcomes that never come, decisions told twice.

Named and refused, or repaired with a count; the counts stand in every answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nba.errors import DataError, RefusedError
from nba.evaluate.experiment import MISMATCH
from nba.stats import chi2_p

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
MOST_UNSETTLED = 0.2
LARGEST = 1e60  # intervals add up cubes
FEWEST_IN_GROUP, FAR_APART = 20, 0.05


def out_of_order(at_ms: Numbers, *, starts: Sequence[int] = (0,)) -> dict[str, int]:
    """Moments (n,) in the order of the log; rows that came out of order are counted, for the caller sorts by time.

    `starts`: the first row of each file, for files of several machines overlap.
    """
    backwards = np.diff(at_ms) < 0
    backwards[[start - 1 for start in starts if 0 < start < len(at_ms)]] = False
    back = int(np.count_nonzero(backwards))
    return {"rows after which the clock ran backwards (sorted by time)": back} if back else {}


def check_finite(name: str, values: Array, place: Callable[[int], str]) -> None:
    """Raises DataError: a value (n,) that is infinite or so large that its cube is; NaN is an empty one."""
    wrong = np.flatnonzero(np.abs(values) > LARGEST)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{place(row)}: column {name!r}: {values[row]} is no number to average ({len(wrong):,} rows): log what was "
            "measured, or leave the field empty"
        )


def check_settled(open_rows: int, old_rows: int, *, open_means_no: bool) -> dict[str, int]:
    """`open_rows` of `old_rows` rows past the window have no outcome at all: nobody knows whether they were even said.

    Raises RefusedError when they are more than a fifth and are not to count as no.
    """
    if not open_rows:
        return {}
    if open_means_no:
        return {"without any outcome, counted as no": open_rows}
    if open_rows > MOST_UNSETTLED * old_rows:
        raise RefusedError(
            f"{open_rows:,} of {old_rows:,} suggestions that are old enough have no outcome: report at least `shown` or "
            "`spoken` for each (POST /v1/outcomes), or say that silence means no (--open-means-no)"
        )
    return {"without any outcome, left out": open_rows}


def uneven(kind: str, names: Sequence[str], place: Numbers, missing: NDArray[np.bool_]) -> list[str]:
    """A warning where the outcomes of n rows are missing by far more often in one group than in another; empty otherwise.

    `place` (n,): the group of a row in `names`, below 0 in none. Groups of fewer than 20 rows are not compared.
    """
    place, missing = place[place >= 0], missing[place >= 0]
    rows = np.bincount(place, minlength=len(names))
    told = np.flatnonzero(rows >= FEWEST_IN_GROUP)
    lost = np.bincount(place, missing, len(names))[told]
    total, share = rows[told].sum(), lost / rows[told]
    rate = float(lost.sum() / total) if total else 0.0
    if len(told) < 2 or not 0 < rate < 1 or share.max() - share.min() < FAR_APART:
        return []
    chi2 = float(((lost - rate * rows[told]) ** 2 / (rows[told] * rate * (1 - rate))).sum())
    if chi2_p(chi2, len(told) - 1) >= MISMATCH:
        return []
    most, least = int(np.argmax(share)), int(np.argmin(share))
    said = (
        f"outcomes are missing by {kind}: {share[most]:.1%} of {names[told[most]]!r} and {share[least]:.1%} of "
        f"{names[told[least]]!r}: what is left out is not like what is kept, so the values lean: report the missing outcomes, "
        "or say that silence means no (--open-means-no)"
    )
    return [said]


def check_first_ranks(decision: Numbers, offer: Numbers, place: Callable[[int], str]) -> None:
    """Rows of the first rank (n,). Raises DataError when one decision has two different offers there."""
    order = np.lexsort((offer, decision))
    twice = (np.diff(decision[order]) == 0) & (np.diff(offer[order]) != 0)
    if twice.any():
        row = int(order[1:][twice][0])
        raise DataError(
            f"{place(row)}: its decision has two different offers at the first rank ({int(twice.sum()):,} such): "
            "give each decision an id of its own"
        )
