"""The story of a customer, as an agent would tell it: which events are in it, and what is open.

The packed log has all of an event but its names and texts. So a line of JSON is appended beside the log only where words
would be lost: events with a text, a subject or an interaction, and those that open or close issues or are bad experiences.
The rest of the story (`data_used` with a text in the config, say) is told from the log itself. Lines are settled at read
as the log is: one for each event id, the earliest and then the smallest, in order of time.

A line is a list: at_ms, event hash, type, channel, subject, text, interaction; what is missing at its end is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from features.packing import event_hash
from features.spec import FeatureSpec
from nba.config import ActivityType
from nba.domain import Activity, OpenIssue, ThreadEntry

BYTES_AN_ENTRY = 256  # the room a thread has for each of `thread_events` before it is shortened
_Line = list[Any]
_BY_TIME = itemgetter(0, 1)
_WIDTH = 7


@dataclass(frozen=True, slots=True)
class Story:
    """What a customer's thread says at a moment. The last two pairs: a moment and the interaction it happened in."""

    entries: tuple[ThreadEntry, ...]
    open_issues: tuple[OpenIssue, ...]
    closed: tuple[int | None, str | None]
    bad_experience: tuple[int | None, str | None]
    damaged: bool


_NOTHING = Story((), (), (None, None), (None, None), damaged=False)


def needs_line(event: Activity, spec: FeatureSpec) -> bool:
    """Whether the log alone could not tell this event."""
    kind = spec.config.activities.get(event.type)
    if kind is None:
        return False
    if event.text is not None or event.interaction_id is not None or weighty(kind):
        return True
    return kind.told and (event.subject is not None or event.channel not in spec.channels)


def weighty(kind: ActivityType) -> bool:
    """Whether rules look for events of this type: issues and bad experiences."""
    return kind.opens_issue or kind.closes_issue or kind.bad_experience


def line(event: Activity) -> bytes:
    """An event as one line."""
    fields: _Line = [event.at_ms, event_hash(event.event_id), event.type, event.channel]
    fields += [event.subject, event.text, event.interaction_id]
    while fields[-1] is None:
        fields.pop()
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def read_lines(raw: bytes) -> tuple[list[Any], bool]:
    """The lines of JSON that can be read, and whether there were others."""
    lines = raw.split(b"\n")
    try:
        return orjson.loads(b"[" + b",".join(part for part in lines if part) + b"]"), False
    except orjson.JSONDecodeError:
        return [found for found in map(_loads, lines) if found is not None], True


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def settled(raw: bytes) -> tuple[list[_Line], bool]:
    """The lines in order of time, one for each event id, and whether some could not be read."""
    if not raw:
        return [], False
    found, damaged = read_lines(raw)
    lines = [entry for entry in found if _whole(entry)]
    damaged = damaged or len(lines) < len(found)
    if len({entry[1] for entry in lines}) < len(lines):
        return _once(lines), damaged
    lines.sort(key=_BY_TIME)
    return lines, damaged


def _whole(entry: object) -> bool:
    if type(entry) is not list or not 4 <= len(entry) <= _WIDTH:
        return False
    at_ms, event, kind, channel, *rest = entry
    words = (kind, channel, *rest)
    return type(at_ms) is int and type(event) is int and all(word is None or type(word) is str for word in words)


def _once(lines: Iterable[_Line]) -> list[_Line]:
    first: dict[int, _Line] = {}
    for entry in sorted(lines, key=lambda e: (e[0], orjson.dumps(e))):
        first.setdefault(entry[1], entry)
    return sorted(first.values(), key=_BY_TIME)


def read_story(
    raw: bytes, log: NDArray[np.uint64], now_ms: int, spec: FeatureSpec, entries: int | None = None
) -> Story:
    """The story at `now_ms` from the thread's lines and the settled records of the log, shape (n, 4).

    `entries`: how many of the newest lines are told, `thread_events` at most.
    """
    count = spec.config.thread_events if entries is None else min(entries, spec.config.thread_events)
    if not raw and not spec.told_codes:
        return _NOTHING
    lines, damaged = settled(raw)
    while lines and lines[-1][0] > now_ms:
        lines.pop()
    opened, closed, bad = _issues(lines, spec)
    return Story(
        entries=tuple(map(_entry, _told(lines, log, now_ms, spec, count))),
        open_issues=tuple(OpenIssue(e[2], e[0], e[3], _word(e, 4)) for e in opened),
        closed=_when_and_where(closed),
        bad_experience=_when_and_where(bad),
        damaged=damaged,
    )


def _told(lines: list[_Line], log: NDArray[np.uint64], now_ms: int, spec: FeatureSpec, count: int) -> list[_Line]:
    """The newest `count` entries, from the lines and from what the log tells without one."""
    newest = lines[-count:]
    if not spec.told_codes:
        return newest
    past = log[: int(log[:, 0].searchsorted(np.uint64(max(now_ms, 0)), side="right"))]
    rows = np.flatnonzero(spec.told[(past[:, 3] >> np.uint64(32)) & np.uint64(0xFFFF)])[-count:]
    known = {entry[1] for entry in lines}
    quiet = [_from_log(record, spec) for record in past[rows].tolist() if record[1] not in known]
    if not quiet:
        return newest
    return sorted([*newest, *quiet], key=_BY_TIME)[-count:]


def _from_log(record: list[int], spec: FeatureSpec) -> _Line:
    at_ms, event, _, tail = record
    return [at_ms, event, spec.told_codes[(tail >> 32) & 0xFFFF], spec.channel_names.get((tail >> 48) & 0xFF, "")]


def _entry(fields: _Line) -> ThreadEntry:
    at_ms, _, kind, channel, *words = fields
    return ThreadEntry(at_ms, channel, kind, *words)


def _word(entry: _Line, place: int) -> str | None:
    return entry[place] if len(entry) > place else None


def _when_and_where(entry: _Line | None) -> tuple[int | None, str | None]:
    return (None, None) if entry is None else (entry[0], _word(entry, 6))


def _issues(lines: Iterable[_Line], spec: FeatureSpec) -> tuple[list[_Line], _Line | None, _Line | None]:
    """What is open at the end, the last line that closed something, and the last bad experience (opening one is one).

    Of one moment, what opens comes before what closes, for files that know only the day.
    """
    weights = spec.weighty
    heavy = [entry for entry in lines if entry[2] in weights]
    heavy.sort(key=lambda e: (e[0], weights[e[2]].closes_issue, e[1]))
    opened: list[_Line] = []
    closed = bad = None
    for entry in heavy:
        kind = weights[entry[2]]
        if kind.closes_issue:
            opened = [issue for issue in opened if not _closes(entry, issue)]
            closed = entry
        if kind.opens_issue:
            opened.append(entry)
        if kind.opens_issue or kind.bad_experience:
            bad = entry
    return opened, closed, bad


def _closes(closing: _Line, issue: _Line) -> bool:
    subject = _word(closing, 4)
    return subject is None or _word(issue, 4) in (None, subject)


def shortened(raw: bytes, spec: FeatureSpec) -> bytes:
    """The thread without what nobody asks for any more.

    Kept: the newest `thread_events` lines, the newest `thread_events` about issues and bad experiences, and the newest
    `thread_events` issues that are open, as far as a half, a quarter and an eighth of the room go. Lost: the rest, and
    with it what an event that arrives later than all this could have opened or closed.
    """
    lines, _ = settled(raw)
    heavy = [entry for entry in lines if entry[2] in spec.weighty]
    kept: set[int] = set()
    room = spec.config.thread_events * BYTES_AN_ENTRY
    for group, share in ((lines, 2), (heavy, 4), (_issues(lines, spec)[0], 8)):
        kept |= _fitting(group[-spec.config.thread_events :], room // share)
    return b"".join(orjson.dumps(e, option=orjson.OPT_APPEND_NEWLINE) for e in lines if e[1] in kept)


def _fitting(entries: Sequence[_Line], room: int) -> set[int]:
    """The event hashes of the newest entries that fit, the newest always."""
    kept: set[int] = set()
    for entry in reversed(entries):
        room -= len(orjson.dumps(entry)) + 1
        if room < 0 and kept:
            break
        kept.add(entry[1])
    return kept
