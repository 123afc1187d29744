"""Mid-call: a fresh recommendation when the customer does something, whichever worker hears of it."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from queue import Queue
from urllib.parse import urlsplit

import pytest

from serving.stream import HEARTBEAT_S


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
    """Two workers on one state folder: the ring crosses between them, sooner than a heartbeat would notice."""
    one, two = start(), start()
    customer = one.customer()
    with listening(one, f"/v1/interactions/s-5/stream?customer_id={customer}") as events:
        complain(two, customer, make_event)
        assert events.get(timeout=HEARTBEAT_S / 2)[2]["customer_id"] == customer
