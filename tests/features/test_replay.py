"""Offline is the same function: what was served and what is replayed are equal to the last bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.ingest import ingest
from features.keys import customer_keys
from features.replay import read_logs, replay
from features.spec import FeatureSpec
from features.view import customer
from kits.activity import NOW_MS, make_config
from nba.clock import DAY_MS, format_at
from nba.errors import DataError

PAIRS = 100_000
# Each take once, sliding, by month and narrowed; few, so that a hundred thousand reads take seconds.
FEATURES = [
    {"name": "sum_m1", "of": "spent", "take": "sum", "window": "month-1"},
    {"name": "trend", "of": "spent", "take": "trend", "window": "30d"},
    {"name": "mean", "of": "spent", "take": "mean", "window": "month"},
    {"name": "min", "of": "spent", "take": "min", "window": "90d"},
    {"name": "max", "of": "spent", "take": "max", "window": "6h"},
    {"name": "last", "of": "spent", "take": "last"},
    {
        "name": "count",
        "of": "seen",
        "take": "count",
        "window": "7d",
        "where": {"subject": ["a", "b"], "channel": "web"},
    },
    {"name": "distinct", "of": "seen", "take": "distinct", "window": "30d"},
    {"name": "streak", "of": "seen", "take": "streak"},
    {"name": "hours", "of": "seen", "take": "hours_since", "where": {"subject": "a"}},
    {"name": "share", "is": "features.sum_m1 / (features.count + 1)"},
]


@pytest.fixture
def url(redis_url):
    return redis_url


@pytest.fixture
def activity(tmp_path):
    """A year of events of 40 customers in a file, in no order and some of them twice."""
    rng = np.random.default_rng(7)
    size = 4000
    ago = rng.integers(0, 365 * DAY_MS, size)
    table = pa.table(
        {
            "event_id": [f"e{i}" for i in range(size)],
            "customer_id": [f"c{i}" for i in rng.integers(0, 40, size)],
            "at": [format_at(NOW_MS - int(a)) for a in ago],
            "channel": rng.choice(["web", "app", "kiosk"], size).tolist(),
            "type": rng.choice(["spent", "seen"], size).tolist(),
            "value": pa.array(rng.integers(-(10**6), 10**6, size), mask=rng.random(size) < 0.1),
            "subject": pa.array(rng.choice(["a", "b", "c"], size), mask=rng.random(size) < 0.2),
        }
    )
    table = pa.concat_tables([table, table.slice(0, 300)])
    pq.write_table(table, tmp_path / "activity.parquet")
    return tmp_path / "activity.parquet"


def test_a_hundred_thousand_random_moments_are_equal_online_and_offline(opened, run, activity, tmp_path):
    """Customers with and without activity, moments before, between and after their events: all bits equal.

    The bytes are those that ingestion left in Redis. Two thousand pairs go through the whole of `read`; for the rest
    the bytes are fetched once for each customer and go through the function that `read` calls.
    """
    spec = FeatureSpec(make_config(features=FEATURES))
    store = opened(spec)
    run(ingest([activity], "activity", store, spec, now_ms=NOW_MS, rejected_file=tmp_path / "rejected.jsonl"))
    rng = np.random.default_rng(8)
    times = NOW_MS - rng.integers(0, 400 * DAY_MS, PAIRS)
    moments = [(f"c{c}", int(t)) for c, t in zip(rng.integers(0, 42, PAIRS), times, strict=True)]
    logs = {f"c{c}": run(store._client.get(customer_keys(f"c{c}").log)) or b"" for c in range(42)}

    async def read(count: int) -> list:
        return [await store.read(*pair) for pair in moments[:count]]

    served = [*run(read(2000)), *(customer(c, logs[c], None, b"", b"", t, spec) for c, t in moments[2000:])]
    online = np.array([list(found.features.values()) for found in served])
    offline = replay(read_logs([activity], spec, NOW_MS), moments, spec.config, processes=2)
    assert offline.tobytes() == online.tobytes()
    assert len(np.unique(offline[:, 0])) > 50


def test_processes_change_nothing(spec, activity):
    """One process and three give the same rows in the order asked."""
    logs = read_logs([activity], spec, NOW_MS)
    moments = [(f"c{i % 500}", NOW_MS - i * 10**7) for i in range(1500)]
    one, three = (replay(logs, moments, spec.config, processes=n) for n in (1, 3))
    assert one.tobytes() == three.tobytes()
    assert replay(logs, [], spec.config).shape == (0, len(spec.names))


def test_a_row_that_the_store_would_refuse_stops_a_replay(spec, tmp_path):
    """Training on less than what was sent would be a gap between the two."""
    row = {"event_id": "e", "customer_id": "c", "at": format_at(NOW_MS), "channel": "web", "type": "sold"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet:1: type"):
        read_logs([tmp_path / "a.parquet"], spec, NOW_MS)
