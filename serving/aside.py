"""What one customer's keys do not take: set aside, so that nothing waits behind it, and tried again now and then.

Another program's value under a key of ours refuses every append to it until somebody removes it. What is refused lies
in a file of its own, as durable as the spool, one line for each entry of one customer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from features.store import Store
from features.store_errors import ForeignValueError
from nba.domain import Activity, Contact, StatedIntent
from nba.errors import InputError
from serving.segment import DurableLog, parse_line

log = logging.getLogger("nba.serving")
KIND = "x"
RETRY_DELIVERIES = 30  # one a second: a try for nothing may append to those of the customer's keys that are in order


class Aside:
    """One worker's entries that were set aside. The file is made when the first one comes."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        self._folder, self._now_ms = folder, now_ms
        self._log: DurableLog | None = None
        self._kept: dict[int, tuple[int, str]] = {}  # by offset: bytes and customer
        self._deliveries = 0

    def __len__(self) -> int:
        """Bytes that wait."""
        return sum(length for length, _ in self._kept.values())

    @property
    def path(self) -> Path | None:
        """Its file; None as long as nothing was ever set aside."""
        return self._log.segment.path if self._log else None

    def holds(self, customer_id: str) -> bool:
        """Whether something of this customer lies here."""
        return bool(self._kept) and any(customer_id == whose for _, whose in self._kept.values())

    async def keep(self, entry: dict[str, Any]) -> None:
        """Set an entry of one customer aside; on the disk when this returns. Raises JournalError."""
        if self._log is None:
            self._log = DurableLog(self._folder, KIND, self._now_ms)
        line, offset = orjson.dumps(entry), self._log.segment.size
        (whose,) = customers_of(entry)
        await self._log.append(line)
        self._kept[offset] = (len(line) + 1, whose)
        log.error("a customer's keys hold a foreign value: what came for them is set aside and tried again",
                  extra={"set_aside": len(self._kept)})  # fmt: skip

    async def retry(self, store: Store) -> None:
        """Send what lies here, at every thirtieth call. Raises StoreError when Redis is away."""
        self._deliveries += 1
        if not self._kept or self._log is None or self._deliveries % RETRY_DELIVERIES:
            return
        for offset in list(self._kept):
            entry = parse_line(self._log.segment.line_at(offset))  # None: the customer was erased
            if entry is None or not await send(entry, store):
                del self._kept[offset]
        if not self._kept:
            self._log.segment.clear()

    def close(self) -> None:
        """Give the file up; what lies in it is taken over by the next process."""
        if self._log is not None:
            self._log.segment.close(remove=not self._kept)


def customers_of(entry: dict[str, Any]) -> set[str]:
    """Who stands in an entry of the spool; nobody in one that is none of ours."""
    try:
        return {event["customer_id"] for event in entry["events"]} if "events" in entry else {entry["customer_id"]}
    except (LookupError, TypeError):
        return set()


async def send(entry: dict[str, Any], store: Store) -> list[dict[str, Any]]:
    """Deliver an entry; what foreign values refused of it, an entry for each customer. Raises StoreError."""
    try:
        await _send(entry, store)
    except ForeignValueError:
        parts = list(_by_customer(entry))
        if len(parts) == 1:
            return parts
        return [refused for part in parts for refused in await send(part, store)]
    return []


def _by_customer(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "events" not in entry:
        yield entry
        return
    for whose in sorted(customers_of(entry)):
        yield {"events": [event for event in entry["events"] if event["customer_id"] == whose]}


async def _send(entry: dict[str, Any], store: Store) -> None:
    try:
        if "events" in entry:
            await store.append([Activity(**event) for event in entry["events"]])
        elif "intent" in entry:
            await store.append_intent(entry["customer_id"], StatedIntent(**entry["intent"]))
        else:
            await store.append_contacts(entry["customer_id"], [Contact(**contact) for contact in entry["contacts"]])
    except (InputError, LookupError, TypeError, ValueError, AttributeError) as error:
        # A type that the config no longer knows, or a foreign line: nobody will ever take it, and it must not block what follows.
        log.error("a spooled entry cannot be delivered and is dropped", extra={"error": str(error)})
