"""Outcomes from files: the rows of a file as the bodies of POST /v1/outcomes, one by one and as durable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from features import refused as refusals
from features.batches import Unreadable
from features.files import expand, read_batches
from features.store import Store
from nba.clock import format_at
from nba.errors import InputError, NotFoundError, RefusedError
from nba.settings import Settings
from serving.journal import Folders, Journal
from serving.metrics import Metrics
from serving.outcomes import Outcomes
from serving.schemas import DelayedOutcomeIn, OfferOutcomeIn
from serving.spool import Spool

COLUMNS = ("decision_id", "customer_id", "offer_id", "outcome", "at", "reason", "value", "outcome_id")
_TIMEOUT_S = 10.0


async def ingest_outcomes(
    files: list[Path], settings: Settings, store: Store, clock: Callable[[], int], rejected_file: Path
) -> dict[str, Any]:
    """Keep every row as POST /v1/outcomes would. A row of a decision needs decision_id, offer_id and outcome; a delayed one
    customer_id, outcome and at. Repeating a file changes nothing. Raises DataError and JournalError.
    """
    refusals.make_room(rejected_file)
    journal = Journal(settings.state_dir, clock())
    spool = Spool(Folders(settings.state_dir).spool, clock())
    outcomes = Outcomes(journal, spool, Metrics(), clock=clock, timeout_s=_TIMEOUT_S)
    report: dict[str, Any] = {
        "files": len(expand(files)),
        "rows": 0,
        "accepted": 0,
        "rejected": 0,
        "rejected_file": None,
    }
    try:
        for file in expand(files):
            for line, row in _rows(file):
                report["rows"] += 1
                reason = await _keep(row, outcomes, store)
                if reason is None:
                    report["accepted"] += 1
                else:
                    report["rejected"] += 1
                    report["rejected_file"] = str(rejected_file)
                    refusals.append(rejected_file, file, [Unreadable(line, reason)])
        await spool.deliver(store)
    finally:
        journal.close()
        spool.close()
    return report


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for batch in read_batches(file, COLUMNS, ("outcome",)):
        rows = batch.rows if batch.table is None else batch.table.to_pylist()
        yield from zip(batch.lines, rows, strict=True)
        yield from ((bad.line, {"unreadable": bad.reason}) for bad in batch.unreadable)


async def _keep(row: dict[str, Any], outcomes: Outcomes, store: Store) -> str | None:
    given = {name: _plain(value) for name, value in row.items() if value is not None}
    try:
        if "decision_id" in given:
            given.pop("customer_id", None)
            await outcomes.record(OfferOutcomeIn.model_validate(given), store)
        else:
            await outcomes.record_delayed(DelayedOutcomeIn.model_validate(given))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'/'.join(map(str, first['loc']))}: {first['msg']}"
    except (InputError, NotFoundError, RefusedError) as error:
        return str(error)
    return None


def _plain(value: Any) -> Any:
    """A timestamp column as the text that the HTTP body carries."""
    return format_at(round(value.timestamp() * 1000)) if hasattr(value, "timestamp") else value
