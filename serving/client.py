"""A client in Python, sync and async, over httpx; import it from a checkout or copy this one file.

    with Client("http://localhost:8000", key="…") as nba:
        answer = nba.recommend("c-1001", interaction_id="call-77", context={"intent": "billing"})
        nba.outcome(answer["decision_id"], answer["suggestions"][0]["offer_id"], "accepted")

A call ends at its deadline, tries and waits included (a blocking one gives each step on the wire what is left of it).
Only what may be repeated without harm is tried again: reading, replacing, erasing, activity (by event id) and outcomes. A
question is a new decision each time, so it is asked again only when no connection came about and nothing was sent.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict
from urllib.parse import quote

import httpx

Outcome = Literal["shown", "spoken", "skipped", "accepted", "declined", "later"]
DelayedOutcome = Literal["churned", "stayed", "survey"]
Json = dict[str, Any]
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_AGAIN = frozenset({429, 502, 503, 504})


class Event(TypedDict):
    """One thing a customer did; repeating an `event_id` changes nothing."""

    event_id: str
    customer_id: str
    at: str
    channel: str
    type: str
    value: NotRequired[int]
    subject: NotRequired[str]
    text: NotRequired[str]
    interaction_id: NotRequired[str]


class Reason(TypedDict):
    """A true reason: the feature, its number, and how a person reads it; `window`: over which time, where it has one."""

    feature: str
    value: Any
    text: str
    window: NotRequired[str | None]


class Suggestion(TypedDict):
    """One line for the agent. `skill`: who can do it, where the offer says so."""

    rank: int
    offer_id: str
    kind: str
    title: str
    say: str
    because: list[Reason]
    accept_probability: float
    expected_value: float
    cost_month: NotRequired[float | None]
    saving_month: float | None
    propensity: float
    explored: bool
    skill: NotRequired[str | None]


class Own(TypedDict):
    """The customer's plan and what they pay on it for what they use."""

    offer_id: str
    title: str
    cost_month: float | None


class Line(TypedDict):
    """A line of the story so far."""

    at: str
    channel: str
    activity: str
    text: str


class Withheld(TypedDict):
    """An offer that may not be said, and why."""

    offer_id: str
    stage: str
    rule: str


class Answer(TypedDict):
    """What came of a question. `nothing_because`: why the list is empty; `withheld` and `features`: when asked to explain."""

    decision_id: str
    customer_id: str
    at: str
    source: Literal["model", "fallback"]
    degraded: list[str]
    heads: list[str]
    model: str | None
    policy: str
    experiment: dict[str, str] | None
    own: Own | None
    freshness: dict[str, int | None]
    funnel: dict[str, int]
    nothing_because: str | None
    suggestions: list[Suggestion]
    thread: list[Line]
    withheld: NotRequired[list[Withheld] | None]
    features: NotRequired[dict[str, float | None] | None]


class ServiceError(Exception):
    """The service refused (RFC 9457): `status`, `detail`, and the `pointer` of the field that is wrong."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.problem = status, dict(problem)
        self.detail, self.pointer = str(problem.get("detail", "")), problem.get("pointer")
        super().__init__(f"{status}: {self.detail}")


class DeadlineError(TimeoutError):
    """The deadline came before an answer. A question may have been decided all the same; repeat only what is repeatable."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    body: Json | None = None
    repeatable: bool = True


def _recommend(customer_id: str, asked: Mapping[str, Any]) -> _Call:
    body = {"customer_id": customer_id, **{name: value for name, value in asked.items() if value is not None}}
    return _Call("POST", "/v1/recommend", body, repeatable=False)


def _activity(events: Sequence[Event]) -> _Call:
    return _Call("POST", "/v1/activity", {"events": list(events)})


def _outcome(decision_id: str, offer_id: str, outcome: Outcome, more: Mapping[str, Any]) -> _Call:
    said = {name: value for name, value in more.items() if value is not None}
    return _Call("POST", "/v1/outcomes", {"decision_id": decision_id, "offer_id": offer_id, "outcome": outcome, **said})


def _later(customer_id: str, outcome: DelayedOutcome, at: str, value: float | None) -> _Call:
    body = {"customer_id": customer_id, "outcome": outcome, "at": at}
    return _Call("POST", "/v1/outcomes", body if value is None else {**body, "value": value})


def _customer(method: str, customer_id: str, profile: Mapping[str, Any] | None = None) -> _Call:
    return _Call(method, f"/v1/customers/{quote(customer_id, safe='')}", None if profile is None else dict(profile))


@dataclass(slots=True)
class _Attempts:
    """When to try again, and for how long. Knows nothing of sockets, so both clients share it."""

    call: _Call
    ends_s: float
    wait_s: float = _FIRST_WAIT_S
    chance: random.Random = field(default_factory=random.Random)

    def left_s(self) -> float:
        """What is left of the deadline. Raises DeadlineError when it is over."""
        left = self.ends_s - time.monotonic()
        if left <= 0:
            raise DeadlineError(f"no answer to {self.call.method} {self.call.path} before the deadline")
        return left

    def after_failure(self, error: httpx.TransportError) -> float:
        """Seconds to wait before the next try. Raises `error`, or DeadlineError when waiting would be too late."""
        unsent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        if not (self.call.repeatable or unsent):
            raise DeadlineError(str(error)) if isinstance(error, httpx.TimeoutException) else error
        return self._wait(None)

    def after(self, answer: httpx.Response) -> float | None:
        """Seconds to wait before the next try; None: this is the answer."""
        if answer.status_code not in _AGAIN or not (self.call.repeatable or answer.status_code == 429):
            return None
        asked = answer.headers.get("retry-after", "")
        try:
            return self._wait(float(asked) if asked.isdigit() else None)
        except DeadlineError:
            return None  # the refusal says more than that time is up

    def _wait(self, asked_s: float | None) -> float:
        wait = asked_s if asked_s is not None else self.wait_s * self.chance.uniform(0.5, 1.5)
        self.wait_s = min(self.wait_s * 2, _LONGEST_WAIT_S)
        if wait >= self.left_s():
            raise DeadlineError(f"no answer to {self.call.method} {self.call.path} before the deadline")
        return wait


def _read(answer: httpx.Response) -> Any:
    try:
        found = answer.json()
    except ValueError:
        found = {"detail": answer.text[:200]}
    if answer.is_success:
        return found
    raise ServiceError(answer.status_code, found)


def _options(base: str, key: str | None) -> dict[str, Any]:
    return {"base_url": base, "headers": {"Authorization": f"Bearer {key}"} if key else {}}


class Client:
    """Blocking. `deadline_s` holds for each call unless the call names its own."""

    def __init__(self, base: str, *, key: str | None = None, deadline_s: float = 5.0) -> None:
        self._http = httpx.Client(**_options(base, key))
        self._deadline_s = deadline_s

    def recommend(self, customer_id: str, *, deadline_s: float | None = None, **asked: Any) -> Answer:
        """The next best action, now; `asked`: the other fields of POST /v1/recommend."""
        found: Answer = self._send(_recommend(customer_id, asked), deadline_s)
        return found

    def activity(self, events: Sequence[Event], *, deadline_s: float | None = None) -> Json:
        """Keep events: `accepted`, and `rejected` with reasons."""
        return self._json(_activity(events), deadline_s)

    def outcome(
        self, decision_id: str, offer_id: str, outcome: Outcome, *, deadline_s: float | None = None, **more: Any
    ) -> Json:
        """What came of a suggestion; `more`: at, reason, outcome_id."""
        return self._json(_outcome(decision_id, offer_id, outcome, more), deadline_s)

    def delayed_outcome(
        self,
        customer_id: str,
        outcome: DelayedOutcome,
        at: str,
        *,
        value: float | None = None,
        deadline_s: float | None = None,
    ) -> Json:
        """What became of a customer later."""
        return self._json(_later(customer_id, outcome, at, value), deadline_s)

    def customer(self, customer_id: str, *, deadline_s: float | None = None) -> Json:
        """The unified view."""
        return self._json(_customer("GET", customer_id), deadline_s)

    def put_customer(self, customer_id: str, profile: Mapping[str, Any], *, deadline_s: float | None = None) -> Json:
        """Replace the profile."""
        return self._json(_customer("PUT", customer_id, profile), deadline_s)

    def erase_customer(self, customer_id: str, *, deadline_s: float | None = None) -> Json:
        """Erase a customer; the receipt."""
        return self._json(_customer("DELETE", customer_id), deadline_s)

    def decision(self, decision_id: str, *, deadline_s: float | None = None) -> Json:
        """The whole record of a decision."""
        return self._json(_Call("GET", f"/v1/decisions/{quote(decision_id, safe='')}"), deadline_s)

    def _json(self, call: _Call, deadline_s: float | None) -> Json:
        found: Json = self._send(call, deadline_s)
        return found

    def _send(self, call: _Call, deadline_s: float | None) -> Any:
        attempts = _Attempts(call, time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s))
        while True:
            try:
                answer = self._http.request(call.method, call.path, json=call.body, timeout=attempts.left_s())
                wait_s = attempts.after(answer)
            except httpx.TransportError as error:
                wait_s = attempts.after_failure(error)
            if wait_s is None:
                return _read(answer)
            time.sleep(wait_s)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """The same, awaited."""

    def __init__(self, base: str, *, key: str | None = None, deadline_s: float = 5.0) -> None:
        self._http = httpx.AsyncClient(**_options(base, key))
        self._deadline_s = deadline_s

    async def recommend(self, customer_id: str, *, deadline_s: float | None = None, **asked: Any) -> Answer:
        """The next best action, now; `asked`: the other fields of POST /v1/recommend."""
        found: Answer = await self._send(_recommend(customer_id, asked), deadline_s)
        return found

    async def activity(self, events: Sequence[Event], *, deadline_s: float | None = None) -> Json:
        """Keep events: `accepted`, and `rejected` with reasons."""
        return await self._json(_activity(events), deadline_s)

    async def outcome(
        self, decision_id: str, offer_id: str, outcome: Outcome, *, deadline_s: float | None = None, **more: Any
    ) -> Json:
        """What came of a suggestion; `more`: at, reason, outcome_id."""
        return await self._json(_outcome(decision_id, offer_id, outcome, more), deadline_s)

    async def delayed_outcome(
        self,
        customer_id: str,
        outcome: DelayedOutcome,
        at: str,
        *,
        value: float | None = None,
        deadline_s: float | None = None,
    ) -> Json:
        """What became of a customer later."""
        return await self._json(_later(customer_id, outcome, at, value), deadline_s)

    async def customer(self, customer_id: str, *, deadline_s: float | None = None) -> Json:
        """The unified view."""
        return await self._json(_customer("GET", customer_id), deadline_s)

    async def put_customer(
        self, customer_id: str, profile: Mapping[str, Any], *, deadline_s: float | None = None
    ) -> Json:
        """Replace the profile."""
        return await self._json(_customer("PUT", customer_id, profile), deadline_s)

    async def erase_customer(self, customer_id: str, *, deadline_s: float | None = None) -> Json:
        """Erase a customer; the receipt."""
        return await self._json(_customer("DELETE", customer_id), deadline_s)

    async def decision(self, decision_id: str, *, deadline_s: float | None = None) -> Json:
        """The whole record of a decision."""
        return await self._json(_Call("GET", f"/v1/decisions/{quote(decision_id, safe='')}"), deadline_s)

    async def _json(self, call: _Call, deadline_s: float | None) -> Json:
        found: Json = await self._send(call, deadline_s)
        return found

    async def _send(self, call: _Call, deadline_s: float | None) -> Any:
        attempts = _Attempts(call, time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s))
        while True:
            try:
                async with asyncio.timeout(attempts.left_s()):
                    answer = await self._http.request(call.method, call.path, json=call.body, timeout=None)
                wait_s = attempts.after(answer)
            except httpx.TransportError as error:
                wait_s = attempts.after_failure(error)
            except TimeoutError as error:
                raise DeadlineError(f"no answer to {call.method} {call.path} before the deadline") from error
            if wait_s is None:
                return _read(answer)
            await asyncio.sleep(wait_s)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
