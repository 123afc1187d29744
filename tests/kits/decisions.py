"""A small world to train on: three offers, customers whose wish is known, rows as the contract's section 5 says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.scorer import Scorer
from nba.clock import DAY_MS
from nba.config import Catalog, Config, FeaturesConfig, Policy

START_MS = 1_770_000_000_000
NOW_MS = START_MS + 40 * DAY_MS  # when the last of these rows is settled
OFFERS: list[dict[str, Any]] = [
    {
        "id": "s",
        "kind": "optimize",
        "title": "S",
        "price_month": 10.0,
        "margin_month": 4.0,
        "attributes": {"gb": 5.0, "net": "4g"},
    },
    {
        "id": "m",
        "kind": "up_sell",
        "title": "M",
        "price_month": 20.0,
        "margin_month": 9.0,
        "attributes": {"gb": 20.0, "net": "5g"},
    },
    {"id": "fix", "kind": "resolve", "title": "Fix it", "attributes": {}},
]


def make_config(offers: list[dict[str, Any]] = OFFERS, folder: Path = Path("config")) -> Config:
    """Features tenure and usage, profile plan and vip, context intent."""
    features = {
        "activities": {"used": {}},
        "features": [
            {"name": "usage", "of": "used", "take": "sum", "window": "30d"},
            {"name": "since", "of": "used", "take": "hours_since"},
        ],
        "profile": {"plan": "category", "tenure": "number", "vip": "boolean", "city": "category"},
        "context": {"intent": "category"},
    }
    return Config(
        folder=folder,
        features=FeaturesConfig.model_validate(features),
        catalog=Catalog.model_validate({"offers": offers}),
        policy=Policy(opening={"en": "we suggest {title}"}),
        fingerprint="0" * 16,
    )


def make_rows(n: int = 2000, seed: int = 0, **columns: Any) -> pa.Table:
    """n rows over 30 days; who uses much wants `m`, who has an intent wants `fix`. `columns` replace or (None) remove."""
    rng = np.random.default_rng(seed)
    usage = rng.gamma(2.0, 5.0, n)
    intent = rng.choice(["fault", "billing", "other"], n)
    offer = rng.choice(["s", "m", "fix"], n)
    since = np.where(rng.random(n) < 0.2, np.nan, rng.exponential(50.0, n))
    logit = (
        -2.0 + np.where(offer == "m", (usage - 10) / 4, 0) + np.where((offer == "fix") & (intent == "fault"), 3.0, 0)
    )
    yes = rng.random(n) < 1 / (1 + np.exp(-logit))
    at = np.sort(START_MS + rng.integers(0, 30 * DAY_MS, n))
    table: dict[str, Any] = {
        "decision_id": [f"d{i}" for i in range(n)],
        "at": pa.array(at, pa.timestamp("ms", tz="UTC")),
        "customer_id": [f"c{i % 700}" for i in range(n)],
        "offer_id": offer,
        "propensity": np.full(n, 1 / 3),
        "outcome": np.where(yes, "accepted", rng.choice(["declined", "spoken", "shown", "later"], n)),
        "x.usage": usage,
        "x.since": pa.array(since, from_pandas=True),
        "x.plan": rng.choice(["s", "m", "old"], n),
        "x.tenure": rng.integers(0, 100, n),
        "x.vip": rng.random(n) < 0.1,
        "x.city": rng.choice([f"city{i}" for i in range(40)], n),
        "x.intent": pa.array(intent).dictionary_encode(),
    }
    table |= columns
    return pa.table({name: value for name, value in table.items() if value is not None})


def answers_along(scorer: Scorer, column: str) -> list[Any]:
    """What a model says of 200 rows while one of their columns rises from -5 to 60 in 40 steps: 40 answers."""
    place = scorer.schema.names.index(column)
    matrix = np.random.default_rng(0).normal(10, 5, (200, len(scorer.schema.columns))).astype(np.float32)
    answers = []
    for value in np.linspace(-5, 60, 40):
        matrix[:, place] = value
        answers.append(scorer.run(matrix))
    return answers
