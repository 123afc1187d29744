"""The calls of the contract, over real HTTP."""

from __future__ import annotations

import pytest

from kits.answers import problem


def test_every_offer_of_the_catalog_is_accounted_for_once(nba):
    """An offer is suggested or withheld with its stage, never both and never neither."""
    answer = nba.recommend(nba.customer(), explain=True, limit=2)
    offers = [s["offer_id"] for s in answer["suggestions"]] + [w["offer_id"] for w in answer["withheld"]]
    assert len(offers) == len(set(offers)) == answer["funnel"]["catalog"]
    assert answer["source"] == "fallback"
    assert answer["degraded"] == ["model"]


def test_an_unknown_customer_is_answered_not_refused(nba):
    """Nothing is known, and yet there is an answer."""
    answer = nba.recommend("never-seen")
    assert answer["customer_id"] == "never-seen"
    assert answer["freshness"] == {"activity_s": None, "profile_s": None}


def test_each_answer_has_an_id_of_its_own_and_the_journal_has_it(nba):
    """The same question twice is two decisions; each record holds the answer as it was sent."""
    customer = nba.customer()
    first, second = (nba.recommend(customer, interaction_id="i-1") for _ in range(2))
    assert first["decision_id"] != second["decision_id"]
    for answer in (first, second):
        record = nba.http.get(f"/v1/decisions/{answer['decision_id']}").json()
        assert record["answer"] == answer
        assert record["x"]["data_mb_m1"] >= 0
        assert record["request"]["interaction_id"] == "i-1"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/customer_id"),
        ({"customer_id": ""}, "#/customer_id"),
        ({"customer_id": "a{b}"}, "#/customer_id"),
        ({"customer_id": "ä" * 200}, "#/customer_id"),
        ({"customer_id": 5}, "#/customer_id"),
        ({"customer_id": "c", "surprise": 1}, "#/surprise"),
        ({"customer_id": "c", "limit": 0}, "#/limit"),
        ({"customer_id": "c", "limit": 21}, "#/limit"),
        ({"customer_id": "c", "limit": "3"}, "#/limit"),
        ({"customer_id": "c", "max_cost_month": -1}, "#/max_cost_month"),
        ({"customer_id": "c", "at": "yesterday"}, "#/at"),
        ({"customer_id": "c", "at": "2026-11-22T10:00:00"}, "#/at"),
        ({"customer_id": "c", "at": "1999-01-01T00:00:00Z"}, "#/at"),
        ({"customer_id": "c", "context": {"intent": 5}}, "#/context/intent"),
        ({"customer_id": "c", "context": {"a/b~": 5}}, "#/context/a~1b~0"),
        ({"customer_id": "c", "agent": {"name": "x"}}, "#/agent/name"),
        ({"customer_id": "c", "explain": "yes"}, "#/explain"),
        ([], "#"),
    ],
)
def test_a_wrong_field_is_named(nba, body, pointer):
    """Bad input is a 422 problem document whose pointer is the field."""
    answer = nba.http.post("/v1/recommend", json=body)
    assert problem(answer, 422)["pointer"] == pointer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"customer_id": "\xff"}',
        b"[" * 100_000,
        b'{"customer_id": "\\ud800"}',
        b"null",
        b'{"limit": NaN}',
        b'{"customer_id":"c","max_cost_month":1e999}',
        b'{"customer_id":"c","max_cost_month":NaN}',
        b'{"customer_id":"c","context":{"sentiment":NaN}}',
        b'{"customer_id":"c","context":{"intent":"\\ud800"}}',
        b'{"customer_id":"c","context":{"\\ud800":"x"}}',
    ],
)
@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/activity", "/v1/outcomes"])
def test_a_broken_body_is_refused_and_never_an_error_of_ours(nba, path, body):
    """Whatever bytes come in, the answer is a 4xx problem document."""
    answer = nba.http.post(path, content=body, headers={"content-type": "application/json"})
    problem(answer, 400, 422)


def test_a_body_of_ten_megabytes_is_refused(nba):
    """Declared or streamed, it is a 413 and not read into memory."""
    big = b" " * 10_000_000
    declared = nba.http.post("/v1/recommend", content=big, headers={"content-type": "application/json"})
    streamed = nba.http.post("/v1/recommend", content=iter([big]), headers={"content-type": "application/json"})
    problem(declared, 413)
    problem(streamed, 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PATCH", "/v1/recommend", 405), ("GET", "/v1/recommend", 405)],
)
def test_what_is_not_there_is_said_as_a_problem(nba, method, path, status):
    """404 and 405 are problem documents too."""
    problem(nba.http.request(method, path), status)


def test_every_answer_carries_a_request_id_and_safe_headers(nba):
    """The caller's id is kept when it is a plain one; a hostile one is replaced."""
    kept = nba.http.get("/healthz", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert kept.headers["x-content-type-options"] == "nosniff"
    assert nba.http.get("/healthz", headers={"x-request-id": "a b<script>"}).headers["x-request-id"] != "a b<script>"


def test_activity_is_checked_event_by_event(nba, make_event):
    """One bad event does not cost the others, and is named with its place."""
    events = [
        make_event("c-act", "data_used", value=5),
        make_event("c-act", "no_such_type"),
        make_event("c-act", "data_used", value=1.5),
    ]
    answer = nba.http.post("/v1/activity", json={"events": events})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1
    assert [(r["index"], r["pointer"]) for r in answer.json()["rejected"]] == [
        (1, "#/events/1/type"),
        (2, "#/events/2/value"),
    ]


def test_too_many_events_are_refused_whole(nba, make_event):
    """More than a thousand is a 422, and none of them is kept."""
    answer = nba.http.post("/v1/activity", json={"events": [make_event("c-many", "app_opened")] * 1001})
    assert problem(answer, 422)["pointer"] == "#/events"
    assert nba.http.get("/v1/customers/c-many").status_code == 404


def test_the_customer_view_shows_what_came_in(nba, make_event):
    """Profile, features, thread, open issues and contacts in one document."""
    customer = nba.customer()
    nba.http.post("/v1/activity", json={"events": [make_event(customer, "complaint", subject="the bill")]})
    view = nba.http.get(f"/v1/customers/{customer}").json()
    assert view["profile"]["plan"] == "l-40"
    assert view["open_issues"][0]["type"] == "complaint"
    assert view["thread"][-1]["text"] == "complained about the bill"
    assert view["features"]["data_mb_30d"] == 8100  # three times 2700


def test_a_profile_is_typed_and_both_shapes_are_taken(nba):
    """Flat, or as GET gives it; an unknown field or a wrong type is named."""
    assert nba.http.put("/v1/customers/c-shape", json={"profile": {"plan": "s-5"}}).json()["profile"] == {"plan": "s-5"}
    assert (
        problem(nba.http.put("/v1/customers/c-shape", json={"tenure_months": "x"}), 422)["pointer"] == "#/tenure_months"
    )
    assert problem(nba.http.put("/v1/customers/c-shape", json={"shoe_size": 1}), 422)["pointer"] == "#/shoe_size"
    problem(nba.http.put("/v1/customers/c%7Bx%7D", json={}), 422)


def test_an_unknown_customer_has_no_view(nba):
    """Asking for a view of nobody is a 404."""
    problem(nba.http.get("/v1/customers/nobody"), 404)


def test_readiness_names_each_dependency(nba):
    """Health says only that the process lives."""
    assert nba.http.get("/healthz").json() == {"status": "ok"}
    ready = nba.http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["dependencies"].keys() == {"redis", "journal", "model"}


def test_metrics_say_nothing_of_a_person(nba):
    """The stages of a call are counted, whose call it was is not."""
    customer = nba.customer()
    nba.recommend(customer)
    text = nba.http.get("/metrics").text
    assert 'nba_stage_seconds_count{stage="whole"}' in text
    assert customer not in text
    assert "Kraus" not in text


def test_the_openapi_document_describes_the_calls(nba):
    """Every call of the contract is documented, refusals as problem documents."""
    paths = nba.http.get("/openapi.json").json()["paths"]
    assert {"/v1/recommend", "/v1/activity", "/v1/outcomes", "/v1/customers/{customer_id}", "/v1/decisions/{decision_id}",
            "/v1/admin/reload", "/healthz", "/readyz", "/metrics"} <= paths.keys()  # fmt: skip
    assert "application/problem+json" in paths["/v1/recommend"]["post"]["responses"]["422"]["content"]
