"""The Python client: typed answers, a deadline for each call, and retries of what is harmless to repeat."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NotRequired, get_origin, get_type_hints

import httpx
import pytest

from serving.client import (
    Answer,
    AsyncClient,
    Client,
    DeadlineError,
    Line,
    Own,
    Reason,
    ServiceError,
    Suggestion,
    Withheld,
)

SENTENCE = {"salutation": "Mr.", "family_name": "Client", "plan": "l-40", "tenure_months": 20}


@contextmanager
def flaky(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers with these statuses in turn, the last one for ever (0: hangs up); and the paths asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = statuses[min(len(asked), len(statuses)) - 1]
            if status == 0:
                self.close_connection = True
                return
            body = b'{"detail": "so it is", "pointer": "/x"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def either(url: str, use: Callable[[Client | AsyncClient], object], blocking: bool, deadline_s: float = 5.0) -> object:
    """What `use` gives with the blocking client or with the async one."""
    if blocking:
        with Client(url, deadline_s=deadline_s) as client:
            return use(client)

    async def awaited() -> object:
        async with AsyncClient(url, deadline_s=deadline_s) as client:
            return await use(client)

    return asyncio.run(awaited())


def optional(typed: type) -> set[str]:
    """The fields that a typed dictionary may leave out."""
    hints = get_type_hints(typed, include_extras=True)
    return {name for name, hint in hints.items() if get_origin(hint) is NotRequired}


both = pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])


@both
def test_the_client_takes_a_call_from_profile_to_outcome(nba, make_event, blocking):
    """Every verb of the client, against the real service."""
    either(nba.url, lambda c: c.put_customer("k-1", SENTENCE), blocking)
    answer = either(
        nba.url, lambda c: c.recommend("k-1", interaction_id="k", context={"intent": "technical"}), blocking
    )
    best = answer["suggestions"][0]
    assert best["say"].startswith("Mr. Client, ")
    done = either(nba.url, lambda c: c.outcome(answer["decision_id"], best["offer_id"], "spoken"), blocking)
    assert done["outcome_id"]
    assert "outcome_id" in either(
        nba.url, lambda c: c.delayed_outcome("k-1", "survey", answer["at"], value=9.0), blocking
    )
    assert either(nba.url, lambda c: c.activity([make_event("k-1", "data_used", value=1)]), blocking)["accepted"] == 1
    assert either(nba.url, lambda c: c.decision(answer["decision_id"]), blocking)["customer_id"] == "k-1"
    assert either(nba.url, lambda c: c.customer("k-1"), blocking)["profile"]["family_name"] == "Client"
    assert either(nba.url, lambda c: c.erase_customer("k-1"), blocking)["removed"]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (Answer, "RecommendOut"),
        (Suggestion, "SuggestionOut"),
        (Reason, "Because"),
        (Own, "Own"),
        (Line, "ThreadOut"),
        (Withheld, "WithheldOut"),
    ],
)
def test_the_types_know_what_the_document_promises(nba, typed, name):
    """A type checker lets a caller read every field of an answer, and asks about those that may be missing."""
    promised = nba.http.get("/openapi.json").json()["components"]["schemas"][name]
    assert typed.__annotations__.keys() == promised["properties"].keys()
    assert set(promised["required"]) == typed.__annotations__.keys() - optional(typed)


@both
def test_what_is_idempotent_is_tried_again(blocking):
    """503 twice, then the answer: one call for the caller, three on the wire."""
    with flaky(503, 503, 200) as (url, asked):
        either(url, lambda c: c.activity([]), blocking)
    assert asked == ["/v1/activity"] * 3


@both
def test_a_question_is_not_asked_twice(blocking):
    """A decision that may have been made is not made again; the refusal comes through with its words."""
    with flaky(503, 200) as (url, asked), pytest.raises(ServiceError) as refused:
        either(url, lambda c: c.recommend("c-1"), blocking)
    assert (asked, refused.value.status, refused.value.detail) == (["/v1/recommend"], 503, "so it is")
    assert refused.value.pointer == "/x"


@both
def test_a_question_whose_answer_was_lost_is_not_asked_twice(blocking):
    """The connection broke after it was sent: it may have been decided. What is idempotent goes again."""
    with flaky(0, 200) as (url, asked):
        with pytest.raises(httpx.TransportError):
            either(url, lambda c: c.recommend("c-1"), blocking)
        assert len(asked) == 1
        asked.clear()
        either(url, lambda c: c.customer("c-1"), blocking)
        assert len(asked) == 2


@both
def test_a_refusal_is_not_tried_again(blocking):
    """422 will be 422 tomorrow."""
    with flaky(422) as (url, asked), pytest.raises(ServiceError):
        either(url, lambda c: c.customer("c-1"), blocking)
    assert len(asked) == 1


@both
def test_the_deadline_holds_over_all_tries(blocking):
    """A service that takes connections and never answers costs the deadline and no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            either(url, lambda c: c.customer("c-1"), blocking, deadline_s=0.3)
        with pytest.raises(DeadlineError):
            either(url, lambda c: c.recommend("c-1"), blocking, deadline_s=0.3)
        assert 0.5 < time.monotonic() - started < 5


@both
def test_nobody_there_is_said_by_the_deadline(blocking):
    """What was never sent may be tried again, a question too, until time is up."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(DeadlineError):
        either(url, lambda c: c.recommend("c-1"), blocking, deadline_s=0.3)
