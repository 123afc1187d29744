"""Outcomes from files: as durable as over HTTP, and no slower than the disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nba.clock import HOUR_MS, format_at, system_now_ms
from nba.settings import Settings
from serving.bulk import ingest_outcomes
from serving.segment import Segment

Load = Callable[[list[dict[str, Any]]], dict[str, Any]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads rows as one file; none of them is of a decision that is known, so the store is never asked."""

    def go(rows: list[dict[str, Any]]) -> dict[str, Any]:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        refused = tmp_path / "refused.jsonl"
        return asyncio.run(ingest_outcomes([file], Settings(state_dir=tmp_path), None, system_now_ms, refused))  # type: ignore[arg-type]

    return go


def left(customer: object, **fields: object) -> dict[str, Any]:
    """A customer who left an hour ago."""
    return {"customer_id": str(customer), "outcome": "churned", "at": format_at(system_now_ms() - HOUR_MS)} | fields


def kept(state: Path) -> list[dict[str, Any]]:
    """What stands in the log of outcomes."""
    return [json.loads(line) for path in state.glob("live/o*.jsonl") for line in path.read_text().splitlines()]


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
