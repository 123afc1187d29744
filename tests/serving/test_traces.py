"""Traces reach a collector over HTTP: one for each request, with the stages of its decision, and nobody's data."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.exporter.otlp", reason="the extra `otel` is not installed")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import serving
from kits.waiting import wait_until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = ["decide", "journal", "read", "score"]


class Collector(ThreadingHTTPServer):
    """A local OTLP collector: keeps what is posted to /v1/traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.bodies: list[bytes] = []

    def spans(self) -> list:
        """Every span of every batch so far."""
        batches = (ExportTraceServiceRequest.FromString(body) for body in self.bodies)
        return [s for batch in batches for r in batch.resource_spans for scope in r.scope_spans for s in scope.spans]


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        assert self.headers["content-type"] == "application/x-protobuf"
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    server = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(span) -> dict:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def of_decisions(collector: Collector) -> list:
    return [span for span in collector.spans() if span.name == "POST /v1/recommend"]


def test_a_request_is_a_span_with_its_stages_below_it_and_the_caller_above(start, collector):
    """Names, parents and order in time; the decision by its id."""
    service = start()
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "r-1"}
    decision = service.http.post("/v1/recommend", json={"customer_id": "c-1"}, headers=headers).json()
    wait_until(lambda: of_decisions(collector))
    [request] = of_decisions(collector)
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CALLER)
    told = {"nba.decision_id": decision["decision_id"], "nba.request_id": "r-1", "http.response.status_code": 200}
    assert told.items() <= attributes(request).items()
    stages = [span for span in collector.spans() if span.parent_span_id == request.span_id]
    assert sorted(span.name for span in stages) == STAGES
    in_time = sorted(stages, key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in in_time] == ["read", "score", "decide", "journal"]
    assert all(request.start_time_unix_nano <= s.start_time_unix_nano <= s.end_time_unix_nano for s in stages)
    assert in_time[-1].end_time_unix_nano <= request.end_time_unix_nano


def test_every_request_is_told_once_and_each_alone(start, collector):
    """Twenty decisions at once: twenty traces of five spans, none mixed with another."""
    service = start()
    asks = [threading.Thread(target=service.recommend, args=(f"c-{number}",)) for number in range(20)]
    for ask in asks:
        ask.start()
    for ask in asks:
        ask.join()
    wait_until(lambda: len(of_decisions(collector)) == 20)
    traces = Counter(span.trace_id for span in collector.spans())
    assert sorted(traces.values()) == [5] * 20
    assert len({attributes(span)["nba.decision_id"] for span in of_decisions(collector)}) == 20


def test_a_caller_who_does_not_sample_gets_no_spans(start, collector):
    """The flag of `traceparent` is heard."""
    service = start()
    service.http.post("/v1/recommend", json={"customer_id": "c-1"}, headers={"traceparent": f"00-{TRACE}-{CALLER}-00"})
    service.recommend("c-2")
    wait_until(lambda: of_decisions(collector))
    assert TRACE not in {span.trace_id.hex() for span in collector.spans()}


def test_no_span_names_a_person(start, collector, make_event: Callable[..., dict]):
    """Ids, names and paths with ids stay out of every byte that is sent, refusals included."""
    service = start()
    name = "c-very-secret"
    service.http.put(f"/v1/customers/{name}", json={"family_name": "Secretsson", "plan": "l-40"})
    service.http.post("/v1/activity", json={"events": [make_event(name, "complaint", text="a secret word")]})
    service.recommend(name, interaction_id="very-secret-call")
    service.http.get(f"/v1/customers/{name}")
    service.http.get(f"/v1/unknown/{name}")
    service.http.post("/v1/recommend", json={"customer_id": name, "context": {"secret": 1}})
    service.http.delete(f"/v1/customers/{name}")
    wait_until(lambda: len([s for s in collector.spans() if s.kind == s.SPAN_KIND_SERVER]) == 7)
    names = {span.name for span in collector.spans()} - set(STAGES)
    assert names == {
        "PUT /v1/customers/{customer_id:path}", "GET /v1/customers/{customer_id:path}", "POST /v1/activity",
        "POST /v1/recommend", "GET", "DELETE /v1/customers/{customer_id:path}",
    }  # fmt: skip
    assert b"ecret" not in b"".join(collector.bodies)


def test_what_waits_is_sent_when_the_service_stops(tmp_path: Path, collector, monkeypatch, config_folder):
    """A long delay between batches loses nothing at the end."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    code = """
import sys, httpx
from kits.live import in_a_thread
from nba.settings import Settings
from serving.app import create_app
with in_a_thread(create_app(Settings(config=sys.argv[1], state_dir=sys.argv[2], budget_ms=1000))) as url:
    httpx.post(f"{url}/v1/recommend", json={"customer_id": "c-1"}, timeout=30).raise_for_status()
"""
    command = [sys.executable, "-c", code, str(config_folder), str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1], timeout=120)
    assert len(of_decisions(collector)) == 1


def test_the_framework_adds_no_spans_of_its_own(start, collector, monkeypatch):
    """Asked to configure itself by the environment it would send paths, and so ids: it stays silent."""
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    service = start()
    service.http.get("/v1/customers/c-very-secret")
    service.recommend("c-1")
    wait_until(lambda: of_decisions(collector))
    assert b"ecret" not in b"".join(collector.bodies)


def test_without_an_endpoint_nothing_of_it_is_there():
    """Neither tracer, exporter nor a layer: the request's way is the one it was. (redis imports the SDK's metrics.)"""
    code = (
        "import sys; from nba.settings import Settings; from serving.app import create_app;"
        "app = create_app(Settings());"
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'serving.spans'))],"
        "[m.cls.__name__ for m in app.user_middleware])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(serving.__file__).parents[1]
    )
    assert done.stdout.strip() == "[] ['Gate', 'Doors']"


def test_without_the_extra_the_service_answers_and_says_what_it_lacks(start, collector, monkeypatch, caplog):
    """Traces are no reason not to answer."""
    monkeypatch.setitem(sys.modules, "serving.spans", None)
    service = start()
    assert service.recommend("c-1")["customer_id"] == "c-1"
    assert "pip install '.[otel]'" in caplog.text
    assert collector.bodies == []
