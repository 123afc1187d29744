"""Outcomes from files: the rows of a file as the bodies of POST /v1/outcomes, each as durable as one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from features import refused as refusals
from features.batches import Unreadable, ids_as_text, rows_of
from features.files import expand, read_batches
from features.ingest import Report
from features.store import Store
from nba.errors import InputError, NotFoundError, RefusedError
from nba.settings import Settings
from serving.journal import Folders, Journal
from serving.metrics import Metrics
from serving.outcomes import Outcomes
from serving.problems import words_of
from serving.schemas import DelayedOutcomeIn, OfferOutcomeIn
from serving.spool import Spool

COLUMNS = ("decision_id", "customer_id", "offer_id", "outcome", "at", "reason", "value", "outcome_id")
TOGETHER = 64
_TIMEOUT_S = 10.0
_Line = tuple[int, dict[str, Any] | str]  # where it stands, and what it says or why it cannot be read


async def ingest_outcomes(
    files: list[Path], settings: Settings, store: Store, clock: Callable[[], int], rejected_file: Path
) -> dict[str, Any]:
    """Keep every row as POST /v1/outcomes would. A row of a decision needs decision_id, offer_id and outcome; a delayed one
    customer_id, outcome and at. Repeating a file changes nothing, so nothing is resumed: a broken run is begun again.
    Gives a `Report` as a dictionary. Raises DataError and JournalError.
    """
    found = expand(files)
    refusals.make_room(rejected_file)
    journal = Journal(settings.state_dir, clock())
    spool = Spool(Folders(settings.state_dir).spool, clock())
    outcomes = Outcomes(journal, spool, Metrics(), clock=clock, timeout_s=_TIMEOUT_S)
    read = rejected = 0
    try:
        for file in found:
            for rows in _together(_rows(file)):
                refused = await _keep_all(rows, outcomes, store)
                read += len(rows)
                rejected += len(refused)
                if refused:
                    refusals.append(rejected_file, file, refused)
        await spool.deliver(store)
    finally:
        journal.close()
        spool.close()
    return asdict(Report(len(found), read, read - rejected, rejected, 0, rejected_file if rejected else None))


def _rows(file: Path) -> Iterator[_Line]:
    for batch in read_batches(file, COLUMNS, ("outcome",)):
        rows = batch.rows if batch.table is None else [_body(row) for row in rows_of(batch.table)]
        found: list[_Line] = [(bad.line, bad.reason) for bad in batch.unreadable]
        yield from sorted([*found, *zip(batch.lines, rows, strict=True)], key=lambda line: line[0])


def _body(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table as the body of the same outcome: ids of digits as text, marks as numbers, times written out."""
    ids_as_text(row, ("decision_id", "customer_id", "offer_id", "outcome_id"))
    if isinstance(at := row.get("at"), datetime):
        row["at"] = at.isoformat()
    row["value"] = _number(row.get("value"))
    return row


def _number(value: Any) -> Any:
    """A cell as a number; what is none stays for the schema to refuse. Columns of numbers have NaN in their gaps."""
    if isinstance(value, float) and value != value:
        return None
    try:
        return float(value) if isinstance(value, (str, Decimal)) else value
    except ValueError:
        return value


def _together(rows: Iterator[_Line]) -> Iterator[list[_Line]]:
    """Rows in order, as many at once as share one write to the disk, and never two of a decision, customer or outcome_id."""
    group: list[_Line] = []
    seen: set[tuple[str, Any]] = set()
    for line, row in rows:
        told = {} if isinstance(row, str) else row
        names = {(name, str(told[name])) for name in ("decision_id", "customer_id", "outcome_id") if told.get(name)}
        if group and (len(group) == TOGETHER or names & seen):
            yield group
            group, seen = [], set()
        group.append((line, row))
        seen |= names
    if group:
        yield group


async def _keep_all(rows: list[_Line], outcomes: Outcomes, store: Store) -> list[Unreadable]:
    """Keep them at the same time, each as durably as alone; those that are refused. Raises JournalError when all are done."""
    found = await asyncio.gather(*(_keep(row, outcomes, store) for _, row in rows), return_exceptions=True)
    for reason in found:
        if isinstance(reason, BaseException):
            raise reason
    told = zip((line for line, _ in rows), found, strict=True)
    return [Unreadable(line, reason) for line, reason in told if isinstance(reason, str)]


async def _keep(row: dict[str, Any] | str, outcomes: Outcomes, store: Store) -> str | None:
    """Why the row is refused, None when it is kept. A row that is text could not be read, and says why."""
    if isinstance(row, str):
        return row
    given = {name: value for name, value in row.items() if value is not None}
    try:
        if given.keys() & {"decision_id", "offer_id"}:
            given.pop("customer_id", None)
            await outcomes.record(OfferOutcomeIn.model_validate(given), store)
        else:
            await outcomes.record_delayed(DelayedOutcomeIn.model_validate(given))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'/'.join(map(str, first['loc']))}: {words_of(first | {'loc': ('row', *first['loc'])})}"
    except (InputError, NotFoundError, RefusedError) as error:
        return f"{error.pointer.removeprefix('/')}: {error}" if error.pointer else str(error)
    return None
