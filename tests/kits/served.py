"""`nba serve` as a process of its own, and what is asked of it there."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

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
    assert process.poll() is None, "the service ended"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def asked(served: Served, path: str = "/v1/recommend", **headers: str) -> int:
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
