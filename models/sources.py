"""Parquet files, folders and tables as one stream of batches in which every row keeps its name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nba.errors import DataError, UnavailableError

Rows: TypeAlias = Path | str | Any  # Any: a pyarrow Table
BATCH_ROWS = 16_384
_UNFINISHED = (".", "_")  # as Arrow and Spark have it
_TRUTH = "true or false: convert it, as `column == 'Yes'` does, or declare a category in features.yaml"
_FROM_A_COUNT = "pandas.to_datetime(…, unit='s', utc=True) does with seconds (without a unit it takes nanoseconds)"
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


@dataclass(frozen=True, slots=True)
class Source:
    """One Parquet file or table; `first` is the place of its first row among all rows."""

    name: str
    content: Any
    schema: pa.Schema
    rows: int
    first: int

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in order, those of `columns` that it has.

        Raises DataError when the file breaks off; UnavailableError when it has other rows than at first, for what is read
        now would stand beside what was read of other rows then.
        """
        names = [name for name in columns if name in self.schema.names]
        try:
            if isinstance(self.content, pa.Table):
                yield from map(_without_views, self.content.select(names).to_batches(max_chunksize=BATCH_ROWS))
            else:
                with pq.ParquetFile(self.content) as file:
                    self._check_same(file.metadata.num_rows)
                    yield from map(_without_views, file.iter_batches(BATCH_ROWS, columns=names))
        except FileNotFoundError:
            self._check_same(0)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.name}: breaks off ({error}): write the file again") from error

    def _check_same(self, rows: int) -> None:
        if rows != self.rows:
            raise UnavailableError(
                f"{self.name}: had {self.rows:,} rows and has {rows:,} now: somebody was erased from it, or it is being "
                "written; run it again"
            )


def open_sources(rows: Rows | Sequence[Rows], required: Sequence[str], what: str) -> tuple[Source, ...]:
    """Files, folders (every Parquet under them) and tables, those without rows left out.

    Raises DataError: nothing there, not Parquet, or a required column missing. `what`: of what rows, for the message.
    """
    given = [rows] if isinstance(rows, (str, Path, pa.Table)) else list(rows)
    sources: list[Source] = []
    for name, content in (pair for item in given for pair in _contents(item)):
        first = sources[-1].first + sources[-1].rows if sources else 0
        schema, count = _shape(name, content)
        if twice := sorted(column for column, times in Counter(schema.names).items() if times > 1):
            raise DataError(f"{name}: column {twice[0]!r} comes twice: leave one of them out")
        missing = [column for column in required if column not in schema.names]
        if missing:
            raise DataError(
                f"{name}: column {missing[0]!r} {_where(missing[0], name)}: {what} rows need {', '.join(required)}"
            )
        sources.append(Source(name, content, _plain(schema), count, first))
    if not sources or sources[-1].first + sources[-1].rows == 0:
        raise DataError(f"no {what} rows: give a Parquet file, or a folder that holds some")
    return tuple(source for source in sources if source.rows)


def _where(column: str, file: str) -> str:
    """What became of a column that is not in the file: writers that partition by it leave it out."""
    if f"/{column}=" in f"/{file}":
        return "stands in the name of the folder only: write it into the file too"
    return "is missing"


def _contents(item: Rows) -> Iterator[tuple[str, Any]]:
    if isinstance(item, pa.Table):
        yield "table", item
        return
    path = Path(item)
    if path.is_file():
        yield path.name, path
    elif path.is_dir():
        for file in parquet_files(path):
            yield str(file.relative_to(path)), file
    else:
        raise DataError(f"{path}: no such file or folder: give a Parquet file, or a folder that holds some")


def parquet_files(folder: Path) -> list[Path]:
    """Every Parquet file below a folder, in order, through links too; names that begin with `.` or `_` are still being written.

    Raises DataError for a folder that may not be read: its rows would be missing and nobody would know.
    """
    found, seen = [], set()
    for here, folders, files in os.walk(folder, onerror=_not_listed, followlinks=True):
        if (real := os.path.realpath(here)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(_UNFINISHED)]
        found += [Path(here, name) for name in files if name.endswith(".parquet") and not name.startswith(_UNFINISHED)]
    return sorted(found)


def _not_listed(error: OSError) -> None:
    raise DataError(
        f"{error.filename}: {error.strerror}: give this user the right to read it, or take it away"
    ) from error


def _shape(name: str, content: Any) -> tuple[pa.Schema, int]:
    if isinstance(content, pa.Table):
        return content.schema, content.num_rows
    try:
        with pq.ParquetFile(content) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: {_not_parquet(name, error)}") from error


def _not_parquet(name: str, error: Exception) -> str:
    if Path(name).suffix in (".csv", ".gz", ".tsv", ".txt", ".json", ".jsonl"):
        how = "pandas.read_csv(…, parse_dates=['at']).to_parquet(…)"
        return f"is read from Parquet only: convert it, as {how} does"
    return f"not a Parquet file ({error}): write it again, or leave it out"


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.cast(_plain(batch.schema)) if any(map(pa.types.is_string_view, batch.schema.types)) else batch


def _plain(schema: pa.Schema) -> pa.Schema:
    """Views of text, as newer writers make them, as plain text: Arrow can neither filter nor take them."""
    views = ((place, field) for place, field in enumerate(schema) if pa.types.is_string_view(field.type))
    for place, field in views:
        schema = schema.set(place, field.with_type(pa.large_string()))
    return schema


def cast_column(source: Source, name: str, column: Any, wanted: pa.DataType, *, boolean: bool = False) -> Any:
    """A column in the wanted type, dictionaries unpacked. Raises DataError naming the column.

    `boolean`: the number is a truth value, and whoever wrote words has to hear of that.
    """
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    textual = any(is_text(column.type) for is_text in _TEXTS)
    if textual != pa.types.is_large_string(wanted) and not _plain_code(column.type, wanted):
        raise DataError(
            f"{source.name}: column {name!r} is {column.type}, it has to be "
            + (_TRUTH if boolean else f"{_in_words(wanted)}: {_converted(column.type, wanted)}")
        )
    try:
        return pc.cast(column, wanted)
    except pa.ArrowException as error:
        raise DataError(f"{source.name}: column {name!r} is not {_in_words(wanted)} ({error}): convert it") from error


def _plain_code(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whole numbers and booleans may stand for words; a column without any value fits everything."""
    codes = pa.types.is_integer(given) or pa.types.is_boolean(given)
    return bool(pa.types.is_null(given) or (codes and pa.types.is_large_string(wanted)))


def _in_words(wanted: pa.DataType) -> str:
    return "text" if pa.types.is_large_string(wanted) else "a number"


def _converted(given: pa.DataType, wanted: pa.DataType) -> str:
    """How it becomes that; numbers with a point would become words with a point, which no call says."""
    if not pa.types.is_large_string(wanted):
        return "convert it, as pandas.to_numeric(…, errors='coerce') does"
    return "make whole numbers of it, as astype('Int64') does" if pa.types.is_floating(given) else "convert it"


def moments(source: Source, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A timestamp of any unit, with a zone or in UTC without one, as int64 milliseconds. Raises DataError."""
    if pa.types.is_null(column.type):  # no value at all fits every type, here as in cast_column
        return pc.cast(column, pa.int64())
    if not pa.types.is_timestamp(column.type):
        counted = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        raise DataError(
            f"{source.name}: column {name!r} is {column.type}, it has to be a timestamp in UTC: convert it, as "
            + (_FROM_A_COUNT if counted else "pandas.to_datetime(…, utc=True) does")
        )
    per_ms = {"s": 1000, "ms": 1, "us": 1000, "ns": 1_000_000}[column.type.unit]
    whole = pc.cast(column, pa.int64())
    if column.type.unit == "s":
        return pc.multiply(whole, per_ms)
    valid = pc.fill_null(whole, 0).to_numpy() // per_ms  # floors, also before 1970
    return pa.chunked_array([pa.array(valid, mask=pc.is_null(whole).to_numpy())])


def place(sources: tuple[Source, ...], row: int) -> str:
    """`part-0.parquet: row 17`, counted from 1 inside its file, of one row of the whole."""
    source = next(s for s in reversed(sources) if s.first <= row)
    return f"{source.name}: row {row - source.first + 1}"
