"""What an answer of the service has to be, whatever else it says."""

from __future__ import annotations

import httpx

from nba.domain import SALES_KINDS


def problem(answer: httpx.Response, *statuses: int) -> dict:
    """The problem document of a refusal with one of these statuses; it says what was wrong, and in which request."""
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def assert_safe(answer: dict) -> None:
    """The worst is assumed: the answer says what it lacks, and sells nothing."""
    assert answer["source"] == "fallback"
    assert {"features", "profile", "contacts"} <= set(answer["degraded"])
    assert not {s["kind"] for s in answer["suggestions"]} & SALES_KINDS
