"""Closed segments of the decision log become Parquet: crash-safe at every step, by one process at a time.

    both:       lines that are none of ours -> quarantine/ (quarantine.py)
    outcomes:   o….jsonl -> outcomes/day=…/part-o….parquet -> settled into the decision parts that exist -> o….jsonl removed
    decisions:  d….jsonl -> records part -> decisions part, with every outcome known so far -> d….jsonl removed

A part's name follows from its segment, so a roll that was killed is done again and ends in the same files. The service
runs this beside itself (`python -m serving.roll STATE_DIR`), so that no call waits for it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from nba.clock import day_of
from serving.journal import TABLES, Folders, Place, place_of
from serving.parts import (
    DELAYED,
    OUTCOMES,
    ROWS_A_GROUP,
    Known,
    decision_rows,
    decision_schema,
    outcome_row,
    read_part,
    record_row,
    settle_part,
    stronger,
    table,
    write_part,
)
from serving.parts import RECORDS as RECORD_SCHEMA
from serving.quarantine import MISFIT, set_aside, what_was_said, why_no_decision, why_no_outcome, why_not_here
from serving.segment import abandoned, documents, exclusive, segment_name, segments


def roll(state_dir: Path) -> dict[str, int]:
    """Roll every segment whose owner is gone or has closed it; safe beside running services. Gives what was rolled.

    Raises JournalError: a part is damaged, or the disk takes none. What was not rolled stays as it was.
    """
    folders = Folders(state_dir)
    done = {"outcomes": 0, "decisions": 0, "quarantined": 0}
    with exclusive(folders.roll_lock):
        _sweep(folders.live)
        for half in (half for name in TABLES for half in folders.halves(name)):
            half.unlink(missing_ok=True)
        for kind, table_name, take in (("o", "outcomes", _take_outcomes), ("d", "decisions", _take_decisions)):
            for path in segments(folders.live, kind):
                with abandoned(path) as handle:
                    if handle is not None:
                        done["quarantined"] += take(folders, path)
                        done[table_name] += 1
    return done


def _take_outcomes(folders: Folders, path: Path) -> int:
    """Roll one segment; how many of its lines were set aside."""
    quarantined = set_aside(folders, path, why_no_outcome)
    _roll_outcomes(folders, path)
    return quarantined


def _take_decisions(folders: Folders, path: Path) -> int:
    """Roll one segment; how many of its lines were set aside. Each is only looked at closely where one has stopped the roll."""
    quarantined = set_aside(folders, path, why_not_here)
    try:
        _roll_decisions(folders, path)
    except MISFIT:
        quarantined += set_aside(folders, path, why_no_decision)
        _roll_decisions(folders, path)
    return quarantined


def pending_table(state_dir: Path) -> pa.Table:
    """The rows of decisions that are not rolled yet, outcomes as known now: `nba train` beside a running service."""
    folders = Folders(state_dir)
    with exclusive(folders.roll_lock):
        tables = []
        for path in segments(folders.live, "d"):
            records = [record for record in documents(path) if not why_not_here(record, segment_name(path))]
            try:
                tables.append(_pending(folders, records))
            except MISFIT:
                tables.append(_pending(folders, [r for r in records if not why_no_decision(r, segment_name(path))]))
        return pa.concat_tables(tables or [_pending(folders, [])], promote_options="default")


def _pending(folders: Folders, records: list[dict[str, Any]]) -> pa.Table:
    known = known_outcomes(folders, place_of(records[0]["decision_id"])) if records else {}
    return table((row for record in records for row in decision_rows(record, known)), decision_schema(records))


def known_outcomes(folders: Folders, place: Place) -> Known:
    """The strongest outcome of each (decision, offer) of the segment that `place` is in, rolled or not."""
    return _strongest(
        row for row in _reported(folders, place.day) if _part_of(row["decision_id"]) == (place.day, place.segment)
    )


def _reported(folders: Folders, day: str) -> Iterator[dict[str, Any]]:
    """Outcomes reported for decisions of a day (outcomes lie under the day of their decision)."""
    for path in folders.parts("outcomes", day):
        yield from read_part(path, ["decision_id", "offer_id", "outcome"]).to_pylist()
    for path in segments(folders.live, "o"):
        yield from (row for row in documents(path) if "decision_id" in row and not why_no_outcome(row))


def _strongest(rows: Iterable[dict[str, Any]]) -> Known:
    known: dict[tuple[str, str], str] = {}
    for row in rows:
        pair = row["decision_id"], row["offer_id"]
        known[pair] = stronger(known.get(pair), row["outcome"])
    return known


def _roll_decisions(folders: Folders, path: Path) -> None:
    name = segment_name(path)
    first = next(documents(path), None)
    if first is not None:
        place = place_of(first["decision_id"])
        known = known_outcomes(folders, place)
        schema = decision_schema(documents(path))
        records = (table(map(record_row, chunk), RECORD_SCHEMA) for chunk in _chunks(path))
        write_part(folders.part("records", place.day, name), records, RECORD_SCHEMA)
        rows = (table((row for r in chunk for row in decision_rows(r, known)), schema) for chunk in _chunks(path))
        write_part(folders.part("decisions", place.day, name), rows, schema)
    path.unlink()


def _chunks(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Records in portions that fit into memory whatever the size of the segment."""
    records = documents(path)
    while chunk := list(islice(records, ROWS_A_GROUP)):
        yield chunk


def _roll_outcomes(folders: Folders, path: Path) -> None:
    name = segment_name(path)
    rows = list({what_was_said(row): row for row in documents(path)}.values())
    offers = [row for row in rows if "decision_id" in row]
    for day, of_day in _by(offers, lambda row: place_of(row["decision_id"]).day):
        write_part(folders.part("outcomes", day, name), [table(map(outcome_row, of_day), OUTCOMES)], OUTCOMES)
    delayed = (row for row in rows if "decision_id" not in row)
    for day, of_day in _by(delayed, lambda row: day_of(row["at_ms"])):
        write_part(folders.part("outcomes_delayed", day, name), [table(map(outcome_row, of_day), DELAYED)], DELAYED)
    for (day, segment), of_part in _by(offers, lambda row: _part_of(row["decision_id"])):
        part = folders.part("decisions", day, segment)
        if part.is_file():
            settle_part(part, _strongest(of_part))
    path.unlink()


def _part_of(decision_id: str) -> tuple[str, str]:
    place = place_of(decision_id)
    return place.day, place.segment


def _by(rows: Iterable[dict[str, Any]], key: Any) -> Iterable[tuple[Any, list[dict[str, Any]]]]:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups.items()


def _sweep(folder: Path) -> None:
    """Remove what a process left that was killed between making a file and giving it its name."""
    long_ago = time.time() - 600
    for path in folder.glob(".[dos]*"):
        if path.stat().st_mtime < long_ago:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(roll(Path(sys.argv[1]))) + "\n")
