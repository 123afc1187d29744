"""What was asked last in an interaction, by whichever worker: found in the segments that are being written.

The segments are followed: each byte is looked at once, however many streams open, and of an interaction only the place
of its last line is kept. What is rolled is forgotten with its segment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from serving.segment import parse_line, segments

_NAMED = re.compile(rb'"interaction_id":("(?:[^"\\]|\\.)*"|null)')
_BLOCK = 1 << 18


@dataclass(slots=True)
class _Followed:
    """How far a segment has been read, and where each interaction was named last."""

    end: int = 0
    lines: dict[bytes, int] = field(default_factory=dict)


class Questions:
    """The last question of each interaction. Blocks while it reads: for a thread beside the calls."""

    def __init__(self, live: Path) -> None:
        self._live = live
        self._followed: dict[Path, _Followed] = {}
        self._lock = Lock()

    def last(self, interaction_id: str) -> dict[str, Any] | None:
        """The newest question of this interaction; None where nobody asked, or only long ago."""
        name = orjson.dumps(interaction_id)
        with self._lock:
            paths = segments(self._live, "d")
            self._followed = {path: self._followed.get(path, _Followed()) for path in paths}
            found = [_question(path, _follow(path, self._followed[path]).lines.get(name)) for path in paths]
        asked = [question for question in found if question and question["interaction_id"] == interaction_id]
        return max(asked, key=lambda question: question["now_ms"], default=None)


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
    return None if record is None else record["request"]
