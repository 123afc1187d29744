"""Erase a customer everywhere: store, decision log (written and rolled), outcomes, spool, and so from what is learnt.

Lines of living segments are overwritten in place with blanks of the same length, so that the places of other decisions
stay; rolled parts are written anew without the customer's rows. The engine's own Redis writes its append-only file anew.
Models keep what they learnt until the next training.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from features.store import Store
from nba.clock import format_at
from nba.errors import JournalError
from serving.aside import customers_of
from serving.journal import TABLES, Folders
from serving.segment import alone, read_lines, segments
from serving.spool import KINDS


async def forget(
    customer_id: str, state_dir: Path, store: Store, now_ms: int, *, redis_file: str = "not ours"
) -> dict[str, Any]:
    """Erase, and give the receipt. Raises StoreError: then repeat it; nothing is erased twice.

    `redis_file`: what becomes of the append-only file; `rewritten` has it done before this returns.
    """
    folders = Folders(state_dir)
    async with alone(folders.delivery_lock):  # a delivery that has read its entry already would bring it back
        removed = {"spool": await asyncio.to_thread(forget_spooled, customer_id, state_dir)}
        removed["store"] = await store.forget(customer_id)
    async with alone(folders.roll_lock):
        removed |= await asyncio.to_thread(forget_logged, customer_id, state_dir)
    if redis_file == "rewritten":
        await store.rewrite_file()
    return {"customer_id": customer_id, "at": format_at(now_ms), "removed": removed, "redis_file": redis_file}


def forget_spooled(customer_id: str, state_dir: Path) -> int:
    """Erase what waits for Redis; how many entries were touched. Other customers' events of the same batch stay."""

    def rest(entry: dict[str, Any]) -> bytes | None:
        if customer_id not in customers_of(entry):
            return None
        if "events" not in entry:
            return b""
        return orjson.dumps({"events": [event for event in entry["events"] if event["customer_id"] != customer_id]})

    folder = Folders(state_dir).spool
    return sum(_overwrite(path, rest) for kind in KINDS for path in segments(folder, kind))


def forget_logged(customer_id: str, state_dir: Path) -> dict[str, int]:
    """Erase a customer from the decision log; rows and lines removed, by table. The caller holds the lock of the rolls.

    Raises JournalError: a part is damaged or the disk takes none; from all others the customer is gone.
    """

    def rest(line: dict[str, Any]) -> bytes | None:
        return b"" if line.get("customer_id") == customer_id else None

    folders = Folders(state_dir)
    live = (path for kind in "do" for path in segments(folders.live, kind))
    removed = {"live": sum(_overwrite(path, rest) for path in live) + _forget_quarantined(customer_id, folders)}
    refused: list[JournalError] = []
    for name in TABLES:
        for half in folders.halves(name):
            half.unlink()
        removed[name] = sum(_without_rows(path, customer_id, refused) for path in folders.parts(name))
    if refused:
        raise refused[0]
    return removed


def _forget_quarantined(customer_id: str, folders: Folders) -> int:
    """Whatever names the customer goes: of a line that cannot be read nobody can say whose it is."""
    named = orjson.dumps(customer_id).decode()

    def rest(kept: dict[str, Any]) -> bytes | None:
        return b"" if named in kept["line"] else None

    return sum(_overwrite(path, rest) for kind in "do" for path in segments(folders.quarantine, kind))


def _overwrite(path: Path, rest: Callable[[dict[str, Any]], bytes | None]) -> int:
    """Put what `rest` leaves of a line in its place, filled up with blanks; how many lines were touched."""
    count = 0
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return 0
    try:
        for offset, length, document in read_lines(path):
            left = rest(document)
            if left is not None:
                os.pwrite(fd, left.ljust(length - 1), offset)
                count += 1
        if count:
            os.fsync(fd)
    finally:
        os.close(fd)
    return count


def _without_rows(path: Path, customer_id: str, refused: list[JournalError]) -> int:
    from serving.parts import without_customer

    try:
        return without_customer(path, customer_id)
    except JournalError as error:
        refused.append(error)
        return 0
