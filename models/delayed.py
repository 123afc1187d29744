"""Delayed outcomes, and what they say of each decision: is the customer still there H days later?

Parquet with `customer_id`, `at` and `outcome` (`churned`, `stayed`; `survey` is read over). The record is taken as
complete up to its last moment: who has not churned by then is still there. A row counts once H days have passed by that
moment, whatever happened; counting those who left early and waiting for the others would make staying look rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.dataset import Decisions, check_moments
from models.sources import Rows, cast_column, moments, open_sources, place
from nba.domain import DELAYED_OUTCOMES
from nba.errors import DataError

REQUIRED = ("customer_id", "at", "outcome")


@dataclass(frozen=True, slots=True)
class Churn:
    """`customer_ids` text (m,) and `at_ms` int64 (m,) of every churn; `known_until_ms`: the last moment of the record."""

    customer_ids: pa.Array
    at_ms: NDArray[np.int64]
    known_until_ms: int


def read_delayed(rows: Rows | Sequence[Rows], now_ms: int | None = None) -> Churn:
    """Read delayed outcomes. Raises DataError naming row and column; with `now_ms` also for moments a day after it."""
    sources = open_sources(rows, REQUIRED, "delayed outcome")
    ids, ats, words = [], [], []
    for source in sources:
        table = pa.Table.from_batches(source.batches(REQUIRED))
        for name in REQUIRED:
            if table[name].null_count:
                row = source.first + int(np.flatnonzero(table[name].is_null().to_numpy())[0])
                raise DataError(f"{place(sources, row)}: column {name!r} is empty: every row needs it")
        ids.append(cast_column(source, "customer_id", table["customer_id"], pa.large_string()).combine_chunks())
        words.append(cast_column(source, "outcome", table["outcome"], pa.large_string()).combine_chunks())
        ats.append(moments(source, "at", table["at"]).to_numpy())
    outcome, at_ms = pa.concat_arrays(words), np.concatenate(ats)
    known = pc.is_in(outcome, value_set=pa.array(DELAYED_OUTCOMES, pa.large_string())).to_numpy(zero_copy_only=False)
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise DataError(
            f"{place(sources, row)}: column 'outcome': {outcome[row]} is none of {', '.join(DELAYED_OUTCOMES)}"
        )
    if now_ms is not None:
        check_moments(at_ms, now_ms, "at", sources)
    churned = pc.equal(outcome, "churned")
    hit = churned.to_numpy(zero_copy_only=False)
    return Churn(pa.concat_arrays(ids).filter(churned), at_ms[hit], int(at_ms.max()))


def stay_labels(decisions: Decisions, churn: Churn, horizon_ms: int) -> NDArray[np.float32]:
    """1 stayed, 0 left within the horizon after the decision, NaN where that is not known yet; float32 (n,)."""
    label = (next_churn(decisions, churn) - decisions.at_ms > horizon_ms).astype(np.float32)
    label[decisions.at_ms + horizon_ms > churn.known_until_ms] = np.nan
    return label


def next_churn(decisions: Decisions, churn: Churn) -> NDArray[np.int64]:
    """When the customer of each row left, the first time at or after the row (n,); far in the future where they did not."""
    found = pc.index_in(churn.customer_ids, value_set=decisions.customer_ids)
    known = found.is_valid().to_numpy(zero_copy_only=False)
    customer, at_ms = pc.fill_null(found, 0).to_numpy().astype(np.int64)[known], churn.at_ms[known]
    never = np.iinfo(np.int64).max // 2
    first = min(int(at_ms.min(initial=0)), int(decisions.at_ms.min()))
    span = max(int(at_ms.max(initial=0)), int(decisions.at_ms.max())) - first + 1
    keys = np.sort(customer * span + (at_ms - first))
    wanted = decisions.customer.astype(np.int64) * span + (decisions.at_ms - first)
    spot = np.searchsorted(keys, wanted)
    after = np.append(keys, never)[spot]
    same = after // span == decisions.customer
    return np.where(same & (spot < len(keys)), after % span + first, never)
