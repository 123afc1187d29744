"""Who has just done something: Redis says it, to whoever watches that customer.

The script that appends a customer's events publishes on the key of their log, so every way in (a call, a file, another
machine, what waited on a disk) is heard everywhere, and a customer nobody watches costs one look-up in Redis. News are
hints of what is in the store: one that gets lost delays something and corrupts nothing. `gaps` counts the times when
some may have got lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis import exceptions as failed
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from features.keys import NEWS, customer_keys
from features.store_errors import FAILURES

# What the library makes of answers that are no Redis's.
_NONSENSE = (AttributeError, IndexError, TypeError, ValueError)
_QUIET_S = 10.0
_REST_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_LOG = logging.getLogger(__name__)


class News:
    """One subscription of one process. `heard` is called with the customer's id; `run` has to run beside it.

    On a cluster every node tells what is published at any of them, so one node is listened to.
    """

    def __init__(self, url: str, heard: Callable[[str], None], *, timeout_s: float) -> None:
        self._client: Any = Redis.from_url(
            url.replace("+cluster", "", 1),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._heard, self._timeout_s = heard, timeout_s
        self._watched: dict[bytes, str] = {}
        self._confirmed: dict[bytes, asyncio.Future[None]] = {}
        self._line: Any = None
        self.gaps = 0

    @property
    def live(self) -> bool:
        """Whether it hears something at the moment."""
        return self._line is not None

    async def watch(self, customer_id: str) -> bool:
        """Hear of this customer from now on; False: not yet, it is tried again as long as `run` runs."""
        channel = _channel(customer_id)
        self._watched[channel] = customer_id
        if self._line is None:
            return False
        confirmed = self._confirmed.setdefault(channel, asyncio.get_running_loop().create_future())
        try:
            await self._line.subscribe(channel)
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(confirmed)
        except (*FAILURES, TimeoutError):
            return False
        return True

    async def unwatch(self, customer_id: str) -> None:
        """Hear no more of this customer."""
        channel = _channel(customer_id)
        self._watched.pop(channel, None)
        self._drop(channel)
        if self._line is not None:
            with suppress(*FAILURES):
                await self._line.unsubscribe(channel)

    async def run(self) -> None:
        """Listen, and again after every failure, until cancelled."""
        failures = 0
        while not _is_cancelled():
            try:
                async with self._client.pubsub() as line:
                    await self._join(line)
                    failures = 0
                    await self._listen(line)
            except (*FAILURES, *_NONSENSE) as error:
                failures += 1
                if failures == 1:
                    _LOG.warning("no news from Redis, so streams look every few seconds (allow PUB/SUB): %s", error)
            finally:
                self._lost()
            if not _is_cancelled():
                await asyncio.sleep(_REST_S[min(failures, len(_REST_S)) - 1])

    async def _join(self, line: Any) -> None:
        await line.subscribe(NEWS)
        if await line.get_message(timeout=self._timeout_s) is None:
            raise failed.ConnectionError("Redis does not confirm a subscription")
        # From here on `watch` subscribes by itself; whoever came before is in this list.
        self._line, before = line, list(self._watched)
        if before:
            await line.subscribe(*before)

    async def _listen(self, line: Any) -> None:
        """Hand on what comes, until cancelled. Raises when the line is dead, silence after a PING included."""
        asked = False
        while not _is_cancelled():
            message = await line.get_message(timeout=_QUIET_S)
            if message is not None:
                asked = False
                self._take(message["type"], message["channel"])
            elif asked:
                raise failed.ConnectionError("Redis does not answer on the line of news")
            else:
                await line.ping()
                asked = True

    def _take(self, kind: str, channel: bytes) -> None:
        if kind == "message" and (customer_id := self._watched.get(channel)) is not None:
            self._heard(customer_id)
        elif kind == "subscribe":
            self._drop(channel)
            self.gaps += channel == NEWS.encode()  # the library has connected anew by itself

    def _lost(self) -> None:
        self._line = None
        self.gaps += 1
        for channel in list(self._confirmed):
            self._drop(channel)

    def _drop(self, channel: bytes) -> None:
        confirmed = self._confirmed.pop(channel, None)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)

    async def close(self) -> None:
        """Let go of the connection; `run` has to have ended."""
        with suppress(*FAILURES):
            await self._client.aclose()


def _is_cancelled() -> bool:
    """Whether this task has been told to end. The library may take the cancellation for a time-out of its own, or fail at it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _channel(customer_id: str) -> bytes:
    return customer_keys(customer_id).log.encode()
