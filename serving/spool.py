"""What Redis still has to get: events and contacts that came while it was away, kept on the disk and delivered later.

Delivery may repeat what Redis has already got (a crash between the two); an event's id and a contact's decision make
that harmless.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
        self._elsewhere: dict[Path, _Seen] = {}
        self._delivering = asyncio.Lock()

    def __len__(self) -> int:
        """Bytes that wait."""
        return self._log.segment.size - self._sent

    def holds(self, customer_id: str) -> bool:
        """Whether something of this customer waits here, or waited in another worker's spool at the last look around."""
        if customer_id in self._waiting:
            return True
        return bool(self._elsewhere) and any(customer_id in seen.customers for seen in self._elsewhere.values())

    def look_around(self) -> None:
        """Learn whose things wait in the spools of the other workers. Reads what is new there: for a thread."""
        others = (path for path in segments(self._folder, "s") if path != self._log.segment.path)
        looked = ((path, _look(path, self._elsewhere.get(path, _NOTHING_SEEN))) for path in others)
        self._elsewhere = {path: seen for path, seen in looked if seen.customers}

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
        customers = _customers(entry)
        self._waiting.subtract(customers)
        for customer_id in customers:
            if self._waiting[customer_id] <= 0:
                del self._waiting[customer_id]

    def close(self) -> None:
        """Give the file up; what waits in it is delivered by the next process."""
        self._log.segment.close(remove=not len(self))


@dataclass(frozen=True, slots=True)
class _Seen:
    """Another worker's spool, as far as it has been read, and who stands in it."""

    end: int
    customers: frozenset[str]


_NOTHING_SEEN = _Seen(0, frozenset())


def _look(path: Path, before: _Seen) -> _Seen:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # Shorter than before: it was delivered and begun anew.
            before = before if size >= before.end else _NOTHING_SEEN
            file.seek(before.end)
            text = file.read(size - before.end)
    except FileNotFoundError:
        return _NOTHING_SEEN
    whole = text[: text.rfind(b"\n") + 1]
    entries = (parse_line(line) for line in whole.splitlines(keepends=True))
    found = frozenset().union(*(_customers(entry) for entry in entries if entry is not None))
    return _Seen(before.end + len(whole), before.customers | found)


def _customers(entry: dict[str, Any]) -> set[str]:
    return {event["customer_id"] for event in entry["events"]} if "events" in entry else {entry["customer_id"]}


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
