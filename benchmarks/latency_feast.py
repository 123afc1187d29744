"""A peer of benchmarks/latency.py in its own environment: a Feast repository on Redis with 40 ready-made features.

    PYTHON benchmarks/latency_feast.py HOST:PORT FOLDER CUSTOMERS

Writes FOLDER, from which `feast serve` then serves the features of the view `v` for customers c-0, c-1 …
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from feast import __version__ as version
from store_feast import opened

FEATURES = 40


def main() -> None:
    redis, folder, customers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(1).normal(size=(customers, FEATURES))
    frame = pd.DataFrame(values, columns=[f"f{n}" for n in range(FEATURES)])
    frame["customer_id"] = [f"c-{n}" for n in range(customers)]
    frame["event_timestamp"] = datetime.now(UTC)
    table = folder / "ready.parquet"
    frame.to_parquet(table)
    _, features = opened(redis, table)
    settings = {
        "project": "bench",
        "registry": str(table.with_suffix(".db")),
        "provider": "local",
        "online_store": {"type": "redis", "connection_string": redis},
        "offline_store": {"type": "file"},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(json.dumps(settings), encoding="utf-8")
    print(json.dumps({"version": version, "features": features}))


if __name__ == "__main__":
    main()
