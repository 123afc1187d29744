"""The story of a customer: a line of JSON for each activity that a person would tell, appended beside the packed log.

What is told: activities that the config gives a text, that open or close issues or are bad experiences, and any that
carry a text or an interaction. A data session of every ten minutes is not. Lines are settled at read like the log:
one for each event id, the earliest and then the smallest, in order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from features.packing import event_hash
from nba.config import ActivityType, FeaturesConfig
from nba.domain import Activity, OpenIssue, ThreadEntry

MEAN_LINE_BYTES = 256
_QUIET = ActivityType()


@dataclass(frozen=True, slots=True)
class Story:
    """A settled thread at a moment: `entries` in order of time, what is open, and the newest event that closed an issue."""

    entries: tuple[ThreadEntry, ...]
    open_issues: tuple[OpenIssue, ...]
    closed_ms: int | None
    closed_in: str | None
    damaged: bool


def told(event: Activity, config: FeaturesConfig) -> bool:
    """Whether an event gets a line."""
    kind = config.activities.get(event.type, _QUIET)
    if event.text is not None or event.interaction_id is not None:
        return True
    return bool(kind.text) or kind.opens_issue or kind.closes_issue or kind.bad_experience


def line(event: Activity) -> bytes:
    """An event as one line. Short names: e event, a at, c channel, t type, v value, s subject, x text, i interaction."""
    entry: dict[str, Any] = {"e": event_hash(event.event_id), "a": event.at_ms, "c": event.channel, "t": event.type}
    more = (("v", event.value), ("s", event.subject), ("x", event.text), ("i", event.interaction_id))
    entry |= {name: value for name, value in more if value is not None}
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def read_lines(raw: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The lines that can be read, and whether there were others."""
    lines = [part for part in raw.split(b"\n") if part]
    try:
        found = orjson.loads(b"[" + b",".join(lines) + b"]")
        if all(type(entry) is dict for entry in found):
            return found, False
    except orjson.JSONDecodeError:
        pass
    good = [entry for entry in map(_loads, lines) if entry is not None]
    return good, True


def _loads(text: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def read_story(raw: bytes, now_ms: int, config: FeaturesConfig) -> Story:
    """What the thread says at `now_ms`; the newest `config.thread_events` entries of it."""
    if not raw:
        return Story((), (), None, None, False)
    entries, damaged = settled(raw, config)
    past = [entry for entry in entries if entry["a"] <= now_ms]
    issues, closed = _issues(past, config)
    newest = past[-config.thread_events :]
    told_entries = tuple(
        ThreadEntry(e["a"], e["c"], e["t"], e.get("s"), e.get("x"), e.get("i"))
        for e in newest
    )
    opened = tuple(OpenIssue(e["t"], e["a"], e["c"], e.get("s")) for e in issues)
    if closed is None:
        return Story(told_entries, opened, None, None, damaged)
    return Story(told_entries, opened, closed["a"], closed.get("i"), damaged)


def settled(raw: bytes, config: FeaturesConfig) -> tuple[list[dict[str, Any]], bool]:
    """One entry for each event id in order of time, what closes an issue after what opens one at the same moment."""
    lines, damaged = read_lines(raw)
    entries = [entry for entry in lines if _whole(entry)]
    damaged = damaged or len(entries) < len(lines)
    if len({entry["e"] for entry in entries}) < len(entries):
        entries = _once(entries)
    entries.sort(key=lambda e: (e["a"], config.activities.get(e["t"], _QUIET).closes_issue, e["e"]))
    return entries, damaged


def _whole(entry: dict[str, Any]) -> bool:
    kinds = (("e", int), ("a", int), ("c", str), ("t", str))
    return all(type(entry.get(name)) is kind for name, kind in kinds)


def _once(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The earliest of each event, then the one with the smallest bytes, whatever came in first."""
    first: dict[int, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda e: (e["a"], orjson.dumps(e, option=orjson.OPT_SORT_KEYS))):
        first.setdefault(entry["e"], entry)
    return list(first.values())


def _issues(
    entries: Iterable[dict[str, Any]], config: FeaturesConfig
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """What is open at the end, and the last entry that closed something."""
    open_: list[dict[str, Any]] = []
    closed = None
    for entry in entries:
        kind = config.activities.get(entry["t"], _QUIET)
        if kind.closes_issue:
            open_ = [issue for issue in open_ if not _closes(entry, issue)]
            closed = entry
        if kind.opens_issue:
            open_.append(entry)
    return open_, closed


def _closes(closing: dict[str, Any], issue: dict[str, Any]) -> bool:
    subject = closing.get("s")
    return subject is None or issue.get("s") in (None, subject)


def shortened(raw: bytes, config: FeaturesConfig) -> bytes:
    """The thread without what nobody asks for any more.

    Kept: the newest `thread_events` entries, as many of them as fit `thread_events * 256` bytes; as many again of those
    that concern issues or bad experiences; and every issue still open. What is lost: older entries, and with them what
    an event that arrives later than all this could still have opened or closed.
    """
    entries, _ = settled(raw, config)
    count = config.thread_events
    kept = {entry["e"] for entry in _fitting(entries[-count:], count * MEAN_LINE_BYTES)}
    weighty = [e for e in entries if _weighty(e, config)]
    kept |= {entry["e"] for entry in weighty[-count:]}
    kept |= {entry["e"] for entry in _issues(entries, config)[0][-count:]}
    return b"".join(orjson.dumps(e, option=orjson.OPT_APPEND_NEWLINE) for e in entries if e["e"] in kept)


def _weighty(entry: dict[str, Any], config: FeaturesConfig) -> bool:
    kind = config.activities.get(entry["t"], _QUIET)
    return kind.opens_issue or kind.closes_issue or kind.bad_experience


def _fitting(entries: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for entry in reversed(entries):
        most -= len(orjson.dumps(entry)) + 1
        if most < 0 and kept:
            break
        kept.append(entry)
    return kept
