"""Whole records of decisions, wherever they stand: rolled beside the decisions, or still being written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from models.sources import parquet_files
from nba.errors import DataError
from nba.settings import Settings
from serving.journal import Folders
from serving.quarantine import why_not_here
from serving.segment import documents, exclusive, segment_name, segments

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
    for path in parquet_files(beside) if decisions.is_dir() and beside.is_dir() else []:
        for batch in batches(path, ["decision_id", "record"]):
            ids = batch.column("decision_id").to_pylist()
            for place, identifier in enumerate(ids):
                if wanted is None or identifier in wanted:
                    yield identifier, _document(path, identifier, batch.column("record")[place].as_py())
    yield from ((r["decision_id"], r) for r in live if wanted is None or r["decision_id"] in wanted)


def batches(path: Path, columns: list[str], size: int = 256) -> Iterator[pa.RecordBatch]:
    """Those columns of a Parquet file that the service rolled. Raises DataError: no Parquet, or a column missing."""
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{path}: column {missing[0]!r} is missing: it is no file of the service; take it away")
            yield from file.iter_batches(size, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error}): restore it from a copy, or take it away") from error


def _document(path: Path, identifier: str, text: str | bytes | None) -> Record:
    try:
        found = orjson.loads(text or b"")
        if isinstance(found, dict):
            return found
        raise ValueError("no object")
    except ValueError as error:
        raise DataError(
            f"{path}: the record of decision {identifier} is no JSON ({error}): restore the file from a copy, or take it away"
        ) from error


def _live(settings: Settings) -> list[Record]:
    folders = Folders(settings.state_dir)
    if not folders.live.is_dir():
        return []
    with exclusive(folders.roll_lock):
        found = ((segment_name(path), record) for path in segments(folders.live, "d") for record in documents(path))
        return [record for name, record in found if not why_not_here(record, name)]
