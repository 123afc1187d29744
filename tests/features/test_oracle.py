"""A second opinion: the same features in SQL over the same events, by another engine, at random moments."""

from __future__ import annotations

import csv
import gzip
import math
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pytest

from features.compute import settle, vector
from features.packing import pack
from features.spec import FeatureSpec
from kits.activity import NOW_MS, make_config
from nba.config import FeaturesConfig
from nba.domain import Activity

MEGALINE = Path(__file__).resolve().parents[3] / "shared" / "data" / "megaline"
DAY = 86_400_000
AGGREGATES = {
    "count": "count(*)", "sum": "sum(value)", "mean": "sum(value)::double / count(value)", "min": "min(value)",
    "max": "max(value)", "last": "arg_max(value, at_ms)", "distinct": "count(distinct subject)",
    "hours_since": "(now_ms - max(at_ms)) / 3600000.0",
}  # fmt: skip


def month_start(now_ms: int, back: int, zone: str) -> int:
    """The first instant of the local month so many months back."""
    tz = ZoneInfo(zone)
    local = datetime.fromtimestamp(now_ms / 1000, tz)
    months = local.year * 12 + local.month - 1 - back
    return round(datetime(months // 12, months % 12 + 1, 1, tzinfo=tz).timestamp() * 1000)


def bounds(feature, now_ms: int, zone: str) -> tuple[int, int]:
    """The moments lower <= at < upper, in milliseconds."""
    window = feature.window
    if window is None:
        return 0, now_ms + 1
    if window.span_ms is not None:
        return now_ms - window.span_ms + 1, now_ms + 1
    last = now_ms + 1 if window.months_back == 0 else month_start(now_ms, window.months_back - 1, zone)
    return month_start(now_ms, window.months_back, zone), last


def streak(db, rows: str, now_ms: int, zone: str) -> int:
    """Days in a row, counted one by one."""
    days = {
        d
        for (d,) in db.execute(
            f"select distinct (timezone('{zone}', to_timestamp(at_ms / 1000)))::date {rows}"
        ).fetchall()
    }
    day = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone)).date()
    if day not in days:
        day -= timedelta(days=1)
    length = 0
    while day in days:
        length, day = length + 1, day - timedelta(days=1)
    return length


def expected(db, feature, config: FeaturesConfig, customer: str, now_ms: int) -> float:
    """One feature in SQL."""
    low, high = bounds(feature, now_ms, config.timezone)
    narrowed = "".join(
        f" and {field} in ({', '.join(repr(n) for n in names)})" for field, names in feature.where.items()
    )

    def rows(low: int, high: int) -> str:
        whose = f"customer = '{customer}' and type = '{feature.of}'"
        return f"from events where {whose} and at_ms >= {low} and at_ms < {high}{narrowed}"

    if feature.take == "streak":
        return streak(db, rows(low, high), now_ms, config.timezone) or feature.missing
    if feature.take == "trend":
        what = "sum(value)" if config.activities[feature.of].unit else "count(*)"
        span = feature.window.span_ms
        newer, older = (db.execute(f"select {what} {rows(lo, lo + span)}").fetchone()[0] for lo in (low, low - span))
        return float((newer or 0) - (older or 0))
    some = " and value is not null" if feature.take in ("mean", "min", "max", "last", "sum") else ""
    sql = f"select {AGGREGATES[feature.take]} {rows(low, high)}{some}".replace("now_ms", str(now_ms))
    answer = db.execute(sql).fetchone()[0]
    return (
        float(answer)
        if answer
        else (0.0 if answer == 0 and feature.take not in ("count", "distinct") else feature.missing)
    )


def check(db, logs, config: FeaturesConfig, asked) -> None:
    """Every feature of every (customer, moment), equal to the last bit."""
    spec = FeatureSpec(config)
    for customer, now_ms in asked:
        got = vector(settle(logs[customer], spec), now_ms, spec)
        for feature, value in zip(config.features, got.tolist(), strict=True):
            if feature.derived is None:
                wanted = expected(db, feature, config, customer, now_ms)
                assert value == wanted or (math.isnan(value) and math.isnan(wanted)), (feature.name, customer, now_ms)


def database(rows):
    """The events as a table."""
    db = duckdb.connect()
    db.execute(
        "create table events (customer varchar, type varchar, at_ms bigint, value bigint, subject varchar, channel varchar)"
    )
    db.executemany("insert into events values (?, ?, ?, ?, ?, ?)", rows)
    return db


def packed(rows, spec: FeatureSpec) -> dict[str, bytes]:
    logs: dict[str, list[bytes]] = {}
    for number, (customer, kind, at_ms, value, subject, channel) in enumerate(rows):
        event = Activity(f"e{number}", customer, at_ms, channel, kind, value, subject)
        logs.setdefault(customer, []).append(pack(event, spec.channels))
    return {customer: b"".join(log) for customer, log in logs.items()}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu"])
def test_sql_agrees_on_every_take_and_window_of_generated_streams(zone):
    """Two years of events over clock changes; Apia even skipped a day, in other years."""
    rng = np.random.default_rng(len(zone))
    config = make_config(timezone=zone)
    moments = rng.choice(2 * 365 * DAY, 400, replace=False) + (NOW_MS - 2 * 365 * DAY)
    rows = [
        (
            f"c{rng.integers(3)}",
            ("spent", "seen")[rng.integers(2)],
            int(at_ms),
            [None, int(rng.integers(-(10**6), 10**6))][int(rng.random() < 0.9)],
            [None, "a", "b", "c"][rng.integers(4)],
            ("web", "app", "call")[rng.integers(3)],
        )
        for at_ms in moments
    ]
    asked = [(f"c{i % 3}", int(t)) for i, t in enumerate(rng.choice(moments, 3))] + [("c0", NOW_MS)]
    check(database(rows), packed(rows, FeatureSpec(config)), config, asked)


@pytest.mark.skipif(not MEGALINE.is_dir(), reason="the Megaline files are not on this machine")
def test_sql_agrees_on_megaline():
    """Real calls and data sessions, which know only their day: many events of one moment."""
    rows = []
    for name, kind, date, amount in (
        ("calls", "call", "call_date", "duration"),
        ("internet", "data", "session_date", "mb_used"),
    ):
        with gzip.open(MEGALINE / f"megaline_{name}.csv.gz", "rt") as file:
            for row in csv.DictReader(file):
                if int(row["user_id"]) < 1010:
                    at_ms = round(datetime.strptime(row[date] + "+0000", "%m/%d/%Y%z").timestamp() * 1000)
                    rows.append(
                        (row["user_id"], kind, at_ms + 12 * 3_600_000, round(float(row[amount]) * 100), None, "web")
                    )
    takes = ("count", "sum", "mean", "min", "max", "distinct", "hours_since", "streak")
    features = [
        {"name": f"{kind}_{take}_{n}", "of": kind, "take": take} | ({"window": w} if w else {})
        for kind in ("call", "data")
        for take in takes
        for n, w in enumerate((None, "1d", "30d", "month", "month-1", "month-3"))
    ] + [{"name": f"{kind}_trend", "of": kind, "take": "trend", "window": "30d"} for kind in ("call", "data")]
    activities = {"call": {"unit": "minute"}, "data": {"unit": "megabyte"}}
    config = FeaturesConfig.model_validate(
        {"timezone": "America/New_York", "activities": activities, "features": features}
    )
    logs = packed(rows, FeatureSpec(config))
    months = [month_start(1_546_300_800_000 - 1, back, "America/New_York") for back in (0, 3)]
    check(
        database(rows),
        logs,
        config,
        [(customer, now) for customer in list(logs)[:4] for now in (*months, 1_546_300_800_000)],
    )
