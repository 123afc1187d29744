"""Parquet parts of the decision log: their columns, how they are written without ever being half there, and found again.

Imports pyarrow: only for processes and threads beside the calls. What such a thread uses (`find_rolled`, `last_of`,
`without_customer`) gives Arrow no Python values: to turn one into a scalar or an array it would first load pandas.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from nba.domain import STRENGTH
from nba.errors import JournalError
from nba.folders import make_private, sync_folder
from nba.past import PAST_COLUMNS, Past
from serving.journal import Folders, place_of

MOMENT = pa.timestamp("us", tz="UTC")
_ARROW = {"number": pa.float64(), "category": pa.string(), "boolean": pa.bool_()}
_PYTHON = {pa.float64(): (float, int), pa.string(): (str,), pa.bool_(): (bool,)}
DECISION_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("decision_id", pa.string()), ("at", MOMENT), ("customer_id", pa.string()), ("offer_id", pa.string()),
    ("propensity", pa.float64()), ("rank", pa.int64()), ("outcome", pa.string()), ("reward", pa.float64()),
    ("model", pa.string()), ("policy", pa.string()), ("experiment", pa.string()), ("arm", pa.string()),
    ("kind", pa.string()), ("channel", pa.string()), ("interaction_id", pa.string()), ("backtest", pa.bool_()),
    ("source", pa.string()), ("accept_probability", pa.float64()), ("expected_value", pa.float64()),
    ("pair.cost_month", pa.float64()), ("pair.saving_month", pa.float64()), ("pair.margin_delta_month", pa.float64()),
    ("pair.covers", pa.float64()),
    *((column.name, pa.float64()) for column in PAST_COLUMNS),
)  # fmt: skip
RECORDS = pa.schema(
    [
        ("decision_id", pa.string()),
        ("at", MOMENT),
        ("customer_id", pa.string()),
        ("backtest", pa.bool_()),
        ("interaction_id", pa.string()),
        ("record", pa.string()),
    ]
)
OUTCOMES = pa.schema(
    [
        ("outcome_id", pa.string()), ("decision_id", pa.string()), ("offer_id", pa.string()), ("customer_id", pa.string()),
        ("outcome", pa.string()), ("at", MOMENT), ("received", MOMENT), ("reason", pa.string()), ("channel", pa.string()),
        ("interaction_id", pa.string()),
    ]
)  # fmt: skip
DELAYED = pa.schema(
    [
        ("outcome_id", pa.string()), ("customer_id", pa.string()), ("outcome", pa.string()), ("value", pa.float64()),
        ("at", MOMENT), ("received", MOMENT), ("reason", pa.string()),
    ]
)  # fmt: skip
ROWS_A_GROUP = 512
Known = Mapping[tuple[str, str], str]


def decision_schema(records: Iterable[Mapping[str, Any]]) -> pa.Schema:
    """The columns that these records need: the fixed ones and `x.NAME` for every column that was served."""
    types: dict[str, str] = {}
    for record in records:
        for name in record["x"]:
            types[name] = record["types"].get(name, "number")
    return pa.schema([*DECISION_FIELDS, *((f"x.{name}", _ARROW[dtype]) for name, dtype in types.items())])


def decision_rows(record: Mapping[str, Any], known: Known) -> Iterator[dict[str, Any]]:
    """One row a shown candidate. `known`: the outcome of (decision, offer)."""
    answer, request = record["answer"], record["request"]
    features = {f"x.{name}": value for name, value in record["x"].items()}
    for shown, suggestion in zip(record["shown"], answer["suggestions"], strict=True):
        yield {
            "decision_id": record["decision_id"],
            "at": record["at_ms"] * 1000,
            "customer_id": record["customer_id"],
            **{name: suggestion[name] for name in ("offer_id", "propensity", "rank", "kind")},
            **{name: suggestion[name] for name in ("accept_probability", "expected_value")},
            "outcome": known.get((record["decision_id"], suggestion["offer_id"])),
            **{name: record[name] for name in ("model", "policy", "experiment", "arm", "backtest")},
            **{name: request[name] for name in ("channel", "interaction_id")},
            "source": answer["source"],
            **{f"pair.{name}": shown[name] for name in ("cost_month", "saving_month", "margin_delta_month")},
            "pair.covers": float(shown["covers"]),
            **{f"pair.{name}": shown.get(name) for name in Past._fields},  # records of older versions have none
            **features,
        }


def record_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One row a decision: the whole record as JSON."""
    named = {name: record[name] for name in ("decision_id", "customer_id", "backtest")}
    spoken = record["request"]["interaction_id"]
    return {**named, "at": record["at_ms"] * 1000, "interaction_id": spoken, "record": orjson.dumps(record).decode()}


def outcome_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome as it was reported, its moments as columns."""
    return {**row, "at": row["at_ms"] * 1000, "received": row["received_ms"] * 1000}


def table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; what a row lacks is null."""
    rows = list(rows)
    return pa.table([_column([row.get(f.name) for row in rows], f) for f in schema], schema=schema)


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    """A column. A reload may change a field's type within a segment: what does not fit its column any more is null there,
    for one such value must not keep a whole day from becoming a table. The record keeps it as it was.
    """
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if not field.name.startswith("x."):
            raise
        fitting = _PYTHON[field.type]
        return pa.array([value if type(value) in fitting else None for value in values], field.type)


def write_part(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write a part so that it is there wholly or not at all, a power cut included. Raises JournalError: the disk refuses."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        make_private(path.parent)
        _write_whole(hidden, path, tables, schema)
    except OSError as error:
        raise JournalError(
            f"{path} cannot be written ({error}): make room or mend its rights, then try again"
        ) from error


def _write_whole(hidden: Path, path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    try:
        hidden.touch(0o600)  # as the segment that it comes from
        with pq.ParquetWriter(hidden, schema, compression="zstd") as writer:
            for part in tables:
                writer.write_table(part, row_group_size=ROWS_A_GROUP)
        _force(hidden)
        hidden.rename(path)
    finally:
        hidden.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Around the reading of a part that may be damaged. Raises JournalError naming it; FileNotFoundError as it is: erased."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise JournalError(
            f"{path} cannot be read ({error}): restore it from a copy or take it away, then try again"
        ) from error


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A part, or some columns of it. Raises JournalError: it is damaged."""
    with readable(path):
        return pq.ParquetFile(path).read(columns=columns)


def _force(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def stronger(one: str | None, other: str) -> str:
    """Of two outcomes of one suggestion the one that stands."""
    return other if one is None else min(one, other, key=STRENGTH.index)


def settle_part(path: Path, known: Known) -> bool:
    """Write what is known of a part's rows into its `outcome` column; whether anything changed. Raises JournalError."""
    part = read_part(path)
    ids, offers, before = (part.column(name).to_pylist() for name in ("decision_id", "offer_id", "outcome"))
    after = [
        stronger(was, known[decision, offer]) if (decision, offer) in known else was
        for decision, offer, was in zip(ids, offers, before, strict=True)
    ]
    if after == before:
        return False
    column = part.schema.get_field_index("outcome")
    write_part(path, [part.set_column(column, part.schema.field(column), pa.array(after, pa.string()))], part.schema)
    return True


def without_customer(path: Path, customer_id: str) -> int:
    """Write a part anew without this customer's rows; how many there were. A part that would be empty is removed.

    Raises JournalError.
    """
    part = read_part(path)
    theirs = [row for row, name in enumerate(part["customer_id"].to_pylist()) if name == customer_id]
    if len(theirs) == part.num_rows:
        path.unlink()
        sync_folder(path.parent)
    elif theirs:
        bounds = zip([0, *(row + 1 for row in theirs)], [*theirs, part.num_rows], strict=True)
        kept = pa.concat_tables([part.slice(first, end - first) for first, end in bounds if end > first])
        write_part(path, [kept], part.schema)
    return len(theirs)


def find_rolled(folders: Folders, decision_id: str) -> dict[str, Any] | None:
    """The record of a rolled decision; statistics of the row groups leave one group to be read. Raises JournalError."""
    place = place_of(decision_id)
    path = folders.part("records", place.day, place.segment)
    if not path.is_file():
        return None
    with readable(path):
        return _found_in(path, decision_id)


def _found_in(path: Path, decision_id: str) -> dict[str, Any] | None:
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        found = file.metadata.row_group(group).column(0).statistics
        if found is None or not found.has_min_max or found.min <= decision_id <= found.max:
            rows = file.read_row_group(group, columns=["decision_id", "record"])
            for identifier, text in zip(rows["decision_id"].to_pylist(), rows["record"].to_pylist(), strict=True):
                if identifier == decision_id:
                    record: dict[str, Any] = orjson.loads(text)
                    return record
    return None


def last_of(folders: Folders, path: Path, interaction_id: str) -> dict[str, Any] | None:
    """The last record of an interaction in a part of the records; parts of older versions do not tell."""
    file = pq.ParquetFile(path)
    if "interaction_id" not in file.schema_arrow.names:
        return None
    rows = file.read(columns=["decision_id", "interaction_id"])
    asked = zip(rows["decision_id"].to_pylist(), rows["interaction_id"].to_pylist(), strict=True)
    ids = [decision for decision, interaction in asked if interaction == interaction_id]
    return find_rolled(folders, ids[-1]) if ids else None
