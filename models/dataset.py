"""Decision rows of the contract's section 5: read, checked, told apart by what is known of them.

Reading is done in two passes so that memory stays near the size of one float32 matrix: the narrow columns first (time,
offer, outcome, propensity), then `models.matrix` fetches the wide ones batch by batch into their final rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.sources import Rows, Source, cast_column, moments, open_sources, place
from nba.clock import DAY_MS, HOUR_MS, YEAR_2000_MS
from nba.config import Catalog
from nba.domain import OUTCOMES, STRENGTH
from nba.errors import DataError
from nba.stats import first_reasons

REQUIRED = ("decision_id", "at", "customer_id", "offer_id", "propensity")
OPTIONAL = ("rank", "outcome", "outcome_at", "reward", "backtest")
DEFAULT_WINDOW_MS = HOUR_MS
_LABELS = {"accepted": 1.0, "declined": 0.0, "shown": 0.0, "spoken": 0.0, "later": 0.0}
_STRENGTHS = np.array([len(STRENGTH) - STRENGTH.index(word) for word in OUTCOMES] + [0])  # the last: no outcome


@dataclass(frozen=True)
class Decisions:
    """Checked rows (n of them) in the order of their sources.

    `at_ms` int64; `offer` int32, place in the catalog; `propensity` float64; `outcome` int8, place in OUTCOMES, -1
    where null; `known_ms` int64: when the outcome came in, `at_ms` where the log does not say; `rank` int32 (1 where
    the log has none); `reward` float64 with NaN, None without the column; `decision` int64, the same number for rows of
    one decision; `customer` int32 into `customer_ids`; `backtest` bool. `x_columns`: the names after `x.`
    that any source has.
    """

    sources: tuple[Source, ...]
    at_ms: NDArray[np.int64]
    offer: NDArray[np.int32]
    propensity: NDArray[np.float64]
    outcome: NDArray[np.int8]
    known_ms: NDArray[np.int64]
    rank: NDArray[np.int32]
    reward: NDArray[np.float64] | None
    decision: NDArray[np.int64]
    customer: NDArray[np.int32]
    customer_ids: pa.Array
    backtest: NDArray[np.bool_]
    x_columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at_ms)

    def place(self, row: int) -> str:
        """`part-0.parquet: row 17`, counted from 1, of one row of the whole."""
        return place(self.sources, row)


def read_decisions(rows: Rows | Sequence[Rows], catalog: Catalog, now_ms: int | None = None) -> Decisions:
    """Read files, folders (also `day=` partitions) and tables of decision rows.

    Raises DataError naming row and column: a required column missing, null or of a wrong type, a propensity outside
    (0, 1], a rank below 1, an infinite reward, a decision of two customers, an offer that the catalog does not have, an
    outcome that is none or lies before its decision, and, where `now_ms` is given, a moment more than a day after it.
    """
    sources = open_sources(rows, REQUIRED, "decision")
    narrow = [_narrow(source) for source in sources]
    table = pa.concat_tables(narrow, promote_options="default").combine_chunks()
    offers = _offers(table, catalog, sources)
    at_ms = table["at"].to_numpy()
    rank = _whole(table, "rank", 1)
    reward = table["reward"].to_numpy(zero_copy_only=False) if "reward" in table.column_names else None
    _check_propensity(table["propensity"].to_numpy(), sources)
    _check_rank(rank, sources)
    _check_reward(reward, sources)
    known_ms = _outcome_ms(table, at_ms, sources, now_ms)
    if now_ms is not None:
        check_moments(at_ms, now_ms, "at", sources)
    customers, calls = _codes(table["customer_id"]), _codes(table["decision_id"])
    customer, decision = customers.indices.to_numpy().astype(np.int32), calls.indices.to_numpy().astype(np.int64)
    _check_calls(decision, customer, table, sources)
    return Decisions(
        sources=sources,
        at_ms=at_ms,
        offer=offers,
        propensity=table["propensity"].to_numpy(),
        outcome=_outcomes(table, sources),
        known_ms=known_ms,
        rank=rank,
        reward=reward,
        decision=decision,
        customer=customer,
        customer_ids=customers.dictionary,
        backtest=_whole(table, "backtest", 0).astype(bool),
        x_columns=_x_columns(sources),
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """What each row says of acceptance: `label` float32 (n,), 1, 0 or NaN where left out; `left_out` counts by reason."""

    label: NDArray[np.float32]
    left_out: dict[str, int]


def settle(decisions: Decisions, now_ms: int, window_ms: int = DEFAULT_WINDOW_MS) -> Settled:
    """The stated rule: accepted is 1, declined 0; shown, spoken and later are 0; all of them once the window has passed.

    Accepted waits too: it is known at once, silence is not, so the newest days would hold acceptances only.
    Left out, first reason wins: rows made for a back-test; repeated rows of one decision and offer (of these the one
    with the strongest outcome stands); skipped (the agent did not say it: no evidence); no outcome (nobody knows that it
    was said); younger than the window.
    """
    label = np.full(len(decisions), np.nan, dtype=np.float32)
    words = np.array([*OUTCOMES, "none"])[decisions.outcome]
    reasons = {
        "back-test": decisions.backtest,
        "repeated": repeated_rows(decisions),
        "skipped": words == "skipped",
        "no outcome": words == "none",
        "too young": decisions.at_ms > now_ms - window_ms,
    }
    for word, value in _LABELS.items():
        label[words == word] = value
    label[np.logical_or.reduce(list(reasons.values()))] = np.nan
    return Settled(label, first_reasons(reasons))


def repeated_rows(decisions: Decisions) -> NDArray[np.bool_]:
    """True (n,) for all but one row of a decision and offer: the strongest outcome of a real call stands, then the last row."""
    key = decisions.decision * (int(decisions.offer.max(initial=0)) + 1) + decisions.offer
    order = np.lexsort((_STRENGTHS[decisions.outcome], ~decisions.backtest, key))
    repeated = np.zeros(len(key), dtype=bool)
    repeated[order[:-1]] = key[order[1:]] == key[order[:-1]]
    return repeated


def _narrow(source: Source) -> pa.Table:
    """The narrow columns of one source in the types of Decisions."""
    names = [name for name in (*REQUIRED, *OPTIONAL) if name in source.schema.names]
    table = pa.Table.from_batches(source.batches(names), schema=pa.schema([source.schema.field(n) for n in names]))
    columns = {name: _typed(source, name, table[name]) for name in names}
    for name in REQUIRED:
        if columns[name].null_count:
            row = int(np.flatnonzero(columns[name].is_null().to_numpy())[0])
            raise DataError(f"{source.name}: row {row + 1}: column {name!r} is empty: every row needs it")
    return pa.table(columns)


def _typed(source: Source, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if name in ("at", "outcome_at"):
        return moments(source, name, column)
    wanted = {"propensity": pa.float64(), "reward": pa.float64(), "rank": pa.int32(), "backtest": pa.int32()}
    return cast_column(source, name, column, wanted.get(name, pa.large_string()))


def _offers(table: pa.Table, catalog: Catalog, sources: tuple[Source, ...]) -> NDArray[np.int32]:
    known = pa.array([offer.id for offer in catalog.offers], pa.large_string())
    places = pc.index_in(table["offer_id"], value_set=known)
    if places.null_count:
        row = int(np.flatnonzero(places.is_null().to_numpy())[0])
        offer = table["offer_id"][row].as_py()
        raise DataError(
            f"{place(sources, row)}: column 'offer_id': {offer!r} is not in the catalog: "
            "add it there (with `eligible: false` when it is no longer sold), or leave its rows out"
        )
    return places.to_numpy().astype(np.int32)  # type: ignore[no-any-return]


def _check_propensity(propensity: NDArray[np.float64], sources: tuple[Source, ...]) -> None:
    bad = np.flatnonzero(~((propensity > 0.0) & (propensity <= 1.0)))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{place(sources, row)}: column 'propensity': {float(propensity[row])} is outside (0, 1]: "
            "log the probability with which the offer was chosen, 1.0 for a fixed rule"
        )


def _check_rank(rank: NDArray[np.int32], sources: tuple[Source, ...]) -> None:
    bad = np.flatnonzero(rank < 1)
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{place(sources, row)}: column 'rank': {rank[row]} is below 1: count from 1, what was said first"
        )


def _check_calls(
    decision: NDArray[np.int64], customer: NDArray[np.int32], table: pa.Table, sources: tuple[Source, ...]
) -> None:
    """An id that is counted anew in every file would make repeated rows of other calls, and hide all but the best outcome."""
    first = np.empty(int(decision.max()) + 1, dtype=np.int32)
    first[decision[::-1]] = customer[::-1]
    bad = np.flatnonzero(first[decision] != customer)
    if len(bad):
        row = int(bad[0])
        earlier = int(np.flatnonzero(decision == decision[row])[0])
        raise DataError(
            f"{place(sources, row)}: column 'decision_id': {table['decision_id'][row].as_py()!r} is another customer's decision "
            f"in {place(sources, earlier)} ({len(bad):,} such rows): give every call an id of its own, such as its day before it"
        )


def _check_reward(reward: NDArray[np.float64] | None, sources: tuple[Source, ...]) -> None:
    """Infinite rewards are refused: one of them makes every mean useless. NaN is a reward that nobody knows."""
    bad = [] if reward is None else np.flatnonzero(np.isinf(reward)).tolist()
    if bad:
        raise DataError(
            f"{place(sources, bad[0])}: column 'reward': infinite (inf), no amount of money: leave it empty where unknown"
        )


def check_moments(at_ms: NDArray[np.int64], now_ms: int, column: str, sources: tuple[Source, ...]) -> None:
    """Raises DataError for a moment (n,) before 2000 or more than a day after `now_ms`: some clock or unit was wrong."""
    early = np.flatnonzero(at_ms < YEAR_2000_MS)
    if len(early):
        raise DataError(
            f"{place(sources, int(early[0]))}: column {column!r} lies before 2000 ({len(early):,} rows): check the clock and "
            "the unit (seconds, milliseconds) of what wrote it"
        )
    ahead = np.flatnonzero(at_ms > now_ms + DAY_MS)
    if len(ahead):
        raise DataError(
            f"{place(sources, int(ahead[0]))}: column {column!r} is in the future ({len(ahead):,} rows): bring the clock of "
            "the machine that logged to UTC, and mend its rows"
        )


def _outcome_ms(
    table: pa.Table, at_ms: NDArray[np.int64], sources: tuple[Source, ...], now_ms: int | None
) -> NDArray[np.int64]:
    if "outcome_at" not in table.column_names:
        return at_ms
    known = pc.if_else(table["outcome_at"].is_valid(), table["outcome_at"], pa.chunked_array([pa.array(at_ms)]))
    outcome_ms = known.to_numpy()
    early = np.flatnonzero(outcome_ms < at_ms)
    if len(early):
        raise DataError(
            f"{place(sources, int(early[0]))}: column 'outcome_at': the outcome lies before its decision: "
            "bring both clocks to UTC"
        )
    if now_ms is not None:
        check_moments(outcome_ms, now_ms, "outcome_at", sources)
    return outcome_ms  # type: ignore[no-any-return]


def _outcomes(table: pa.Table, sources: tuple[Source, ...]) -> NDArray[np.int8]:
    if "outcome" not in table.column_names:
        return np.full(table.num_rows, -1, dtype=np.int8)
    column = table["outcome"]
    places = pc.index_in(column, value_set=pa.array(OUTCOMES, pa.large_string()), skip_nulls=True)
    wrong = np.flatnonzero(pc.and_(places.is_null(), column.is_valid()).to_numpy())
    if len(wrong):
        row = int(wrong[0])
        word = column[row].as_py()
        known = f"none of {', '.join(OUTCOMES)}: write one of them, or null where it is not known"
        raise DataError(f"{place(sources, row)}: column 'outcome': {word!r} is {known}")
    return pc.fill_null(places, -1).to_numpy().astype(np.int8)  # type: ignore[no-any-return]


def _whole(table: pa.Table, name: str, otherwise: int) -> NDArray[np.int32]:
    if name not in table.column_names:
        return np.full(table.num_rows, otherwise, dtype=np.int32)
    return pc.fill_null(table[name], otherwise).to_numpy()  # type: ignore[no-any-return]


def _codes(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pc.dictionary_encode(column).combine_chunks()


def _x_columns(sources: tuple[Source, ...]) -> tuple[str, ...]:
    names = dict.fromkeys(name for source in sources for name in source.schema.names)
    return tuple(name[2:] for name in names if name.startswith("x."))
