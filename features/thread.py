"""The story of a customer, as an agent would tell it: which events are in it, and what is open.

The packed log has all of an event but its names and texts. So a line of JSON is appended beside the log only where words
would be lost: events with a text, a subject or an interaction, and those that open or close issues or are bad experiences.
The rest of the story (`data_used` with a text in the config, say) is told from the log itself. Lines are settled at read
as the log is: one for each event id, the earliest and then the smallest, in order of time.

A line is a list: at_ms, event hash, type, channel, subject, text, interaction; what is missing at its end is left out.
msgspec reads and checks all lines in one call; only a thread with a damaged line is read line by line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from features.packing import LAST_MS, TYPE, event_hash
from features.spec import FeatureSpec
from nba.clock import YEAR_2000_MS
from nba.domain import Activity, OpenIssue, StatedIntent, ThreadEntry

# The type of a line that keeps what an interaction is about (`subject`): no activity can have this name.
INTENT = "#intent"
_LARGEST_HASH = (1 << 64) - 1
BYTES_AN_ENTRY = 256  # the room a thread has for each of `thread_events` before it is shortened


class Line(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An event as the thread keeps it. `event`: the hash of its id."""

    at_ms: Annotated[int, msgspec.Meta(ge=YEAR_2000_MS, lt=LAST_MS)]
    event: Annotated[int, msgspec.Meta(ge=0)]
    type: str
    channel: str
    subject: str | None = None
    text: str | None = None
    interaction_id: str | None = None


_LINES = msgspec.json.Decoder(Line)
_BY_TIME = attrgetter("at_ms", "event")


@dataclass(frozen=True, slots=True)
class Story:
    """What a customer's thread says at a moment. The last two pairs: a moment and the interaction it happened in."""

    entries: tuple[ThreadEntry, ...]
    open_issues: tuple[OpenIssue, ...]
    closed: tuple[int | None, str | None]
    bad_experience: tuple[int | None, str | None]
    intents: tuple[StatedIntent, ...]
    damaged: bool


_NOTHING = Story((), (), (None, None), (None, None), (), damaged=False)


def needs_line(event: Activity, spec: FeatureSpec) -> bool:
    """Whether the log alone could not tell this event."""
    kind = spec.config.activities.get(event.type)
    if kind is None:
        return False
    if event.text is not None or event.interaction_id is not None or event.type in spec.weighty:
        return True
    return kind.told and (event.subject is not None or event.channel not in spec.channels)


def line(event: Activity) -> bytes:
    """An event as one line."""
    subject, text, interaction_id = event.subject, event.text, event.interaction_id
    return _written(
        Line(event.at_ms, event_hash(event.event_id), event.type, event.channel, subject, text, interaction_id)
    )


def intent_line(said: StatedIntent) -> bytes:
    """A service intent as one line; saying it again in the same interaction changes nothing."""
    event = event_hash(f"{INTENT} {orjson.dumps([said.interaction_id, said.intent]).decode()}")
    return _written(Line(said.at_ms, event, INTENT, "", said.intent, None, said.interaction_id))


def _written(kept: Line) -> bytes:
    fields: list[Any] = [*msgspec.structs.astuple(kept)]
    while fields[-1] is None:
        fields.pop()
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def settled(raw: bytes) -> tuple[list[Line], bool]:
    """The lines in order of time, one for each event id, and whether some could not be read."""
    if not raw:
        return [], False
    try:
        lines, damaged = _LINES.decode_lines(raw), False
    except (msgspec.MsgspecError, UnicodeDecodeError):
        lines, damaged = _readable(raw), True
    events = {entry.event for entry in lines}
    if events and max(events) > _LARGEST_HASH:  # a bound that msgspec does not know
        lines, damaged = [entry for entry in lines if entry.event <= _LARGEST_HASH], True
    if len(events) < len(lines) or damaged:
        return _once(lines), damaged
    lines.sort(key=_BY_TIME)
    return lines, damaged


def _readable(raw: bytes) -> list[Line]:
    found = []
    for part in raw.split(b"\n"):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            found.append(_LINES.decode(part))
    return found


def _once(lines: Iterable[Line]) -> list[Line]:
    first: dict[int, Line] = {}
    for entry in sorted(lines, key=lambda e: (e.at_ms, _written(e))):
        first.setdefault(entry.event, entry)
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
    lines, intents = _apart(lines)
    while lines and lines[-1].at_ms > now_ms:
        lines.pop()
    opened, closed, bad = _issues(lines, spec)
    return Story(
        entries=tuple(map(_entry, _told(lines, log, now_ms, spec, count))),
        open_issues=tuple(OpenIssue(e.type, e.at_ms, e.channel, e.subject) for e in opened),
        closed=_when_and_where(closed),
        bad_experience=_when_and_where(bad),
        intents=intents,
        damaged=damaged,
    )


def _apart(lines: list[Line]) -> tuple[list[Line], tuple[StatedIntent, ...]]:
    """The story, and what interactions were about: that is known and not told, and whichever clock noted it, it counts."""
    intents = [entry for entry in lines if entry.type == INTENT]
    if not intents:
        return lines, ()
    kept = tuple(StatedIntent(e.at_ms, e.interaction_id or "", e.subject or "") for e in intents)
    return [entry for entry in lines if entry.type != INTENT], kept


def _told(lines: list[Line], log: NDArray[np.uint64], now_ms: int, spec: FeatureSpec, count: int) -> list[Line]:
    """The newest `count` entries, from the lines and from what the log tells without one."""
    newest = lines[-count:]
    if not spec.told_codes:
        return newest
    rows = _newest_told(log, now_ms, spec, count)
    known = {entry.event for entry in lines}
    quiet = [_from_log(record, spec) for record in rows.tolist() if record[1] not in known]
    if not quiet:
        return newest
    return sorted([*newest, *quiet], key=_BY_TIME)[-count:]


def _newest_told(log: NDArray[np.uint64], now_ms: int, spec: FeatureSpec, count: int) -> NDArray[np.uint64]:
    """The newest `count` records up to `now_ms` whose type is told, the newest part of the log first asked alone."""
    if len(log) and log[-1, 0] > now_ms:
        log = log[: int(log[:, 0].searchsorted(np.uint64(max(now_ms, 0)), side="right"))]
    recent = log[-4 * count :]
    rows = spec.told.take(recent.view(np.uint16)[:, TYPE]).nonzero()[0]
    if len(rows) < count and len(recent) < len(log):
        return log.take(spec.told.take(log.view(np.uint16)[:, TYPE]).nonzero()[0][-count:], axis=0)
    return recent.take(rows[-count:], axis=0)


def _from_log(record: list[int], spec: FeatureSpec) -> Line:
    at_ms, event, _, tail = record
    return Line(at_ms, event, spec.told_codes[(tail >> 32) & 0xFFFF], spec.channel_names.get((tail >> 48) & 0xFF, ""))


def _entry(kept: Line) -> ThreadEntry:
    return ThreadEntry(kept.at_ms, kept.channel, kept.type, kept.subject, kept.text, kept.interaction_id)


def _when_and_where(entry: Line | None) -> tuple[int | None, str | None]:
    return (None, None) if entry is None else (entry.at_ms, entry.interaction_id)


def _issues(lines: Iterable[Line], spec: FeatureSpec) -> tuple[list[Line], Line | None, Line | None]:
    """What is open at the end, the last line that closed something, and the last bad experience (opening one is one).

    Of one moment, what opens comes before what closes, for files that know only the day.
    """
    weights = spec.weighty
    heavy = [entry for entry in lines if entry.type in weights]
    heavy.sort(key=lambda e: (e.at_ms, weights[e.type].closes_issue, e.event))
    opened: list[Line] = []
    closed = bad = None
    for entry in heavy:
        kind = weights[entry.type]
        if kind.closes_issue:
            opened = [issue for issue in opened if not _closes(entry, issue)]
            closed = entry
        if kind.opens_issue:
            opened.append(entry)
        if kind.opens_issue or kind.bad_experience:
            bad = entry
    return opened, closed, bad


def _closes(closing: Line, issue: Line) -> bool:
    return closing.subject is None or issue.subject in (None, closing.subject)


def shortened(raw: bytes, spec: FeatureSpec) -> bytes:
    """The thread without what nobody asks for any more.

    Kept: the newest `thread_events` lines, the newest `thread_events` about issues and bad experiences, the newest
    `thread_events` issues that are open and the newest `thread_events` intents, as far as a half, a quarter, an eighth
    and an eighth of the room go. Lost: the rest, and with it what an event that arrives later than all this could have
    opened or closed.
    """
    lines, _ = settled(raw)
    intents = [entry for entry in lines if entry.type == INTENT]
    told = [entry for entry in lines if entry.type != INTENT]
    heavy = [entry for entry in told if entry.type in spec.weighty]
    kept: set[int] = set()
    room = spec.config.thread_events * BYTES_AN_ENTRY
    for group, share in ((told, 2), (heavy, 4), (_issues(told, spec)[0], 8), (intents, 8)):
        kept |= _fitting(group[-spec.config.thread_events :], room // share)
    return b"".join(_written(entry) for entry in lines if entry.event in kept)


def _fitting(entries: Sequence[Line], room: int) -> set[int]:
    """The event hashes of the newest entries that fit, the newest always."""
    kept: set[int] = set()
    for entry in reversed(entries):
        room -= len(_written(entry))
        if room < 0 and kept:
            break
        kept.add(entry.event)
    return kept
