"""The customers' activity, profiles, contacts and threads in Redis. (Who has just done something is heard in news.py.)

Reading is one round trip (MGET and EXISTS together), whatever the number of features. Writing is one script for each
customer, so a customer's log and thread change together or not at all. Of a batch over several customers a dying
connection may leave a part written; sending the batch again is harmless, because an event id counts once.

Commands of Redis 6.2. Every key of a customer carries the same hash tag, so the same code runs on Redis Cluster.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from redis import exceptions as failed
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from features import compaction, contacts, thread
from features.address import check_address
from features.keys import INGEST_TTL_S, PINS_TTL_S, CustomerKeys, customer_keys, ingest_key, pins_key
from features.lane import Lane
from features.longlogs import LongLogs
from features.packing import pack
from features.profile import dump_profile
from features.rewrite import Rewriting
from features.spec import FeatureSpec
from features.store_errors import FAILURES, store_error
from features.view import customer, with_damage
from nba.domain import Activity, Contact, Customer, StatedIntent
from nba.errors import StoreError
from nba.rules import Value

_LOG = logging.getLogger(__name__)

# KEYS: the four keys of a customer. ARGV: seconds to live, then what to append to each ('' for nothing).
# Whoever does something is not silent: all that is known of them lives on together. Who may not publish (news.py) may
# still append.
_APPEND = """
local lengths = {}
for i, key in ipairs(KEYS) do
  lengths[i] = 0
  if ARGV[i + 1] ~= '' then lengths[i] = redis.call('APPEND', key, ARGV[i + 1]) end
  redis.call('EXPIRE', key, ARGV[1])
end
if ARGV[2] ~= '' then redis.pcall('PUBLISH', KEYS[1], '') end
return lengths
"""

# The values of a customer's keys and how many of the keys are there: for a cluster, whose client sends one command a trip.
_READ = """
local found = redis.call('MGET', unpack(KEYS))
found[#KEYS + 1] = redis.call('EXISTS', unpack(KEYS))
return found
"""


def _is_read(values: Any, there: Any) -> bool:
    """Whether this is what a Redis answers to a read; a server of another kind may answer anything."""
    whole = isinstance(values, list) and len(values) == 4 and isinstance(there, int)
    return whole and all(value is None or isinstance(value, bytes) for value in values)


class Packed(NamedTuple):
    """What is to be appended for one customer: packed events and lines of the thread."""

    customer_id: str
    log: bytes
    thread: bytes = b""


class Store:
    """Customers in Redis. Made by `Store.open`; one for each event loop, shared by all its tasks."""

    def __init__(self, client: Any, url: str, spec: FeatureSpec, timeout_s: float) -> None:
        self._client = client
        # A cluster has a line to each node, and the library knows which one to take.
        self._lane = (
            None if isinstance(client, RedisCluster) else Lane(self._connected, timeout_s, failed.ResponseError)
        )
        self._url = url
        self._spec = spec
        self._config = spec.config
        self._ttl_s = spec.config.retention_days * 86_400
        self._rewriting = Rewriting(client)
        self._long_logs = LongLogs(spec)

    @classmethod
    async def open(cls, url: str, spec: FeatureSpec, *, timeout_s: float) -> Self:
        """A store on redis://, rediss://, unix:// or redis+cluster://. Connects at the first call and again by itself.

        `timeout_s`: for connecting and for each answer; a call never hangs. Raises InputError when the URL is none of these.
        """
        check_address(url)
        # One silent second try after a connection that died in the pool: appends may be repeated without harm.
        # Not after a timeout: the caller's time is over then.
        options: dict[str, Any] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_read_size": 1 << 18,
            "retry": Retry(NoBackoff(), 1, supported_errors=(failed.ConnectionError,)),
            "protocol": 2,
        }
        kind: Any = RedisCluster if "+cluster://" in url else Redis
        return cls(kind.from_url(url.replace("+cluster", "", 1), **options), url, spec, timeout_s)

    async def _connected(self) -> Any:
        connection = self._client.connection_pool.make_connection()
        await connection.connect()
        return connection

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise store_error(error, self._url) from error

    async def read(self, customer_id: str, now_ms: int, entries: int | None = None) -> Customer:
        """All that is known of a customer at `now_ms`, in one round trip; an unknown one is empty. Raises StoreError.

        `entries`: how much of the thread is wanted; all that is kept where not given.
        What lies after `now_ms` is not there. `degraded` names what was damaged and answered as far as it can be read.
        """
        keys = customer_keys(customer_id)
        try:
            if self._lane is None:
                *values, there = await self._client.execute_command("EVAL", _READ, 4, *keys)
            else:
                values, there = await self._lane.both(("MGET", *keys), ("EXISTS", *keys))
            if not _is_read(values, there):
                raise failed.ResponseError("something else than the values of four keys")
            # MGET says nothing of a key that holds another type, EXISTS counts it.
            foreign = () if there == 4 - values.count(None) else await self._foreign(keys)
        except FAILURES as error:
            raise store_error(error, self._url) from error
        raw, profile, met, told = values
        log = self._long_logs.settle(customer_id, raw or b"")
        known = customer(customer_id, log, profile, met or b"", told or b"", now_ms, self._spec, entries=entries)
        return with_damage(known, foreign) if foreign else known

    async def _foreign(self, keys: CustomerKeys) -> list[int]:
        """Places of the keys that hold a type that is not ours; none when one of ours was only just written."""
        kinds = [await self._client.execute_command("TYPE", key) for key in keys]
        return [place for place, kind in enumerate(kinds) if kind not in (b"string", b"none")]

    async def log(self, customer_id: str) -> bytes:
        """The packed events of a customer as they lie there, for `features.series`. Raises StoreError."""
        with self._guard():
            raw: bytes | None = await self._client.execute_command("GET", customer_keys(customer_id).log)
        return raw or b""

    async def append(self, events: Sequence[Activity]) -> None:
        """Keep events; they are in Redis when this returns. Order does not matter, repeating changes nothing.

        Raises StoreError; then some customers' events may be kept and others not: send all of them again.
        """
        logs: dict[str, list[bytes]] = {}
        lines: dict[str, list[bytes]] = {}
        for event in events:
            logs.setdefault(event.customer_id, []).append(pack(event, self._spec.channels))
            if thread.needs_line(event, self._spec):
                lines.setdefault(event.customer_id, []).append(thread.line(event))
        await self.append_packed([Packed(c, b"".join(log), b"".join(lines.get(c, ()))) for c, log in logs.items()])

    async def append_packed(self, batch: Sequence[Packed]) -> None:
        """Keep events that are packed already, as `append` does."""
        lengths = await self._append([(item.customer_id, item.log, b"", b"", item.thread) for item in batch])
        for item, (log_bytes, _, _, thread_bytes) in zip(batch, lengths, strict=True):
            keys = customer_keys(item.customer_id)
            if log_bytes > compaction.log_limit(self._config):
                await self._shorten(keys.log, lambda raw: compaction.shorter_log(raw, self._config))
            if thread_bytes > compaction.thread_limit(self._config):
                await self._shorten(keys.thread, lambda raw: thread.shortened(raw, self._spec))

    async def append_intent(self, customer_id: str, said: StatedIntent) -> None:
        """Keep what an interaction is about; repeating changes nothing. Raises StoreError."""
        await self.append_packed([Packed(customer_id, b"", thread.intent_line(said))])

    async def append_contacts(self, customer_id: str, met: Sequence[Contact]) -> None:
        """Keep contacts; one counts for each decision, offer and outcome. Raises StoreError."""
        if not met:
            return
        lines = b"".join(map(contacts.line, met))
        [(_, _, length, _)] = await self._append([(customer_id, b"", b"", lines, b"")])
        if length > contacts.SHORTEN_BYTES:
            await self._shorten(customer_keys(customer_id).contacts, contacts.shortened)

    async def _append(self, batch: Iterable[tuple[str, bytes, bytes, bytes, bytes]]) -> list[list[int]]:
        """The lengths of each customer's four values (0 where nothing was appended)."""
        pipeline = self._client.pipeline(transaction=False)
        for customer_id, *parts in batch:
            pipeline.execute_command("EVAL", _APPEND, 4, *customer_keys(customer_id), self._ttl_s, *parts)
        lengths = await self._run(pipeline)
        with self._guard():
            if not all(isinstance(each, list) and len(each) == 4 for each in lengths):
                raise failed.ResponseError("something else than the lengths of four values")
        return lengths

    async def _run(self, pipeline: Any) -> list[Any]:
        with self._guard():
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    async def _shorten(self, key: str, shorter: Callable[[bytes], bytes]) -> None:
        """Write a value anew; see compaction. What was appended is kept already, so a failure here fails no append."""
        try:
            with self._guard():
                raw: bytes = await self._client.execute_command("GET", key) or b""
            await self._replace(key, raw, shorter(raw))
        except StoreError as error:
            _LOG.warning("a value that has outgrown its limit stays long for now: %s", error)

    async def _replace(self, key: str, read: bytes, new: bytes) -> bool:
        """Put `new` in the place of what was read, if that still is how the value begins."""
        if not read:
            return False
        digest = hashlib.sha1(read, usedforsecurity=False).hexdigest()
        with self._guard():
            command = ("EVAL", compaction.REPLACE, 1, key, digest, len(read), new)
            return bool(await self._client.execute_command(*command))

    async def put_profile(self, customer_id: str, profile: Mapping[str, Value], now_ms: int) -> None:
        """Replace the profile. Raises StoreError."""
        await self.put_profiles([(customer_id, profile)], now_ms)

    async def put_profiles(self, profiles: Iterable[tuple[str, Mapping[str, Value]]], now_ms: int) -> None:
        """Replace many profiles in one round trip. Raises StoreError; then repeat all of them."""
        pipeline = self._client.pipeline(transaction=False)
        for customer_id, profile in profiles:
            key = customer_keys(customer_id).profile
            pipeline.execute_command("SET", key, dump_profile(profile, now_ms), "EX", self._ttl_s)
        await self._run(pipeline)

    async def forget(self, customer_id: str) -> int:
        """Erase a customer; the number of keys that were there. Raises StoreError."""
        self._long_logs.forget(customer_id)
        with self._guard():
            return int(await self._client.execute_command("DEL", *customer_keys(customer_id), pins_key(customer_id)))

    async def rewrite_file(self) -> None:
        """Have the engine's own Redis write its append-only file anew, without what was erased; waits. Raises StoreError.

        Never for a Redis of somebody else's: when its file is rewritten is theirs to say.
        """
        with self._guard():
            await self._rewriting.rewrite()

    async def pin(self, customer_id: str, interaction_id: str, arm: str) -> str:
        """Keep the arm of an interaction, the first one for good; the one that stands. Raises StoreError."""
        key = pins_key(customer_id)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.execute_command("HSETNX", key, interaction_id, arm)
        pipeline.execute_command("HGET", key, interaction_id)
        pipeline.execute_command("EXPIRE", key, PINS_TTL_S)
        _, standing, _ = await self._run(pipeline)
        with self._guard():
            if not isinstance(standing, bytes):
                raise failed.ResponseError("something else than an arm")
        return standing.decode()

    async def ingest_mark(self, fingerprint: str) -> bytes | None:
        """How far the ingestion of a file had come; None: not begun, or finished. Raises StoreError."""
        with self._guard():
            mark: bytes | None = await self._client.execute_command("GET", ingest_key(fingerprint))
        return mark

    async def set_ingest_mark(self, fingerprint: str, mark: bytes | None) -> None:
        """Note how far it has come; None: it is finished. The mark lives in the store that holds the rows, and dies with it."""
        key = ingest_key(fingerprint)
        command = ("DEL", key) if mark is None else ("SET", key, mark, "EX", INGEST_TTL_S)
        with self._guard():
            await self._client.execute_command(*command)

    async def ping(self) -> None:
        """Raises StoreError when Redis does not answer."""
        with self._guard():
            if not await self._client.ping():
                raise failed.ResponseError("no PONG")

    async def close(self) -> None:
        """Let go of the connections."""
        with self._guard():
            if self._lane is not None:
                await self._lane.close()
            await self._client.aclose()
