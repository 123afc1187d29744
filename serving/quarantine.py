"""Lines of the decision log that no row can be made of, set aside with the reason, so that none stops those around it.

Another program or a hand may have written them, or a disk may have damaged them. A line is on the disk in its new place,
`quarantine/SEGMENT.jsonl`, before blanks take its old one, as they do where a customer was erased; a roll that is killed
between the two sets it aside twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from nba.clock import day_of
from nba.domain import STRENGTH
from nba.errors import JournalError, NotFoundError
from nba.folders import make_private, sync_folder
from serving.journal import Folders, place_of
from serving.parts import (
    DECISION_FIELDS,
    RECORDS,
    decision_rows,
    decision_schema,
    record_row,
    table,
)
from serving.segment import parse_line, segment_name

_DECISIONS = pa.schema(DECISION_FIELDS)  # what a column of `x.` does not take is missing there
# What a line that is none of ours may raise where a row is made of it.
MISFIT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, NotFoundError, pa.ArrowException)
# What makes two lines one outcome. An id alone does not: its process forgets it after a while, and then takes it again.
_SAID = ("outcome_id", "decision_id", "offer_id", "customer_id", "outcome", "value")
WhyNot: TypeAlias = Callable[[Mapping[str, Any], str], str]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_nothing(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_mark(value: object) -> bool:
    """A column of numbers takes no integer that it would have to round."""
    return value is None or isinstance(value, float) or (type(value) is int and abs(value) <= 1 << 53)


_FITS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("outcome_id", "customer_id", "outcome", "offer_id"), _is_text),
    **dict.fromkeys(("at_ms", "received_ms"), lambda value: type(value) is int),
    **dict.fromkeys(("reason", "channel", "interaction_id"), _is_text_or_nothing),
    "value": _is_mark,
}


def what_was_said(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two lines have in common that are one outcome."""
    return tuple(map(row.get, _SAID))


def why_no_outcome(row: Mapping[str, Any], segment: str = "") -> str:
    """What keeps a line from being an outcome; empty where nothing does."""
    offered = "decision_id" in row
    try:
        wrong = next(
            (name for name, fits in _FITS.items() if (name != "offer_id" or offered) and not fits(row.get(name))), ""
        )
        if wrong:
            return f"{wrong} is missing or of another type"
        for name in ("at_ms", "received_ms"):
            day_of(row[name])
        if offered:
            place_of(row["decision_id"])
            STRENGTH.index(row["outcome"])
    except MISFIT as error:
        return f"{type(error).__name__}: {error}"
    return ""


def why_not_here(record: Mapping[str, Any], segment: str) -> str:
    """What says at a glance that a line is no decision of this segment; empty where nothing does."""
    try:
        return "" if place_of(record["decision_id"]).segment == segment else "a decision of another segment"
    except MISFIT as error:
        return f"{type(error).__name__}: {error}"


def why_no_decision(record: Mapping[str, Any], segment: str) -> str:
    """What keeps a line from being a decision of this segment; empty where nothing does. Takes half a millisecond."""
    try:
        decision_schema([record])
        table([record_row(record)], RECORDS)
        table(decision_rows(record, {}), _DECISIONS)
    except MISFIT as error:
        return f"{type(error).__name__}: {error}"
    return why_not_here(record, segment)


def set_aside(folders: Folders, path: Path, why_not: WhyNot) -> int:
    """Set aside what does not belong into a segment that is the caller's alone; how many lines. Raises JournalError."""
    name = segment_name(path)
    found = [(offset, line, why) for offset, line in _lines(path) if (why := _why_not(line, name, why_not))]
    if found:
        try:
            _keep(folders.quarantine / path.name, found)
            _blank(path, found)
        except OSError as error:
            raise JournalError(
                f"{folders.quarantine} cannot be written ({error}): make room or mend its rights, then try again"
            ) from error
    return len(found)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    offset = 0
    with path.open("rb") as handle:
        for line in handle:
            yield offset, line
            offset += len(line)


def _why_not(line: bytes, segment: str, why_not: WhyNot) -> str:
    if not line.strip() or not line.endswith(b"\n"):  # erased; cut off by a crash, before anybody had an answer
        return ""
    document = parse_line(line)
    return "no JSON object" if document is None else why_not(document, segment)


def _keep(path: Path, found: list[tuple[int, bytes, str]]) -> None:
    make_private(path.parent)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(fd, "wb") as handle:
        for offset, line, why in found:
            text = line[:-1].decode(errors="backslashreplace")
            handle.write(orjson.dumps({"offset": offset, "reason": _text(why), "line": text}) + b"\n")
        handle.flush()
        os.fsync(fd)
    sync_folder(path.parent)


def _text(reason: str) -> str:
    """A reason may repeat half of a surrogate pair, which JSON does not take."""
    return reason.encode(errors="backslashreplace").decode()


def _blank(path: Path, found: list[tuple[int, bytes, str]]) -> None:
    with path.open("r+b") as handle:
        for offset, line, _ in found:
            handle.seek(offset)
            handle.write(b" " * (len(line) - 1))
        handle.flush()
        os.fsync(handle.fileno())
