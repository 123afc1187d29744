"""Decision rows of the contract's section 5: read, checked, told apart by what is known of them.

Reading is done in two passes so that memory stays near the size of one float32 matrix: the narrow columns first (time,
offer, outcome, propensity), then `models.matrix` fetches the wide ones batch by batch into their final rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nba.clock import HOUR_MS
from nba.config import Catalog
from nba.domain import OUTCOMES
from nba.errors import DataError

Rows: TypeAlias = Path | str | Any  # Any: a pyarrow Table
REQUIRED = ("decision_id", "at", "customer_id", "offer_id", "propensity")
OPTIONAL = ("rank", "outcome", "outcome_at", "reward", "backtest", "arm")
BATCH_ROWS = 16_384
DEFAULT_WINDOW_MS = HOUR_MS
_SETTLED_AT_ONCE = {"accepted": 1.0, "declined": 0.0}
_SETTLED_BY_TIME = ("shown", "spoken", "later")


@dataclass(frozen=True, slots=True)
class Source:
    """One Parquet file or table; `first` is the place of its first row among all rows."""

    name: str
    content: Any
    schema: pa.Schema
    rows: int
    first: int

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in order, those of `columns` that it has. Raises DataError when the file breaks off."""
        names = [name for name in columns if name in self.schema.names]
        try:
            if isinstance(self.content, pa.Table):
                yield from self.content.select(names).to_batches(max_chunksize=BATCH_ROWS)
            else:
                with pq.ParquetFile(self.content) as file:
                    yield from file.iter_batches(BATCH_ROWS, columns=names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.name}: breaks off ({error}): write the file again") from error


@dataclass(frozen=True)
class Decisions:
    """Checked rows (n of them) in the order of their sources.

    `at_ms` int64; `offer` int32, place in the catalog; `propensity` float64; `outcome` int8, place in OUTCOMES, -1
    where null; `rank` int32 (1 where the log has none); `reward` float64 with NaN, None without the column;
    `decision` int64, the same number for rows of one decision; `customer` int32 into `customer_ids`;
    `backtest` bool. `x_columns`: the names after `x.` that any source has; `pair_columns` likewise, whole names.
    """

    sources: tuple[Source, ...]
    at_ms: NDArray[np.int64]
    offer: NDArray[np.int32]
    propensity: NDArray[np.float64]
    outcome: NDArray[np.int8]
    rank: NDArray[np.int32]
    reward: NDArray[np.float64] | None
    decision: NDArray[np.int64]
    customer: NDArray[np.int32]
    customer_ids: pa.Array
    backtest: NDArray[np.bool_]
    x_columns: tuple[str, ...]
    pair_columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at_ms)

    def place(self, row: int) -> str:
        """`part-0.parquet: row 17`, counted from 1, of one row of the whole."""
        return _place(self.sources, row)


def read_decisions(rows: Rows | Sequence[Rows], catalog: Catalog) -> Decisions:
    """Read files, folders (also `day=` partitions) and tables of decision rows.

    Raises DataError naming row and column: a required column missing, null or of a wrong type, a propensity outside
    (0, 1], an offer that the catalog does not have, an outcome that is none or lies before its decision.
    """
    sources = _open(rows)
    narrow = [_narrow(source) for source in sources]
    table = pa.concat_tables(narrow, promote_options="default").combine_chunks()
    offers = _offers(table, catalog, sources)
    at_ms = table["at"].to_numpy()
    _check_propensity(table["propensity"].to_numpy(), sources)
    _check_outcome_at(table, at_ms, sources)
    customers = _codes(table["customer_id"])
    return Decisions(
        sources=sources,
        at_ms=at_ms,
        offer=offers,
        propensity=table["propensity"].to_numpy(),
        outcome=_outcomes(table, sources),
        rank=_whole(table, "rank", 1),
        reward=table["reward"].to_numpy(zero_copy_only=False) if "reward" in table.column_names else None,
        decision=_codes(table["decision_id"]).indices.to_numpy().astype(np.int64),
        customer=customers.indices.to_numpy().astype(np.int32),
        customer_ids=customers.dictionary,
        backtest=_whole(table, "backtest", 0).astype(bool),
        x_columns=_prefixed(sources, "x.", cut=2),
        pair_columns=_prefixed(sources, "pair.", cut=0),
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """What each row says of acceptance: `label` float32 (n,), 1, 0 or NaN where left out; `left_out` counts by reason."""

    label: NDArray[np.float32]
    left_out: dict[str, int]


def settle(decisions: Decisions, now_ms: int, window_ms: int = DEFAULT_WINDOW_MS) -> Settled:
    """The stated rule: accepted is 1 and declined 0 at once; shown, spoken and later are 0 once the window has passed.

    Left out, first reason wins: rows made for a back-test; repeated rows of one decision and offer (the last is kept);
    skipped (the agent did not say it: no evidence); no outcome (nobody knows that it was said); younger than the window.
    """
    label = np.full(len(decisions), np.nan, dtype=np.float32)
    words = np.array([*OUTCOMES, "none"])[decisions.outcome]
    reasons = {
        "back-test": decisions.backtest,
        "repeated": _repeated(decisions),
        "skipped": words == "skipped",
        "no outcome": words == "none",
        "too young": np.isin(words, _SETTLED_BY_TIME) & (decisions.at_ms > now_ms - window_ms),
    }
    for word, value in _SETTLED_AT_ONCE.items():
        label[words == word] = value
    label[np.isin(words, _SETTLED_BY_TIME)] = 0.0
    left_out = {}
    gone = np.zeros(len(decisions), dtype=bool)
    for reason, hit in reasons.items():
        left_out[reason] = int(np.count_nonzero(hit & ~gone))
        gone |= hit
    label[gone] = np.nan
    return Settled(label, {reason: count for reason, count in left_out.items() if count})


def _repeated(decisions: Decisions) -> NDArray[np.bool_]:
    key = decisions.decision * (int(decisions.offer.max(initial=0)) + 1) + decisions.offer
    _, last = np.unique(key[::-1], return_index=True)
    repeated = np.ones(len(key), dtype=bool)
    repeated[len(key) - 1 - last] = False
    return repeated


def _open(rows: Rows | Sequence[Rows]) -> tuple[Source, ...]:
    given = [rows] if isinstance(rows, (str, Path, pa.Table)) else list(rows)
    sources: list[Source] = []
    for name, content in (pair for item in given for pair in _contents(item)):
        first = sources[-1].first + sources[-1].rows if sources else 0
        schema, count = _shape(name, content)
        missing = [column for column in REQUIRED if column not in schema.names]
        if missing:
            raise DataError(f"{name}: column {missing[0]!r} is missing: decision rows need {', '.join(REQUIRED)}")
        sources.append(Source(name, content, schema, count, first))
    if not sources or sources[-1].first + sources[-1].rows == 0:
        raise DataError("no decision rows: give a Parquet file, or a folder that holds some")
    return tuple(source for source in sources if source.rows)


def _contents(item: Rows) -> Iterator[tuple[str, Any]]:
    if isinstance(item, pa.Table):
        yield "table", item
        return
    path = Path(item)
    if path.is_file():
        yield path.name, path
    elif path.is_dir():
        for file in sorted(path.rglob("*.parquet")):
            yield str(file.relative_to(path)), file
    else:
        raise DataError(f"{path}: no such file or folder: give the Parquet of the decision log")


def _shape(name: str, content: Any) -> tuple[pa.Schema, int]:
    if isinstance(content, pa.Table):
        return content.schema, content.num_rows
    try:
        with pq.ParquetFile(content) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: not a Parquet file ({error}): write it again, or leave it out") from error


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
        return _moments(source, name, column)
    wanted = {"propensity": pa.float64(), "reward": pa.float64(), "rank": pa.int32(), "backtest": pa.int32()}
    return cast_column(source, name, column, wanted.get(name, pa.large_string()))


def cast_column(source: Source, name: str, column: Any, wanted: pa.DataType) -> Any:
    """A column in the wanted type, dictionaries unpacked. Raises DataError naming the column."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    textual = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if textual != pa.types.is_large_string(wanted) and not _plain_code(column.type, wanted):
        raise DataError(f"{source.name}: column {name!r} is {column.type}, it has to be {_in_words(wanted)}")
    try:
        return pc.cast(column, wanted)
    except pa.ArrowException as error:
        raise DataError(f"{source.name}: column {name!r} is no {_in_words(wanted)} ({error}): convert it") from error


def _plain_code(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whole numbers and booleans may stand for words; a column without any value fits everything."""
    codes = pa.types.is_integer(given) or pa.types.is_boolean(given)
    return bool(pa.types.is_null(given) or (codes and pa.types.is_large_string(wanted)))


def _in_words(wanted: pa.DataType) -> str:
    return "text" if pa.types.is_large_string(wanted) else "a number"


def _moments(source: Source, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(column.type):
        raise DataError(f"{source.name}: column {name!r} is {column.type}, it has to be a timestamp in UTC")
    per_ms = {"s": 1000, "ms": 1, "us": 1000, "ns": 1_000_000}[column.type.unit]
    whole = pc.cast(column, pa.int64())
    if column.type.unit == "s":
        return pc.multiply(whole, per_ms)
    valid = pc.fill_null(whole, 0).to_numpy() // per_ms  # floors, also before 1970
    return pa.chunked_array([pa.array(valid, mask=pc.is_null(whole).to_numpy())])


def _offers(table: pa.Table, catalog: Catalog, sources: tuple[Source, ...]) -> NDArray[np.int32]:
    known = pa.array([offer.id for offer in catalog.offers], pa.large_string())
    places = pc.index_in(table["offer_id"], value_set=known)
    if places.null_count:
        row = int(np.flatnonzero(places.is_null().to_numpy())[0])
        offer = table["offer_id"][row].as_py()
        raise DataError(
            f"{_place(sources, row)}: column 'offer_id': {offer!r} is not in the catalog: "
            "add it there (with `eligible: false` when it is no longer sold), or leave its rows out"
        )
    return places.to_numpy().astype(np.int32)  # type: ignore[no-any-return]


def _check_propensity(propensity: NDArray[np.float64], sources: tuple[Source, ...]) -> None:
    bad = np.flatnonzero(~((propensity > 0.0) & (propensity <= 1.0)))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{_place(sources, row)}: column 'propensity': {propensity[row]:g} is outside (0, 1]: "
            "log the probability with which the offer was chosen, 1.0 for a fixed rule"
        )


def _check_outcome_at(table: pa.Table, at_ms: NDArray[np.int64], sources: tuple[Source, ...]) -> None:
    if "outcome_at" not in table.column_names:
        return
    outcome_ms = pc.fill_null(table["outcome_at"], np.iinfo(np.int64).max).to_numpy()
    early = np.flatnonzero(outcome_ms < at_ms)
    if len(early):
        raise DataError(
            f"{_place(sources, int(early[0]))}: column 'outcome_at': the outcome lies before its decision: "
            "bring both clocks to UTC"
        )


def _outcomes(table: pa.Table, sources: tuple[Source, ...]) -> NDArray[np.int8]:
    if "outcome" not in table.column_names:
        return np.full(table.num_rows, -1, dtype=np.int8)
    column = table["outcome"]
    places = pc.index_in(column, value_set=pa.array(OUTCOMES, pa.large_string()), skip_nulls=True)
    wrong = np.flatnonzero(pc.and_(places.is_null(), column.is_valid()).to_numpy())
    if len(wrong):
        row = int(wrong[0])
        word = column[row].as_py()
        raise DataError(
            f"{_place(sources, row)}: column 'outcome': {word!r} is none of {', '.join(OUTCOMES)}, or empty"
        )
    return pc.fill_null(places, -1).to_numpy().astype(np.int8)  # type: ignore[no-any-return]


def _whole(table: pa.Table, name: str, otherwise: int) -> NDArray[np.int32]:
    if name not in table.column_names:
        return np.full(table.num_rows, otherwise, dtype=np.int32)
    return pc.fill_null(table[name], otherwise).to_numpy()  # type: ignore[no-any-return]


def _codes(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pc.dictionary_encode(column).combine_chunks()


def _prefixed(sources: tuple[Source, ...], prefix: str, cut: int) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for source in sources:
        names.update({name[cut:]: None for name in source.schema.names if name.startswith(prefix)})
    return tuple(names)


def _place(sources: tuple[Source, ...], row: int) -> str:
    source = next(s for s in reversed(sources) if s.first <= row)
    return f"{source.name}: row {row - source.first + 1}"
