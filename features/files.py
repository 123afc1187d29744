"""Files of activity or customers in pieces: Parquet, CSV and JSON Lines, one batch of rows in memory at a time."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

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
        for batch in _READERS[str(_kind(file))](file, columns):
            if batch.table is not None:
                _check_columns(file, batch.table.schema, columns, required)
            yield batch
    except (pa.ArrowException, OSError, EOFError) as error:
        raise DataError(
            f"{file}: cannot be read: {str(error).splitlines()[0]}: write it anew, or convert it"
        ) from error


def _check_columns(file: Path, schema: pa.Schema, columns: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in schema.names]
    if missing:
        raise DataError(f"{file}: has no column {missing[0]!r}: needed are {', '.join(required)}")
    unknown = [name for name in schema.names if name not in columns]
    if unknown:
        raise DataError(f"{file}: column {unknown[0]!r} is not known: allowed are {', '.join(columns)}")
    for entry in schema:
        if entry.name == "at" and pa.types.is_temporal(entry.type) and getattr(entry.type, "tz", None) is None:
            raise DataError(f"{file}: column 'at' has no time zone: write it as a timestamp with the zone UTC")


def _parquet(file: Path, _: Sequence[str]) -> Iterator[Batch]:
    with pq.ParquetFile(file) as source:
        total, seen = source.metadata.num_rows, 0
        for table in source.iter_batches(BATCH_ROWS):
            lines = range(seen + 1, seen + 1 + table.num_rows)
            seen += table.num_rows
            yield Batch(lines, seen, seen / max(total, 1), table)


def _csv(file: Path, columns: Sequence[str]) -> Iterator[Batch]:
    bad: list[Unreadable] = []

    def note(row: pa_csv.InvalidRow) -> str:
        bad.append(Unreadable(row.number, f"has {row.actual_columns} columns, the header has {row.expected_columns}"))
        return "skip"

    with _opened(file) as (raw, source):
        reader = pa_csv.open_csv(
            source,
            pa_csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES),  # threads would lose the row numbers
            pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
        yield Batch((), 0, 0.0, pa.RecordBatch.from_pylist([], reader.schema))  # a header alone is checked too
        seen, size = 1, max(file.stat().st_size, 1)  # the header is line 1
        for table in reader:
            lines = _lines(seen + 1, table.num_rows, {row.line for row in bad})
            now_bad = [row for row in bad if not lines or row.line < lines[-1]]
            seen = max([seen, *lines[-1:], *(row.line for row in now_bad)])
            yield Batch(lines, seen, min(raw.tell() / size, 1.0), table, unreadable=now_bad)
            bad[:] = [row for row in bad if row not in now_bad]
        yield Batch((), max([seen, *(row.line for row in bad)]), 1.0, unreadable=tuple(bad))


def _lines(first: int, count: int, bad: set[int]) -> Sequence[int]:
    """Where `count` good rows stand from line `first` on, when those of `bad` are skipped."""
    if not bad:
        return range(first, first + count)
    return [line for line in range(first, first + count + len(bad)) if line not in bad][:count]


def _jsonl(file: Path, _: Sequence[str]) -> Iterator[Batch]:
    with _opened(file) as (raw, source):
        seen, size = 0, max(file.stat().st_size, 1)
        lines, rows, bad = [], [], []
        while text := source.readline(MAX_LINE_BYTES):
            seen += 1
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


_READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[Batch]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
}
