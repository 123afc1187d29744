"""Mid-call: a fresh recommendation when the customer does something, whichever worker hears of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import serving
from features.embedded import EmbeddedRedis
from kits.served import NBA
from kits.waiting import wait_until
from nba.clock import system_now_ms
from serving.questions import Questions
from serving.roll import roll
from serving.segment import SUFFIX
from serving.stream import HEARTBEAT_S

SERVE = """
import socket, sys, uvicorn
from nba.settings import Settings
from serving.app import create_app
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(create_app(Settings()), log_level="error")).run(sockets=[listener])
"""


@contextmanager
def listening(service, path: str, **headers: str):
    """The events of a stream as a queue of (name, id, data); entered when the stream listens."""
    events: Queue = Queue()
    address = urlsplit(service.url)
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    assert (answer.status, answer.readline()) == (200, b": listening\n")

    def read() -> None:
        fields: dict = {}
        while line := answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                events.put((fields["event"], fields.get("id"), json.loads(fields["data"])))
                fields = {}

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield events
    finally:
        connection.sock.shutdown(socket.SHUT_RDWR)
        thread.join()
        answer.close()
        connection.close()


def complain(service, customer: str, make_event) -> None:
    sent = {"events": [make_event(customer, "complaint", subject="the bill")]}
    assert service.http.post("/v1/activity", json=sent).json()["accepted"] == 1


def test_activity_brings_a_fresh_recommendation_of_the_last_question(nba, make_event):
    """The stream repeats what was asked last in this interaction, with the news taken in."""
    customer = nba.customer()
    nba.recommend(customer, interaction_id="s-1", limit=2, locale="de")
    with listening(nba, "/v1/interactions/s-1/stream") as events:
        complain(nba, customer, make_event)
        name, identifier, answer = events.get(timeout=20)
    assert (name, identifier) == ("recommendation", answer["decision_id"])
    assert answer["customer_id"] == customer
    assert answer["thread"][-1]["activity"] == "complaint"
    assert answer["thread"][-1]["text"] == "hat sich über the bill beschwert"
    assert nba.http.get(f"/v1/decisions/{identifier}").json()["request"]["locale"] == "de"


def test_activity_of_others_does_not_wake_a_stream(nba, make_event):
    """The first event of a stream is about its own customer."""
    mine, other = nba.customer(), nba.customer()
    with listening(nba, f"/v1/interactions/s-2/stream?customer_id={mine}") as events:
        complain(nba, other, make_event)
        complain(nba, mine, make_event)
        assert events.get(timeout=20)[2]["customer_id"] == mine
        assert events.empty()


def test_a_client_that_comes_back_is_told_at_once(nba):
    """With Last-Event-ID the first recommendation does not wait for news."""
    customer = nba.customer()
    with listening(nba, f"/v1/interactions/s-3/stream?customer_id={customer}", last_event_id="x") as events:
        assert events.get(timeout=20)[2]["customer_id"] == customer


def test_what_came_between_the_answer_and_the_stream_is_told_at_once(nba, make_event):
    """A desktop asks, then listens: what the customer does in between waits for no heartbeat; nothing new, nothing told."""
    customer = nba.customer()
    nba.recommend(customer, interaction_id="s-4")
    complain(nba, customer, make_event)
    with listening(nba, "/v1/interactions/s-4/stream") as events:
        assert events.get(timeout=HEARTBEAT_S / 2)[2]["thread"][-1]["activity"] == "complaint"
    with listening(nba, "/v1/interactions/s-4/stream") as events:
        complain(nba, customer, make_event)
        assert len(events.get(timeout=20)[2]["thread"]) >= 2
        assert events.empty()


def test_a_call_goes_on_when_its_question_has_been_rolled(start, make_event, tmp_path):
    """After minutes, or a restart, the stream still asks what was asked: for whom, and how much they want to pay at most."""
    service = start()
    customer = service.customer()
    assert service.recommend(customer, interaction_id="long")["suggestions"]
    kept = service.recommend(customer, interaction_id="long", max_cost_month=1)
    journal = service.app.state.service.journal
    journal.rotate(system_now_ms())
    assert roll(tmp_path)["decisions"] == 1
    for query in ("", f"?customer_id={customer}"):
        with listening(service, f"/v1/interactions/long/stream{query}", Last_Event_ID="x") as events:
            _, _, answer = events.get(timeout=20)
            assert (answer["customer_id"], answer["suggestions"]) == (customer, kept["suggestions"]) == (customer, [])


def test_an_interaction_nobody_asked_in_needs_a_customer(nba):
    """Without a question before and without a customer there is nothing to recommend."""
    assert nba.http.get("/v1/interactions/s-unknown/stream").status_code == 404


@pytest.mark.parametrize(
    "query", ["customer_id=a%7Bb%7D", "customer_id=c&context=%7B", "customer_id=c&context=%7B%22intent%22:5%7D"]
)
def test_a_wrong_question_is_refused(nba, query):
    """Query parameters are held to the same rules as a body."""
    assert nba.http.get(f"/v1/interactions/s-4/stream?{query}").status_code == 422


def test_a_stream_of_one_worker_hears_of_activity_at_another(start, make_event):
    """Two workers on one state folder: Redis tells the other one, sooner than a heartbeat would notice."""
    one, two = start(), start()
    customer = one.customer()
    with listening(one, f"/v1/interactions/s-5/stream?customer_id={customer}") as events:
        complain(two, customer, make_event)
        assert events.get(timeout=HEARTBEAT_S / 2)[2]["customer_id"] == customer


def asked(interaction: str | None, now_ms: int, **more: object) -> bytes:
    """A line of the decision log, as far as a question needs it."""
    request, customer = {"interaction_id": interaction, "now_ms": now_ms}, {"activity_at_ms": None}
    return orjson.dumps({"request": request, "customer": customer, **more}) + b"\n"


NAMES = st.sampled_from(["i-1", "i-2", 'a "quoted" \\ one', "übung", None])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), NAMES, st.integers(0, 400_000)), max_size=12))
def test_the_last_question_is_found_wherever_and_whenever_it_was_asked(asks):
    """Two workers' segments that grow between the looks, lines longer than a block, half a line at the end: the newest counts."""
    with tempfile.TemporaryDirectory() as folder:
        questions, newest = Questions(Path(folder)), {}
        files = [Path(folder) / f"d{number:011x}aaaaaaaaaa{SUFFIX}" for number in (1, 2)]
        for now_ms, (second, interaction, size) in enumerate(asks):
            line = asked(interaction, now_ms, told={"interaction_id": "i-1"}, text="x" * size)
            with files[second].open("ab", buffering=0) as file:
                file.write(line[: size % len(line)])
                questions.last("i-1")
                file.write(line[size % len(line) :])
            newest[interaction] = now_ms
            for name in ("i-1", "i-2", 'a "quoted" \\ one', "übung"):
                found = questions.last(name)
                assert (found and found["now_ms"]) == newest.get(name)


ROOT = Path(serving.__file__).parents[1]


@contextmanager
def another_service(config: Path, state: Path, redis_url: str) -> Iterator[SimpleNamespace]:
    """A service in a process of its own, with a state folder of its own: another machine, but for the Redis."""
    given = {
        "NBA_CONFIG": str(config),
        "NBA_STATE_DIR": str(state),
        "NBA_REDIS_URL": redis_url,
        "NBA_BUDGET_MS": "1000",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], env={**os.environ, **given}, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        with process.stdout as said, httpx.Client(base_url=f"http://127.0.0.1:{said.readline().strip()}") as http:
            yield SimpleNamespace(http=http)
    finally:
        process.terminate()
        process.wait()


def test_what_other_machines_and_files_bring_is_heard_in_its_order(start, make_event, config_folder, tmp_path):
    """A second service on the same Redis, then `nba ingest`: each brings an answer that has taken in what came before."""
    redis = EmbeddedRedis(tmp_path / "shared")
    url = redis.start()
    try:
        service = start(redis_url=url)
        customer = service.customer()
        with (
            another_service(config_folder, tmp_path / "other", url) as other,
            listening(service, f"/v1/interactions/s-6/stream?customer_id={customer}") as events,
        ):
            complain(other, customer, make_event)
            first = events.get(timeout=HEARTBEAT_S / 2)
            file = tmp_path / "more.jsonl"
            file.write_text(json.dumps(make_event(customer, "page_viewed", subject="cancel", text="cancel")) + "\n")
            given = ["--config", str(config_folder), "--redis-url", url, "--state-dir", str(tmp_path / "third")]
            subprocess.run([NBA, "ingest", str(file), *given], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            second = events.get(timeout=HEARTBEAT_S / 2)
        told = [[entry["activity"] for entry in answer["thread"][-2:]] for _, _, answer in (first, second)]
        assert (told[0][-1], told[1]) == ("complaint", ["complaint", "page_viewed"])
        assert first[1] < second[1]
        assert events.empty()
    finally:
        redis.stop()


def test_an_embedded_redis_that_dies_is_started_again_and_streams_hear_on(start, make_event):
    """Killed under a running service: answers lack nothing soon after, with the data there, and news are heard again."""
    service = start()
    customer = service.customer()
    assert service.recommend(customer)["degraded"] == ["model"]
    with listening(service, f"/v1/interactions/s-7/stream?customer_id={customer}") as events:
        keeper = int((service.state_dir / "redis" / "keeper.pid").read_text())
        redis = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])
        os.kill(redis, 9)
        wait_until(lambda: not Path(f"/proc/{redis}").exists())
        wait_until(lambda: service.recommend(customer)["degraded"] == ["model"])
        news = service.app.state.service.listeners.news
        wait_until(lambda: news.live)
        complain(service, customer, make_event)
        assert events.get(timeout=HEARTBEAT_S * 2)[2]["thread"][-1]["activity"] == "complaint"
