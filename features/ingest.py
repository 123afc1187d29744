"""Files into the store: checked, packed, appended; a batch is packed while Redis takes the one before.

How far a file has come is noted in the store itself after each batch, so a run that was killed goes on where it stood,
and what it had half-sent counts once by its event ids. Refused rows go to a file with their line and the reason.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import orjson

from features import files
from features import refused as refusals
from features.activity import FIELDS, identifier
from features.batches import Batch, Unreadable, ids_as_text, rows_of
from features.bulk import Parts, pack_batch
from features.spec import FeatureSpec
from features.store import Packed, Store
from nba.errors import DataError, InputError
from nba.fields import typed
from nba.rules import Value

IngestKind = Literal["activity", "customers"]
_CUSTOMERS_AT_ONCE = 2000
_TRUTHS: dict[Any, bool] = {"true": True, "1": True, 1: True, "false": False, "0": False, 0: False}
_REQUIRED = {"activity": FIELDS[:5], "customers": ("customer_id",)}


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an ingestion is: `share` of all files read (0 … 1), rows read and refused so far, in this run and before."""

    file: Path
    share: float
    rows: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an ingestion did. `resumed`: rows of an earlier, broken run that were not read again."""

    files: int
    rows: int
    accepted: int
    rejected: int
    resumed: int
    rejected_file: Path | None


async def ingest(
    paths: Sequence[Path],
    kind: IngestKind,
    store: Store,
    spec: FeatureSpec,
    *,
    now_ms: int,
    rejected_file: Path,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Load files (Parquet, CSV, JSON Lines, .gz of the last two, folders of them) into the store.

    Raises DataError: a file that cannot be read or has wrong columns, a `rejected_file` that holds something else;
    StoreError. What was taken until then stays, and the same call goes on from there.
    """
    found = files.expand(paths)
    run = _Run(kind, store, spec, now_ms, rejected_file)
    await run.begin(found)
    for number, file in enumerate(found):
        async for share in run.load(file):
            progress(Progress(file, (number + share) / len(found), run.rows, run.rejected))
    await run.end(found)
    kept = rejected_file if run.rejected else None
    return Report(len(found), run.rows, run.rows - run.rejected, run.rejected, run.resumed, kept)


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a file has come: line of its last row that is kept, rows and refusals, length and place of the refusals' file."""

    seen: int = 0
    rows: int = 0
    rejected: int = 0
    rejected_bytes: int = 0
    done: bool = False
    rejected_file: str = ""


class _Run:
    """One call of `ingest`: its counts, its marks, and the file of refusals."""

    def __init__(self, kind: IngestKind, store: Store, spec: FeatureSpec, now_ms: int, rejected_file: Path) -> None:
        self.kind, self.store, self.spec, self.now_ms = kind, store, spec, now_ms
        self.rejected_file = rejected_file
        self.rows = self.rejected = self.resumed = 0
        self.known = FIELDS if kind == "activity" else ("customer_id", "profile", *spec.config.profile_types)
        self._marks: dict[Path, _Mark] = {}

    async def begin(self, files: Sequence[Path]) -> None:
        """Read the marks of an earlier run and cut the refusals back to what they cover."""
        for file in files:
            mark = await self.store.ingest_mark(self._fingerprint(file))
            self._marks[file] = _Mark(**orjson.loads(mark)) if mark else _Mark()
        mine = [mark for mark in self._marks.values() if mark.rejected_file == str(self.rejected_file.resolve())]
        if mine:
            refusals.cut_back(self.rejected_file, max(mark.rejected_bytes for mark in mine))
        else:
            refusals.make_room(self.rejected_file)

    async def end(self, files: Sequence[Path]) -> None:
        """All is in: the next call starts from the beginning."""
        for file in files:
            await self.store.set_ingest_mark(self._fingerprint(file), None)

    def _fingerprint(self, file: Path) -> str:
        facts = file.stat()
        told = f"{self.kind}\0{file.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    async def load(self, file: Path) -> AsyncIterator[float]:
        """Load one file from its mark on; gives the share of it that is read after each batch."""
        mark = self._marks[file]
        self.rows += mark.rows
        self.rejected += mark.rejected
        self.resumed += mark.rows
        if not mark.done:
            batches = self._packed(files.read_batches(file, self.known, _REQUIRED[self.kind]), mark.seen)
            sending: asyncio.Task[_Mark] | None = None
            try:
                while (ready := await asyncio.to_thread(next, batches, None)) is not None:
                    mark = await sending if sending else mark
                    sending = asyncio.create_task(self._send(file, ready, mark))
                    yield ready.done
                mark = await sending if sending else mark
            except DataError:
                if sending:
                    await sending
                raise
            except BaseException:
                if sending:
                    sending.cancel()
                raise
            await self._note(file, replace(mark, done=True))
        yield 1.0

    def _packed(self, batches: Iterator[Batch], seen: int) -> Iterator[_Ready]:
        """The batches after line `seen`, several small ones packed as one. Run beside the event loop."""
        ready = _Ready()
        for batch in batches:
            rows = len(batch.lines) + len(batch.unreadable)
            if batch.seen > seen and rows:
                self._pack(batch, ready)
                ready.seen, ready.done, ready.rows = batch.seen, batch.done, ready.rows + rows
            if ready.rows >= files.BATCH_ROWS:
                yield ready
                ready = _Ready()
        if ready.rows:
            yield ready

    def _pack(self, batch: Batch, ready: _Ready) -> None:
        if self.kind == "activity":
            ready.refused += pack_batch(batch, self.spec, self.now_ms, ready.parts)
            return
        profiles, refused = read_profiles(batch, self.spec)
        ready.profiles += profiles
        ready.refused += refused

    async def _send(self, file: Path, ready: _Ready, mark: _Mark) -> _Mark:
        parts = list(ready.parts.items())
        for first in range(0, len(parts), _CUSTOMERS_AT_ONCE):
            some = parts[first : first + _CUSTOMERS_AT_ONCE]
            await self.store.append_packed([Packed(name, b"".join(log), b"".join(told)) for name, (log, told) in some])
        for first in range(0, len(ready.profiles), _CUSTOMERS_AT_ONCE):
            await self.store.put_profiles(ready.profiles[first : first + _CUSTOMERS_AT_ONCE], self.now_ms)
        self.rows += ready.rows
        self.rejected += len(ready.refused)
        length = self._refuse(file, ready.refused)
        rows, rejected = mark.rows + ready.rows, mark.rejected + len(ready.refused)
        mark = _Mark(ready.seen, rows, rejected, length, rejected_file=str(self.rejected_file.resolve()))
        await self._note(file, mark)
        return mark

    def _refuse(self, file: Path, refused: Sequence[Unreadable]) -> int:
        """Write refused rows down; the length of their file."""
        if not refused:
            return self.rejected_file.stat().st_size if self.rejected_file.exists() else 0
        return refusals.append(self.rejected_file, file, refused)

    async def _note(self, file: Path, mark: _Mark) -> None:
        self._marks[file] = mark
        await self.store.set_ingest_mark(self._fingerprint(file), orjson.dumps(asdict(mark)))


@dataclass(slots=True)
class _Ready:
    """Packed batches: how far they come, and what to append, what to put, what is refused."""

    seen: int = 0
    done: float = 0.0
    rows: int = 0
    parts: Parts = field(default_factory=dict)
    profiles: list[tuple[str, dict[str, Value]]] = field(default_factory=list)
    refused: list[Unreadable] = field(default_factory=list)


def read_profiles(batch: Batch, spec: FeatureSpec) -> tuple[list[tuple[str, dict[str, Value]]], list[Unreadable]]:
    """Profiles by customer, from flat columns or from a `profile` object, and the rows that are refused.

    JSON says of each value what it is, so a line is held to its types as a PUT is; only the cells of a table are read.
    """
    profiles, refused = [], list(batch.unreadable)
    rows = batch.rows if batch.table is None else rows_of(batch.table)
    for line, row in zip(batch.lines, rows, strict=True):
        try:
            if batch.table is not None:
                ids_as_text(row, ("customer_id",))
            name = identifier(row.pop("customer_id", None), "/customer_id")
            given = row.pop("profile") if isinstance(row.get("profile"), dict) else row
            fields = {key: value for key, value in given.items() if value is not None}
            if batch.table is not None:
                fields = {key: _declared(value, key, spec) for key, value in fields.items()}
            profiles.append((name, typed(fields, spec.config.profile_types, "")))
        except InputError as error:
            refused.append(Unreadable(line, f"{error.pointer.removeprefix('/')}: {error}"))
    return profiles, sorted(refused, key=lambda row: row.line)


def _declared(value: Any, name: str, spec: FeatureSpec) -> Any:
    """A cell of a table as the type that the config declares, as training reads it; what does not fit `typed` refuses."""
    kind = spec.config.profile_types.get(name)
    if kind == "boolean" and isinstance(value, (str, int, float)):
        return _TRUTHS.get(value.lower() if isinstance(value, str) else value, value)
    if kind == "number" and isinstance(value, (str, Decimal)):
        try:
            return float(value)
        except ValueError:
            return value
    if kind in ("category", "text") and isinstance(value, int):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value
