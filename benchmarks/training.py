"""What the engine adds to the training itself: `nba train` from Parquet to a certified version, against bare LightGBM.

    .venv/bin/python benchmarks/training.py [--quick] [--json]

Histories of growing size are written as Parquet (44 columns of the customer, 6 of them categories, 8 offers). Each run
has a process of its own, which gives its peak memory: the engine's whole way (read, assemble, train, calibrate, export,
prove, judge, report, write), and LightGBM alone on the very same matrix, with the same parameters and stopping. The ratio
of their seconds leaves the proof out (`parity_s`): training alone proves nothing.
One thread each: on a machine that others use too, two threads that wait for each other take any time at all. Without
--quick both run twice in turn and the faster run counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from results import goal, keep

from nba.clock import DAY_MS
from nba.config import Catalog, Config, FeaturesConfig, Policy

NUMBERS, CATEGORIES, OFFERS, TREES = 38, 6, 8, 100
START_MS = 1_760_000_000_000
NOW_MS = START_MS + 100 * DAY_MS


def config() -> Config:
    features: dict[str, Any] = {"activities": {"used": {}}, "profile": {f"n{i}": "number" for i in range(NUMBERS)}}
    features["profile"] |= {f"c{i}": "category" for i in range(CATEGORIES)}
    kinds = ("optimize", "cross_sell", "up_sell", "resolve")
    offers = [
        {"id": f"o{i}", "kind": kinds[i % 4], "title": "o", "price_month": 5.0 + i, "attributes": {"gb": i * 2.0}}
        for i in range(OFFERS)
    ]
    return Config(
        folder=Path("made-up"), features=FeaturesConfig.model_validate(features),
        catalog=Catalog.model_validate({"offers": offers}), policy=Policy(opening={"en": "{title}"}), fingerprint="0" * 16,
    )  # fmt: skip


def write_history(path: Path, rows: int) -> None:
    """A history in parts of 100,000 rows, so that writing it needs little memory."""
    rng = np.random.default_rng(rows)
    for part, start in enumerate(range(0, rows, 100_000)):
        n = min(100_000, rows - start)
        numbers = rng.normal(size=(n, NUMBERS))
        numbers[rng.random((n, NUMBERS)) < 0.02] = np.nan
        words = rng.integers(0, 30, (n, CATEGORIES))
        offer = rng.integers(0, OFFERS, n)
        logit = -2.0 + np.nan_to_num(numbers[:, 0]) * (offer % 3) + 0.8 * np.isin(words[:, 0], [1, 5, 9]) - 0.1 * offer
        yes = rng.random(n) < 1.0 / (1.0 + np.exp(-logit))
        at = START_MS + (np.arange(start, start + n) * (80 * DAY_MS // rows))
        columns: dict[str, Any] = {
            "decision_id": [f"d{start + i}" for i in range(n)],
            "at": pa.array(at, pa.timestamp("ms", tz="UTC")),
            "customer_id": [f"c{i}" for i in rng.integers(0, rows // 3 + 1, n)],
            "offer_id": [f"o{i}" for i in offer],
            "propensity": np.full(n, 1.0 / OFFERS),
            "outcome": np.where(yes, "accepted", "declined"),
        }
        columns |= {f"x.n{i}": pa.array(numbers[:, i], from_pandas=True) for i in range(NUMBERS)}
        columns |= {f"x.c{i}": pa.array([f"w{w}" for w in words[:, i]]) for i in range(CATEGORIES)}
        pq.write_table(pa.table(columns), path / f"part-{part:03}.parquet")


def whole_way(history: Path) -> dict[str, Any]:
    """The engine's training in this process."""
    from models.learned import Options
    from models.registry import Registry
    from models.train import train

    before = peak_bytes()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        options = Options(parameters={"num_iterations": TREES}, threads=1)
        report = train(history, config(), Registry(Path(folder)), now_ms=NOW_MS, options=options)
        seconds = time.perf_counter() - start
    matrix = report.counts.used * len(report.accept.importance) * 4
    return {
        "seconds": seconds, "parity_s": report.seconds["proving parity"], "stages": dict(report.seconds),
        "memory_ratio": (peak_bytes() - before) / matrix, "auc": report.accept.figures.auc, "passed": not report.stopped_by,
    }  # fmt: skip


def bare(history: Path) -> dict[str, Any]:
    """LightGBM alone in this process, on the matrix that the engine would train on."""
    import lightgbm as lgb

    from models.dataset import read_decisions, settle
    from models.learned import Options
    from models.prepare import prepare
    from models.train import PATIENCE, parameters_of

    decisions = read_decisions(history, config().catalog)
    ready = prepare(decisions, settle(decisions, NOW_MS), config(), Options().split, lambda share: None)
    parameters = parameters_of(ready.slices.train, ready.schema.names, Options(threads=1))
    training, later = ready.slices.training, ready.slices.calibration
    start = time.perf_counter()
    categories = list(ready.schema.categorical)
    data = lgb.Dataset(ready.matrix[training], ready.label[training], categorical_feature=categories, params=parameters)
    judge = lgb.Dataset(ready.matrix[later], ready.label[later], reference=data, params=parameters)
    lgb.train(parameters, data, TREES, valid_sets=[judge], callbacks=[lgb.early_stopping(PATIENCE, verbose=False)])
    return {"seconds": time.perf_counter() - start}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def apart(what: str, history: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--run", what, str(history)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(rows: int, turns: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        write_history(Path(folder), rows)
        runs = [(apart("whole_way", Path(folder)), apart("bare", Path(folder))) for _ in range(turns)]
    ours, theirs = (min(of, key=lambda run: run["seconds"]) for of in zip(*runs, strict=True))
    ratio = (ours["seconds"] - ours["parity_s"]) / theirs["seconds"]
    return {"rows": rows, **ours, "bare_s": theirs["seconds"], "ratio": ratio}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the million rows, one run each")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--run", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps({"whole_way": whole_way, "bare": bare}[given.run[0]](Path(given.run[1]))))
        return 0
    sizes = [
        measure(rows, 1 if given.quick else 2)
        for rows in ((10_000, 100_000) if given.quick else (10_000, 100_000, 1_000_000))
    ]
    small, large = sizes[0], sizes[-1]
    growth = (large["seconds"] / small["seconds"]) / (large["rows"] / small["rows"])
    goals = [
        goal("train_ratio_to_lightgbm", round(large["ratio"], 3), "<= 1.5"),
        goal("growth_against_linear", round(growth, 3), "<= 1.0"),
    ]
    if not given.quick:  # below a few hundred megabytes the libraries themselves outweigh the matrix
        goals.append(goal("memory_over_matrix", round(large["memory_ratio"], 2), "<= 3.0"))
    return keep("training", goals, as_json=given.json, quick=given.quick, sizes=sizes)


if __name__ == "__main__":
    sys.exit(main())
