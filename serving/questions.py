"""What was asked last in an interaction, by whichever worker: found in the segments that are being written.

The segments are followed: each byte is looked at once, however many streams open, and of an interaction only the place
of its last line is kept. What is rolled is forgotten with its segment; a call that goes on meanwhile is looked up in the
parts of the last hours, or its next stream would not know what the caller wants to pay.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from nba.clock import day_of
from serving.journal import Folders
from serving.segment import parse_line, segments

_NAMED = re.compile(rb'"interaction_id":("(?:[^"\\]|\\.)*"|null)')
_BLOCK = 1 << 18
_LONGEST_CALL_S = 4 * 3600


@dataclass(slots=True)
class _Followed:
    """How far a segment has been read, and where each interaction was named last."""

    end: int = 0
    lines: dict[bytes, int] = field(default_factory=dict)


class Questions:
    """The last question of each interaction. Blocks while it reads: for a thread beside the calls."""

    def __init__(self, live: Path, rolled: Folders | None = None) -> None:
        self._live, self._rolled = live, rolled
        self._followed: dict[Path, _Followed] = {}
        self._lock = Lock()

    def last(self, interaction_id: str) -> dict[str, Any] | None:
        """The newest question of this interaction; None where nobody asked, or only long ago.

        `activity_at_ms` beside its own fields: the newest activity that was known when it was answered.
        """
        name = orjson.dumps(interaction_id)
        with self._lock:
            paths = segments(self._live, "d")
            self._followed = {path: self._followed.get(path, _Followed()) for path in paths}
            found = [_question(path, _follow(path, self._followed[path]).lines.get(name)) for path in paths]
        asked = [question for question in found if question and question["interaction_id"] == interaction_id]
        if not asked and self._rolled is not None:
            asked = list(_in_parts(self._rolled, interaction_id))
        return max(asked, key=lambda question: question["now_ms"], default=None)


def _in_parts(folders: Folders, interaction_id: str) -> Iterator[dict[str, Any]]:
    """The last question of an interaction in each part that a roll has written lately."""
    long_ago = time.time() - _LONGEST_CALL_S
    days = sorted({day_of(round(seconds * 1000)) for seconds in (long_ago, time.time())})
    for path in (path for day in days for path in folders.parts("records", day)):
        with suppress(FileNotFoundError):  # somebody was erased meanwhile
            if path.stat().st_mtime > long_ago:
                from serving.parts import last_of  # not at the start: pyarrow is for where something is rolled

                record = last_of(folders, path, interaction_id)
                if record is not None:
                    yield _asked(record)


def _follow(path: Path, followed: _Followed) -> _Followed:
    """Look at the whole lines that have been written since the last look."""
    try:
        with path.open("rb") as file:
            file.seek(followed.end)
            rest = b""
            while block := file.read(_BLOCK):
                lines, cut, rest = (rest + block).rpartition(b"\n")
                _note(lines + cut, followed)
    except FileNotFoundError:
        followed.lines.clear()
    return followed


def _note(text: bytes, followed: _Followed) -> None:
    start = 0
    while (end := text.find(b"\n", start) + 1) > 0:
        # The request is the first in its record that names an interaction.
        if (named := _NAMED.search(text, start, end)) is not None:
            followed.lines[named[1]] = followed.end + start
        start = end
    followed.end += len(text)


def _question(path: Path, place: int | None) -> dict[str, Any] | None:
    if place is None:
        return None
    try:
        with path.open("rb") as file:
            file.seek(place)
            record = parse_line(file.readline())
    except FileNotFoundError:
        return None
    return None if record is None else _asked(record)


def _asked(record: dict[str, Any]) -> dict[str, Any]:
    return {**record["request"], "activity_at_ms": record["customer"]["activity_at_ms"]}
