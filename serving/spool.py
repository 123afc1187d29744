"""What Redis still has to get: events and contacts that came while it was away, kept on the disk and delivered later.

Delivery may repeat what Redis has already got (a crash between the two); an event's id and a contact's decision make
that harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from features.store import Store
from nba.domain import Activity, Contact
from nba.errors import InputError
from serving.segment import DurableLog, abandoned, parse_line, segments

log = logging.getLogger("nba.serving")


class Spool:
    """One worker's spool. What `add_…` has returned from is on the disk."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        self._folder = folder
        self._log = DurableLog(folder, "s", now_ms)
        self._sent = 0
        self._waiting: Counter[str] = Counter()
        self._delivering = asyncio.Lock()

    def __len__(self) -> int:
        """Bytes that wait."""
        return self._log.segment.size - self._sent

    def holds(self, customer_id: str) -> bool:
        """Whether something of this customer waits here."""
        return customer_id in self._waiting

    async def add_events(self, events: Sequence[Activity]) -> None:
        """Keep events. Raises JournalError."""
        await self._add({"events": events}, {event.customer_id for event in events})

    async def add_contacts(self, customer_id: str, contacts: Sequence[Contact]) -> None:
        """Keep contacts. Raises JournalError."""
        await self._add({"customer_id": customer_id, "contacts": contacts}, {customer_id})

    async def _add(self, entry: dict[str, Any], customers: set[str]) -> None:
        self._waiting.update(customers)
        await self._log.append(orjson.dumps(entry))

    async def deliver(self, store: Store) -> None:
        """Send what waits here and what killed workers left. Raises StoreError when Redis is (still) away."""
        async with self._delivering:
            await self._deliver_own(store)
            for path in segments(self._folder, "s"):
                with abandoned(path) as handle:
                    if handle is not None:
                        await _deliver_file(handle, store)
                        path.unlink()

    async def _deliver_own(self, store: Store) -> None:
        segment = self._log.segment
        while len(self):
            line = segment.line_at(self._sent)
            entry = parse_line(line)
            if entry is not None:
                await _send(entry, store)
                self._forget(entry)
            self._sent += len(line)
        if self._sent:
            segment.clear()
            self._sent = 0
            self._waiting.clear()

    def _forget(self, entry: dict[str, Any]) -> None:
        customers = {e["customer_id"] for e in entry["events"]} if "events" in entry else {entry["customer_id"]}
        self._waiting.subtract(customers)
        for customer_id in customers:
            if self._waiting[customer_id] <= 0:
                del self._waiting[customer_id]

    def close(self) -> None:
        """Give the file up; what waits in it is delivered by the next process."""
        self._log.segment.close(remove=not len(self))


async def _deliver_file(handle: BinaryIO, store: Store) -> None:
    for line in handle:
        entry = parse_line(line)
        if entry is not None:
            await _send(entry, store)


async def _send(entry: dict[str, Any], store: Store) -> None:
    try:
        if "events" in entry:
            await store.append([Activity(**event) for event in entry["events"]])
        else:
            await store.append_contacts(entry["customer_id"], [Contact(**contact) for contact in entry["contacts"]])
    except (InputError, TypeError) as error:
        # A type that the config no longer knows: nobody will ever take it, and it must not block what follows.
        log.error("a spooled entry cannot be delivered and is dropped", extra={"error": str(error)})
