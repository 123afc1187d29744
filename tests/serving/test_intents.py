"""What a call is about is heard once and kept to its end: nothing is sold into it by a later question that does not say it."""

from __future__ import annotations

import threading

import pytest
from redis import Redis

from features.keys import customer_keys
from kits.waiting import wait_until
from nba.clock import format_at, system_now_ms
from nba.domain import SALES_KINDS
from nba.load import load_config
from serving.replay import replay

FAULT = {"intent": "technical"}


@pytest.fixture
def two(start, redis):
    """Two workers of one service."""
    return start(redis_url=redis.url), start(redis_url=redis.url)


def waiting(answer: dict) -> set[str]:
    """Why sales offers wait for service, in the words of the answer; none is among the suggestions then."""
    rules = {w["rule"] for w in answer["withheld"] if w["stage"] == "service_first"}
    assert not rules or not {s["kind"] for s in answer["suggestions"]} & SALES_KINDS
    return rules


def caller(service, make_event) -> str:
    """Somebody who looked at the family page twice: the second line may be offered to them."""
    name = service.customer()
    looked = [make_event(name, "page_viewed", days=day, subject="family") for day in (1, 2)]
    assert service.http.post("/v1/activity", json={"events": looked}).json()["accepted"] == 2
    return name


def ask(service, customer: str, call: str | None, **more: object) -> dict:
    return service.recommend(customer, interaction_id=call, explain=True, limit=10, **more)


def test_a_service_intent_holds_for_its_interaction_on_every_worker(two, make_event):
    """Said once; asked again without it, elsewhere, sales still wait. Another interaction knows nothing of it."""
    first, second = two
    customer = caller(first, make_event)
    assert waiting(ask(first, customer, "call-1", context=FAULT)) == {"service intent: technical"}
    assert waiting(ask(second, customer, "call-1")) == {"service intent: technical"}
    assert waiting(ask(second, customer, "call-1", context={"intent": "usage"})) == {"service intent: technical"}
    assert waiting(ask(second, customer, "call-2")) == set()
    assert waiting(ask(second, customer, None)) == set()


def test_it_is_set_free_by_a_resolution_in_that_interaction(two, make_event):
    """Once the agent has mended what the call was about, the value-add is free."""
    service, _ = two
    customer = caller(service, make_event)
    ask(service, customer, "call-1", context=FAULT)
    solved = make_event(customer, "issue_resolved", interaction_id="call-1", channel="call")
    assert service.http.post("/v1/activity", json={"events": [solved]}).json()["accepted"] == 1
    assert waiting(ask(service, customer, "call-1")) == set()


@pytest.mark.parametrize("asked", [{"context": {"intent": "usage"}}, {"context": FAULT, "at": "2026-01-05T10:00:00Z"}])
def test_what_is_no_service_and_what_is_long_past_is_not_kept(nba, asked, make_event):
    """A sales question makes nobody wait; neither does a question about the past."""
    customer = caller(nba, make_event)
    ask(nba, customer, "call-1", **asked)
    assert waiting(ask(nba, customer, "call-1")) == set()


def test_a_question_about_the_past_knows_nothing_of_what_was_said_later(nba, make_event):
    """A back-test answers as of its moment, also within an interaction that was about a fault in the end."""
    customer = caller(nba, make_event)
    ask(nba, customer, "call-1", context=FAULT)
    assert waiting(ask(nba, customer, "call-1", at=format_at(system_now_ms() - 3_600_000))) == set()
    assert waiting(ask(nba, customer, "call-1", at=format_at(system_now_ms() + 1000))) == {"service intent: technical"}


def test_an_intent_is_known_and_not_told(two, make_event):
    """It makes no line of the thread, and no activity that would age."""
    service, _ = two
    customer = caller(service, make_event)
    before = service.http.get(f"/v1/customers/{customer}").json()
    answer = ask(service, customer, "call-1", context=FAULT)
    after = service.http.get(f"/v1/customers/{customer}").json()
    assert (after["thread"], after["features"]) == (before["thread"], before["features"])
    assert not any("intent" in line["activity"] for line in answer["thread"])


def test_an_intent_said_again_is_written_once_and_forgotten_with_the_customer(two, redis, make_event):
    """A long call does not fill the store, and an erasure leaves nothing of it."""
    service, _ = two
    customer = caller(service, make_event)
    ask(service, customer, "call-1", context=FAULT)
    with Redis.from_url(redis.url) as client:
        key = customer_keys(customer).thread
        written = client.get(key)
        assert written
        ask(service, customer, "call-1", context=FAULT)
        assert client.get(key) == written
        service.http.delete(f"/v1/customers/{customer}")
        assert not client.exists(key)


def test_while_redis_takes_no_writes_nothing_is_sold_to_who_waits(start, redis, make_event):
    """It still reads. The intent waits in the spool with all that was acknowledged, and what waits sells nothing."""
    service = start(redis_url=redis.url)
    customer = caller(service, make_event)
    with Redis.from_url(redis.url) as client:
        client.config_set("min-replicas-to-write", 1)
        ask(service, customer, "call-1", context=FAULT)
        later = ask(service, customer, "call-1")
        assert "activity_pending" in later["degraded"]
        assert waiting(later) == {"the activity could not be read, so an open issue cannot be ruled out"}
        waited = len(service.app.state.service.spool)
        ask(service, customer, "call-1", context=FAULT)
        assert len(service.app.state.service.spool) == waited
        client.config_set("min-replicas-to-write", 0)
    wait_until(lambda: "activity_pending" not in service.recommend(customer)["degraded"])
    assert waiting(ask(service, customer, "call-1")) == {"service intent: technical"}


def test_a_slow_disk_does_not_hold_up_the_answer_to_an_intent(start, redis, make_event):
    """The answer is given while the disk of the spool is still busy, and what was said in it counts."""
    service = start(redis_url=redis.url)
    customer, disk = caller(service, make_event), threading.Event()
    spool = service.app.state.service.recommender._spool
    with Redis.from_url(redis.url) as client:
        client.config_set("min-replicas-to-write", 1)
        spool._log.segment.sync = lambda: disk.wait(5)
        service.http.timeout = 3
        try:
            ask(service, customer, "call-1", context=FAULT)
            assert waiting(ask(service, customer, "call-1")) != set()
        finally:
            disk.set()
            client.config_set("min-replicas-to-write", 0)


def test_what_waits_at_one_worker_sells_nothing_at_another(two, redis, make_event):
    """Acknowledged is known to all at once: the intent of a call, and a complaint that came over another channel."""
    first, second = two
    caller_in, complainer = caller(first, make_event), caller(first, make_event)
    with Redis.from_url(redis.url) as client:
        client.config_set("min-replicas-to-write", 1)
        ask(first, caller_in, "call-1", context=FAULT)
        assert waiting(ask(second, caller_in, "call-1")) != set()
        assert waiting(ask(second, complainer, "call-2")) == set()
        sent = {"events": [make_event(complainer, "complaint", subject="the bill")]}
        assert first.http.post("/v1/activity", json=sent).json()["accepted"] == 1
        assert waiting(ask(second, complainer, "call-2")) != set()
        client.config_set("min-replicas-to-write", 0)


def test_a_complaint_that_still_waits_for_redis_stops_sales(start, redis, make_event):
    """Acknowledged is known: sales do not slip through between the spool and the store."""
    service = start(redis_url=redis.url)
    customer = caller(service, make_event)
    with Redis.from_url(redis.url) as client:
        client.config_set("min-replicas-to-write", 1)
        assert waiting(ask(service, customer, "call-1")) == set()
        sent = {"events": [make_event(customer, "complaint", subject="the bill")]}
        assert service.http.post("/v1/activity", json=sent).json()["accepted"] == 1
        assert waiting(ask(service, customer, "call-1")) != set()


def test_a_decision_that_remembered_is_computed_again_the_same(nba, config_folder, make_event):
    """The record holds what was known of the interaction."""
    customer = caller(nba, make_event)
    ask(nba, customer, "call-9", context=FAULT)
    answer = ask(nba, customer, "call-9")
    record = nba.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert [said["intent"] for said in record["customer"]["intents"]] == ["technical"]
    verdict = replay(record, load_config(config_folder), nba.state_dir)
    assert (verdict.same, verdict.differences) == (True, [])
