"""Whole records of decisions, wherever they stand: rolled beside the decisions, or still being written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from nba.settings import Settings
from serving.journal import Folders
from serving.segment import documents, exclusive, segments

Record = Mapping[str, Any]


def is_own(settings: Settings, decisions: Path) -> bool:
    """Whether the path is the engine's own decision log."""
    return decisions.resolve() == (settings.state_dir / "decisions").resolve()


def read_records(settings: Settings, decisions: Path, wanted: Collection[str] | None = None) -> Iterator[Record]:
    """Records that lie beside a folder of decisions, each decision once. `wanted`: ids; None: all of them."""
    seen: set[str] = set()
    for identifier, record in _all(settings, decisions, wanted):
        if identifier not in seen:
            seen.add(identifier)
            yield record


def _all(settings: Settings, decisions: Path, wanted: Collection[str] | None) -> Iterator[tuple[str, Record]]:
    live = _live(settings) if is_own(settings, decisions) else []  # first: a roll in between only shows them twice
    beside = decisions.resolve().parent / "records"
    for path in sorted(beside.rglob("*.parquet")) if decisions.is_dir() else []:
        for batch in pq.ParquetFile(path).iter_batches(256, columns=["decision_id", "record"]):
            ids = batch.column("decision_id").to_pylist()
            for place, identifier in enumerate(ids):
                if wanted is None or identifier in wanted:
                    yield identifier, orjson.loads(batch.column("record")[place].as_py())
    yield from ((r["decision_id"], r) for r in live if wanted is None or r["decision_id"] in wanted)


def _live(settings: Settings) -> list[Record]:
    folders = Folders(settings.state_dir)
    if not folders.live.is_dir():
        return []
    with exclusive(folders.roll_lock):
        return [record for path in segments(folders.live, "d") for record in documents(path)]
