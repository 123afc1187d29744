"""Outcomes from files: as durable as over HTTP, and no slower than the disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba.clock import HOUR_MS, format_at, system_now_ms
from nba.settings import Settings
from serving.bulk import ingest_outcomes
from serving.segment import Segment

Load = Callable[[list[dict[str, Any]]], dict[str, Any]]
LoadFile = Callable[[Path], dict[str, Any]]


@pytest.fixture
def load_file(tmp_path: Path) -> LoadFile:
    """Loads a file; none of its rows is of a decision that is known, so the store is never asked."""

    def go(file: Path) -> dict[str, Any]:
        refused = tmp_path / "refused.jsonl"
        return asyncio.run(ingest_outcomes([file], Settings(state_dir=tmp_path), None, system_now_ms, refused))  # type: ignore[arg-type]

    return go


@pytest.fixture
def load(tmp_path: Path, load_file: LoadFile) -> Load:
    """Loads rows as one file of JSON Lines."""

    def go(rows: list[dict[str, Any]]) -> dict[str, Any]:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_file(file)

    return go


def left(customer: object, **fields: object) -> dict[str, Any]:
    """A customer who left an hour ago."""
    return {"customer_id": str(customer), "outcome": "churned", "at": format_at(system_now_ms() - HOUR_MS)} | fields


def kept(state: Path) -> list[dict[str, Any]]:
    """What stands in the log of outcomes."""
    return [json.loads(line) for path in state.glob("live/o*.jsonl") for line in path.read_text().splitlines()]


def reasons(state: Path) -> list[tuple[int, str]]:
    """Line and reason of what the last run refused."""
    rows = [json.loads(line) for line in (state / "refused.jsonl").read_text().splitlines()]
    return [(row["line"], row["reason"]) for row in rows]


def test_many_rows_share_a_write_to_the_disk(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand customers' rows cost a few dozen syncs, not a thousand, and each is there."""
    syncs: list[int] = []
    sync = Segment.sync
    monkeypatch.setattr(Segment, "sync", lambda self: (syncs.append(1), sync(self))[1])
    assert load([left(k) for k in range(1000)])["accepted"] == 1000
    assert {row["customer_id"] for row in kept(tmp_path)} == {str(k) for k in range(1000)}
    assert len(syncs) <= 50


def test_rows_of_a_file_count_once_and_are_refused_in_order(load: Load, tmp_path: Path) -> None:
    """A repeated row changes nothing, an outcome_id belongs to one outcome, and what is refused keeps its line."""
    row = left(1)
    report = load([row, row, left(2, outcome_id="o"), left(3, outcome_id="o"), left(4, outcome="gone"), left(5)])
    assert (report["rows"], report["accepted"], report["rejected"]) == (6, 4, 2)
    assert sorted(row["customer_id"] for row in kept(tmp_path)) == ["1", "2", "5"]
    refused = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [row["line"] for row in refused] == [4, 5]


def test_a_number_for_an_id_is_refused_in_json_with_its_cure(load: Load, tmp_path: Path) -> None:
    """As POST /v1/outcomes and the other kinds of files refuse it."""
    wrong = [left(1, customer_id=1001), left(2, outcome_id=7), {"decision_id": 5, "offer_id": "o", "outcome": "shown"}]
    assert load([*wrong, left(1001)])["accepted"] == 1
    cure = "is not text: write it in quotes"
    assert reasons(tmp_path) == [(1, f"customer_id: {cure}"), (2, f"outcome_id: {cure}"), (3, f"decision_id: {cure}")]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_cells_of_a_table_are_read_as_the_types_of_the_call(load_file: LoadFile, tmp_path: Path, name: str) -> None:
    """Ids of digits are text and the marks of a survey numbers: a CSV has no types at all."""
    rows = [
        {**left(1, outcome="survey"), "customer_id": 1001, "outcome_id": 7, "value": value} for value in (4.5, None)
    ]
    rows[1] |= {"outcome_id": 8}
    if name == "a.csv":
        lines = [",".join(rows[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in rows)]
        wrong = [lines[1].replace("4.5", word) for word in ("well", "nan")]
        (tmp_path / name).write_text("\n".join([*lines, *wrong]) + "\n")
    else:
        values = pa.array([4.5, float("nan")])  # as pandas leaves a gap, in some ways to write
        pq.write_table(pa.Table.from_pylist(rows).drop_columns("value").append_column("value", values), tmp_path / name)
    load_file(tmp_path / name)
    told = [(row["customer_id"], row["outcome_id"], row["value"]) for row in kept(tmp_path)]
    assert told == [("1001", "7", 4.5), ("1001", "8", None)]
    if name == "a.csv":
        cures = ("a number: write it without quotes", "a finite number: leave it out when it is unknown")
        assert reasons(tmp_path) == [(4, f"value: is not {cures[0]}"), (5, f"value: is not {cures[1]}")]


def test_a_line_that_cannot_be_read_says_why(load_file: LoadFile, tmp_path: Path) -> None:
    """Not that it lacks a customer, and in the order of the file."""
    (tmp_path / "a.jsonl").write_text(f'no json\n{json.dumps(left(1))}\n{{"offer_id": "o", "outcome": "shown"}}\n[1]\n')
    assert load_file(tmp_path / "a.jsonl")["accepted"] == 1
    (first, said), *others = reasons(tmp_path)
    assert (first, said.partition(":")[0]) == (1, "is not JSON")
    assert others == [
        (3, "decision_id: is missing: add it"),
        (4, "is not a JSON object with fields: write one object a line"),
    ]


def test_a_moment_that_no_calendar_has_costs_its_row(load_file: LoadFile, tmp_path: Path) -> None:
    """Years beyond 9999 and before 1, as a wrong unit makes them in Parquet: refused with the others taken."""
    now_us = (system_now_ms() - HOUR_MS) * 1000
    at = pa.array([2**62, -(2**62), now_us], pa.timestamp("us", "UTC"))
    table = pa.table({"customer_id": ["1", "2", "3"], "outcome": ["stayed"] * 3, "at": at})
    pq.write_table(table, tmp_path / "a.parquet")
    assert load_file(tmp_path / "a.parquet")["accepted"] == 1
    assert [(line, reason.partition(":")[0]) for line, reason in reasons(tmp_path)] == [(1, "at"), (2, "at")]
    assert [(row["customer_id"], row["at_ms"]) for row in kept(tmp_path)] == [("3", now_us // 1000)]
