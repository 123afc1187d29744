"""Input at the edges of the contract, over real HTTP: foreign bytes, blanks, null, numbers beyond 64 bits, other types."""

from __future__ import annotations

import gzip

import orjson
import pytest

from kits.answers import problem
from nba.clock import format_at, system_now_ms


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/customers/%ff"),
        ("GET", "/v1/customers/c%C3"),
        ("DELETE", "/v1/customers/%ED%A0%80"),
        ("GET", "/v1/decisions/%ff"),
        ("GET", "/v1/interactions/i-1/stream?customer_id=%ff"),
        ("GET", "/v1/desk/c-1?interaction_id=%ff"),
    ],
)
def test_bytes_that_are_no_utf8_are_refused_and_not_replaced(nba, method, path):
    """Two foreign ids never become one customer with a replacement character for a name."""
    body = {"json": {}} if method == "PUT" else {}
    assert "UTF-8" in problem(nba.http.request(method, path, **body), 400)["detail"]


def test_an_id_beyond_ascii_is_the_same_customer_in_path_and_body(nba):
    """Percent-encoded UTF-8 is what it encodes."""
    assert nba.http.put("/v1/customers/J%C3%BCrgen%20%F0%9F%93%9E", json={"plan": "s-5"}).status_code == 200
    assert nba.recommend("Jürgen 📞")["freshness"]["profile_s"] is not None
    assert nba.http.get("/v1/customers/J%C3%BCrgen 📞").json()["customer_id"] == "Jürgen 📞"


@pytest.mark.parametrize("blank", [" ", "   ", "\u00a0", "\u2003 "])
def test_an_id_of_only_blanks_is_refused_everywhere(nba, make_event, blank):
    """In a path, in a question, in an event: nobody is called that."""
    assert problem(nba.http.put(f"/v1/customers/{blank}", json={}), 422)["pointer"] == "#/customer_id"
    for field in ("customer_id", "interaction_id", "channel"):
        answer = nba.http.post("/v1/recommend", json={"customer_id": "c-1", field: blank})
        assert problem(answer, 422)["pointer"] == f"#/{field}"
    for field in ("customer_id", "event_id", "interaction_id"):
        sent = make_event("c-1", "app_opened", interaction_id="i-1") | {field: blank}
        [refused] = nba.http.post("/v1/activity", json={"events": [sent]}).json()["rejected"]
        assert refused["pointer"] == f"#/events/0/{field}"
        assert "blanks" in refused["error"]


@pytest.mark.parametrize("value", [2**63, 2**64, 10**30, -(2**63) - 1, -(2**64)])
def test_a_value_beyond_64_bits_is_told_so(nba, make_event, value):
    """With its place, and not as some float."""
    sent = make_event("c-big", "data_used", value=value)
    [refused] = nba.http.post("/v1/activity", json={"events": [sent]}).json()["rejected"]
    assert refused["pointer"] == "#/events/0/value"
    assert "64 bits" in refused["error"]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_the_ends_of_64_bits_are_taken(nba, make_event, value):
    """The bounds themselves fit."""
    sent = {"events": [make_event("c-ends", "data_used", value=value)]}
    assert nba.http.post("/v1/activity", json=sent).json()["accepted"] == 1


def test_null_is_left_out(nba):
    """A client that writes every field gets the defaults for those it has nothing to say of."""
    customer = nba.customer()
    nulls = dict.fromkeys(nba.http.get("/openapi.json").json()["components"]["schemas"]["RecommendIn"]["properties"])
    given, left_out = nba.recommend(**nulls | {"customer_id": customer}), nba.recommend(customer)
    assert given["suggestions"] == left_out["suggestions"]
    assert "withheld" not in given
    asked = nba.http.get(f"/v1/decisions/{given['decision_id']}").json()["request"]
    assert (asked["context"], asked["limit"], asked["channel"]) == ({}, 3, "call")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/recommend"),
        ("POST", "/v1/activity"),
        ("POST", "/v1/outcomes"),
        ("PUT", "/v1/customers/{customer_id}"),
        ("POST", "/v1/admin/reload"),
        ("POST", "/v1/tokens"),
    ],
)
def test_a_body_of_another_type_is_a_415(nba, method, path, kind):
    """JSON is the one thing that is taken; the document says so."""
    answer = nba.http.request(method, path.format(customer_id="c-1"), content=b"{}", headers={"content-type": kind})
    assert "application/json" in problem(answer, 415)["detail"]
    documented = nba.http.get("/openapi.json").json()["paths"][path][method.lower()]["responses"]
    assert "415" in documented


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "gzip, identity"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/recommend"), ("POST", "/v1/activity"), ("POST", "/v1/outcomes"), ("PUT", "/v1/customers/c-1")],
)
def test_a_compressed_body_is_told_that_it_has_to_come_as_it_is(nba, method, path, coding):
    """415 with the one coding that is taken, and not that it were no JSON: its sender knows that it is."""
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = nba.http.request(method, path, content=gzip.compress(b"{}"), headers=headers)
    assert "Content-Encoding" in problem(answer, 415)["detail"]
    assert answer.headers["accept-encoding"] == "identity"
    plain = {"headers": headers | {"content-encoding": "identity"}, "content": b"{}"}
    assert nba.http.request(method, path, **plain).status_code in (200, 422)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json", "Application/JSON"])
def test_json_by_any_of_its_names_is_taken(nba, make_event, kind):
    """Parameters, suffixes and capitals do not matter."""
    at = format_at(system_now_ms())
    for path, body in (
        ("/v1/recommend", b'{"customer_id": "c-1"}'),
        ("/v1/outcomes", b'{"customer_id": "c-1", "outcome": "stayed", "at": "%s"}' % at.encode()),
    ):
        answer = nba.http.post(path, content=body, headers={"content-type": kind})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_may_ask_with_head(nba, path):
    """The status without the body."""
    answer = nba.http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["x-request-id"]


def nested(depth: int) -> bytes:
    """A list in a list in a list …"""
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("depth", [5, 960, 1_000, 1_020, 100_000])
def test_json_that_is_nested_deeply_is_a_wrong_value_and_no_error_of_ours(nba, make_event, depth):
    """In a question, a profile, an event and around one: refused with its place, and the other events are kept."""
    deep, json = nested(depth), {"content-type": "application/json"}
    for method, path, body, pointer in (
        ("POST", "/v1/recommend", b'{"customer_id": "c-1", "context": {"intent": %b}}' % deep, "#/context/intent"),
        ("PUT", "/v1/customers/c-1", b'{"plan": %b}' % deep, "#/plan"),
        ("POST", "/v1/outcomes", b'{"customer_id": "c-1", "outcome": "stayed", "at": %b}' % deep, "#/at"),
    ):
        answer = nba.http.request(method, path, content=body, headers=json)
        if depth > 1_024:  # more than JSON is read with
            problem(answer, 400)
        else:
            assert problem(answer, 422)["pointer"] == pointer
    good, bad = orjson.dumps(make_event("c-1", "app_opened")), orjson.dumps(make_event("c-1", "app_opened", value=0))
    for wrong, pointer in ((deep, "#/events/0"), (bad.replace(b'"value":0', b'"value":' + deep), "#/events/0/value")):
        answer = nba.http.post("/v1/activity", content=b'{"events": [%b, %b]}' % (wrong, good), headers=json)
        if depth <= 1_000:
            assert answer.status_code == 202, answer.text
            assert (answer.json()["accepted"], answer.json()["rejected"][0]["pointer"]) == (1, pointer)
        else:
            assert answer.status_code in (202, 400), answer.text


def test_the_pointer_to_a_field_of_an_event_is_one(nba, make_event):
    """Escaped as every other pointer: RFC 6901 in a URI."""
    sent = make_event("c-1", "app_opened") | {"a/b~ %": 1}
    [refused] = nba.http.post("/v1/activity", json={"events": [sent]}).json()["rejected"]
    assert refused["pointer"] == "#/events/0/a~1b~0%20%25"


MANY = {f"f{number}": 0 for number in range(50_000)}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("recommend", {"customer_id": "c-1", **MANY}),
        ("recommend", {"customer_id": "c-1", "agent": MANY}),
        ("activity", {"events": [], **MANY}),
        ("outcomes", {"outcome": "accepted", **MANY}),
        ("outcomes", {"outcome": "churned", **MANY}),
        ("tokens", {"customer_id": "c-1", "interaction_id": "i-1", **MANY}),
        ("tokens", {"customer_id": "c-1", "interaction_id": "i-1", "scopes": list(range(100_000))}),
    ],
)
def test_a_body_that_is_all_wrong_is_refused_with_one_word(nba, path, body):
    """A complaint for each of so many fields is seconds of work, in which nobody else would be answered."""
    assert len(problem(nba.http.post(f"/v1/{path}", json=body), 422)["errors"]) == 1
