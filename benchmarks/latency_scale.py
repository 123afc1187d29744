"""How latency grows: with the offers of the catalog, the customers in the store, the workers of the service."""

from __future__ import annotations

import asyncio
import statistics
import sys
from pathlib import Path
from typing import Any

import latency_stage as stage
from latency_run import EVENTS, Engine, asks, load, service
from redis import Redis
from results import goal

from features.keys import customer_keys
from features.packing import pack
from features.profile import dump_profile
from features.spec import FeatureSpec
from nba.clock import system_now_ms

Part = tuple[list[dict[str, Any]], dict[str, Any]]
ASKED, FEW_EVENTS, POOL = 1_000, 20, 200
VERB = "from nba.cli import main; main()"
WHY = (
    "the load generator, Redis and the workers share the cores of this machine: where one worker and its load already "
    "keep them busy, a second worker has nothing left to run on; the sum of one worker's and the load's use of a core "
    "says how much"
)


def by_offers(work: Path, quick: bool) -> Part:
    """10 and 300 offers, in turns."""
    rounds, seconds = (2, 0.6) if quick else (5, 3.0)
    with service(work, 10) as few, service(work, 300) as many:
        for engine in (few, many):
            load(engine.port, seconds=0.5)
        pairs = [(load(few.port, seconds=seconds), load(many.port, seconds=seconds)) for _ in range(rounds)]
    ratio = statistics.median(other["p50"] / one["p50"] for one, other in pairs)
    figures = {"10": [one for one, _ in pairs], "300": [other for _, other in pairs]}
    return [goal("p50_of_300_offers_to_10", round(ratio, 3), "<= 3.0")], {"offers": figures}


def by_customers(engine: Engine, quick: bool) -> Part:
    """The same 1,000 customers asked for, alone in the store and then among a million others."""
    many = 20_000 if quick else 1_000_000
    rounds, seconds = (2, 0.6) if quick else (5, 3.0)
    names = [f"asked-{n}" for n in range(ASKED)]
    asyncio.run(stage.fill(engine.url, engine.config, names, EVENTS))
    alone = _median(engine, names, rounds, seconds)
    with Redis.from_url(engine.url) as client:
        client.config_set("appendonly", "no")  # what is filled in here is not kept, and the disk is not what is asked
        bulk(client, engine, many - ASKED)
        memory_mb = round(client.info("memory")["used_memory"] / 2**20)
        among = _median(engine, names, rounds, seconds)
    ratio = round(among / alone, 3)
    figures = {"1000": alone, str(many): among, "redis_mb": memory_mb}
    return [goal(f"p50_{many}_customers_to_1000", ratio, "<= 1.1")], {"customers": figures}


def _median(engine: Engine, names: list[str], rounds: int, seconds: float) -> float:
    load(engine.port, asks(names), seconds=0.5)
    return float(statistics.median(load(engine.port, asks(names), seconds=seconds)["p50"] for _ in range(rounds)))


def bulk(client: Redis, engine: Engine, count: int) -> None:
    """So many customers with 20 events and a profile, their values written as they would stand after ingestion."""
    spec, now_ms = FeatureSpec(engine.config.features), system_now_ms()
    pool = [
        b"".join(pack(event, spec.channels) for event in stage.events_of(f"p-{n}", engine.config, FEW_EVENTS, n))
        for n in range(POOL)
    ]
    profile = dump_profile({"plan": "l-40", "tenure_months": 30.0}, now_ms)
    for first in range(0, count, 5_000):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + 5_000, count)):
            keys = customer_keys(f"bulk-{number}")
            pipeline.mset({keys.log: pool[number % POOL], keys.profile: profile})
        pipeline.execute()


def by_workers(engine: Engine, quick: bool) -> Part:
    """Requests a second at 16 connections with one worker and with two, through `nba serve`."""
    rounds, seconds = (1, 1.0) if quick else (3, 5.0)
    found: dict[str, Any] = {}
    for workers in (1, 2):
        port = stage.free_port()
        command = [sys.executable, "-c", VERB, "serve", "--port", str(port), "--workers", str(workers)]
        with stage.process(command, port, **engine.settings):
            load(port, seconds=0.5, connections=16)
            runs = [load(port, seconds=seconds, connections=16) for _ in range(rounds)]
        found[str(workers)] = {key: statistics.median(run[key] for run in runs) for key in ("per_s", "p50", "p99")}
    gain = round(found["2"]["per_s"] / found["1"]["per_s"], 3)
    return [], {"workers": {**found, "gain": gain, "why": WHY}}
