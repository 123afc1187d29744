"""Files of activity or customers in pieces: Parquet, CSV and JSON Lines, one batch of rows in memory at a time."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.utf8 import MARK, MarkedUtf8
from nba.errors import DataError

BATCH_ROWS = 20_000
CSV_BLOCK_BYTES = 2 << 20
MAX_LINE_BYTES = 1 << 20
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is no row: its line and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file. `lines[i]`: where row i stands, from 1. `table` where the file has columns, else `rows`.

    `seen`: how many rows of the file are behind, this batch and what is unreadable in it included; `done`: the share of the
    file that is read, 0 … 1.
    """

    lines: Sequence[int]
    seen: int
    done: float
    table: pa.RecordBatch | None = None
    rows: Sequence[dict[str, Any]] = ()
    unreadable: Sequence[Unreadable] = ()


def expand(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those inside folders. Raises DataError: nothing there, or of no known kind."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.is_file() and _kind(p)) if path.is_dir() else [path]
        if not inside or not path.exists():
            raise DataError(f"{path}: no such file, or a folder without files to read: give .parquet, .csv or .jsonl")
        files += inside
    for file in files:
        if _kind(file) is None:
            raise DataError(f"{file}: what is it? Name it .parquet, .csv, .jsonl, .csv.gz or .jsonl.gz")
    return files


def _kind(file: Path) -> str | None:
    name = file.name.removesuffix(".gz")
    return _SUFFIXES.get(Path(name).suffix.lower())


def read_batches(file: Path, columns: Sequence[str], required: Sequence[str]) -> Iterator[Batch]:
    """The rows of a file in order, in batches. `columns`: those that may be there, `required`: those that have to be.

    Raises DataError: the file cannot be read, or its columns are wrong. JSON Lines are checked row by row instead.
    """
    try:
        for batch in _READERS[str(_kind(file))](file, columns, required):
            if batch.table is not None:
                _check_columns(file, batch.table.schema, columns, required)
            yield batch
    except (pa.ArrowException, OSError, EOFError) as error:
        raise DataError(
            f"{file}: cannot be read: {str(error).splitlines()[0]}: write it anew, or convert it"
        ) from error


def _check_columns(file: Path, schema: pa.Schema, columns: Sequence[str], required: Sequence[str]) -> None:
    if any(MARK in name for name in schema.names):
        raise DataError(f"{file}: its header is not UTF-8: save the file as UTF-8")
    twice = [name for name in schema.names if schema.names.count(name) > 1]
    if twice:
        raise DataError(f"{file}: column {twice[0]!r} stands there twice: leave one of the two out")
    missing = [name for name in required if name not in schema.names]
    if missing:
        raise DataError(f"{file}: has no column {missing[0]!r}: needed are {', '.join(required)}")
    unknown = [name for name in schema.names if name not in columns]
    if unknown:
        raise DataError(f"{file}: column {unknown[0]!r} is not known: allowed are {', '.join(columns)}")
    for entry in schema:
        if entry.name == "at" and pa.types.is_temporal(entry.type) and getattr(entry.type, "tz", None) is None:
            raise DataError(f"{file}: column 'at' has no time zone: write it as a timestamp with the zone UTC")


def _parquet(file: Path, _: Sequence[str], __: Sequence[str]) -> Iterator[Batch]:
    with pq.ParquetFile(file) as source:
        total, seen = source.metadata.num_rows, 0
        for table in source.iter_batches(BATCH_ROWS):
            lines = range(seen + 1, seen + 1 + table.num_rows)
            seen += table.num_rows
            yield Batch(lines, seen, seen / max(total, 1), table)


def _csv(file: Path, columns: Sequence[str], required: Sequence[str]) -> Iterator[Batch]:
    skipped: list[_Skipped] = []

    def note(row: pa_csv.InvalidRow) -> str:
        reason = f"has {row.actual_columns} columns, the header has {row.expected_columns}"
        breaks = (row.text or "").count("\n")
        skipped.append(_Skipped(row.number, reason + (f"; {_unclosed(breaks)}" if breaks else ""), breaks))
        return "skip"

    with _opened(file) as (raw, content):
        blank, several = _begins(content)
        source = MarkedUtf8(content)
        reader = pa_csv.open_csv(
            source,
            # threads would lose the row numbers
            pa_csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES, skip_rows=blank),
            # Empty lines are read where they can be told from rows, since they count as lines.
            pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note, ignore_empty_lines=not several),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
        yield Batch((), 0, 0.0, pa.RecordBatch.from_pylist([], reader.schema))  # a header alone is checked too
        places, size = _Places(1 + blank), max(file.stat().st_size, 1)
        for table in reader:
            lines, bad = places.of(table, skipped)
            rows, lines, foreign = _proper(table, lines, required, marked=source.found)
            done = min(raw.tell() / size, 1.0)
            yield Batch(lines, places.seen, done, rows, unreadable=sorted([*bad, *foreign], key=lambda b: b.line))
        _, bad = places.of(None, skipped)
        yield Batch((), places.seen, 1.0, unreadable=bad)


def _begins(content: Any) -> tuple[int, bool]:
    """How many empty lines stand before the header, and whether it has several columns."""
    head: bytes = content.peek()
    header = head.lstrip(b"\r\n")
    above = head[: len(head) - len(header)]
    return max(above.count(b"\n"), above.count(b"\r")), b"," in header.split(b"\n", 1)[0]


@dataclass(frozen=True, slots=True)
class _Skipped:
    """A row that the reader left out: its number (the header is 1), why, and the line breaks inside it."""

    number: int
    reason: str
    breaks: int


class _Places:
    """On which line each row begins: the reader counts rows, and a quoted value may run over several lines."""

    def __init__(self, header: int) -> None:
        self._row = self.seen = header  # its line
        self._breaks = 0

    def of(self, table: pa.RecordBatch | None, skipped: list[_Skipped]) -> tuple[Sequence[int], list[Unreadable]]:
        """The lines of a table's rows and the rows skipped before its last one, which are taken out of `skipped`.

        None: all that is left of `skipped`.
        """
        count = 0 if table is None else table.num_rows
        rows = _rows(self._row + 1, count, {bad.number for bad in skipped})
        now = [bad for bad in skipped if table is None or (rows and bad.number < rows[-1])]
        skipped[:] = [bad for bad in skipped if bad not in now]
        numbers = [bad.number for bad in now]
        self._row = max([self._row, *rows[-1:], *numbers])
        breaks = np.concatenate([_breaks(table), np.array([bad.breaks for bad in now], np.int64)])
        lines = self._moved(np.array([*rows, *numbers], np.int64), breaks)
        self.seen = max([self.seen, *lines])
        return lines[:count], [Unreadable(line, bad.reason) for line, bad in zip(lines[count:], now, strict=True)]

    def _moved(self, rows: NDArray[np.int64], breaks: NDArray[np.int64]) -> list[int]:
        order = rows.argsort()
        before = self._breaks + breaks[order].cumsum() - breaks[order]
        rows[order] += before
        self._breaks += int(breaks.sum())
        found: list[int] = rows.tolist()
        return found


def _rows(first: int, count: int, bad: set[int]) -> Sequence[int]:
    """The numbers of `count` good rows from row `first` on, when those of `bad` are skipped."""
    if not bad:
        return range(first, first + count)
    return [row for row in range(first, first + count + len(bad)) if row not in bad][:count]


def _breaks(table: pa.RecordBatch | None) -> NDArray[np.int64]:
    """The line breaks inside each row, shape (rows,)."""
    found = np.zeros(0 if table is None else table.num_rows, np.int64)
    for column in () if table is None else table.columns:
        if pa.types.is_string(column.type):
            found += pc.fill_null(pc.count_substring(column, "\n"), 0).to_numpy(zero_copy_only=False)
    return found


def _proper(
    table: pa.RecordBatch, lines: Sequence[int], required: Sequence[str], *, marked: bool
) -> tuple[pa.RecordBatch, Sequence[int], list[Unreadable]]:
    """The rows that say something and are UTF-8, and their lines; what is not, or swallows lines, with its line and column."""
    wrong = _swallowing(table, required)
    if marked:
        wrong |= {
            i: f"{n}: is not UTF-8: save the file as UTF-8" for n in table.schema.names for i in _marked(table[n])
        }
    left_out = {*wrong, *_blank(table)}
    if not left_out:
        return table, lines, []
    good = [i for i in range(table.num_rows) if i not in left_out]
    bad = [Unreadable(lines[i], wrong[i]) for i in sorted(wrong)]
    return table.take(pa.array(good, pa.int64())), [lines[i] for i in good], bad


def _swallowing(table: pa.RecordBatch, required: Sequence[str]) -> dict[int, str]:
    """Rows with a line break in an id, a moment or a name: a quote was not closed, and the lines up to the next are in it."""
    found: dict[int, str] = {}
    for name in table.schema.names:
        if name in required:
            breaks = pc.fill_null(pc.count_substring(table[name], "\n"), 0).to_numpy(zero_copy_only=False)
            found |= {i: f"{name}: {_unclosed(int(breaks[i]))}" for i in np.flatnonzero(breaks).tolist()}
    return found


def _unclosed(breaks: int) -> str:
    lines = "1 more line" if breaks == 1 else f"{breaks:,} more lines"
    return f"a quote that opens here runs over {lines}, which were not read: close it, and ingest again"


def _marked(column: pa.Array) -> list[int]:
    found: list[int] = pc.indices_nonzero(pc.fill_null(pc.match_substring(column, MARK), False)).to_pylist()
    return found


def _blank(table: pa.RecordBatch) -> list[int]:
    """The rows without a single value, as empty lines are read."""
    if table.num_columns == 1 or any(column.null_count == 0 for column in table.columns):
        return []
    nothing = [column.is_null().to_numpy(zero_copy_only=False) for column in table.columns]
    found: list[int] = np.flatnonzero(np.logical_and.reduce(nothing)).tolist()
    return found


def _jsonl(file: Path, _: Sequence[str], __: Sequence[str]) -> Iterator[Batch]:
    with _opened(file) as (raw, source):
        seen, size = 0, max(file.stat().st_size, 1)
        lines, rows, bad = [], [], []
        while text := source.readline(MAX_LINE_BYTES):
            seen += 1
            text = text.removeprefix(codecs.BOM_UTF8) if seen == 1 else text
            found = _object(text)
            if isinstance(found, str):
                bad.append(Unreadable(seen, found))
                _skip_rest(text, source)
            elif found:
                lines.append(seen)
                rows.append(found)
            if len(rows) + len(bad) >= BATCH_ROWS:
                yield Batch(lines, seen, min(raw.tell() / size, 1.0), rows=rows, unreadable=bad)
                lines, rows, bad = [], [], []
        yield Batch(lines, seen, 1.0, rows=rows, unreadable=bad)


def _object(text: bytes) -> dict[str, Any] | str:
    """The object of one line, {} for an empty line, or what is wrong with it."""
    if len(text) >= MAX_LINE_BYTES and not text.endswith(b"\n"):
        return f"is longer than {MAX_LINE_BYTES:,} bytes"
    if not text.strip():
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"is not JSON: {error}"
    return found if isinstance(found, dict) and found else "is not a JSON object with fields"


def _skip_rest(text: bytes, source: IO[bytes]) -> None:
    while text and not text.endswith(b"\n"):
        text = source.readline(MAX_LINE_BYTES)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file itself, whose position tells how far it is read, and its content."""
    with file.open("rb") as raw:
        if file.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as content:
                yield raw, io.BufferedReader(content, 1 << 20)
        else:
            yield raw, raw


_READERS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Iterator[Batch]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
}
