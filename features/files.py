"""Files of activity or customers in pieces: Parquet, CSV and JSON Lines, one batch of rows in memory at a time."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.batches import Batch, Unreadable, opened
from features.csv_rows import BLOCK_BYTES, read_csv
from features.utf8 import MARK
from nba.errors import DataError

BATCH_ROWS = 20_000  # packed together: the more of them, the fewer appends of few events each
MAX_LINE_BYTES = 1 << 20
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


def expand(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those inside folders, hidden ones left out: copies that editors and systems keep.

    Raises DataError: nothing there, of no known kind, or a pipe: what was read cannot be gone back to after a stop.
    """
    files: list[Path] = []
    for path in paths:
        inside = sorted(_inside(path)) if path.is_dir() else [path]
        if not inside or not path.exists():
            raise DataError(f"{path}: no such file, or a folder without files to read: give .parquet, .csv or .jsonl")
        files += inside
    for file in files:
        if _kind(file) is None:
            raise DataError(f"{file}: what is it? Name it .parquet, .csv, .jsonl, .csv.gz or .jsonl.gz")
        if not file.is_file():
            raise DataError(f"{file}: is no file but a pipe or a device: write it to a file first")
    return files


def _inside(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and _kind(path):
            yield path


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
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if "straddling object" in why:
            why = f"a row has more than {BLOCK_BYTES >> 10:,} KB, or a quote is not closed"
        raise DataError(f"{file}: cannot be read: {why}: write it anew, or convert it") from error


def _check_columns(file: Path, schema: pa.Schema, columns: Sequence[str], required: Sequence[str]) -> None:
    if any(MARK in name for name in schema.names):
        raise DataError(f"{file}: its header is not UTF-8: save the file as UTF-8")
    twice = [name for name in schema.names if schema.names.count(name) > 1]
    if twice:
        raise DataError(f"{file}: column {twice[0]!r} stands there twice: leave one of the two out")
    (one, *more) = schema.names or [""]
    if not more and any(other in one for other in ";\t|"):
        raise DataError(f"{file}: its columns are not separated by commas: save it with commas")
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


def _jsonl(file: Path, _: Sequence[str], __: Sequence[str]) -> Iterator[Batch]:
    with opened(file) as (raw, source):
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
        return f"is not JSON: {error}" if _is_utf8(text) else "is not UTF-8: save the file as UTF-8"
    one_line = "is not a JSON object with fields: write one object a line"
    return found if isinstance(found, dict) and found else one_line


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _skip_rest(text: bytes, source: IO[bytes]) -> None:
    while text and not text.endswith(b"\n"):
        text = source.readline(MAX_LINE_BYTES)


_READERS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Iterator[Batch]]] = {
    "parquet": _parquet,
    "csv": read_csv,
    "jsonl": _jsonl,
}
