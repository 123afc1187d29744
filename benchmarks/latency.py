"""How long a whole decision takes, side by side with its floor: the same FastAPI and server, a pydantic body in and out
of the same sizes, one Redis GET of the same bytes, nothing else.

    .venv/bin/python benchmarks/latency.py [--quick] [--json]

300 events a customer, 24 offers, 100 columns, 200 x 31 trees in both heads; keys, metrics and journal on. The load
generator, the two services and Redis are processes of their own; rounds alternate and the median round counts.
Beside that: what a team would put together instead (latency_peers.py), growth with offers, customers and workers
(latency_scale.py), and, in the full run, five minutes at a constant rate (latency_steady.py).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import latency_peers
import latency_scale
import latency_stage as stage
import latency_steady
from latency_run import Engine, load, service
from results import goal, keep

from features.keys import customer_keys

PACKAGES = ("uvloop", "httptools", "pydantic", "orjson")
FLOOR = """
import os, sys, uvicorn
sys.path.insert(0, "benchmarks")
from latency_floor import create
uvicorn.run(create(), port=int(os.environ["PORT"]), log_level="warning", access_log=False)
"""


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


def measure(work: Path, quick: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every part in turn: goals, and the figures they come from."""
    goals: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        engine = stack.enter_context(service(work, 24))
        floor = stage.free_port()
        given = {"PORT": str(floor), "NBA_FLOOR_REDIS": engine.url, "NBA_FLOOR_KEY": customer_keys("c-1").log}
        answer = answer_of(engine.port)
        stack.enter_context(stage.process([sys.executable, "-c", FLOOR], floor, NBA_FLOOR_ANSWER=answer, **given))
        parts = [lambda: beside_floor(engine, floor, quick), lambda: latency_peers.beside(engine, work, quick)]
        if not quick:
            parts.append(lambda: latency_steady.steady(engine, floor))
        parts += [
            lambda: latency_scale.by_workers(engine, quick),
            lambda: latency_scale.by_customers(engine, quick),
        ]
        for part in parts:
            _add(part(), goals, found)
        found["answer_bytes"] = len(answer)
    _add(latency_scale.by_offers(work, quick), goals, found)
    return goals, found


def _add(part: tuple[list[dict[str, Any]], dict[str, Any]], goals: list[dict[str, Any]], found: dict[str, Any]) -> None:
    goals += part[0]
    found |= part[1]


def beside_floor(engine: Engine, floor: int, quick: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The engine and its floor in turns, at one connection and at sixteen."""
    rounds, seconds = (4, 0.6) if quick else (11, 3.0)
    for port in (floor, engine.port):
        load(port, seconds=0.5)
    one = [(load(floor, seconds=seconds), load(engine.port, seconds=seconds)) for _ in range(rounds)]
    many = [
        (load(floor, seconds=seconds, connections=16), load(engine.port, seconds=seconds, connections=16))
        for _ in range(max(2, rounds // 3))
    ]
    goals = [
        goal("p50_ratio_to_floor", ratio(one, "p50"), "<= 2.0"),
        goal("p99_ratio_to_floor", ratio(one, "p99"), "<= 3.0"),
        goal("throughput_ratio_to_floor", ratio(many, "per_s"), ">= 0.45"),
    ]
    return goals, {"one_connection": one, "sixteen_connections": many}


def ratio(pairs: list[tuple[dict[str, Any], dict[str, Any]]], what: str) -> float:
    """The engine's figure over the floor's, of the median round."""
    return round(statistics.median(engine[what] / floor[what] for floor, engine in pairs), 3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, within 50 seconds")
    parser.add_argument("--json", action="store_true", help="the result as one JSON document")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="nba-latency-"))
    try:
        goals, found = measure(work, given.quick)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    more = {name: metadata.version(name) for name in PACKAGES}
    return keep("latency", goals, as_json=given.json, quick=given.quick, more_versions=more, **found)


if __name__ == "__main__":
    sys.exit(main())
