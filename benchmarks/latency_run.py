"""The engine of benchmarks/latency.py as a process of its own, and one run of the load generator against it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import latency_stage as stage

from features.embedded import EmbeddedRedis
from nba.config import Config

CUSTOMERS, EVENTS = 200, 300


@dataclass(frozen=True)
class Engine:
    """A service that answers: where, on which Redis, in which process, with which config and settings."""

    port: int
    url: str
    pid: int
    config: Config
    settings: dict[str, str]


def asks(customers: Sequence[str]) -> list[dict[str, Any]]:
    """The question about each customer."""
    return [{"customer_id": name, **stage.ASK} for name in customers]


EVERYBODY = asks([f"c-{n}" for n in range(CUSTOMERS)])


def load(port: int, bodies: Sequence[dict[str, Any]] = EVERYBODY, **given: object) -> dict[str, Any]:
    """One run of the load generator in its own process; `given` are its options."""
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "benchmarks/latency_load.py", str(port), "--key", stage.KEY, *options]
    out = subprocess.run(
        command, input=json.dumps(list(bodies)), capture_output=True, text=True, check=True, cwd=stage.ROOT,
        timeout=float(str(given.get("seconds", 3.0))) + 30,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(out.stdout)
    if result["bad"]:
        raise SystemExit(f"{result['bad']} requests were not answered with 200")
    return result


@contextmanager
def service(work: Path, offers: int) -> Iterator[Engine]:
    """The engine with so many offers, filled and warm."""
    folder = work / str(offers)
    config = stage.write_config(folder / "config", offers)
    stage.write_model(folder / "state", config)
    redis = EmbeddedRedis(folder / "state")
    url, port = redis.start(), stage.free_port()
    asyncio.run(stage.fill(url, config, [f"c-{n}" for n in range(CUSTOMERS)], EVENTS))
    settings = {
        "PORT": str(port), "NBA_CONFIG": str(folder / "config"), "NBA_STATE_DIR": str(folder / "state"),
        "NBA_REDIS_URL": url, "NBA_API_KEYS": stage.KEY,
    }  # fmt: skip
    try:
        with stage.process([sys.executable, "-c", stage.SERVE], port, **settings) as child:
            yield Engine(port, url, child.pid, config, settings)
    finally:
        redis.stop()
