"""A peer of benchmarks/latency.py in its own environment: a LightGBM model of 200 x 31 trees as MLflow serves it.

    PYTHON benchmarks/latency_mlflow.py FOLDER COLUMNS

Writes FOLDER, which `mlflow models serve` then serves.
"""

from __future__ import annotations

import json
import sys

import lightgbm
import mlflow
import mlflow.lightgbm
import numpy as np

TREES, LEAVES = 200, 31


def main() -> None:
    folder, columns = sys.argv[1], int(sys.argv[2])
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(1_500, columns))
    label = (rng.random(len(rows)) < 1 / (1 + np.exp(-rows @ rng.normal(size=columns) / 10))).astype(int)
    options = {"objective": "binary", "num_leaves": LEAVES, "min_data_in_leaf": 5, "max_bin": 63, "verbosity": -1}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, label), TREES)
    mlflow.lightgbm.save_model(booster, folder)
    print(json.dumps({"version": mlflow.__version__}))


if __name__ == "__main__":
    main()
