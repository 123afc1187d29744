"""CSV in pieces: which line each row stands on, and which rows are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from features.batches import Batch, Unreadable, opened
from features.utf8 import MARK, MarkedUtf8

BLOCK_BYTES = 512 << 10  # the reader holds up to 32 ahead, wanted yet or not; a longer row may be none for it


def read_csv(file: Path, columns: Sequence[str], required: Sequence[str]) -> Iterator[Batch]:
    """The rows of a CSV file, each with the line that an editor shows it on. Raises what pyarrow and the system raise."""
    skipped: list[_Skipped] = []

    def note(row: pa_csv.InvalidRow) -> str:
        reason = f"has {row.actual_columns} columns, the header has {row.expected_columns}"
        breaks = (row.text or "").count("\n")
        skipped.append(_Skipped(row.number, reason + (f"; {_unclosed(breaks)}" if breaks else ""), breaks))
        return "skip"

    with opened(file) as (raw, content):
        blank, several = _begins(content)
        source = MarkedUtf8(content)
        reader = pa_csv.open_csv(
            source,
            # threads would lose the row numbers
            pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, skip_rows=blank),
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
