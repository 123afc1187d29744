"""Events of customers nobody has used before, a config that uses every `take`, and files of such events."""

from __future__ import annotations

import gzip
import json
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nba.clock import format_at
from nba.config import FeaturesConfig
from nba.domain import Activity

NOW_MS = 1_790_000_000_000
TAKES = ("count", "sum", "mean", "min", "max", "last", "distinct", "hours_since", "streak", "trend")
WINDOWS = ("6h", "7d", "30d", "month", "month-1", "month-2")
_ids = count(1)


def every_take() -> list[dict[str, Any]]:
    """Each take over each window it can have, on a type with a unit and on one without, and narrowed ones."""
    features = []
    for take in TAKES:
        for window in (None, *WINDOWS):
            if take == "trend" and (window is None or window.startswith("month")):
                continue
            for kind in ("spent", "seen"):
                name = f"{kind}_{take}_{window}".replace("-", "_").lower()
                features.append({"name": name, "of": kind, "take": take} | ({"window": window} if window else {}))
    for take in ("count", "sum", "last", "max", "distinct"):
        where = {
            "spent": {"subject": "a"},
            "both": {"subject": ["a", "b"], "channel": "web"},
            "app": {"channel": "app"},
        }
        for name, narrowed in where.items():
            features.append({"name": f"{name}_{take}", "of": "spent", "take": take, "window": "30d", "where": narrowed})
    return features


CONFIG: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "activities": {
        "spent": {"unit": "cent"},
        "seen": {"thread": False},
        "told": {"text": {"en": "did something"}},
        "complaint": {"opens_issue": True},
        "resolved": {"closes_issue": True},
        "failed": {"bad_experience": True},
    },
    "features": [
        *every_take(),
        {"name": "share", "is": "features.spent_sum_7d / features.spent_sum_30d", "default": -1.0},
        {"name": "twice", "is": "2 * double_count"},
        {"name": "double_count", "is": "2 * features.seen_count_30d"},
    ],
    "profile": {"plan": "category", "age": "number", "vip": "boolean"},
}


def make_config(**changes: Any) -> FeaturesConfig:
    """The config above with some parts changed."""
    return FeaturesConfig.model_validate({**CONFIG, **changes})


def customer_id() -> str:
    """A customer nobody has used before."""
    return f"c-{next(_ids)}"


def make_event(event_id: str, at_ms: int, kind: str = "spent", value: int | None = 1, **more: Any) -> Activity:
    """An event of customer `c`, over the web if nothing else is said."""
    return Activity(event_id, more.pop("customer_id", "c"), at_ms, more.pop("channel", "web"), kind, value, **more)


def as_event(activity: Activity) -> dict[str, object]:
    """An activity as POST /v1/activity takes it."""
    given = {
        "value": activity.value,
        "subject": activity.subject,
        "text": activity.text,
        "interaction_id": activity.interaction_id,
    }
    head = {"event_id": activity.event_id, "customer_id": activity.customer_id, "at": format_at(activity.at_ms)}
    return {
        **head,
        "channel": activity.channel,
        "type": activity.type,
        **{k: v for k, v in given.items() if v is not None},
    }


def rows_of(count: int, customers: int = 7) -> list[dict]:
    """Events of some customers with all that an event may carry."""
    return [
        {
            "event_id": f"e{i}",
            "customer_id": f"c{i % customers}",
            "at": format_at(NOW_MS - i * 60_000),
            "channel": ("web", "app", "kiosk")[i % 3],
            "type": ("spent", "seen", "told", "complaint")[i % 4],
            "value": None if i % 5 == 0 else i - 50,
            "subject": (None, "a", "b")[i % 3],
            "text": "so said" if i % 11 == 0 else None,
            "interaction_id": "call-1" if i % 13 == 0 else None,
        }
        for i in range(count)
    ]


def write_rows(rows: list[dict], file: Path, **casts: pa.DataType) -> Path:
    """The rows in the format that the file's name asks for."""
    if ".jsonl" in file.name:
        text = "".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows).encode()
        file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
        return file
    table = pa.Table.from_pylist(rows)
    for name, kind in casts.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    (pa_csv.write_csv if file.suffix == ".csv" else pq.write_table)(table, file)
    return file


def refused(report) -> list[tuple[int, str]]:
    """Line and reason of each refused row."""
    told = (json.loads(line) for line in report.rejected_file.read_text().splitlines())
    return [(row["line"], row["reason"]) for row in told]
