"""GET /v1/interactions/{id}/stream: a fresh recommendation whenever this customer does something during the call.

An idle stream is one sleeping task: it wakes when Redis has news of its customer (features/news.py), and every 15 s to
say that it lives. Where the news may have been interrupted it looks then whether something has changed.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson

from features.news import News
from nba.errors import InputError, NbaError, NotFoundError
from serving.metrics import Metrics
from serving.problems import of_error
from serving.questions import Questions
from serving.recommend import Recommender
from serving.schemas import RecommendIn

HEARTBEAT_S = 15.0
MOST_OF_ONE = 100
# Several events of one moment (a batch, a page with its clicks) are answered by one recommendation.
_GATHER_S = 0.02


class Listeners:
    """Who waits for which customer. `news` hears of those, as long as somebody runs it."""

    def __init__(self, redis_url: str, *, timeout_s: float) -> None:
        self.news = News(redis_url, self.heard, timeout_s=timeout_s)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closing = False

    def heard(self, customer_id: str) -> None:
        """Something is new."""
        for event in self._waiting.get(customer_id, ()):
            event.set()

    def crowded(self, customer_id: str) -> bool:
        """Whether so many wait for this customer that no call can need another: each answers whatever the customer does."""
        return len(self._waiting.get(customer_id, ())) >= MOST_OF_ONE

    @asynccontextmanager
    async def listening(self, customer_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set when something is new of this customer."""
        event = asyncio.Event()
        self._waiting[customer_id].add(event)
        try:
            await self.news.watch(customer_id)
            yield event
        finally:
            self._waiting[customer_id].discard(event)
            if not self._waiting[customer_id]:
                del self._waiting[customer_id]
                await self.news.unwatch(customer_id)

    def close(self) -> None:
        """End every stream, so that the service can stop."""
        self.closing = True
        for events in self._waiting.values():
            for event in events:
                event.set()


async def stream(
    recommender: Recommender,
    listeners: Listeners,
    asked: RecommendIn,
    metrics: Metrics,
    *,
    at_once: bool,
    known: Sequence[int | None] = (),
    until_ms: float = math.inf,
) -> AsyncIterator[bytes]:
    """Server-Sent Events: `recommendation` with the answer of /v1/recommend as data and its decision as id.

    `at_once`: the first one does not wait for news (a client that comes back may have missed some). `known`: the newest
    activity that the last answer knew, where there was one: what came between it and the stream is no news to wait for.
    `until_ms`: when what the caller was allowed runs out, and with it the stream.
    """

    def left_s() -> float:
        return 0.0 if listeners.closing else (until_ms - recommender.now_ms()) / 1000

    with metrics.streams.track_inprogress():
        async with listeners.listening(asked.customer_id) as news:
            look = _Look(recommender, listeners.news, asked.customer_id)
            await look.changed()
            at_once = at_once or any(moment != look.seen_ms for moment in known)
            yield b": listening\n\n"
            while (left := left_s()) > 0:
                if not at_once and not await _woken(news, min(HEARTBEAT_S, left)) and not await look.changed():
                    yield b": idle\n\n"
                    continue
                if left_s() <= 0:
                    return
                at_once = False
                news.clear()
                yield await _event(recommender, asked)


async def _woken(news: asyncio.Event, wait_s: float) -> bool:
    try:
        async with asyncio.timeout(wait_s):
            await news.wait()
    except TimeoutError:
        return False
    await asyncio.sleep(_GATHER_S)
    return True


class _Look:
    """Looks into the store where news may have got lost, and leaves it in peace where none did."""

    def __init__(self, recommender: Recommender, news: News, customer_id: str) -> None:
        self._recommender, self._news, self._customer_id = recommender, news, customer_id
        self._gaps = -1
        self.seen_ms: int | None = None

    async def changed(self) -> bool:
        """Whether the newest activity is another than at the last look."""
        if self._news.live and self._news.gaps == self._gaps:
            return False
        self._gaps = self._news.gaps
        before, self.seen_ms = self.seen_ms, await _newest(self._recommender, self._customer_id)
        return self.seen_ms != before


async def _newest(recommender: Recommender, customer_id: str) -> int | None:
    return (await recommender.read(recommender.engine, customer_id, recommender.now_ms())).activity_at_ms


async def _event(recommender: Recommender, asked: RecommendIn) -> bytes:
    try:
        body = await recommender.recommend(asked)
    except NbaError as error:
        return b"event: problem\ndata: " + of_error(error, "")[1] + b"\n\n"
    identifier: bytes = orjson.loads(body)["decision_id"].encode()
    return b"event: recommendation\nid: " + identifier + b"\ndata: " + body + b"\n\n"


def question_of(
    questions: Questions, interaction_id: str, customer_id: str | None, context: str | None
) -> tuple[RecommendIn, tuple[int | None, ...]]:
    """What a stream asks again and again: the last question of this interaction, or one about this customer.

    With it the newest activity that was known when it was answered, where it was.
    Raises NotFoundError when nobody asked in this interaction and no customer is named, and InputError.
    """
    last = questions.last(interaction_id)
    if customer_id is None and last is None:
        raise NotFoundError("nobody asked in this interaction yet: ask /v1/recommend first, or give customer_id")
    known: tuple[int | None, ...] = ()
    if last is not None and customer_id in (None, last["customer_id"]):
        known = (last["activity_at_ms"],)
        names = ("customer_id", "channel", "interaction_id", "context", "limit", "locale", "max_cost_month")
        given = {name: last[name] for name in names if last[name] is not None}
        agent = {"id": last["agent_id"], "group": last["agent_group"]}
        question = {**given, "agent": agent if any(agent.values()) else None}
    else:
        question = {"customer_id": customer_id, "interaction_id": interaction_id}
    if context is not None:
        question["context"] = context_of(context)
    return RecommendIn.model_validate(question), known


def context_of(text: str) -> dict[str, Any]:
    """The context of a query; null counts as none. Raises InputError."""
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(text)
        if found is None or isinstance(found, dict):
            return found or {}
    raise InputError('the context is no JSON object: write it as one, such as {"intent": "billing"}', "/context")
