"""A contender of benchmarks/store.py in its own process: the store. Commands as JSON lines on stdin, answers on stdout."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from redis.asyncio import Redis
from store_data import NOW_MS, config

from features.ingest import ingest
from features.spec import FeatureSpec
from features.store import Store


async def latency(store: Store, names: list[str], reads: int, seed: int, *, unseen: bool) -> dict[str, float]:
    """Microseconds from the call to the vector, over random customers. `unseen`: as if each were read for the first time."""
    chosen = np.random.default_rng(seed).integers(0, len(names), reads + 200)
    times = np.empty(len(chosen))
    for turn, customer in enumerate(chosen.tolist()):
        if unseen:
            store._long_logs.forget(names[customer])
        started = time.perf_counter()
        await store.read(names[customer], NOW_MS)
        times[turn] = time.perf_counter() - started
    return {"p50_us": float(np.median(times[200:]) * 1e6), "p99_us": float(np.quantile(times[200:], 0.99) * 1e6)}


async def answers(store: Store, names: list[str]) -> list[list[float]]:
    """The vectors."""
    return [list((await store.read(name, NOW_MS)).features.values()) for name in names]


async def load(store: Store, spec: FeatureSpec, file: str) -> dict[str, float]:
    """A file of activity through `ingest`, checks and packing included."""
    started = time.perf_counter()
    report = await ingest(
        [Path(file)], "activity", store, spec, now_ms=NOW_MS, rejected_file=Path(file).with_suffix(".rejected")
    )
    return {"events_per_s": report.accepted / (time.perf_counter() - started), "accepted": report.accepted}


async def bare(url: str, names: list[str], count: int) -> dict[str, float]:
    """The floor of ingestion: APPEND of 32 bytes in the same client, 1,000 a pipeline, nothing else."""
    client = Redis.from_url(url, protocol=2)
    event = bytes(32)
    started = time.perf_counter()
    for first in range(0, count, 1000):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, first + 1000):
            pipeline.append(f"bare:{names[number % len(names)]}", event)
        await pipeline.execute()
    seconds = time.perf_counter() - started
    await client.aclose()
    return {"events_per_s": count / seconds}


async def main() -> None:
    url = sys.argv[1]
    spec = FeatureSpec(config())
    store = await Store.open(url, spec, timeout_s=30.0)
    await store.ping()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        names = [f"{command.get('prefix', 'c')}{i}" for i in range(command.get("customers", 0))]
        if command["do"] == "latency":
            answer: Any = await latency(
                store, names, command["reads"], command["seed"], unseen=command.get("unseen", False)
            )
        elif command["do"] == "answers":
            answer = await answers(store, names)
        elif command["do"] == "load":
            answer = await load(store, spec, command["file"])
        else:
            answer = await bare(url, names, command["count"])
        print(json.dumps(answer), flush=True)
    await store.close()


if __name__ == "__main__":
    uvloop.run(main())
