"""Redis tells who has just done something, on one Redis and on a cluster of three."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis

from features.news import News
from features.store import Store
from kits.activity import NOW_MS, customer_id, make_event

WAIT_S = 10.0


async def listening(url: str, body: Callable[[News, asyncio.Queue], Awaitable[None]]) -> None:
    """Run `body` beside a News that hears."""
    heard: asyncio.Queue = asyncio.Queue()
    news = News(url, heard.put_nowait, timeout_s=WAIT_S)
    task = asyncio.create_task(news.run())
    try:
        async with asyncio.timeout(WAIT_S):
            while not await news.watch("nobody"):  # noqa: ASYNC110
                await asyncio.sleep(0)
            await body(news, heard)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await news.close()


def test_only_those_who_are_watched_are_heard_of(store, url, run):
    """Another customer's activity and a profile are no news; events are, once for each append."""
    mine, other, third = customer_id(), customer_id(), customer_id()

    async def body(news: News, heard: asyncio.Queue) -> None:
        assert await news.watch(mine)
        assert await news.watch(third)
        await store.put_profile(mine, {"plan": "l"}, NOW_MS)
        for number, name in enumerate((other, mine, third, mine)):
            await store.append([make_event(f"e{number}", NOW_MS, customer_id=name)])
        assert sorted([await heard.get() for _ in range(3)]) == sorted([mine, third, mine])
        await news.unwatch(mine)
        await store.append([make_event("e9", NOW_MS, customer_id=mine)])
        await store.append([make_event("e9", NOW_MS, customer_id=third)])
        assert await heard.get() == third
        assert heard.empty()

    run(listening(url, body))


def test_it_ends_whenever_it_is_told_to(redis_url, run):
    """While it connects, subscribes or listens: a service that is stopped right after its start ends at once."""

    async def cancelled_after(turns: int) -> set[asyncio.Task[None]]:
        news = News(redis_url, print, timeout_s=WAIT_S)
        task = asyncio.create_task(news.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        _, hanging = await asyncio.wait({task}, timeout=WAIT_S / 4)
        task.cancel()
        await news.close()
        return hanging

    for turns in (*range(60), *range(60, 400, 10)):
        assert not run(cancelled_after(turns)), turns


def test_after_a_lost_line_it_listens_again_and_says_that_there_was_a_gap(store, redis_url, run, request):
    """The connection is cut by Redis; the same customers are watched afterwards."""
    if "cluster" in store._url:
        pytest.skip("one Redis is enough here")
    name = customer_id()

    async def body(news: News, heard: asyncio.Queue) -> None:
        assert await news.watch(name)
        before = news.gaps
        with Redis.from_url(redis_url) as admin:
            admin.client_kill_filter(_type="pubsub")
        while news.gaps == before or not await news.watch(name):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await store.append([make_event("e", NOW_MS, customer_id=name)])
        assert await heard.get() == name

    run(listening(redis_url, body))


def test_who_may_not_publish_may_still_append(store, redis_url, run, spec):
    """News are a hint; the events are what counts."""
    if "cluster" in store._url:
        pytest.skip("one Redis is enough here")
    name = customer_id()
    with Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "quiet", "on", ">word", "~*", "+@all", "resetchannels")
    kinds = ("unix://", "redis://")
    address = redis_url
    for kind in kinds:
        address = address.replace(kind, f"{kind}quiet:word@")
    quiet = run(Store.open(address, spec, timeout_s=WAIT_S))
    run(quiet.append([make_event("e", NOW_MS, customer_id=name)]))
    assert run(store.read(name, NOW_MS)).activity_at_ms == NOW_MS
    run(quiet.close())


def test_a_line_that_ends_while_it_is_written_to_is_opened_again(store, url, run, monkeypatch):
    """uvloop calls it a RuntimeError; who is watched is heard of afterwards, for listening goes on."""
    customer = customer_id()

    async def body(news: News, heard: asyncio.Queue) -> None:
        listen, ends = news._listen, iter([True])

        async def ending(line: object) -> None:
            if next(ends, False):
                raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
            await listen(line)

        monkeypatch.setattr(news, "_listen", ending)
        news._line.connection._writer.close()  # what listens now ends, and the next one begins
        gaps = news.gaps
        while news.gaps < gaps + 2 or not await news.watch(customer):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await store.append([make_event("e1", NOW_MS, customer_id=customer)])
        assert await heard.get() == customer

    run(listening(url, body))
