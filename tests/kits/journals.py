"""A decision log as the service writes it: decisions and outcomes of one day, and the rows that rolling makes of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from serving.journal import Folders, Journal

NOW_MS = 1_795_428_000_000  # 2026-11-23


def record(
    identifier: str, customer: str = "c-1", offers: tuple[str, ...] = ("a", "b"), past: dict | None = None, **x: object
) -> bytes:
    """A record with what rolling needs of it; without `past` one of an older version."""
    suggestion = {"propensity": 0.5, "kind": "optimize", "accept_probability": 0.1, "expected_value": 1.0}
    answer = {
        "source": "model",
        "suggestions": [{**suggestion, "rank": i + 1, "offer_id": o} for i, o in enumerate(offers)],
    }
    pair = {"cost_month": 1.0, "saving_month": None, "margin_delta_month": 2.0, "covers": True, **(past or {})}
    return orjson.dumps(
        {
            "decision_id": identifier, "customer_id": customer, "at_ms": NOW_MS, "made_ms": NOW_MS, "backtest": False,
            "request": {"channel": "call", "interaction_id": None},
            "x": {"n": 1.5, "plan": "s", **x}, "types": {"plan": "category"},
            "shown": [{"offer_id": o, **pair} for o in offers], "answer": answer, "model": "m", "policy": "p", "experiment": None,
            "arm": None,
        }
    )  # fmt: skip


def write_decision(journal: Journal, customer: str = "c-1", now_ms: int = NOW_MS, **x: object) -> str:
    """One decision; its id."""
    identifier = journal.next_id(now_ms)
    journal.write(record(identifier, customer, **x))
    return identifier


def report_outcome(
    journal: Journal, identifier: str, offer: str, outcome: str, customer: str = "c-1", outcome_id: str | None = None
) -> None:
    """One outcome, durably."""
    row = {
        "outcome_id": outcome_id or f"{identifier}{offer}{outcome}",
        "decision_id": identifier,
        "offer_id": offer,
        "customer_id": customer,
    }
    asyncio.run(journal.write_outcome({**row, "outcome": outcome, "at_ms": NOW_MS, "received_ms": NOW_MS}))


def rolled_rows(state: Path, table: str) -> list[dict]:
    """Every row of a rolled table."""
    return [row for path in Folders(state).parts(table) for row in pq.ParquetFile(path).read().to_pylist()]
