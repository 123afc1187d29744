"""Rows of a file on their way in: a batch of them, what is unreadable, and the file they come from."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa


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


def ids_as_text(row: dict[str, Any], names: Sequence[str]) -> None:
    """Ids of a table's row that its columns keep as whole numbers, as the text they are: 1001 is "1001".

    Not for JSON, which says of each value what it is: there a number in the place of an id is refused, as over HTTP.
    """
    for name in names:
        if type(row.get(name)) is int:
            row[name] = str(row[name])


def rows_of(table: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a table. A moment beyond the calendar (the year 148,000) is its last or first day: the row is refused."""
    try:
        found: list[dict[str, Any]] = table.to_pylist()
    except (OverflowError, ValueError):
        columns = [[_cell(value) for value in column] for column in table.columns]
        return [dict(zip(table.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]
    return found


def _cell(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return datetime(9999, 12, 31, tzinfo=UTC) if scalar.value > 0 else datetime(1, 1, 1, tzinfo=UTC)


@contextmanager
def opened(file: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file itself, whose position tells how far it is read, and its content."""
    with file.open("rb") as raw:
        if file.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as content:
                yield raw, io.BufferedReader(content, 1 << 20)
        else:
            yield raw, raw
