"""What waits for Redis, where the keys of one customer take nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import orjson
import pytest
from redis import Redis

from features.keys import customer_keys
from features.spec import FeatureSpec
from features.store import Store
from nba.domain import Activity, Contact
from nba.errors import JournalError
from nba.load import find_config, load_config
from serving.aside import RETRY_DELIVERIES
from serving.forget import forget, forget_spooled
from serving.segment import Segment, segments
from serving.spool import Spool

NOW_MS = 1_790_000_000_000
SPEC = FeatureSpec(load_config(find_config("telco")).features)
CONTACT = Contact(NOW_MS, "music", "declined", "call", "d-1")


@asynccontextmanager
async def store_of(redis):
    """A store on this Redis."""
    store = await Store.open(redis.url, SPEC, timeout_s=5.0)
    yield store
    await store.close()


def complaint(customer_id: str) -> Activity:
    return Activity(f"e-{customer_id}", customer_id, NOW_MS, "web", "complaint", subject="bill")


@pytest.fixture
def poisoned(redis):
    """A list sits on the contacts and on the thread of `bad`."""
    with Redis.from_url(redis.url) as client:
        for key in customer_keys("bad")[2:]:
            client.rpush(key, "x")
        yield client


def test_a_poisoned_customer_holds_nobody_up(redis, poisoned, tmp_path):
    """The others get theirs, from the same batch too; the refused waits, is tried again and arrives when it can."""

    async def told() -> None:
        spool = Spool(tmp_path / "spool", NOW_MS)
        async with store_of(redis) as store:
            await spool.add_contacts("bad", [CONTACT])
            await spool.add_events([complaint("bad"), complaint("good")])
            await spool.add_contacts("good", [CONTACT])
            await spool.deliver(store)
            good = await store.read("good", NOW_MS)
            assert (len(good.contacts), len(good.open_issues)) == (1, 1)
            assert (spool.holds("bad"), spool.holds("good"), len(spool) > 0) == (True, False, True)
            poisoned.delete(*customer_keys("bad"))
            for _ in range(RETRY_DELIVERIES):
                await spool.deliver(store)
            bad = await store.read("bad", NOW_MS)
            assert (len(bad.contacts), len(bad.open_issues), bad.degraded) == (1, 1, ())
            assert (spool.holds("bad"), len(spool)) == (False, 0)
        spool.close()
        assert not [path for kind in "sx" for path in segments(tmp_path / "spool", kind)]

    asyncio.run(told())


def test_what_was_set_aside_outlives_its_worker_and_is_seen_by_others(redis, poisoned, tmp_path, caplog):
    """The next process takes it over; another worker knows whose it is; the log names nobody."""

    async def told() -> None:
        first, second = Spool(tmp_path / "spool", NOW_MS), Spool(tmp_path / "spool", NOW_MS + 1)
        async with store_of(redis) as store:
            await first.add_contacts("bad", [CONTACT])
            await first.deliver(store)
            second.look_around()
            assert second.holds("bad")
            first.close()
            await second.deliver(store)
            second.look_around()
            assert second.holds("bad")
            poisoned.delete(*customer_keys("bad"))
            for _ in range(RETRY_DELIVERIES):
                await second.deliver(store)
            assert (await store.read("bad", NOW_MS)).contacts == (CONTACT,)
        second.close()

    asyncio.run(told())
    assert "set aside" in caplog.text
    assert "bad" not in caplog.text


def test_forgetting_reaches_what_was_set_aside(redis, poisoned, tmp_path):
    """An erased customer does not come back when the key is mended."""

    async def told() -> None:
        spool = Spool(tmp_path / "spool", NOW_MS)
        async with store_of(redis) as store:
            await spool.add_contacts("bad", [CONTACT])
            await spool.deliver(store)
            assert forget_spooled("bad", tmp_path) >= 1
            poisoned.delete(*customer_keys("bad"))
            for _ in range(RETRY_DELIVERIES):
                await spool.deliver(store)
            assert (await store.read("bad", NOW_MS)).contacts == ()
            assert len(spool) == 0
        spool.close()

    asyncio.run(told())


def test_another_workers_spool_that_began_anew_is_read_from_its_beginning(redis, tmp_path):
    """Delivered and filled again beyond what was read before, between two looks: who stands in it now is known."""

    async def told() -> None:
        first, second = Spool(tmp_path / "spool", NOW_MS), Spool(tmp_path / "spool", NOW_MS + 1)
        async with store_of(redis) as store:
            await first.add_events([complaint("one")])
            assert (second.holds("one"), second.holds("other")) == (True, False)
            await first.deliver(store)
            await first.add_events([complaint("other"), complaint("third")])
            assert (second.holds("one"), second.holds("other")) == (False, True)
        first.close()
        second.close()

    asyncio.run(told())


def test_much_that_is_unread_may_be_anybodys_until_it_is_read(tmp_path):
    """A call does not read a long spool of another worker: it counts as holding everybody until a thread has looked."""

    async def told() -> None:
        first, second = Spool(tmp_path / "spool", NOW_MS), Spool(tmp_path / "spool", NOW_MS + 1)
        for number in range(10):
            await first.add_events([complaint(f"c-{number}-{more}") for more in range(400)])
        assert second.holds("nobody")
        assert second.look_around()
        assert (second.holds("c-9-399"), second.holds("nobody")) == (True, False)
        first.close()
        second.close()

    asyncio.run(told())


def test_who_was_refused_by_a_full_disk_does_not_wait_for_ever(redis, tmp_path, monkeypatch):
    """Nothing of them is kept, so after the next delivery nothing of them is pending."""

    def full(line: bytes) -> int:
        raise JournalError("no space left on device")

    async def told() -> None:
        spool = Spool(tmp_path / "spool", NOW_MS)
        async with store_of(redis) as store:
            with monkeypatch.context() as disk:
                disk.setattr(spool._log.segment, "append", full)
                with pytest.raises(JournalError):
                    await spool.add_events([complaint("one")])
            await spool.deliver(store)
            assert not spool.holds("one")
        spool.close()

    asyncio.run(told())


def test_who_is_erased_does_not_come_back_with_a_delivery_in_flight(redis, tmp_path, monkeypatch):
    """The entry has been read from the spool and is on its way: erasing waits for it, and then it is erased too."""

    async def told() -> None:
        spool = Spool(tmp_path / "spool", NOW_MS)
        async with store_of(redis) as store:
            await spool.add_events([complaint("one")])
            on_its_way, arrive, append = asyncio.Event(), asyncio.Event(), store.append

            async def held_up(events: list[Activity]) -> None:
                on_its_way.set()
                await arrive.wait()
                await append(events)

            monkeypatch.setattr(store, "append", held_up)
            delivery = asyncio.create_task(spool.deliver(store))
            await on_its_way.wait()
            erasing = asyncio.create_task(forget("one", tmp_path, store, NOW_MS))
            early, _ = await asyncio.wait({erasing}, timeout=0.3)  # what it takes when nothing holds it
            arrive.set()
            await asyncio.gather(delivery, erasing)
            assert (await store.read("one", NOW_MS)).thread == ()
            assert not early
        spool.close()

    asyncio.run(told())


FOREIGN = [
    b'{"some": "object"}', b'{"events": 5}', b'{"events": [{}]}', b'{"events": [5]}', b'{"customer_id": "x"}',
    b'{"customer_id": ["x"]}', b'{"customer_id": "x", "contacts": [5]}', b'{"customer_id": "x", "intent": 5}',
]  # fmt: skip


@pytest.mark.parametrize("line", FOREIGN)
def test_a_foreign_line_in_a_spool_holds_nobody_up(redis, tmp_path, caplog, line):
    """In the spool of a worker that is gone: calls are answered beside it, what stands behind it is delivered, and it is said."""

    async def told() -> None:
        left, spool = Segment(tmp_path / "spool", "s", NOW_MS), Spool(tmp_path / "spool", NOW_MS + 1)
        left.append(line)
        left.append(orjson.dumps({"customer_id": "good", "contacts": [CONTACT]}))
        assert spool.holds("good")
        left.close()
        async with store_of(redis) as store:
            await spool.deliver(store)
            assert (await store.read("good", NOW_MS)).contacts == (CONTACT,)
            assert not spool.holds("good")
        assert forget_spooled("nobody", tmp_path) == 0
        spool.close()

    asyncio.run(told())
    assert "cannot be delivered" in caplog.text
