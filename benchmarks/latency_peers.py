"""What a team would put together instead, side by side with the engine: Feast's feature server, and MLflow's scoring.

Each has an environment of its own under .nba/, made on the first full run; where it cannot be had it is absent and said
to be. Feast returns 40 ready-made features of one customer from a Redis of its own, MLflow scores 24 rows of 100 columns;
neither decides, phrases or writes anything down.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import latency_stage as stage
import numpy as np
from latency_run import CUSTOMERS, Engine, load
from results import goal
from store import redis_server

PACKAGES = {"feast": ["feast[redis]>=0.60"], "mlflow": ["mlflow>=3", "lightgbm"]}
# By default it restarts its worker after 1,000 requests, in the middle of a round and of every connection.
NO_RESTART = ("--max-requests", "1000000000")
PARENT = stage.ROOT / ".nba"
ROWS, COLUMNS = 24, 100
_FAILED = (subprocess.SubprocessError, OSError, SystemExit)


def python_of(name: str, install: bool) -> Path:
    """The interpreter that has this peer. Raises FileNotFoundError and SubprocessError."""
    home = PARENT / f"bench-{name}"
    python = home / "bin" / "python"
    ready = home / "ready"
    if name == "feast" and python.exists() and (home / "bin" / "feast").exists():
        return python  # benchmarks/store.py has made it
    if not ready.exists():
        if not install:
            raise FileNotFoundError(f"{name} is not installed in .nba/bench-{name}: run once without --quick")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, stdout=subprocess.DEVNULL)
        pip = [str(python), "-m", "pip", "install", "-q", *PACKAGES[name]]
        subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)
        ready.touch()
    return python


def prepared(python: Path, script: str, *arguments: str) -> dict[str, Any]:
    """What a peer's own script says once its data stand."""
    command = [str(python), str(stage.ROOT / "benchmarks" / script), *arguments]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(out.stdout.strip().splitlines()[-1])
    return found


@contextmanager
def feast(work: Path, install: bool) -> Iterator[tuple[int, list[dict[str, Any]], str, str]]:
    """Feast's server: its port, the bodies to ask with, the path, its version."""
    python, port = python_of("feast", install), stage.free_port()
    with redis_server() as client:
        address = f"127.0.0.1:{client.connection_pool.connection_kwargs['port']}"
        told = prepared(python, "latency_feast.py", address, str(work / "feast"), str(CUSTOMERS))
        command = [str(python.parent / "feast"), "-c", str(work / "feast"), "serve", "-h", "127.0.0.1"]
        with stage.process(
            [*command, "-p", str(port), "--no-access-log", *NO_RESTART], port, "/health", **_quiet(python)
        ):
            bodies = [{"features": told["features"], "entities": {"customer_id": [f"c-{n}"]}} for n in range(CUSTOMERS)]
            yield port, bodies, "/get-online-features", told["version"]


@contextmanager
def mlflow(work: Path, install: bool) -> Iterator[tuple[int, list[dict[str, Any]], str, str]]:
    """MLflow's server, as `feast` above."""
    python, port = python_of("mlflow", install), stage.free_port()
    told = prepared(python, "latency_mlflow.py", str(work / "mlflow"), str(COLUMNS))
    command = [str(python), "-m", "mlflow", "models", "serve", "-m", str(work / "mlflow"), "--env-manager", "local"]
    with stage.process([*command, "-p", str(port), "-h", "127.0.0.1"], port, "/health", **_quiet(python)):
        rows = np.random.default_rng(3).normal(size=(ROWS, COLUMNS)).round(4).tolist()
        yield port, [{"inputs": rows}], "/invocations", told["version"]


def _quiet(python: Path) -> dict[str, str]:
    """Its own programs first, so that a server that starts another finds the right one."""
    return {"PATH": f"{python.parent}:{os.environ['PATH']}", "FEAST_USAGE": "False", "MLFLOW_DISABLE_TELEMETRY": "true",
            "UVICORN_LOG_LEVEL": "warning"}  # fmt: skip


def beside(engine: Engine, work: Path, quick: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All that can be had take turns at one connection; the goals of those that are there."""
    rounds, seconds = (2, 1.0) if quick else (5, 3.0)
    peers: dict[str, Any] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        for name, opened in (("feast_server", feast), ("mlflow", mlflow)):
            try:
                peers[name] = stack.enter_context(opened(work, not quick))
            except _FAILED as error:
                absent[name] = str(error)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("engine", *peers)}
        for turn in range(rounds + 1 if peers else 0):
            found["engine"].append(load(engine.port, seconds=seconds))
            for name, (port, bodies, path, _) in list(peers.items()):
                try:
                    found[name].append(load(port, bodies, path=path, seconds=seconds))
                except _FAILED as error:
                    absent[name] = f"did not answer: {getattr(error, 'stderr', None) or error}"
                    del peers[name], found[name]
            if turn == 0:  # to be warm
                found = {name: [] for name in found}
    p50 = {name: statistics.median(run["p50"] for run in runs) for name, runs in found.items() if runs}
    figures = {"p50": p50, "runs": found, "versions": {n: peer[3] for n, peer in peers.items()}, "absent": absent}
    return _goals(p50), {"peers": figures}


def _goals(p50: dict[str, float]) -> list[dict[str, Any]]:
    """Of a peer that is absent there is no goal: nothing is guessed."""
    goals = []
    if "feast_server" in p50:
        ratio = round(p50["engine"] / p50["feast_server"], 3)
        goals.append(goal("p50_ratio_to_feast_server", ratio, "<= 0.5"))
    if "feast_server" in p50 and "mlflow" in p50:
        ratio = round(p50["engine"] / (p50["feast_server"] + p50["mlflow"]), 3)
        goals.append(goal("p50_ratio_to_feast_plus_mlflow", ratio, "<= 0.125"))
    return goals
