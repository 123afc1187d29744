"""What the store is measured with: 40 features as an operator would have them, and customers with so many events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.packing import EVENT, HAS_VALUE, seal, subject_hash, type_code
from nba.config import FeaturesConfig

NOW_MS = 1_790_000_000_000
SPAN_MS = 120 * 86_400_000
TYPES = ("data", "call", "message", "bill", "top_up", "page", "app", "contact")
SUBJECTS = ("plans", "bill", "cancel", "help", "phones")
UNITS = {"data": "megabyte", "call": "minute", "bill": "cent", "top_up": "cent"}


def config() -> FeaturesConfig:
    """36 window features over eight types, every take among them, and four derived ones: 40."""
    features: list[dict[str, Any]] = []
    for kind in ("data", "call"):
        for take, window in (
            ("sum", "month-1"),
            ("sum", "month-2"),
            ("sum", "month-3"),
            ("sum", "30d"),
            ("trend", "30d"),
        ):
            features.append(
                {"name": f"{kind}_{take}_{window}".replace("-", "_"), "of": kind, "take": take, "window": window}
            )
        features.append({"name": f"{kind}_mean", "of": kind, "take": "mean", "window": "90d"})
        features.append({"name": f"{kind}_longest", "of": kind, "take": "max", "window": "90d"})
    for kind in ("message", "top_up", "app", "contact", "page"):
        features += [{"name": f"{kind}_{w}", "of": kind, "take": "count", "window": w} for w in ("7d", "30d")]
    features += [
        {"name": f"seen_{s}", "of": "page", "take": "count", "window": "30d", "where": {"subject": s}} for s in SUBJECTS
    ]
    features += [
        {"name": "bill_last", "of": "bill", "take": "last"},
        {"name": "bill_sum", "of": "bill", "take": "sum", "window": "90d"},
        {"name": "bill_least", "of": "bill", "take": "min", "window": "90d"},
        {"name": "since_contact_h", "of": "contact", "take": "hours_since"},
        {"name": "since_top_up_h", "of": "top_up", "take": "hours_since"},
        {"name": "topics", "of": "page", "take": "distinct", "window": "30d"},
        {"name": "app_streak", "of": "app", "take": "streak"},
        {"name": "data_gb_m1", "is": "features.data_sum_month_1 / 1024.0"},
        {"name": "data_gb_m2", "is": "features.data_sum_month_2 / 1024.0"},
        {"name": "data_gb_peak", "is": "max(features.data_sum_month_1, features.data_sum_month_2) / 1024.0"},
        {"name": "talk_share", "is": "features.call_sum_30d / (features.call_sum_30d + features.data_sum_30d + 1.0)"},
    ]
    activities = {kind: {"unit": UNITS[kind]} if kind in UNITS else {"thread": False} for kind in TYPES}
    return FeaturesConfig.model_validate({"timezone": "Europe/Berlin", "activities": activities, "features": features})


def logs(customers: int, events: int, seed: int) -> list[bytes]:
    """The packed log of each customer, in order of time, without duplicates."""
    records = columns(customers * events, seed)
    at = records["at_ms"].reshape(customers, events)
    at.sort(axis=1)
    packed = seal(records).tobytes()
    size = events * EVENT.itemsize
    return [packed[first : first + size] for first in range(0, len(packed), size)]


def columns(count: int, seed: int) -> NDArray[np.void]:
    """Random events as unsealed records."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(TYPES), count)
    records = np.zeros(count, EVENT)
    records["at_ms"] = NOW_MS - rng.integers(0, SPAN_MS, count)
    records["event"] = rng.integers(1, 2**63, count)
    records["type"] = np.array([type_code(name) for name in TYPES], np.uint16)[kinds]
    with_unit = np.isin(kinds, [TYPES.index(name) for name in UNITS])
    records["value"] = np.where(with_unit, rng.integers(1, 2000, count), 0)
    records["flags"] = np.where(with_unit, HAS_VALUE, 0)
    hashes = np.array([subject_hash(name) for name in SUBJECTS], np.uint32)[rng.integers(0, len(SUBJECTS), count)]
    records["subject"] = np.where(kinds == TYPES.index("page"), hashes, 0)
    records["channel"] = 1
    return records
