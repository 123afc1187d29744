"""The feature store: read against Feast's ready-made features, flatness, ingestion, memory in Redis and of `nba ingest`, replay.

    .venv/bin/python benchmarks/store.py [--quick] [--json]

Every contender runs in a process of its own, on one Redis over TCP that this script starts. Both sides' answers for the
same customers are compared before anything is timed; then they take turns, and the median of the rounds counts.
Feast is installed into an environment of its own (.nba/bench-feast) on the first full run; --quick uses it if it is there.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from redis import Redis
from redis.exceptions import ConnectionError as Unreachable
from results import goal, keep
from store_data import NOW_MS, SUBJECTS, TYPES, UNITS, columns, config, logs
from store_ingest import peaks

from features.compute import settle, vector
from features.embedded import find_binary
from features.keys import customer_keys
from features.packing import type_code
from features.replay import replay
from features.spec import FeatureSpec
from nba.config import FeaturesConfig

HERE = Path(__file__).parent
FEAST = HERE.parent / ".nba" / "bench-feast"
CUSTOMERS, EVENTS = 1000, 300
TTL_S = 86_400


class Contender:
    """A process that answers one JSON line with another."""

    def __init__(self, python: str, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._in: Any = self._process.stdin
        self._out: Any = self._process.stdout
        self.hello: Any = None

    def ready(self) -> Any:
        """Its first line, once it is up."""
        if self.hello is None:
            self.hello = self._line()
        return self.hello

    def ask(self, do: str, **more: Any) -> Any:
        """One question, one answer."""
        self.ready()
        self._in.write(json.dumps({"do": do, **more}) + "\n")
        self._in.flush()
        return self._line()

    def _line(self) -> Any:
        line = self._out.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended")
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def redis_server() -> Iterator[Redis]:
    """A Redis of this benchmark alone, in memory."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(find_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = Redis(port=port)
        while True:
            try:
                client.ping()
                break
            except Unreachable:
                time.sleep(0.02)
        try:
            yield client
        finally:
            client.close()
            process.terminate()
            process.wait()


def put(client: Redis, prefix: str, packed: list[bytes]) -> None:
    """Customers with these logs, written as they would stand after ingestion."""
    for first in range(0, len(packed), 5000):
        pipeline = client.pipeline(transaction=False)
        for number, log in enumerate(packed[first : first + 5000], first):
            pipeline.set(customer_keys(f"{prefix}{number}").log, log, ex=TTL_S)
        pipeline.execute()


def feast(
    stack: ExitStack, port: int, vectors: np.ndarray, names: tuple[str, ...], install: bool, folder: Path
) -> Contender | str:
    """The other contender, or why it is absent."""
    python = FEAST / "bin" / "python"
    if not python.exists() and not install:
        return "Feast is not installed in .nba/bench-feast: run once without --quick"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(FEAST)], check=True, stdout=subprocess.DEVNULL)
            pip = [str(python), "-m", "pip", "install", "-q", "feast[redis]>=0.60"]
            subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)
    except (subprocess.SubprocessError, OSError) as error:
        return f"Feast could not be installed: {error}"
    table = pa.table({n: vectors[:, i] for i, n in enumerate(names)})
    table = table.append_column("customer_id", pa.array([f"c{i}" for i in range(len(vectors))]))
    now = pa.array([time.time_ns() // 1000] * len(vectors), pa.timestamp("us", "UTC"))
    pq.write_table(table.append_column("event_timestamp", now), folder / "ready.parquet")
    contender = Contender(str(python), "store_feast.py", f"127.0.0.1:{port}", str(folder / "ready.parquet"))
    stack.callback(contender.close)
    return contender


def same(one: list[list[float]], other: list[list[float | None]]) -> bool:
    """Equal to the last bit, missing included."""
    return bool(np.array_equal(np.array(one, float), np.array(other, float), equal_nan=True))


def turns(contenders: dict[str, Contender], rounds: int, **asked: Any) -> dict[str, dict[str, float]]:
    """They take turns; the median of each figure over the rounds."""
    return in_turn({name: (contender, asked) for name, contender in contenders.items()}, rounds)


def in_turn(cases: dict[str, tuple[Contender, dict[str, Any]]], rounds: int) -> dict[str, dict[str, float]]:
    """Cases take turns, so that a machine that grows slower grows so for all of them; medians over the rounds."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for turn in range(rounds):
        for name, (contender, asked) in cases.items():
            found[name].append(contender.ask("latency", seed=turn, **asked))
    return {n: {key: round(statistics.median(r[key] for r in rs), 1) for key in rs[0]} for n, rs in found.items()}


def reading(
    ours: Contender, other: Contender | str, quick: bool, vectors: np.ndarray
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """From Redis to vector, 300 events and 40 features, beside Feast's 40 ready-made ones on the same Redis."""
    check = ours.ask("answers", customers=200)
    if not same(check, vectors[:200].tolist()):
        raise RuntimeError("the store's answers are not what the function computes")
    contenders = {"ours": ours}
    absent = other if isinstance(other, str) else None
    if isinstance(other, Contender):
        if not same(check, other.ask("answers", customers=200)):
            raise RuntimeError("Feast's answers differ from ours: the comparison would mean nothing")
        contenders["feast"] = other
    figures = turns(contenders, 3 if quick else 7, customers=CUSTOMERS, reads=1000 if quick else 3000)
    ratio = round(figures["ours"]["p50_us"] / figures["feast"]["p50_us"], 3) if "feast" in figures else None
    spread = round(figures["ours"]["p99_us"] / figures["ours"]["p50_us"], 2)
    goals = [goal("read_ratio_to_feast", ratio, "<= 0.45"), goal("read_p99_over_p50", spread, "<= 3.0")]
    version = None if absent else other.ready()["version"]  # type: ignore[union-attr]
    return goals, {"read": figures, "feast": version or {"absent": absent}}


def growth(client: Redis, ours: Contender, quick: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """More events a customer, more customers; 1,000 customers have a Redis of their own.

    A long log that a worker has just settled is not settled again (`features.longlogs`), as in a call that refreshes; the
    figures `…_unseen` are those of a first look. The goal is held against both: a call asks many times, and begins with the
    latter.
    """
    cases: dict[str, tuple[Contender, dict[str, Any]]] = {}
    for events in (50, 300, 1000, 5000):
        put(client, f"e{events}-", logs(50, events, events))
        asked: dict[str, Any] = {"customers": 50, "prefix": f"e{events}-", "reads": 500}
        cases[f"{events}_events"] = (ours, asked)
        cases[f"{events}_events_unseen"] = (ours, {"unseen": True, **asked})
    figures = in_turn(cases, 3 if quick else 7)
    many = 100_000 if quick else 1_000_000
    pool = logs(1000, 20, 5)
    put(client, "n", pool * (many // 1000))
    with redis_server() as small:
        put(small, "n", pool)
        url = f"redis://127.0.0.1:{small.connection_pool.connection_kwargs['port']}"
        with closing(Contender(sys.executable, "store_ours.py", url)) as others:
            asked = {"prefix": "n", "reads": 2000}
            figures |= in_turn({
                "1000_customers": (others, {"customers": 1000, **asked}),
                f"{many}_customers": (ours, {"customers": many, **asked}),
            }, 3 if quick else 7)  # fmt: skip
    few = figures["1000_customers"]
    by_events = {
        f"p50_5000_events_to_50{seen}": figures[f"5000_events{seen}"]["p50_us"] / figures[f"50_events{seen}"]["p50_us"]
        for seen in ("", "_unseen")
    }
    by_customers = figures[f"{many}_customers"]["p50_us"] / few["p50_us"]
    goals = [goal(name, round(ratio, 2), "<= 2.0") for name, ratio in by_events.items()]
    return [*goals, goal(f"p50_{many}_customers_to_1000", round(by_customers, 3), "<= 1.1")], {"growth": figures}


def ingestion(client: Redis, ours: Contender, quick: bool, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A file through `ingest`, beside a loop that only appends."""
    count = 60_000 if quick else 1_000_000
    file = activity_file(count, folder / "activity.parquet")
    rates: dict[str, list[float]] = {"ingest": [], "bare_append": []}
    for _ in range(2 if quick else 3):
        rates["ingest"].append(ours.ask("load", file=str(file))["events_per_s"])
        rates["bare_append"].append(ours.ask("bare", count=count, customers=CUSTOMERS)["events_per_s"])
        for pattern in ("nba:{i-*", "bare:*"):
            client.delete(*client.keys(pattern))
    rate, floor = (statistics.median(rates[name]) for name in ("ingest", "bare_append"))
    goals = [
        goal("ingest_ratio_to_bare_append", round(rate / floor, 2), ">= 0.5"),
        goal("ingest_events_per_s", round(rate), ">= 30000"),
    ]
    return goals, {
        "ingestion": {"events": count, "ingest_events_per_s": round(rate), "bare_append_events_per_s": round(floor)}
    }


def activity_file(count: int, file: Path) -> Path:
    """Events of 1,000 customers in random order, as a company would export them."""
    records = columns(count, 9)
    codes = {type_code(name): name for name in TYPES}
    kinds = [codes[int(code)] for code in records["type"]]
    rng = np.random.default_rng(10)
    table = pa.table(
        {
            "event_id": [f"event-{i}" for i in range(count)],
            "customer_id": [f"i-{i}" for i in rng.integers(0, CUSTOMERS, count)],
            "at": pa.array(records["at_ms"], pa.timestamp("ms", "UTC")),
            "channel": pa.array(["app"] * count),
            "type": kinds,
            "value": pa.array(records["value"], mask=~np.isin(kinds, list(UNITS))),
            "subject": pa.array([SUBJECTS[i % len(SUBJECTS)] if k == "page" else None for i, k in enumerate(kinds)]),
        }
    )
    pq.write_table(table, file)
    return file


def memory(client: Redis) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Bytes of Redis an event at 300 events a customer, appended one by one; the same as JSON in a list and in a stream."""
    customers = 200
    packed = logs(customers, EVENTS, 11)
    told = {
        "event_id": "event-1234567",
        "at": "2026-09-21T14:13:20.000Z",
        "channel": "app",
        "type": "data",
        "value": 512,
    }
    text = json.dumps(told, separators=(",", ":"))
    found: dict[str, float] = {}
    for shape in ("packed", "json_list", "stream"):
        before = client.info("memory")["used_memory"]
        for number, log in enumerate(packed):
            pipeline = client.pipeline(transaction=False)
            for place in range(0, len(log), 32):
                if shape == "packed":
                    pipeline.append(f"m:{number}", log[place : place + 32])
                elif shape == "json_list":
                    pipeline.rpush(f"m:{number}", text)
                else:
                    pipeline.xadd(f"m:{number}", told)  # type: ignore[arg-type]
            pipeline.execute()
        found[shape] = round((client.info("memory")["used_memory"] - before) / (customers * EVENTS), 1)
        client.delete(*(f"m:{number}" for number in range(customers)))
    return [goal("bytes_an_event", found["packed"], "<= 48")], {"memory_bytes_an_event": found}


def replaying(settings: FeaturesConfig, quick: bool) -> dict[str, Any]:
    """Vectors a second offline, by processes."""
    packed = {f"c{i}": log for i, log in enumerate(logs(400, EVENTS, 12))}
    rng = np.random.default_rng(13)
    count = 6_000 if quick else 100_000
    moments = [
        (f"c{c}", NOW_MS - int(t))
        for c, t in zip(rng.integers(0, 400, count), rng.integers(0, 10**10, count), strict=True)
    ]
    figures = {}
    for processes in (1, 2):
        started = time.perf_counter()
        replay(packed, moments, settings, processes=processes)
        figures[f"{processes}_processes_rows_per_s"] = round(count / (time.perf_counter() - started))
    return {"replay": figures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer rounds; ends within 50 seconds")
    parser.add_argument("--json", action="store_true", help="the whole result as one JSON document")
    arguments = parser.parse_args()
    settings = config()
    spec = FeatureSpec(settings)
    packed = logs(CUSTOMERS, EVENTS, 1)
    vectors = np.stack([vector(settle(log, spec), NOW_MS, spec) for log in packed])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = stack.enter_context(redis_server())
        port = client.connection_pool.connection_kwargs["port"]
        other = feast(stack, port, vectors, spec.names, not arguments.quick, folder)
        ours = Contender(sys.executable, "store_ours.py", f"redis://127.0.0.1:{port}")
        stack.callback(ours.close)
        put(client, "c", packed)
        more: dict[str, Any] = {}
        goals: list[dict[str, Any]] = []
        for part in (
            reading(ours, other, arguments.quick, vectors),
            growth(client, ours, arguments.quick),
            ingestion(client, ours, arguments.quick, folder),
            memory(client),
        ):
            goals += part[0]
            more |= part[1]
        if isinstance(other, Contender):
            other.close()
        more |= replaying(settings, arguments.quick)
        # Last, because it empties the Redis between its files.
        peak_goals, peak_figures = peaks(client, f"redis://127.0.0.1:{port}", arguments.quick, folder)
        goals += peak_goals
        more |= peak_figures
    return keep("store", goals, as_json=arguments.json, quick=arguments.quick, **more)


if __name__ == "__main__":
    sys.exit(main())
