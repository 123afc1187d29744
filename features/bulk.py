"""A batch of event rows as packed bytes by customer: columns where all is plain, `parse_event` for everything else.

The columns are held against the same rules as single events, only stricter: a row that is in any doubt goes through
`parse_event`, which alone decides and alone gives reasons. So a file is judged as the same events over HTTP are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import thread
from features.activity import FIELDS, MAX_ID_BYTES, MAX_SUBJECT, parse_event
from features.batches import Batch, Unreadable, ids_as_text, rows_of
from features.packing import EVENT, HAS_VALUE, channel_code, pack, seal, subject_hash
from features.spec import FeatureSpec
from nba.clock import DAY_MS, YEAR_2000_MS
from nba.config.shapes import CHANNEL
from nba.errors import ActivityError

_NOT_IN_IDS = r"[\x00-\x1f\x7f-\x{9f}{}]"
MOST_DIGITS = 4000  # Python reads no more than 4,300
_POINT = ".0"  # as data frames write whole numbers with gaps between them; .00 is money in another unit

Parts = dict[str, tuple[list[bytes], list[bytes]]]  # by customer: pieces of the log, pieces of the thread


def pack_batch(batch: Batch, spec: FeatureSpec, now_ms: int, parts: Parts) -> list[Unreadable]:
    """Adds to `parts` what to append for each customer; the rows that are refused with the reason, in order of their lines."""
    refused = list(batch.unreadable)
    if batch.table is None:
        _pack_rows(zip(batch.lines, batch.rows, strict=True), spec, now_ms, parts, refused)
        return sorted(refused, key=lambda row: row.line)
    columns = _Columns(batch.table)
    plain = columns.plain(spec, now_ms)
    _pack_columns(columns, np.flatnonzero(plain), spec, parts)
    rest = np.flatnonzero(~plain)
    rows = rows_of(batch.table.take(pa.array(rest))) if len(rest) else []
    lines = (batch.lines[index] for index in rest.tolist())
    _pack_rows(zip(lines, map(as_json, rows), strict=True), spec, now_ms, parts, refused)
    return sorted(refused, key=lambda row: row.line)


def _pack_rows(
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    spec: FeatureSpec,
    now_ms: int,
    parts: Parts,
    refused: list[Unreadable],
) -> None:
    for line, row in rows:
        try:
            event = parse_event(row, spec, now_ms)
        except ActivityError as error:
            refused.append(Unreadable(line, f"{error.pointer.removeprefix('/')}: {error}"))
            continue
        log, lines = parts.setdefault(event.customer_id, ([], []))
        log.append(pack(event, spec.channels))
        if thread.needs_line(event, spec):
            lines.append(thread.line(event))


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table as the JSON of the same event: ids of digits as text, times written out, whole floats as integers."""
    ids_as_text(row, ("event_id", "customer_id", "interaction_id"))
    if isinstance(at := row.get("at"), datetime):
        row["at"] = at.isoformat()
    row["value"] = _whole(row.get("value"))
    return row


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        whole = value.removesuffix(_POINT)
        digits = whole.isascii() and whole.removeprefix("-").isdecimal() and len(whole) < MOST_DIGITS
        return int(whole) if digits else value
    if isinstance(value, float):  # columns with gaps come as floats, the gaps as NaN
        return None if value != value else int(value) if value.is_integer() and abs(value) <= 2**53 else value
    return value


class _Columns:
    """A table's columns in the types of an event; `None` where one cannot be read as a whole."""

    def __init__(self, table: pa.RecordBatch) -> None:
        self.size = table.num_rows
        given = {name: table.column(name) for name in table.schema.names}
        self.text = {n: _cast(given[n], pa.string()) for n in FIELDS if n in given and n not in ("at", "value")}
        self.at = _cast(given["at"], pa.timestamp("us", "UTC"))
        self.value = _values(given.get("value"), self.size)

    def plain(self, spec: FeatureSpec, now_ms: int) -> NDArray[np.bool_]:
        """Which rows are certainly sound and need no line in the thread, shape (n,)."""
        nothing = np.zeros(self.size, np.bool_)
        if self.at is None or self.value is None or any(column is None for column in self.text.values()):
            return nothing
        good = self._ids("event_id") & self._ids("customer_id") & self._moments(now_ms)
        good &= _matches(self.text["channel"], CHANNEL) & _known(self.text["type"], self._plain_types(spec))
        for name in ("text", "interaction_id"):
            if name in self.text:
                good &= _bools(pc.is_null(self.text[name]))
        if "subject" in self.text:
            length = pc.fill_null(pc.utf8_length(self.text["subject"]), 0)
            quiet = _known(
                self.text["type"], [name for name in self._plain_types(spec) if name not in spec.told_codes.values()]
            )
            good &= _bools(pc.less_equal(length, MAX_SUBJECT)) & (quiet | _bools(pc.is_null(self.text["subject"])))
        told = _known(self.text["type"], list(spec.told_codes.values()))
        return good & (~told | _known(self.text["channel"], sorted(spec.channels)))

    def _plain_types(self, spec: FeatureSpec) -> list[str]:
        return [name for name in spec.codes if name not in spec.weighty]

    def _ids(self, name: str) -> NDArray[np.bool_]:
        column = self.text[name]
        length = pc.fill_null(pc.binary_length(column), 0)
        inside = pc.and_(pc.greater(length, 0), pc.less_equal(length, MAX_ID_BYTES))
        return _bools(inside) & ~_matches(column, _NOT_IN_IDS) & ~_bools(pc.utf8_is_space(column))

    def _moments(self, now_ms: int) -> NDArray[np.bool_]:
        at_us = pc.fill_null(self.at.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        inside = (at_us >= YEAR_2000_MS * 1000) & (at_us <= (now_ms + DAY_MS) * 1000)
        return np.asarray(inside)


def _cast(column: pa.Array, kind: pa.DataType) -> Any:
    try:
        return column if column.type == kind else pc.cast(column, kind)
    except pa.ArrowException:
        return None


def _values(column: pa.Array | None, size: int) -> Any:
    if column is None:
        return pa.nulls(size, pa.int64())
    if pa.types.is_integer(column.type):
        return _cast(column, pa.int64())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        bounded = pc.all(pc.less_equal(pc.abs(column), float(2**53)), min_count=0).as_py()
        return _cast(column, pa.int64()) if bounded else None
    if pa.types.is_string(column.type):
        column = pc.replace_substring_regex(column, r"^(-?[0-9]+)\.0$", r"\1")
        whole = pc.all(pc.match_substring_regex(column, r"^-?[0-9]{1,18}$"), min_count=0).as_py()
        return _cast(column, pa.int64()) if whole else None
    return pa.nulls(size, pa.int64()) if pa.types.is_null(column.type) else None


def _matches(column: pa.Array, pattern: str) -> NDArray[np.bool_]:
    return _bools(pc.match_substring_regex(column, pattern))


def _known(column: pa.Array, names: Sequence[str]) -> NDArray[np.bool_]:
    return _bools(pc.is_in(column, value_set=pa.array(names, pa.string())))


def _bools(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False))


def _pack_columns(columns: _Columns, chosen: NDArray[np.intp], spec: FeatureSpec, parts: Parts) -> None:
    if not len(chosen):
        return
    records, customers = _records(columns, chosen, spec)
    coded = customers.dictionary_encode()
    order = np.argsort(coded.indices.to_numpy(), kind="stable")
    codes = coded.indices.to_numpy()[order]
    packed = records[order].tobytes()
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    names = coded.dictionary.to_pylist()
    for first, last in pairwise(bounds):
        log, _ = parts.setdefault(names[codes[first]], ([], []))
        log.append(packed[first * EVENT.itemsize : last * EVENT.itemsize])


def _records(columns: _Columns, chosen: NDArray[np.intp], spec: FeatureSpec) -> tuple[NDArray[np.void], pa.Array]:
    """Packed records of the chosen rows, shape (k,), and their customers."""
    rows = pa.array(chosen)
    records = np.zeros(len(chosen), EVENT)
    records["at_ms"] = columns.at.take(rows).cast(pa.int64()).to_numpy() // 1000
    ids = [blake2b(name.encode(), digest_size=8).digest() for name in columns.text["event_id"].take(rows).to_pylist()]
    records["event"] = np.frombuffer(b"".join(ids), "<u8")
    values = columns.value.take(rows)
    records["value"] = pc.fill_null(values, 0).to_numpy()
    records["flags"] = _bools(pc.is_valid(values)) * HAS_VALUE
    records["type"] = _coded(columns.text["type"].take(rows), spec.codes.__getitem__)
    records["channel"] = _coded(
        columns.text["channel"].take(rows), lambda name: channel_code(name) if name in spec.channels else 0
    )
    if "subject" in columns.text:
        subjects = columns.text["subject"].take(rows)
        records["subject"] = _coded(subjects, subject_hash)
    return seal(records), columns.text["customer_id"].take(rows)


def _coded(column: pa.Array, code: Any) -> NDArray[np.uint32]:
    """The code of each text, 0 for a missing one; each different text is looked up once."""
    coded = column.dictionary_encode()
    codes = np.array([*map(code, coded.dictionary.to_pylist()), 0], np.uint32)
    return np.asarray(codes[pc.fill_null(coded.indices, len(codes) - 1).to_numpy(zero_copy_only=False)])
