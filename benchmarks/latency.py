"""How long a whole decision takes, side by side with its floor: the same FastAPI and server, a pydantic body in and out
of the same sizes, one Redis GET of the same bytes, nothing else.

    .venv/bin/python benchmarks/latency.py [--quick] [--json]

300 events a customer, 24 offers, 100 columns, 200 x 31 trees in both heads; keys, metrics and journal on. The load
generator, the two services and Redis are processes of their own; rounds alternate and the median round counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import latency_stage as stage

from features.embedded import EmbeddedRedis
from features.keys import customer_keys

CUSTOMERS, EVENTS = 200, 300
SERVE = """
import os, uvicorn
from nba.settings import Settings
from serving.app import create_app
from serving.server import options
uvicorn.run(create_app(Settings()), port=int(os.environ["PORT"]), **options())
"""
FLOOR = """
import os, sys, uvicorn
sys.path.insert(0, "benchmarks")
from latency_floor import create
uvicorn.run(create(), port=int(os.environ["PORT"]), log_level="warning", access_log=False)
"""


def load(port: int, **given: object) -> dict[str, Any]:
    """One run of the load generator in its own process."""
    bodies = [{"customer_id": f"c-{n}", **stage.ASK} for n in range(CUSTOMERS)]
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "benchmarks/latency_load.py", str(port), "--key", stage.KEY, *options]
    out = subprocess.run(command, input=json.dumps(bodies), capture_output=True, text=True, check=True, cwd=stage.ROOT)
    result: dict[str, Any] = json.loads(out.stdout)
    if result["bad"]:
        raise SystemExit(f"{result['bad']} requests were not answered with 200")
    return result


@contextmanager
def service(work: Path, name: str, offers: int) -> Iterator[tuple[int, str]]:
    """The engine with so many offers, filled and warm; its port and the URL of its Redis."""
    config = stage.write_config(work / name / "config", offers)
    stage.write_model(work / name / "state", config)
    redis = EmbeddedRedis(work / name / "state")
    url, port = redis.start(), stage.free_port()
    asyncio.run(stage.fill(url, config, [f"c-{n}" for n in range(CUSTOMERS)], EVENTS))
    settings = {
        "PORT": str(port), "NBA_CONFIG": str(work / name / "config"), "NBA_STATE_DIR": str(work / name / "state"),
        "NBA_REDIS_URL": url, "NBA_API_KEYS": stage.KEY,
    }  # fmt: skip
    try:
        with stage.process([sys.executable, "-c", SERVE], port, **settings):
            yield port, url
    finally:
        redis.stop()


def answer_of(port: int) -> str:
    """One answer as it is sent, which has to come from the model."""
    body = json.dumps({"customer_id": "c-1", **stage.ASK}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {stage.KEY}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/recommend", body, headers)
    text: str = urllib.request.urlopen(request).read().decode()  # noqa: S310
    answer = json.loads(text)
    if answer["source"] != "model" or answer["degraded"]:
        raise SystemExit(f"not a whole decision: source {answer['source']}, degraded {answer['degraded']}")
    return text


def measure(work: Path, quick: bool) -> dict[str, Any]:
    rounds, seconds = (5, 1.0) if quick else (11, 3.0)
    with ExitStack() as stack:
        engine, url = stack.enter_context(service(work, "24", 24))
        floor = stage.free_port()
        given = {"PORT": str(floor), "NBA_FLOOR_REDIS": url, "NBA_FLOOR_KEY": customer_keys("c-1").log}
        answer = answer_of(engine)
        stack.enter_context(stage.process([sys.executable, "-c", FLOOR], floor, NBA_FLOOR_ANSWER=answer, **given))
        for port in (floor, engine):
            load(port, seconds=1.0)
        one = [(load(floor, seconds=seconds), load(engine, seconds=seconds)) for _ in range(rounds)]
        many = [
            (load(floor, seconds=seconds, connections=16), load(engine, seconds=seconds, connections=16))
            for _ in range(max(2, rounds // 3))
        ]
        found = {"one_connection": one, "sixteen_connections": many, "answer_bytes": len(answer)}
    if not quick:
        with service(work, "300", 300) as (port, _):
            load(port, seconds=1.0)
            found["offers_300"] = load(port, seconds=seconds)
    return found


def ratio(pairs: list[tuple[dict[str, Any], dict[str, Any]]], what: str) -> float:
    """The engine's figure over the floor's, of the median round."""
    return round(statistics.median(engine[what] / floor[what] for floor, engine in pairs), 3)


def goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    one, many = found["one_connection"], found["sixteen_connections"]
    values = [
        ("p50_ratio_to_floor", ratio(one, "p50"), "<= 2.0"),
        ("p99_ratio_to_floor", ratio(one, "p99"), "<= 3.0"),
        ("throughput_ratio_to_floor", ratio(many, "per_s"), ">= 0.45"),
    ]
    if "offers_300" in found:
        of_24 = statistics.median(engine["p50"] for _, engine in one)
        values.append(("p50_of_300_offers_to_24", round(found["offers_300"]["p50"] / of_24, 3), "<= 3.0"))
    return [{"name": n, "value": v, "goal": g, "met": _met(v, g)} for n, v, g in values]


def _met(value: float, goal: str) -> bool:
    sign, limit = goal.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, within 50 seconds")
    parser.add_argument("--json", action="store_true", help="the result as one JSON document")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="nba-latency-"))
    try:
        found = measure(work, given.quick)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    names = (
        "fastapi",
        "uvicorn",
        "uvloop",
        "httptools",
        "pydantic",
        "redis",
        "hiredis",
        "onnxruntime",
        "numpy",
        "orjson",
    )
    result = {
        "benchmark": "latency",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": given.quick,
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
        "versions": {name: metadata.version(name) for name in names},
        "goals": goals(found),
        **found,
    }
    target = stage.ROOT / "benchmarks/results/latency.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(result))
    else:
        for goal in result["goals"]:
            print(f"{goal['name']:28} {goal['value']:8} {goal['goal']:8} {'met' if goal['met'] else 'MISSED'}")


if __name__ == "__main__":
    main()
