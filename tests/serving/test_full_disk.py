"""A disk without room: nothing that was acknowledged is lost, no worker ends, and what refuses says so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from kits.journals import NOW_MS, write_decision
from kits.ports import free_port
from kits.served import JSON, NBA, Served, answers, asked, metric, sent, starts, workers_of
from kits.waiting import wait_until
from nba.errors import JournalError
from serving.journal import Journal
from serving.roll import roll

ROLL_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from serving.roll import roll
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))  # no file may grow beyond it: the write fails as on a full disk
roll(Path(sys.argv[1]))
"""


# Each answers with several statuses, and so adds series until the counts need more room.
PATHS = [
    *("/readyz", "/docs", "/insights", "/desktop", "/desktop/widget.js", "/openapi.json", "/metrics", "/v1/tokens"),
    *("/v1/activity", "/v1/outcomes", "/v1/decisions/a", "/v1/customers/a", "/v1/recommend", "/v1/admin/reload"),
]
_ROOM = "mount -t tmpfs -o size=8m,nr_inodes=400,mode=1777 tmpfs /mnt && export TMPDIR=/mnt NBA_STATE_DIR=/mnt/state && exec "


def mounts_of_its_own() -> bool:
    """Whether a process here may have a disk that nobody else sees."""
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", _ROOM + "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


@pytest.fixture
def serve_on_a_disk_of_its_own(tmp_path: Path) -> Iterator[Callable[[], Served]]:
    """Starts `nba serve --workers 2` on a small disk that a test may fill, without a Redis."""
    if not mounts_of_its_own():
        pytest.skip("no mount namespaces here")
    with ExitStack() as stack:

        def start() -> Served:
            port, errors = free_port(), tmp_path / "stderr"
            serving = f"{NBA} serve --workers 2 --port {port} --redis-url redis://127.0.0.1:{free_port()}"
            command = ["unshare", "--mount", "--map-root-user", "sh", "-c", _ROOM + serving]
            process = stack.enter_context(subprocess.Popen(command, stderr=stack.enter_context(errors.open("w"))))
            stack.callback(process.kill)
            wait_until(lambda: answers(port, process), 180)
            return Served(port, process, errors)

        yield start


def disk_of(served: Served) -> Path:
    return Path("/proc", str(served.process.pid), "root", "mnt")


def fill(disk: Path) -> None:
    """Not another byte goes there, and not another file."""
    rest = disk / "rest"
    rest.mkdir()
    with suppress(OSError):
        for number in count():
            (rest / str(number)).touch()
    with suppress(OSError), (rest / "0").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 12)):
            pass


def test_a_full_disk_ends_no_worker(serve_on_a_disk_of_its_own):
    """Without room for state and temporary files the workers live on, refuse, count that, and answer once there is room."""
    served = serve_on_a_disk_of_its_own()
    assert asked(served) == 200
    fill(disk_of(served))
    for path in PATHS:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
            with closing(served.connection()) as connection:
                connection.request(method, path, b"{}", JSON)
                connection.getresponse().read()
    assert asked(served) == 503
    assert metric(served, "nba_journal_refusals_total ") != ["nba_journal_refusals_total 0.0"]
    shutil.rmtree(disk_of(served) / "rest")
    wait_until(lambda: asked(served) == 200)
    assert served.ended() == 0


def test_workers_that_start_on_a_full_disk_refuse_until_there_is_room(serve_on_a_disk_of_its_own):
    """Killed and replaced while nothing can be written: they are ready once something can, and say till then what is wrong."""
    served = serve_on_a_disk_of_its_own()
    disk = disk_of(served)
    wait_until(lambda: starts(served) == 2, 180)
    fill(disk)
    for pid in workers_of(disk / "state"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: starts(served) == 4 or served.process.poll() is not None, 180)
    assert served.process.poll() is None, served.said()
    assert (asked(served, "/healthz"), asked(served)) == (200, 503)
    assert "free space" in sent(served, "GET", "/readyz", status=503)
    shutil.rmtree(disk / "rest")
    wait_until(lambda: json.loads(sent(served, "GET", "/readyz", status=503))["dependencies"]["journal"] == "ok")
    assert asked(served) == 200
    reloaded = json.loads(sent(served, "POST", "/v1/admin/reload", {}))
    assert (reloaded["workers"], reloaded["not_yet"]) == (2, [])
    assert served.ended() == 0


def test_a_full_disk_is_told_by_readyz_and_counted(start, monkeypatch):
    """Whoever sends calls to this machine learns that it refuses them; outcomes that are refused count too."""
    service = start()
    journal = service.app.state.service.journal
    customer = service.customer()
    decision = service.recommend(customer)

    def full(line: bytes) -> int:
        raise JournalError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
        disk.setattr(journal.outcomes.segment, "append", full)
        assert service.outcome(decision, "spoken").status_code == 503
        ready = service.http.get("/readyz")
        assert (ready.status_code, "full" in ready.json()["dependencies"]["journal"]) == (503, True)
    assert "nba_journal_refusals_total 1.0" in service.http.get("/metrics").text
    assert service.http.get("/readyz").json()["dependencies"]["journal"] == "ok"
    assert service.outcome(decision, "spoken").json()["duplicate"] is False


def test_a_disk_that_takes_no_part_is_told_and_nothing_is_lost(tmp_path):
    """Not as an output that could not be written: the folder is named, and what waits is rolled once there is room."""
    journal = Journal(tmp_path, NOW_MS)
    write_decision(journal)
    journal.close()
    command = [sys.executable, "-c", ROLL_ON_A_FULL_DISK, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "JournalError" in said.stderr
    assert str(tmp_path / "records") in said.stderr
    assert "make room" in said.stderr
    assert not any(tmp_path.rglob(".part-*"))
    assert roll(tmp_path)["decisions"] == 1
