"""Whatever breaks, there is a safe, labelled answer inside the budget; and what was acknowledged arrives when Redis is back."""

from __future__ import annotations

import signal
import time

import pytest
from redis import Redis

from features.keys import customer_keys
from kits.answers import assert_safe
from kits.waiting import wait_until
from nba.domain import SALES_KINDS

BUDGET_MS = 300
# The measured time holds the client and a shared machine too; benchmarks/faults.py measures the 10 ms of the promise.
SLACK_S = 0.5


@pytest.fixture
def service(start, redis):
    return start(redis_url=redis.url, budget_ms=BUDGET_MS)


def timed(service, customer: str) -> tuple[dict, float]:
    started = time.monotonic()
    answer = service.recommend(customer)
    return answer, time.monotonic() - started


@pytest.mark.parametrize("fault", ["killed", "paused"])
def test_without_redis_there_is_a_safe_answer_in_time_and_it_comes_back_by_itself(service, redis, fault):
    """Gone or silent: every call is answered inside the budget; later ones do not even wait for it."""
    customer = service.customer()
    assert service.recommend(customer)["degraded"] == ["model"]
    redis.send(signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
    for _ in range(8):
        answer, seconds = timed(service, customer)
        assert_safe(answer)
        assert seconds < BUDGET_MS / 1000 + SLACK_S
    assert service.http.get("/readyz").status_code == 503
    assert "redis" in service.http.get("/readyz").json()["dependencies"]
    if fault == "killed":
        redis.process.wait()
        redis.start()
    else:
        redis.send(signal.SIGCONT)
    wait_until(lambda: service.recommend(customer)["degraded"] == ["model"])
    assert 'nba_degraded_total{what="features"} 0.0' not in service.http.get("/metrics").text


def test_what_came_while_redis_was_away_arrives_when_it_is_back(service, redis, make_event):
    """Activity and outcomes are acknowledged from the spool, and delivered once."""
    customer = service.customer()
    decision = service.recommend(customer)
    redis.send(signal.SIGKILL)
    redis.process.wait()
    sent = {"events": [make_event(customer, "complaint", subject="the bill")]}
    assert service.http.post("/v1/activity", json=sent).json() == {"accepted": 1, "rejected": []}
    assert service.outcome(decision, "declined").status_code == 200
    assert "activity_pending" in service.recommend(customer)["degraded"]
    redis.start()
    wait_until(lambda: len(service.http.get(f"/v1/customers/{customer}").json().get("contacts", [])) == 1)
    view = service.http.get(f"/v1/customers/{customer}").json()
    assert [issue["type"] for issue in view["open_issues"]] == ["complaint"]
    wait_until(lambda: "activity_pending" not in service.recommend(customer)["degraded"])


def test_a_full_redis_loses_nothing(service, redis, make_event):
    """Out of memory it still reads; writes wait in the spool until there is room."""
    customer = service.customer()
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        sent = {"events": [make_event(customer, "complaint")]}
        assert service.http.post("/v1/activity", json=sent).json()["accepted"] == 1
        assert service.recommend(customer)["degraded"] == ["activity_pending", "model"]
        refused = service.http.put(f"/v1/customers/{customer}", json={"plan": "m-20"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        client.config_set("maxmemory", 0)
    wait_until(lambda: service.http.get(f"/v1/customers/{customer}").json()["open_issues"])


def test_what_waits_in_one_workers_spool_is_named_by_the_others(start, service, redis, make_event):
    """Two workers on one state folder: whoever answers says that activity waits, until it is delivered."""
    other, customer = start(redis_url=redis.url, budget_ms=BUDGET_MS), service.customer()
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        sent = {"events": [make_event(customer, "complaint")]}
        assert service.http.post("/v1/activity", json=sent).json()["accepted"] == 1
        wait_until(lambda: other.recommend(customer)["degraded"] == ["activity_pending", "model"])
        assert other.recommend("c-somebody-else")["degraded"] == ["model"]
        client.config_set("maxmemory", 0)
    wait_until(lambda: other.recommend(customer)["degraded"] == ["model"])


def damaged_values(service) -> dict[str, float]:
    """What the metric has counted, by part."""
    lines = service.http.get("/metrics").text.splitlines()
    counted = (line.split() for line in lines if line.startswith("nba_damaged_values_total{"))
    return {name.split('"')[1]: float(count) for name, count in counted if float(count)}


def test_damaged_bytes_are_named_counted_and_assumed_to_be_the_worst(service, redis):
    """Each part in the answer and in a metric of its own; a whole customer adds nothing, and nothing is sold."""
    whole, damaged = service.customer(), service.customer()
    service.outcome(service.recommend(damaged), "shown")
    assert service.recommend(whole)["degraded"] == ["model"]
    assert damaged_values(service) == {}
    with Redis.from_url(redis.url) as client:
        for key in customer_keys(damaged):
            client.append(key, b"\xff\x00garbage")
    for times in (1, 2):
        answer = service.recommend(damaged)
        assert answer["degraded"] == ["activity", "profile", "contacts", "thread", "model"]
        assert not {s["kind"] for s in answer["suggestions"]} & SALES_KINDS
        assert damaged_values(service) == dict.fromkeys(("activity", "profile", "contacts", "thread"), times)


@pytest.mark.parametrize("part", ["activity", "profile", "contacts", "thread"])
def test_a_foreign_type_under_a_key_is_named_counted_and_assumed_to_be_the_worst(service, redis, part):
    """A hash where the customer's values lie is no new customer."""
    customer = service.customer()
    key = customer_keys(customer)[("activity", "profile", "contacts", "thread").index(part)]
    with Redis.from_url(redis.url) as client:
        client.delete(key)
        client.hset(key, "field", "x")
    answer = service.recommend(customer)
    assert answer["degraded"] == [part, "model"]
    assert not {s["kind"] for s in answer["suggestions"]} & SALES_KINDS
    assert damaged_values(service) == {part: 1}


def test_a_redis_that_is_away_counts_nothing_as_damaged(service, redis):
    """What could not be asked for is not what was found to be broken."""
    redis.send(signal.SIGKILL)
    assert_safe(service.recommend("c-1"))
    assert damaged_values(service) == {}


def test_a_service_starts_without_redis_and_finds_it_later(start, redis):
    """The order in which things start does not matter."""
    redis.send(signal.SIGKILL)
    redis.process.wait()
    service = start(redis_url=redis.url, budget_ms=BUDGET_MS)
    assert_safe(service.recommend("c-1"))
    redis.start()
    wait_until(lambda: "features" not in service.recommend("c-1")["degraded"])
