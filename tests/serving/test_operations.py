"""The service as an operator runs it: a process of its own, its lines, its end under load, its certificate."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest

from kits.ports import free_port, has_ipv6
from kits.served import ASK, JSON, NBA, Served, answers, asked, metric, sent, starts, workers_of
from kits.waiting import wait_until
from nba.load import find_config
from serving.service import _stop_all


@pytest.mark.parametrize("workers", [1, 2])
def test_json_lines_carry_the_request_and_nobodys_data(serve, workers):
    """Every line is one object; what is logged inside a request has its id; ids of customers are in none."""
    served = serve("--workers", workers, NBA_LOG="json", NBA_REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    assert asked(served, x_request_id="r-1") == 200
    assert asked(served, "/v1/customers/c-very-secret", x_request_id="r-2") == 503
    assert served.ended() == 0
    lines = [json.loads(line) for line in served.said().splitlines() if not line.startswith("serving telco")]
    assert all({"time", "level", "logger", "message", "request_id"} <= line.keys() for line in lines)
    told = {line["request_id"]: line for line in lines if line["request_id"]}
    assert (told["r-1"]["level"], told["r-1"]["error"]) == ("WARNING", "StoreError")
    assert (told["r-2"]["level"], told["r-2"]["status"]) == ("ERROR", 503)
    assert [line["model"] for line in lines if line["message"] == "serving"] == [None] * workers
    assert "ecret" not in served.said()


def test_lines_for_people_are_the_default(serve):
    """Time, level, logger, words, and what else is known."""
    served = serve(NBA_REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    asked(served, x_request_id="r-1")
    assert served.ended() == 0
    [line] = [line for line in served.said().splitlines() if "the store did not answer" in line]
    assert line.endswith("WARNING nba.serving: the store did not answer error=StoreError request_id=r-1")
    assert "ecret" not in served.said()


def load(served: Served, counts: Counter, stop: threading.Event) -> None:
    """Ask without pause on a kept connection; count answers, refusals and what was lost after it was taken."""
    while not stop.is_set():
        connection, before = served.connection(), 0
        try:
            connection.connect()
            while not stop.is_set():
                connection.request("POST", "/v1/recommend", ASK, JSON)
                answer = connection.getresponse()
                json.loads(answer.read())
                counts[answer.status] += 1
                before += 1
                if answer.will_close:
                    break
        except (OSError, http.client.HTTPException):
            # A connection that never got an answer was refused; one that did, and then was cut, lost a request.
            counts["lost" if before else "refused"] += 1
            if not before:
                return
        finally:
            connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_under_load_loses_no_answer(serve, workers):
    """SIGTERM while eight clients ask: everything taken is answered, nothing new is taken, status 0."""
    served = serve("--workers", workers)
    counts, stop = Counter(), threading.Event()
    clients = [threading.Thread(target=load, args=(served, counts, stop)) for _ in range(8)]
    for client in clients:
        client.start()
    wait_until(lambda: counts[200] > 100)
    status = served.ended()
    stop.set()
    for client in clients:
        client.join()
    assert status == 0
    assert counts == {200: counts[200], "refused": 8}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_half_sent_and_what_streams_is_brought_to_its_end(serve, workers):
    """A body that arrives after the signal is answered, a stream ends whole, a new connection is refused meanwhile."""
    served = serve("--workers", workers)
    streaming, half = served.connection(), socket.create_connection(("127.0.0.1", served.port), timeout=30)
    streaming.request("GET", "/v1/interactions/i-1/stream?customer_id=c-1")
    events = streaming.getresponse()
    assert events.readline() == b": listening\n"
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    half.sendall(head % len(ASK) + ASK[:10])
    served.process.send_signal(signal.SIGTERM)
    assert events.read() == b"\n"
    wait_until(lambda: not answers(served.port, served.process))
    half.sendall(ASK[10:])
    answer = http.client.HTTPResponse(half)
    answer.begin()
    assert (answer.status, answer.getheader("connection")) == (200, "close")
    assert json.loads(answer.read())["customer_id"] == "c-very-secret"
    assert served.process.wait(timeout=180) == 0
    half.close()
    streaming.close()


def test_the_metrics_of_several_workers_are_those_of_the_living(serve, tmp_path):
    """Killed workers have no streams; after a reload one version is told; the killed are started again."""
    config = Path(shutil.copytree(find_config("telco"), tmp_path / "config"))
    served = serve("--workers", 2, NBA_CONFIG=str(config))
    wait_until(lambda: len(workers_of(tmp_path / "state")) == 2)
    with ExitStack() as stack:
        for number in range(6):
            streaming = stack.enter_context(closing(served.connection()))
            streaming.request("GET", f"/v1/interactions/i-{number}/stream?customer_id=c-1")
            assert streaming.getresponse().readline() == b": listening\n"
        assert metric(served, "nba_streams") == ["nba_streams 6.0"]
        for pid in workers_of(tmp_path / "state"):
            os.kill(pid, signal.SIGKILL)

        def started_again() -> bool:
            assert served.process.poll() is None, "the service ended"
            with suppress(OSError, http.client.HTTPException):  # nobody listens yet, or who did was killed
                return metric(served, "nba_streams")[:1] == ["nba_streams 0.0"]
            return False

        wait_until(started_again, 180)
    with (config / "policy.yaml").open("a") as policy:
        policy.write("# another\n")
    connection = served.connection()
    connection.request("POST", "/v1/admin/reload", b"{}", JSON)
    policy_version = json.loads(connection.getresponse().read())["policy"]
    assert metric(served, "nba_serving_version") == [
        f'nba_serving_version{{model="none",policy="{policy_version}"}} 1.0'
    ]
    connection.close()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc that tells what a process has loaded")
def test_old_decisions_do_not_load_pandas_into_the_service(serve):
    """Neither a rolled decision, a call that goes on with one, the supervisor's page nor an erasure: it would halt calls."""
    ask = {"customer_id": "c-1", "interaction_id": "i-1"}
    first = serve()
    decision_id = json.loads(sent(first, "POST", "/v1/recommend", ask))["decision_id"]
    assert first.ended() == 0
    served = serve()
    assert decision_id in sent(served, "GET", f"/v1/decisions/{decision_id}")
    with closing(served.connection()) as streaming:
        streaming.request("GET", "/v1/interactions/i-1/stream")
        assert streaming.getresponse().status == 200
    assert "decisions" in sent(served, "GET", "/v1/insights")
    assert any(json.loads(sent(served, "DELETE", "/v1/customers/c-1"))["removed"].values())
    loaded = Path(f"/proc/{served.process.pid}/maps").read_text(encoding="utf-8")
    assert "pyarrow" in loaded
    assert "pandas" not in loaded


def test_connections_that_come_together_go_to_all_workers(serve, tmp_path):
    """Of 64 that one client opens and keeps, each of two workers has ten at least, whoever of them was awake."""
    served = serve("--workers", 2)
    wait_until(lambda: listeners(served.port) == 2)
    before = {pid: sockets_of(pid) for pid in workers_of(tmp_path / "state")}
    with ExitStack() as stack:
        kept = [stack.enter_context(closing(served.connection())) for _ in range(64)]
        for connection in kept:
            connection.connect()
        for connection in kept:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        assert len(before) == 2
        assert all(sockets_of(pid) - count >= 10 for pid, count in before.items())


def listeners(port: int) -> int:
    """How many sockets of this machine listen there, by IPv4."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    return sum(place.endswith(f":{port:04X}") and state == "0A" for _, place, _, state, *_ in lines)


def sockets_of(pid: int) -> int:
    """How many sockets a process has."""
    found = 0
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += str(handle.readlink()).startswith("socket:")
    return found


def test_workers_end_with_their_parent(serve):
    """Who kills the service with SIGKILL leaves nobody behind that still holds its port."""
    served = serve("--workers", 2)
    served.process.kill()
    served.process.wait(timeout=180)

    def free() -> bool:
        with suppress(OSError), socket.create_server(("127.0.0.1", served.port), reuse_port=False):
            return True
        return False

    wait_until(free, 180)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=nba", "-days", "2"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *kind, *made], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_tls_is_switched_on_by_options(serve, certificate):
    """Who trusts the certificate is answered over TLS; who speaks plainly, or trusts others, is not."""
    chain, key = certificate
    served = serve("--ssl-certfile", chain, "--ssl-keyfile", key)
    wait_until(lambda: "on https://" in served.said(), 30)  # it says so once the port is open
    address = f"https://127.0.0.1:{served.port}/v1/recommend"
    with httpx.Client(verify=ssl.create_default_context(cafile=str(chain)), timeout=30) as trusting:
        assert trusting.post(address, content=ASK, headers=JSON).json()["customer_id"] == "c-very-secret"
    with pytest.raises(httpx.ConnectError):
        httpx.post(address, content=ASK, headers=JSON)
    with pytest.raises((OSError, http.client.HTTPException)):
        asked(served)


@pytest.mark.parametrize(("given", "words"), [("--ssl-keyfile", "--ssl-certfile"), ("--ssl-certfile", "PEM")])
def test_half_a_certificate_is_refused_before_anything_listens(tmp_path, certificate, given, words):
    """Bad input, said in words."""
    command = [str(NBA), "serve", "--state-dir", str(tmp_path), given, str(certificate[0])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_program_learns_where_the_service_listens(workers: int, tmp_path: Path) -> None:
    """`nba serve --json` says in one JSON document on stdout where it can be asked, also where the port was any free one."""
    command = [str(NBA), "serve", "--port", "0", "--workers", str(workers), "--json"]
    settings = {**os.environ, "NBA_STATE_DIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as served:
        try:
            told = json.loads("".join(iter(served.stdout.readline, "}\n")) + "}")
            wait_until(lambda: answers(httpx.URL(told["url"]).port, served), 180)
            assert httpx.get(f"{told['url']}/healthz", timeout=180).status_code == 200 and told["workers"] == workers
        finally:
            served.send_signal(signal.SIGTERM)
        assert served.stdout.read() == ""


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_where_it_listens_is_a_url_on_ipv6_too(tmp_path: Path) -> None:
    """The address stands in brackets, so that a program may ask there."""
    command = [NBA, "serve", "--host", "::1", "--port", "0", "--json", "--state-dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:
        try:
            told = json.loads("".join(iter(served.stdout.readline, "}\n")) + "}")
            assert httpx.get(f"{told['url']}/healthz", timeout=180).status_code == 200
        finally:
            served.send_signal(signal.SIGTERM)


def test_a_folder_with_names_of_ours_changes_nothing(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started where a `nba.py` lies, the service still makes Parquet of its log."""
    (tmp_path / "nba.py").write_text("raise SystemExit('not the engine')\n")
    monkeypatch.chdir(tmp_path)
    served = serve()
    with closing(served.connection()) as connection:
        connection.request("POST", "/v1/recommend", ASK, JSON)
        assert connection.getresponse().status == 200
    assert served.ended() == 0
    assert list(tmp_path.glob("state/records/day=*/*.parquet")), served.said()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_cannot_start_ends_with_a_failure(tmp_path, workers):
    """Whoever starts it again after a failure (systemd) is told that it is one, however many workers there were to be."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "workers").write_text("a file where a folder has to be")
    command = [NBA, "serve", "--workers", str(workers), "--port", str(free_port()), "--state-dir", tmp_path / "state"]
    away = ["--redis-url", f"redis://127.0.0.1:{free_port()}"]
    done = subprocess.run([*command, *away], check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode != 0
    assert "did not start" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_ends_the_start(tmp_path, workers):
    """At once and with the way out, though everything else was opened before."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [NBA, "serve", "--workers", str(workers), "--port", port, "--state-dir", tmp_path]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode == 2
    assert "another --port" in done.stderr and "Traceback" not in done.stderr


def test_a_task_that_does_not_hear_a_cancellation_is_told_again():
    """As where the client of Redis takes it for a time-out of its own: the end of the service waits for it."""

    async def hard_of_hearing() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def stopped() -> bool:
        task = asyncio.create_task(hard_of_hearing())
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await _stop_all({task})
        return task.cancelled()

    assert asyncio.run(stopped())


def test_a_worker_that_cannot_start_again_ends_no_other(serve, tmp_path):
    """Replaced while its config is broken: the other one goes on answering, and with the config mended there are two again."""
    config = Path(shutil.copytree(find_config("telco"), tmp_path / "config"))
    served = serve("--workers", 2, NBA_CONFIG=str(config), NBA_REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    wait_until(lambda: starts(served) == 2, 180)
    policy = (config / "policy.yaml").read_text(encoding="utf-8")
    (config / "policy.yaml").write_text("broken: [")
    os.kill(workers_of(tmp_path / "state")[0], signal.SIGKILL)
    wait_until(lambda: "it is tried again" in served.said() or served.process.poll() is not None, 180)
    assert served.process.poll() is None, served.said()
    assert asked(served) == 200
    (config / "policy.yaml").write_text(policy, encoding="utf-8")
    wait_until(lambda: starts(served) == 3, 180)
    assert served.ended() == 0
