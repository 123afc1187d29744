"""What idle streams cost, and how fast a call hears of its customer, over two workers. Prints counts, keeps them as JSON.

    .venv/bin/python benchmarks/streams.py [--quick] [--json]

4,000 streams (1,000 with --quick), all but the watched ones idle: memory and processor time of the workers, the time of
POST /v1/recommend beside them and without them; then activity of one customer after the other, from before it is sent
until the recommendation has come out of that customer's stream. The id of a decision says which worker made it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import latency_stage as stage
from faults import Client, Redis
from results import goal, keep

from nba.clock import format_at, system_now_ms

WORKERS = 2
NBA = Path(sys.executable).with_name("nba")
LISTENING, EVENT = b": listening\n", b"event: recommendation\n"


def customers(count: int) -> list[str]:
    return [f"c-{number}" for number in range(count)]


@contextmanager
def service(folder: Path, count: int) -> Iterator[tuple[int, list[int]]]:
    """The port of two workers on a Redis of their own, and their process ids."""
    redis = Redis(folder / "redis")
    try:
        config = stage.write_config(folder / "config")
        url = f"redis://127.0.0.1:{redis.port}"
        asyncio.run(stage.fill(url, config, customers(count), 50))
        stage.write_model(folder / "state", config, trees=50)  # a stream costs the same whatever decides
        port = stage.free_port()
        given = {"NBA_CONFIG": str(folder / "config"), "NBA_STATE_DIR": str(folder / "state"), "NBA_REDIS_URL": url}
        with stage.process([str(NBA), "serve", "--port", str(port), "--workers", str(WORKERS)], port, **given):
            yield port, _workers(folder / "state" / "workers")
    finally:
        redis.stop()


def _workers(folder: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while len(found := list(folder.glob("w*"))) < WORKERS and time.monotonic() < deadline:
        time.sleep(0.05)
    return [json.loads(path.read_bytes().splitlines()[-1])["pid"] for path in found]


def memory_kb(pids: list[int]) -> float:
    """What the workers have for themselves: their proportional share, so that shared pages count once."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return float(sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("Pss:")))


def processor_s(pids: list[int]) -> float:
    """Processor time that the workers have used."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def asked_ms(port: int, asks: int) -> list[float]:
    """Times of `asks` recommendations, one after the other, on a connection to each of two workers or so."""
    clients, times = [Client(port) for _ in range(4)], []
    for number in range(asks):
        started = time.perf_counter()
        status, _ = clients[number % 4].post("/v1/recommend", {"customer_id": f"c-{number % 50}"})
        times.append((time.perf_counter() - started) * 1000)
        if status != 200:
            raise SystemExit(f"a recommendation was answered with {status}")
    return times


async def opened(port: int, customer: str) -> asyncio.StreamReader:
    """A stream that listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = f"/v1/interactions/call-{customer}/stream?customer_id={customer}"
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    while await reader.readline() != LISTENING:
        pass
    reader.writer = writer  # type: ignore[attr-defined]  # a writer that nobody holds is closed
    return reader


async def heard(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next recommendation of a stream."""
    while await reader.readline() != EVENT:
        pass
    while not (line := await reader.readline()).startswith(b"data: "):
        pass
    answer: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return answer


async def measured(port: int, pids: list[int], count: int, events: int, asks: int, idle_s: float) -> dict[str, Any]:
    await asyncio.to_thread(asked_ms, port, asks)
    alone = await asyncio.to_thread(asked_ms, port, asks)
    before = memory_kb(pids)
    streams: list[asyncio.StreamReader] = []
    for start in range(0, count, 50):
        names = customers(count)[start : start + 50]
        streams += await asyncio.gather(*(opened(port, name) for name in names))
    after, used = memory_kb(pids), processor_s(pids)
    await asyncio.sleep(idle_s)
    used = (processor_s(pids) - used) / idle_s
    beside = await asyncio.to_thread(asked_ms, port, asks)
    return {
        "streams": count,
        "kb_a_stream": round((after - before) / count, 1),
        "idle_processor_share": round(used, 4),
        "recommend_p50_ms_alone": round(statistics.median(alone), 3),
        "recommend_p50_ms_beside": round(statistics.median(beside), 3),
        "fresh": await fresh(port, streams, events),
    }


async def fresh(port: int, streams: list[asyncio.StreamReader], events: int) -> dict[str, Any]:
    """From before an event is sent until the recommendation is there, one customer after the other."""
    client, times, elsewhere = Client(port), [], []
    _, answer = await asyncio.to_thread(client.post, "/v1/recommend", {"customer_id": "c-0"})
    ours = worker_of(answer)
    for number in range(events):
        place = number * (len(streams) // events)
        waiting = asyncio.create_task(heard(streams[place]))
        started = time.perf_counter()
        sent = {"events": [complaint(f"c-{place}", number)]}
        status, _ = await asyncio.to_thread(client.post, "/v1/activity", sent)
        told = await asyncio.wait_for(waiting, 30)
        times.append((time.perf_counter() - started) * 1000)
        if status != 202 or told["thread"][-1]["activity"] != "complaint":
            raise SystemExit("the recommendation that came had not taken in the event")
        if worker_of(told) != ours:
            elsewhere.append(times[-1])
    return {"events": events, "across_workers": len(elsewhere), "ms": spread(times), "ms_across": spread(elsewhere)}


def worker_of(answer: dict[str, Any]) -> str:
    """The segment of the log that the worker writes: the middle part of the id."""
    return str(answer["decision_id"].split("-")[1])


def complaint(customer: str, number: int) -> dict[str, Any]:
    event = {"event_id": f"fresh-{number}", "customer_id": customer, "channel": "app", "type": "complaint"}
    return event | {"at": format_at(system_now_ms()), "subject": "the bill"}


def spread(times: list[float]) -> dict[str, float]:
    if len(times) < 2:
        return {}
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "max": round(max(times), 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer streams and events, within 50 seconds")
    parser.add_argument("--json", action="store_true", help="the result as one JSON document")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 16), hard))
    count, events, asks, idle_s = (1_000, 60, 400, 5.0) if given.quick else (4_000, 400, 2_000, 30.0)
    with tempfile.TemporaryDirectory(prefix="nba-streams-") as folder, service(Path(folder), count) as (port, pids):
        found = asyncio.run(measured(port, pids, count, events, asks, idle_s))
    ratio = found["recommend_p50_ms_beside"] / found["recommend_p50_ms_alone"]
    goals = [
        goal("fresh_p99_ms", found["fresh"]["ms"]["p99"], "<= 200"),
        goal("fresh_across_workers_p99_ms", found["fresh"]["ms_across"].get("p99"), "<= 200"),
        goal("kb_a_stream", found["kb_a_stream"], "<= 64"),
        goal("idle_processor_share", found["idle_processor_share"], "<= 0.1"),
        goal("p50_ratio_beside_streams", round(ratio, 3), "<= 1.25"),
    ]
    return keep("streams", goals, as_json=given.json, quick=given.quick, workers=WORKERS, **found)


if __name__ == "__main__":
    raise SystemExit(main())
