"""A contender of benchmarks/store.py in its own process and environment: Feast with Redis and ready-made features."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast import __version__ as version
from feast.repo_config import RepoConfig
from feast.types import Float64


def opened(redis: str, table: Path) -> tuple[FeatureStore, list[str]]:
    """A store whose online features are the columns of the table."""
    frame = pd.read_parquet(table)
    names = [name for name in frame.columns if name not in ("customer_id", "event_timestamp")]
    online = {"type": "redis", "connection_string": redis}
    registry = str(table.with_suffix(".db"))
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            registry=registry,
            provider="local",
            online_store=online,
            offline_store={"type": "file"},
            entity_key_serialization_version=3,
        )
    )
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    source = FileSource(path=str(table), timestamp_field="event_timestamp")
    schema = [Field(name=name, dtype=Float64) for name in names]
    view = FeatureView(
        name="v", entities=[customer], ttl=timedelta(days=400), schema=schema, source=source, online=True
    )
    store.apply([customer, view])
    store.write_to_online_store("v", frame)
    return store, [f"v:{name}" for name in names]


def main() -> None:
    store, features = opened(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)

        def read(number: int) -> dict[str, list[Any]]:
            found = store.get_online_features(features=features, entity_rows=[{"customer_id": f"c{number}"}])
            return dict(found.to_dict())

        if command["do"] == "answers":
            rows = [read(number) for number in range(command["customers"])]
            answer: Any = [[row[name.partition(":")[2]][0] for name in features] for row in rows]
        else:
            times = np.empty(command["reads"] + 200)
            for turn, number in enumerate(
                np.random.default_rng(command["seed"]).integers(0, command["customers"], len(times))
            ):
                started = time.perf_counter()
                read(int(number))
                times[turn] = time.perf_counter() - started
            answer = {
                "p50_us": float(np.median(times[200:]) * 1e6),
                "p99_us": float(np.quantile(times[200:], 0.99) * 1e6),
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
