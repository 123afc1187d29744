"""Append-only files of JSON lines, each owned by one living process.

A segment gets its public name only while its owner holds an exclusive flock on it, so whoever finds a file without a
lock knows that the owner is gone (a kill -9 releases locks too) and that nobody will append to it any more.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from nba.errors import JournalError
from nba.folders import make_private, sync_folder

SUFFIX = ".jsonl"
# In the folder of the spools: shared by deliveries, held alone by who erases a customer.
DELIVERY_LOCK = "delivery.lock"
_CHUNK = 1 << 16
_ASK_AGAIN_S = 0.01
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Segment:
    """One file that only this process appends to. A line is either wholly there or not at all."""

    def __init__(self, folder: Path, kind: str, now_ms: int, *, may_wait: bool = False) -> None:
        """Create and lock it. `kind`: one letter, the first of its name. Raises JournalError.

        `may_wait`: on a full disk it is created later, by the first `append` or `sync` that finds room for it.
        """
        self.name = f"{kind}{now_ms:011x}{secrets.token_hex(5)}"
        self.path = folder / f"{self.name}{SUFFIX}"
        self.created_ms = now_ms
        self.size = 0  # also the offset of the next line
        self._fd: int | None = None
        self._opening = threading.Lock()  # one appends beside a thread that syncs
        try:
            self._open()
        except JournalError as error:
            if not (may_wait and _is_full(error.__cause__)):
                raise

    def _open(self) -> int:
        if self._fd is not None:
            return self._fd
        with self._opening:
            if self._fd is None:
                folder = self.path.parent
                try:
                    make_private(folder)
                    self._fd = self._created()
                except OSError as error:
                    raise JournalError(
                        f"cannot write to {folder}: {error.strerror}: free space or mend its permissions"
                    ) from error
            return self._fd

    def _created(self) -> int:
        hidden = self.path.with_name(f".{self.name}")
        fd = os.open(hidden, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            hidden.rename(self.path)
            sync_folder(self.path.parent)
        except OSError:  # it is tried again, so nothing stays of it
            for path in (hidden, self.path):
                path.unlink(missing_ok=True)
            os.close(fd)
            raise
        return fd

    def append(self, line: bytes) -> int:
        """Append one line (without its newline); gives its byte offset.

        When it returns the line survives a kill of this process; `sync` makes it survive a power cut.
        Raises JournalError, after which nothing of the line is left in the file.
        """
        offset, fd = self.size, self._open()
        data = line + b"\n"
        try:
            written = os.write(fd, data)
        except OSError as error:
            raise self._refusal(offset, error.strerror) from error
        if written != len(data):
            raise self._refusal(offset, "no space left on device")
        self.size = offset + written
        return offset

    def _refusal(self, offset: int, reason: str | None) -> JournalError:
        with suppress(OSError):
            os.ftruncate(self._open(), offset)
        return JournalError(f"the disk under {self.path.parent} does not take the log ({reason}): free space there")

    def line_at(self, offset: int) -> bytes:
        """The line that starts at `offset`, with its newline."""
        data = b""
        while b"\n" not in data and (chunk := os.pread(self._open(), _CHUNK, offset + len(data))):
            data += chunk
        return data[: data.find(b"\n") + 1]

    def clear(self) -> None:
        """Everything in it has been dealt with: start over with an empty file."""
        os.ftruncate(self._open(), 0)
        self.size = 0

    def sync(self) -> None:
        """Force what was appended to the disk. Raises JournalError."""
        fd = self._open()
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise JournalError(
                f"the disk under {self.path.parent} fails ({error.strerror}): replace or free it"
            ) from error

    def close(self, *, remove: bool = False) -> None:
        """Give up the lock; `remove`: the file is of no more use."""
        if remove:
            self.path.unlink(missing_ok=True)
        if self._fd is not None:
            os.close(self._fd)


def segment_name(path: Path) -> str:
    """The name of a segment's file without its ending: it is also how ids of decisions begin."""
    return path.name.removesuffix(SUFFIX)


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


class DurableLog:
    """A segment whose `append` returns only when the line is on the disk; concurrent appends share one sync."""

    def __init__(self, folder: Path, kind: str, now_ms: int, *, may_wait: bool = False) -> None:
        self._folder, self._kind = folder, kind
        self.segment = Segment(folder, kind, now_ms, may_wait=may_wait)
        self._lock = asyncio.Lock()
        self._asked = 0
        self._synced = 0

    async def append(self, line: bytes) -> None:
        """Append one line, durably. Raises JournalError."""
        self.segment.append(line)
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._synced < mine:
                await self._sync()

    async def _sync(self) -> None:
        covered = self._asked
        await asyncio.to_thread(self.segment.sync)
        self._synced = covered

    async def rotate(self, now_ms: int) -> Segment:
        """Start a new segment; gives the old one, synced and still locked."""
        async with self._lock:
            fresh = await asyncio.to_thread(Segment, self._folder, self._kind, now_ms)
            old, self.segment, covered = self.segment, fresh, self._asked
            await asyncio.to_thread(old.sync)
            self._synced = covered
        return old


def segments(folder: Path, kind: str) -> list[Path]:
    """Every segment of this kind, oldest first, living or left over."""
    return sorted(folder.glob(f"{kind}*{SUFFIX}"))


@contextmanager
def abandoned(path: Path) -> Iterator[BinaryIO | None]:
    """The open file, locked, when its owner is gone; None when it lives or somebody else has taken the file over."""
    try:
        handle = path.open("r+b")
    except FileNotFoundError:
        yield None
        return
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield handle if path.exists() else None


def _lock_file(path: Path) -> BinaryIO:
    """For its owner only: who may open it may hold it. Raises JournalError."""
    try:
        make_private(path.parent)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error.strerror}: free space or mend its permissions") from error


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Held by one process at a time; waits for its turn."""
    with _lock_file(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def alone(path: Path) -> AsyncIterator[None]:
    """`exclusive` beside the calls. Its turn is asked for again and again: waiting for it in threads, a few callers would
    take every thread there is, and the one whose turn it is could do nothing and end its turn never.
    """
    with _lock_file(path) as handle:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            await asyncio.sleep(_ASK_AGAIN_S)
        yield


@contextmanager
def shared(path: Path) -> Iterator[bool]:
    """Held by many at a time, who never wait: False while somebody holds it exclusively."""
    with _lock_file(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def read_lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(byte offset, bytes, document) of every whole line; a line cut off by a crash and an erased one are left out."""
    offset = 0
    with path.open("rb") as handle:
        for line in handle:
            document = parse_line(line)
            if document:
                yield offset, len(line), document
            offset += len(line)


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a file."""
    return (document for _, _, document in read_lines(path))


def parse_line(line: bytes) -> dict[str, Any] | None:
    """One line as a document; None when it is cut off, erased or not ours."""
    if not line.endswith(b"\n"):
        return None
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and document else None
