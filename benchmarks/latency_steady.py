"""A constant rate, half of what one worker can do, for minutes: the tail beside the floor's, and whether memory grows."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from latency_run import Engine, load
from results import goal

CONNECTIONS = 16


def rss_mb(pid: int) -> float:
    """The resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def steady(engine: Engine, floor_port: int, seconds: float = 300.0) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The floor first, then the engine, at the same rate. Memory counts from the first fifth on, when all is warm."""
    capacity = load(engine.port, seconds=min(5.0, seconds), connections=CONNECTIONS)["per_s"]
    given = {"seconds": seconds, "connections": CONNECTIONS, "rate": round(capacity / 2)}
    floor = load(floor_port, **given)
    memory: list[float] = []
    watch = threading.Thread(target=_watch, args=(engine.pid, memory, time.monotonic(), seconds))
    watch.start()
    ours = load(engine.port, **given)
    watch.join()
    drift = round(memory[1] - memory[0], 2)
    limit = round(memory[0] * 0.05, 2)
    goals = [
        goal("p999_ratio_to_floor_constant_rate", round(ours["p99.9"] / floor["p99.9"], 3), "<= 3.0"),
        goal("memory_drift_mb", drift, f"<= {limit}"),
    ]
    figures = {"rate_per_s": given["rate"], "seconds": seconds, "floor": floor, "engine": ours, "rss_mb": memory}
    return goals, {"constant_rate": figures}


def _watch(pid: int, memory: list[float], started: float, seconds: float) -> None:
    """The memory after a fifth of the time and just before its end."""
    for share in (0.2, 0.98):
        time.sleep(max(0.0, started + share * seconds - time.monotonic()))
        memory.append(round(rss_mb(pid), 2))
