"""What survives: real processes killed, Redis broken in every way, reloads under load. Prints counts, keeps them as JSON.

.venv/bin/python benchmarks/faults.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import latency_stage as stage
import pyarrow.parquet as pq
from results import goal, keep

from features.embedded import find_binary
from serving.journal import Folders
from serving.roll import roll

BUDGET_MS = 50
OVER_MS = 10


class Redis:
    """A Redis of its own process, to be stopped, paused, filled and started again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port = folder, stage.free_port()
        self.start()

    def start(self) -> None:
        settings = ["--port", str(self.port), "--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        self.process = subprocess.Popen([find_binary(), *settings], stdout=subprocess.DEVNULL)
        while self.say("PING") != b"+PONG\r\n":
            time.sleep(0.02)

    def say(self, *words: str) -> bytes:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.recv(100)
        return b""

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Proxy:
    """Between the service and Redis: passes bytes on after `delay_s`."""

    def __init__(self, target: int) -> None:
        self.delay_s, self._target = 0.0, target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                time.sleep(self.delay_s)
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        self._http.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = self._http.getresponse()
        return answer.status, json.loads(answer.read())


@contextmanager
def service(state: Path, config: Path, redis_port: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = stage.free_port()
    environment = {
        "PORT": str(port), "NBA_CONFIG": str(config), "NBA_STATE_DIR": str(state), "NBA_BUDGET_MS": str(BUDGET_MS),
        "NBA_REDIS_URL": f"redis://127.0.0.1:{redis_port}",
    }  # fmt: skip
    with stage.process([sys.executable, "-c", stage.SERVE], port, **environment) as child:
        yield port, child


def killed_under_load(folder: Path, config: Path, redis: Redis, rounds: int) -> dict[str, int]:
    """kill -9 while four clients ask and report: everything they got an answer to is on the disk."""
    answered: list[str] = []
    acknowledged: list[str] = []
    for round_ in range(rounds):
        with service(folder, config, redis.port) as (port, child):
            clients = [threading.Thread(target=_ask_and_report, args=(port, answered, acknowledged)) for _ in range(4)]
            for client in clients:
                client.start()
            time.sleep(0.4 + 0.03 * (round_ % 10))
            child.kill()
            for client in clients:
                client.join()
    roll(folder)
    decisions = set(_column(folder, "records", "decision_id"))
    outcomes = set(_column(folder, "outcomes", "outcome_id"))
    lost = len(set(answered) - decisions) + len(set(acknowledged) - outcomes)
    return {
        "kills": rounds,
        "decisions_answered": len(answered),
        "outcomes_acknowledged": len(acknowledged),
        "lost": lost,
    }


def _ask_and_report(port: int, answered: list[str], acknowledged: list[str]) -> None:
    with suppress(OSError, http.client.HTTPException, ValueError):
        client, number = Client(port), 0
        while True:
            number += 1
            status, answer = client.post(
                "/v1/recommend", {"customer_id": f"c-{number % 50}", "context": {"intent": "sim"}}
            )
            if status != 200:
                continue
            answered.append(answer["decision_id"])
            for suggestion in answer["suggestions"]:
                body = {"decision_id": answer["decision_id"], "offer_id": suggestion["offer_id"], "outcome": "shown"}
                status, outcome = client.post("/v1/outcomes", body)
                if status == 200:
                    acknowledged.append(outcome["outcome_id"])


def _column(state: Path, table: str, name: str) -> list[str]:
    return [
        value for path in Folders(state).parts(table) for value in pq.read_table(path, columns=[name])[name].to_pylist()
    ]


def broken_redis(folder: Path, config: Path, redis: Redis, asks: int) -> dict[str, dict[str, Any]]:
    """Every request is answered inside the budget + 10 ms, whatever Redis does; and afterwards it is used again."""
    proxy = Proxy(redis.port)
    breaks: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "paused": (
            lambda: os.kill(redis.process.pid, signal.SIGSTOP),
            lambda: os.kill(redis.process.pid, signal.SIGCONT),
        ),
        "stopped": (redis.stop, redis.start),
        "full": (
            lambda: redis.say("CONFIG", "SET", "maxmemory", "1"),
            lambda: redis.say("CONFIG", "SET", "maxmemory", "0"),
        ),
        "delayed 30 ms": (lambda: setattr(proxy, "delay_s", 0.015), lambda: setattr(proxy, "delay_s", 0.0)),
        "delayed 200 ms": (lambda: setattr(proxy, "delay_s", 0.1), lambda: setattr(proxy, "delay_s", 0.0)),
    }
    found = {}
    with service(folder, config, proxy.port) as (port, _):
        client = Client(port)
        _asked(client, 50)
        found["well"] = _asked(client, asks)
        for name, (break_, mend) in breaks.items():
            break_()
            found[name] = _asked(client, asks)
            mend()
            found[name]["back_after_ms"] = _back_after(client)
    return found


def _asked(client: Client, asks: int) -> dict[str, Any]:
    times, degraded, bad = [], 0, 0
    for number in range(asks):
        started = time.perf_counter()
        status, answer = client.post("/v1/recommend", {"customer_id": f"c-{number % 50}"})
        times.append((time.perf_counter() - started) * 1000)
        bad += status != 200
        degraded += status == 200 and "features" in answer["degraded"]
    late = sum(t > BUDGET_MS + OVER_MS for t in times)
    return {"asked": asks, "not_answered": bad, "late": late, "degraded": degraded, "max_ms": round(max(times), 1)}


def _back_after(client: Client) -> float:
    started = time.perf_counter()
    while "features" in client.post("/v1/recommend", {"customer_id": "c-1"})[1]["degraded"]:
        if time.perf_counter() - started > 30:
            return -1.0
        time.sleep(0.01)
    return round((time.perf_counter() - started) * 1000, 1)


def reloaded_under_load(folder: Path, config: Path, redis: Redis, rounds: int) -> dict[str, int]:
    """The config changes and is reloaded while two clients ask: no request fails."""
    policy = config / "policy.yaml"
    original = policy.read_text(encoding="utf-8")
    counts = {"reloads": 0, "refused": 0, "requests": 0, "failed": 0, "versions": 0}
    versions: set[str] = set()
    stop = threading.Event()

    def ask(port: int) -> None:
        client = Client(port)
        while not stop.is_set():
            status, answer = client.post("/v1/recommend", {"customer_id": "c-1"})
            counts["requests"] += 1
            counts["failed"] += status != 200
            versions.add(answer.get("policy", ""))

    with service(folder, config, redis.port) as (port, _):
        clients = [threading.Thread(target=ask, args=(port,)) for _ in range(2)]
        for client in clients:
            client.start()
        admin = Client(port)
        for round_ in range(rounds):
            policy.write_text(f"{original}\n# version {round_}\n", encoding="utf-8")
            status, _ = admin.post("/v1/admin/reload", {})
            counts["reloads"] += status == 200
            counts["refused"] += status != 200
        stop.set()
        for client in clients:
            client.join()
    policy.write_text(original, encoding="utf-8")
    return counts | {"versions": len(versions)}


def measure(quick: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    work = Path(tempfile.mkdtemp(prefix="nba-faults-"))
    redis = Redis(work / "redis")
    try:
        config = work / "config"
        filled = stage.fill(
            f"redis://127.0.0.1:{redis.port}", stage.write_config(config), [f"c-{n}" for n in range(50)], 300
        )
        asyncio.run(filled)
        kills = killed_under_load(work / "killed", config, redis, 3 if quick else 20)
        broken = broken_redis(work / "broken", config, redis, 60 if quick else 500)
        reloads = reloaded_under_load(work / "reloaded", config, redis, 5 if quick else 50)
    finally:
        redis.stop()
        shutil.rmtree(work, ignore_errors=True)
    late = sum(one["late"] + one["not_answered"] for one in broken.values())
    goals = [
        goal("lost_after_kill", kills["lost"], "<= 0"),
        goal("late_or_unanswered", late, "<= 0"),
        goal("failed_in_reloads", reloads["failed"], "<= 0"),
    ]
    return goals, {"killed": kills, "redis": broken, "reloaded": reloads}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, within 50 seconds")
    parser.add_argument("--json", action="store_true", help="the result as one JSON document")
    given = parser.parse_args()
    goals, found = measure(given.quick)
    return keep("faults", goals, as_json=given.json, quick=given.quick, **found)


if __name__ == "__main__":
    sys.exit(main())
