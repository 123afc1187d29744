"""What Redis still has to get: events and contacts that came while it was away, kept on the disk and delivered later.

Delivery may repeat what Redis has already got (a crash between the two); an event's id and a contact's decision make
that harmless.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from features.store import Store
from nba.domain import Activity, Contact, StatedIntent
from serving.aside import KIND as ASIDE
from serving.aside import Aside, customers_of, send
from serving.segment import DELIVERY_LOCK, DurableLog, abandoned, parse_line, segments, shared

KINDS = ("s", ASIDE)
# What a call reads of the other spools before it answers; more is left to the thread, and nothing is sold until then.
_READ_AT_ONCE = 256 << 10


class Spool:
    """One worker's spool. What `add_events` and `add_contacts` have returned from is on the disk."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        self._folder = folder
        self._log = DurableLog(folder, "s", now_ms, may_wait=True)
        self.aside = Aside(folder, now_ms)
        self._sent = 0
        self._waiting: Counter[str] = Counter()
        self._intents: set[tuple[str, str, str]] = set()  # each waits once, however often it is said
        self._elsewhere: dict[Path, _Seen] = {}
        self._looked_at = -1
        self._looking = threading.Lock()
        self._delivering = asyncio.Lock()

    def __len__(self) -> int:
        """Bytes that wait, what is set aside among them."""
        return self._log.segment.size - self._sent + len(self.aside)

    def holds(self, customer_id: str) -> bool:
        """Whether something of this customer waits, here or in another worker's spool.

        What another worker has acknowledged counts at once; where it cannot be read in passing, it may be anybody's.
        """
        if customer_id in self._waiting or self.aside.holds(customer_id):
            return True
        if self._stamp() != self._looked_at and not self.look_around(_READ_AT_ONCE):
            return True
        return bool(self._elsewhere) and any(customer_id in seen.customers for seen in self._elsewhere.values())

    def look_around(self, most_bytes: int | None = None) -> bool:
        """Learn whose things wait in the spools of the other workers. Reads what is new there: without a limit for a thread.

        False: not done, there is more than `most_bytes` or a thread is at it.
        """
        if not self._looking.acquire(blocking=False):
            return False
        try:
            stamp = self._stamp()  # taken first: what comes while we look is looked at again
            before = {path: self._elsewhere.get(path, _NOTHING_SEEN) for path in self._others()}
            if most_bytes is not None and sum(_unread(path, seen) for path, seen in before.items()) > most_bytes:
                return False
            looked = ((path, _look(path, seen)) for path, seen in before.items())
            self._elsewhere = {path: seen for path, seen in looked if seen.customers}
            self._looked_at = stamp
        finally:
            self._looking.release()
        return True

    def _others(self) -> list[Path]:
        own = (self._log.segment.path, self.aside.path)
        return [path for kind in KINDS for path in segments(self._folder, kind) if path not in own]

    def _stamp(self) -> int:
        """Changes with every entry that any worker adds: one look at the folder instead of one at each file."""
        try:
            return os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - asked for every answer, and half as quick with a Path
        except OSError:
            return -2

    async def add_events(self, events: Sequence[Activity]) -> None:
        """Keep events. Raises JournalError."""
        await self._add({"events": events}, {event.customer_id for event in events})

    async def add_contacts(self, customer_id: str, contacts: Sequence[Contact]) -> None:
        """Keep contacts. Raises JournalError."""
        await self._add({"customer_id": customer_id, "contacts": contacts}, {customer_id})

    def add_intent(self, customer_id: str, said: StatedIntent) -> None:
        """Keep what an interaction is about. Raises JournalError.

        Written, not forced to the disk: an answer waits for it, and its own line in the journal is no safer.
        """
        which = (customer_id, said.interaction_id, said.intent)
        if which in self._intents:
            return
        self._waiting.update({customer_id})
        self._log.segment.append(orjson.dumps({"customer_id": customer_id, "intent": said}))
        self._intents.add(which)
        self._tell()

    async def _add(self, entry: dict[str, Any], customers: set[str]) -> None:
        self._waiting.update(customers)
        await self._log.append(orjson.dumps(entry))
        self._tell()

    def _tell(self) -> None:
        """Have the other workers look."""
        now_ns = time.time_ns()  # to the nanosecond: the kernel's own stamps stand still for milliseconds
        with suppress(OSError):
            os.utime(self._folder, ns=(now_ns, now_ns))

    async def deliver(self, store: Store) -> None:
        """Send what waits here and what killed workers left. What the keys of one customer refuse is set aside.

        While a customer is being erased nothing is sent: the next delivery does it. Raises StoreError when Redis is (still)
        away, and JournalError.
        """
        async with self._delivering:
            with shared(self._folder / DELIVERY_LOCK) as free:
                if free:
                    await self._deliver_all(store)

    async def _deliver_all(self, store: Store) -> None:
        await self._deliver_own(store)
        await self.aside.retry(store)
        for path in [path for kind in KINDS for path in segments(self._folder, kind)]:
            with abandoned(path) as handle:
                if handle is not None:
                    await _deliver_file(handle, store, self.aside)
                    path.unlink()

    async def _deliver_own(self, store: Store) -> None:
        segment = self._log.segment
        while self._sent < segment.size:
            line = segment.line_at(self._sent)
            entry = parse_line(line)
            if entry is not None:
                for refused in await send(entry, store):
                    await self.aside.keep(refused)
                self._forget(entry)
            self._sent += len(line)
        if self._sent:
            segment.clear()
        self._sent = 0
        # Also of those whose entry a full disk refused: nobody waits any more.
        self._waiting.clear()
        self._intents.clear()

    def _forget(self, entry: dict[str, Any]) -> None:
        customers = customers_of(entry)
        self._waiting.subtract(customers)
        for customer_id in customers:
            if self._waiting[customer_id] <= 0:
                del self._waiting[customer_id]

    def close(self) -> None:
        """Give the file up; what waits in it is delivered by the next process."""
        self._log.segment.close(remove=self._sent == self._log.segment.size)
        self.aside.close()


@dataclass(frozen=True, slots=True)
class _Seen:
    """Another worker's spool, as far as it has been read, its last bytes there, and who stands in it."""

    end: int
    tail: bytes
    customers: frozenset[str]


_NOTHING_SEEN = _Seen(0, b"", frozenset())
_TAIL_BYTES = 128


def _unread(path: Path, seen: _Seen) -> int:
    try:
        return path.stat().st_size - seen.end
    except FileNotFoundError:
        return 0


def _look(path: Path, before: _Seen) -> _Seen:
    try:
        with path.open("rb") as file:
            file.seek(before.end - len(before.tail))
            if file.read(len(before.tail)) != before.tail:
                before = _NOTHING_SEEN  # it was delivered and begun anew, or somebody in it was erased
                file.seek(0)
            text = file.read()
    except FileNotFoundError:
        return _NOTHING_SEEN
    whole = text[: text.rfind(b"\n") + 1]
    entries = (parse_line(line) for line in whole.splitlines(keepends=True))
    found = frozenset().union(*(customers_of(entry) for entry in entries if entry is not None))
    return _Seen(before.end + len(whole), (before.tail + whole)[-_TAIL_BYTES:], before.customers | found)


async def _deliver_file(handle: BinaryIO, store: Store, aside: Aside) -> None:
    for line in handle:
        entry = parse_line(line)
        if entry is not None:
            for refused in await send(entry, store):
                await aside.keep(refused)
