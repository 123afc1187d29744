"""Both heads and their calibration in one ONNX run, against LightGBM's own `predict` of the two heads, one thread each.

    .venv/bin/python benchmarks/scoring.py [--quick] [--json]

24 candidates x 100 columns of numbers, 200 trees of 31 leaves a head, and 30 of 8 in the second one, grown as the
engine grows them. The engine gives three answers in its run: acceptance, staying if accepted, staying if not. LightGBM
is asked twice, once a head; `ratio_for_three_answers` asks it three times. `with_categories` is the same with 10 of the
columns categories of 20 words, a goal of its own: ONNX Runtime walks trees that mix two kinds of split at half the
speed. That both sides agree is checked before the timing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from results import goal, keep

from models.calibrate import Calibration, sigmoid
from models.export import Head, to_onnx
from models.forest import parse_forest
from models.registry import Registry
from models.schema import Schema, SchemaColumn
from models.scorer import Scorer
from models.train import EFFECT_TREES
from nba.candidates import CatalogRules, make_candidates
from nba.config import Catalog
from nba.rules import Values

ROWS, COLUMNS, CATEGORIES, WORDS, TREES, LEAVES, MORE_TREES, CANDIDATES = 20_000, 100, 10, 20, 200, 31, 30, 24
CATALOG = Catalog.model_validate(
    {"offers": [{"id": f"o{i}", "kind": "optimize", "title": "o", "price_month": 10 + i} for i in range(CANDIDATES)]}
)


def schema_of(categories: int) -> Schema:
    """x columns, the first ones categories, then the offer's and the pair's own: 100 in all."""
    words = tuple(f"w{i}" for i in range(WORDS))
    fixed = [SchemaColumn("offer.price_month", "number"), SchemaColumn("pair.saving_month", "number")]
    x = [
        SchemaColumn(f"x.c{i}", "category", None, words) if i < categories else SchemaColumn(f"x.c{i}", "number")
        for i in range(COLUMNS - len(fixed))
    ]
    return Schema((*x, *fixed))


def grown(seed: int, categories: int, extra: int) -> tuple[lgb.Booster, np.ndarray]:
    """A booster of 200 x 31 on a made-up target in which numbers, categories and the extra column matter."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS, COLUMNS + extra)).astype(np.float32)
    rows[:, :categories] = rng.integers(1, WORDS + 1, (ROWS, categories))
    if extra:
        rows[:, -1] = rng.random(ROWS) < 0.3
    signal = rows[:, 20] + rows[:, 21] * rows[:, 22] + np.isin(rows[:, 0], [1, 3, 7, 12]) + rows[:, -1]
    label = signal + rng.normal(size=ROWS) > 0.5
    parameters = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05, "verbosity": -1, "seed": seed}
    parameters |= {"num_threads": 2, "deterministic": True, "force_row_wise": True}
    data = lgb.Dataset(rows, label, categorical_feature=list(range(categories)), free_raw_data=False)
    if not extra:
        return lgb.train(parameters, data, TREES), rows
    first = lgb.train({**parameters, "feature_contri": [1.0] * COLUMNS + [0.0]}, data, TREES)
    return lgb.train({**parameters, **EFFECT_TREES}, data, MORE_TREES, init_model=first), rows


def in_turns(contenders: Sequence[Callable[[], Any]], blocks: int) -> list[float]:
    """Median microseconds of a call, in blocks of 50 taken in turn, so that a noisy neighbour disturbs all of them."""
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(blocks):
        for kept, ask in zip(times, contenders, strict=True):
            for _ in range(50):
                start = time.perf_counter()
                ask()
                kept.append(time.perf_counter() - start)
    return [float(np.median(kept) * 1e6) for kept in times]


def measure(categories: int, blocks: int) -> dict[str, float]:
    accept, rows = grown(1, categories, extra=0)
    stay, _ = grown(2, categories, extra=1)
    schema = schema_of(categories)
    calibration = Calibration(1.1, -0.1)
    heads = [Head(parse_forest(booster.model_to_string()), calibration) for booster in (accept, stay)]
    model = to_onnx(COLUMNS, heads[0], heads[1])
    scorer = Scorer("benchmark", schema, model, CATALOG)
    asked = rows[:CANDIDATES]
    yes, no = (np.hstack([asked, np.full((CANDIDATES, 1), v, np.float32)]) for v in (1.0, 0.0))
    largest = check(scorer, accept, stay, calibration, rows[:2000])
    x = {column.key: ("w3" if column.words else 0.5) for column in schema.columns if column.scope == "x"}
    candidates = make_candidates(CatalogRules(CATALOG), Values({}), {"plan": "o1"})
    one, two, three, whole = in_turns((
        lambda: scorer.run(asked),
        lambda: (accept.predict(asked, num_threads=1), stay.predict(yes, num_threads=1)),
        lambda: (accept.predict(asked, num_threads=1), stay.predict(yes, num_threads=1), stay.predict(no, num_threads=1)),
        lambda: scorer.score(x, candidates),
    ), blocks)  # fmt: skip
    return {
        "onnx_us": one, "lightgbm_two_us": two, "lightgbm_three_us": three, "score_with_encoding_us": whole,
        "ratio": one / two, "ratio_for_three_answers": one / three, "largest_difference": largest,
        "load_ms": load_ms(model, schema),
    }  # fmt: skip


def check(scorer: Scorer, accept: lgb.Booster, stay: lgb.Booster, calibration: Calibration, rows: np.ndarray) -> float:
    """The largest difference of a probability; more than 1e-6 ends the benchmark."""
    found = scorer.run(rows)
    given = [np.hstack([rows, np.full((len(rows), 1), value, np.float32)]) for value in (1.0, 0.0)]
    wanted = [accept.predict(rows, raw_score=True), *(stay.predict(matrix, raw_score=True) for matrix in given)]
    answers = (found.accept, found.stay_if_accepted, found.stay_if_not)
    pairs = zip(answers, wanted, strict=True)
    largest = max(float(np.abs(a - sigmoid(calibration.slope * raw + calibration.intercept)).max()) for a, raw in pairs)
    if largest > 1e-6:
        sys.exit(f"the answers differ by {largest}: nothing to time")
    return largest


def load_ms(model: bytes, schema: Schema) -> float:
    """Median milliseconds of `Scorer.load` from the registry's folder, every file verified."""
    certificate = {"passed": True, "onnx_sha256": hashlib.sha256(model).hexdigest()}
    with tempfile.TemporaryDirectory() as folder:
        files = {"model.onnx": model, "schema.json": json.dumps(schema.as_json()).encode()}
        registry = Registry(Path(folder))
        registry.write("20260101T000000-abcdef", {**files, "certificate.json": json.dumps(certificate).encode()})
        times = []
        for _ in range(5):
            start = time.perf_counter()
            Scorer.load(registry.path("20260101T000000-abcdef"), CATALOG)
            times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    given = parser.parse_args()
    blocks = 20 if given.quick else 100
    mixed, numbers = measure(CATEGORIES, blocks), measure(0, blocks)
    goals = [
        goal("score_ratio_to_lightgbm", round(numbers["ratio"], 3), "<= 0.65"),
        goal("score_ratio_with_categories", round(mixed["ratio"], 3), "<= 1.0"),
        goal("load_ms", round(max(mixed["load_ms"], numbers["load_ms"]), 1), "<= 100"),
        goal("largest_difference", max(mixed["largest_difference"], numbers["largest_difference"]), "<= 1e-6"),
    ]
    return keep("scoring", goals, as_json=given.json, quick=given.quick, with_categories=mixed, numbers_only=numbers)


if __name__ == "__main__":
    sys.exit(main())
