"""Features counted again from the raw events, one by one, in plain Python: the slow second route to every claim.

Shares no code with features/compute.py, so that a mistake there cannot hide here. The meaning of every `take` is the
contract's; see features/compute.py for the words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from hashlib import blake2b
from typing import Literal
from zoneinfo import ZoneInfo

from nba.clock import HOUR_MS
from nba.config import Feature, FeaturesConfig
from nba.domain import Activity
from nba.errors import RuleError
from nba.rules import Rule, Value, Values, flat


def recount(config: FeaturesConfig, events: Iterable[Activity], now_ms: int) -> dict[str, float]:
    """Every feature of the config at `now_ms` from all events of one customer; NaN where there is nothing."""
    counted = _counted_once(events, now_ms)
    found = {f.name: _window_feature(config, f, counted, now_ms) for f in config.features if f.of is not None}
    waiting = [f for f in config.features if f.derived is not None]
    names = {f.name for f in config.features}
    while waiting:
        for feature in list(waiting):
            rule = Rule(str(feature.derived), bare=names)
            if all(name in found for _, name in rule.reads):
                found[feature.name] = _derived(rule, feature, found)
                waiting.remove(feature)
    return {feature.name: found[feature.name] for feature in config.features}


def _counted_once(events: Iterable[Activity], now_ms: int) -> list[Activity]:
    """Each event id once, the earliest of it, in order of time; what lies after now has not happened."""
    first: dict[str, Activity] = {}
    for event in events:
        known = first.get(event.event_id)
        if known is None or event.at_ms < known.at_ms:
            first[event.event_id] = event
    happened = [event for event in first.values() if event.at_ms <= now_ms]
    return sorted(happened, key=lambda e: (e.at_ms, _event_order(e.event_id)))


def _event_order(event_id: str) -> int:
    """Which of two events of the same millisecond counts as the later one: the order of the ids' 64-bit hashes."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "little")


def _window_feature(config: FeaturesConfig, feature: Feature, events: Sequence[Activity], now_ms: int) -> float:
    mine = [e for e in events if e.type == feature.of and _fits(e, feature.where)]
    low, high = _window(feature, config.zone, now_ms)
    inside = [e for e in mine if low < e.at_ms <= high]
    if feature.take == "trend":
        return _trend(config, feature, mine, inside, low, high)
    value = _take(str(feature.take), inside, now_ms, config.zone)
    return feature.missing if value is None else value


def _fits(event: Activity, where: Mapping[Literal["subject", "channel"], Sequence[str]]) -> bool:
    given: dict[str, str | None] = {"subject": event.subject, "channel": event.channel}
    return all(given[field] in wanted for field, wanted in where.items())


def _window(feature: Feature, zone: ZoneInfo, now_ms: int) -> tuple[float, float]:
    """Both ends in milliseconds; an event counts when low < at <= high."""
    window = feature.window
    if window is None:
        return -math.inf, now_ms
    if window.span_ms is not None:
        return now_ms - window.span_ms, now_ms
    here = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    back = window.months_back or 0
    low = _month_start(here, back, zone) - 1
    return low, now_ms if back == 0 else _month_start(here, back - 1, zone) - 1


def _month_start(here: datetime, back: int, zone: ZoneInfo) -> int:
    months = here.year * 12 + here.month - 1 - back
    start = datetime(months // 12, months % 12 + 1, 1, tzinfo=zone)
    return round(start.timestamp() * 1000)


def _trend(
    config: FeaturesConfig,
    feature: Feature,
    mine: Sequence[Activity],
    inside: Sequence[Activity],
    low: float,
    high: float,
) -> float:
    before = [e for e in mine if low - (high - low) < e.at_ms <= low]
    unit = config.activities[str(feature.of)].unit
    newer, older = (_total(part) if unit is not None else len(part) for part in (inside, before))
    known = [e for e in (*inside, *before) if unit is None or e.value is not None]
    return float(newer - older) if known else feature.missing


def _total(events: Iterable[Activity]) -> int:
    return sum(e.value for e in events if e.value is not None)


def _take(take: str, events: Sequence[Activity], now_ms: int, zone: ZoneInfo) -> float | None:
    """None where there is nothing to take it from."""
    values = [e.value for e in events if e.value is not None]
    subjects = {e.subject for e in events if e.subject is not None}
    if take in ("count", "hours_since", "streak"):
        return _of_events(take, events, now_ms, zone) if events else None
    if take == "distinct":
        return float(len(subjects)) if subjects else None
    if not values:
        return None
    found = {"sum": sum(values), "min": min(values), "max": max(values), "last": values[-1]}
    return float(Fraction(sum(values), len(values))) if take == "mean" else float(found[take])


def _of_events(take: str, events: Sequence[Activity], now_ms: int, zone: ZoneInfo) -> float | None:
    if take == "count":
        return float(len(events))
    if take == "hours_since":
        return (now_ms - events[-1].at_ms) / HOUR_MS
    return _streak({_local_day(e.at_ms, zone) for e in events}, _local_day(now_ms, zone))


def _local_day(at_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date()


def _streak(days: set[date], today: date) -> float | None:
    day = today if today in days else today - timedelta(days=1)
    length = 0
    while day in days:
        length += 1
        day -= timedelta(days=1)
    return float(length) if length else None


def _derived(rule: Rule, feature: Feature, found: Mapping[str, float]) -> float:
    known: dict[str, Value] = {flat("features", name): value for name, value in found.items() if value == value}
    try:
        return rule.number(Values(known))
    except RuleError:
        return feature.missing
