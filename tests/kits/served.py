"""`nba serve` as a process of its own, and what is asked of it there."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from kits.ports import free_port
from kits.waiting import wait_until

NBA = Path(sys.executable).with_name("nba")
ASK = json.dumps({"customer_id": "c-very-secret"}).encode()
JSON = {"content-type": "application/json"}


@dataclass
class Served:
    """`nba serve` as a process of its own."""

    port: int
    process: subprocess.Popen
    errors: Path

    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8")

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ended(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=180)


def answers(port: int, process: subprocess.Popen) -> bool:
    """Whether somebody listens there; the process has to live."""
    assert process.poll() is None, "the service ended"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def asked(served: Served, path: str = "/v1/recommend", **headers: str) -> int:
    """The status of a question to /v1/recommend, or of a GET of another path."""
    connection = served.connection()
    method, body = ("POST", ASK) if path == "/v1/recommend" else ("GET", None)
    connection.request(method, path, body, JSON | {name.replace("_", "-"): v for name, v in headers.items()})
    status = connection.getresponse().status
    connection.close()
    return status


def sent(served: Served, method: str, path: str, body: dict | None = None, *, status: int = 200) -> str:
    """The answer's text; it has to be one of this status."""
    with closing(served.connection()) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), JSON)
        answer = connection.getresponse()
        assert answer.status == status, answer.read()
        return answer.read().decode()


def metric(served: Served, name: str) -> list[str]:
    """The series of a metric, as /metrics has them."""
    connection = served.connection()
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return [line for line in lines if line.startswith(name)]


def workers_of(state_dir: Path) -> list[int]:
    """The process ids of the workers, as each has said; a worker's file is there, empty, before its first line."""
    lines = [path.read_bytes().splitlines() for path in state_dir.glob("workers/w*")]
    return [json.loads(line[-1])["pid"] for line in lines if line]


def starts(served: Served) -> int:
    """How many workers have started so far."""
    return served.said().count("nba.serving: serving ")


@contextmanager
def serving(state: Path) -> Iterator[httpx.Client]:
    """`nba serve` as a process of its own, and a client of it."""
    port = free_port()
    # A call has time here: a shared build machine may stall longer than a call should.
    environment = {**os.environ, "NBA_BUDGET_MS": "5000"}
    command = [str(NBA), "serve", "--config", "telco", "--port", str(port), "--state-dir", str(state)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                wait_until(lambda: _is_ready(client, process))
                yield client
        finally:
            process.terminate()


def _is_ready(client: httpx.Client, process: subprocess.Popen) -> bool:
    assert process.poll() is None, "the service ended"
    with suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False
