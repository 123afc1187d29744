"""The decision log while it is being written: one line a decision, on the disk before the answer leaves.

Under the state folder:

    live/d….jsonl                      decisions as they are made, one segment a worker (segment.py says who owns it)
    live/o….jsonl                      outcomes, each forced to the disk before it is acknowledged
    decisions/day=2026-11-23/part-d….parquet     one row a shown candidate: what `nba train` and `nba evaluate` read
    records/day=2026-11-23/part-d….parquet       one row a decision: the whole record, for replay and for questions
    outcomes/day=…, outcomes_delayed/day=…       what was reported, as it was reported
    quarantine/d….jsonl, o….jsonl      lines of segments that no row could be made of, each with the reason

A decision's id says where its record stands (day, segment, byte offset), so nothing has to be indexed. `roll.py` turns
closed segments into Parquet.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from nba.clock import day_of
from nba.errors import JournalError, NotFoundError
from serving.segment import DELIVERY_LOCK, SUFFIX, DurableLog, Segment, parse_line

TABLES = ("decisions", "records", "outcomes", "outcomes_delayed")
_ID = re.compile(r"(20\d\d)(\d\d)(\d\d)-(d[0-9a-f]{21})-([0-9a-f]{10})", re.ASCII)
_MAX_LINE = 4 << 20
_ROOM_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where a decision's record stands."""

    day: str
    segment: str
    offset: int


@dataclass(frozen=True, slots=True)
class Folders:
    """The places of the decision log under one state folder."""

    state: Path

    @property
    def live(self) -> Path:
        """Segments that are being written or wait to be rolled."""
        return self.state / "live"

    @property
    def quarantine(self) -> Path:
        """Lines that no row could be made of."""
        return self.state / "quarantine"

    @property
    def spool(self) -> Path:
        """What Redis still has to get."""
        return self.state / "spool"

    @property
    def delivery_lock(self) -> Path:
        """Keeps deliveries away while a customer is being erased."""
        return self.spool / DELIVERY_LOCK

    @property
    def roll_lock(self) -> Path:
        """Held while Parquet parts of the log are being changed."""
        return self.state / "roll.lock"

    def part(self, table: str, day: str, segment: str) -> Path:
        """The Parquet part that a segment becomes."""
        return self.state / table / f"day={day}" / f"part-{segment}.parquet"

    def halves(self, table: str) -> Iterator[Path]:
        """What a process was writing of a part when it was killed. The caller holds the lock of the rolls: nobody writes."""
        return (self.state / table).glob("day=*/.part-*")

    def parts(self, table: str, day: str = "*") -> Iterator[Path]:
        """Every part of a table, or of one day of it."""
        return iter(sorted((self.state / table).glob(f"day={day}/part-*.parquet")))


def decision_id(day: str, segment: str, offset: int) -> str:
    """20261123-d019ab…-000000f3a0; offsets of one segment sort as text."""
    return f"{day[:4]}{day[5:7]}{day[8:10]}-{segment}-{offset:010x}"


def place_of(identifier: str) -> Place:
    """Where a decision stands. Ids come from outside: anything else than one of ours raises NotFoundError."""
    match = _ID.fullmatch(identifier)
    if match is None:
        raise NotFoundError("no such decision: give a decision_id as /v1/recommend answered it")
    year, month, day, segment, offset = match.groups()
    return Place(f"{year}-{month}-{day}", segment, int(offset, 16))


class Journal:
    """What one process appends to the decision log. `write` is synchronous on purpose: nothing comes between id and line.

    A disk that is full when it is opened is as one that becomes full later: each write is refused until there is room.
    """

    def __init__(self, state_dir: Path, now_ms: int, *, max_bytes: int = 64 << 20, max_age_ms: int = 600_000) -> None:
        self.folders = Folders(state_dir)
        self._max_bytes, self._max_age_ms = max_bytes, max_age_ms
        self.decisions = Segment(self.folders.live, "d", now_ms, may_wait=True)
        self.outcomes = DurableLog(self.folders.live, "o", now_ms, may_wait=True)
        self._day = day_of(now_ms)

    def next_id(self, now_ms: int) -> str:
        """The id of the decision that is written next. Raises JournalError when a new day needs a new segment."""
        if day_of(now_ms) != self._day:
            self.rotate(now_ms)
        return decision_id(self._day, self.decisions.name, self.decisions.size)

    def write(self, record: bytes) -> None:
        """Append one decision, its id taken from `next_id` just before. Raises JournalError: then give no answer."""
        self.decisions.append(record)

    async def write_outcome(self, row: dict[str, Any]) -> None:
        """Append one outcome; it is on the disk when this returns. Raises JournalError."""
        await self.outcomes.append(orjson.dumps(row))

    def due(self, now_ms: int) -> bool:
        """Whether the current segments are full or old enough to be rolled. Empty ones never are."""
        return any(self._full(segment, now_ms) for segment in (self.decisions, self.outcomes.segment))

    def _full(self, segment: Segment, now_ms: int) -> bool:
        old = now_ms - segment.created_ms >= self._max_age_ms
        return segment.size > 0 and (old or segment.size >= self._max_bytes)

    def probe(self) -> None:
        """Raises JournalError when the disk fails, or has no room for more decisions."""
        for segment in (self.decisions, self.outcomes.segment):
            segment.sync()
        if shutil.disk_usage(self.folders.live).free < _ROOM_BYTES:
            raise JournalError(f"the disk under {self.folders.live} is full: free space there")

    def rotate(self, now_ms: int) -> None:
        """Go on in a new segment of decisions; the old one may be rolled from now on."""
        fresh = Segment(self.folders.live, "d", now_ms)
        old, self.decisions, self._day = self.decisions, fresh, day_of(now_ms)
        old.close(remove=old.size == 0)

    async def rotate_full(self, now_ms: int) -> None:
        """Close what is due, decisions and outcomes."""
        if self._full(self.decisions, now_ms):
            self.rotate(now_ms)
        if self._full(self.outcomes.segment, now_ms):
            (await self.outcomes.rotate(now_ms)).close()

    def close(self) -> None:
        """Give both segments up; an empty one leaves nothing behind."""
        for segment in (self.decisions, self.outcomes.segment):
            if segment.size:
                segment.sync()
            segment.close(remove=segment.size == 0)


def find_live(folders: Folders, identifier: str) -> dict[str, Any] | None:
    """The record of a decision whose segment is not rolled yet, of any worker; None when it is not there."""
    place = place_of(identifier)
    try:
        with (folders.live / f"{place.segment}{SUFFIX}").open("rb") as handle:
            handle.seek(place.offset)
            record = parse_line(handle.readline(_MAX_LINE))
    except FileNotFoundError:
        return None
    return record if record is not None and record.get("decision_id") == identifier else None
