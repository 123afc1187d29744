"""An event as it came in, held against the contract and made into an Activity, or refused with the field that is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping

from features.packing import CHANNEL_NAME
from features.spec import FeatureSpec
from nba.clock import DAY_MS, YEAR_2000_MS, parse_at
from nba.domain import Activity
from nba.errors import ActivityError, InputError
from nba.fields import escaped, shown

MAX_ID_BYTES = 256
MAX_SUBJECT = 256
MAX_TEXT = 2000
FIELDS = ("event_id", "customer_id", "at", "channel", "type", "value", "subject", "text", "interaction_id")
_REQUIRED = FIELDS[:5]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # of interactions, which some telephony names {3F2504E0-…}
_NOT_IN_IDS = re.compile(r"[\x00-\x1f\x7f-\x9f{}]")  # braces would move a customer's keys to other nodes of a cluster


def parse_event(raw: Mapping[str, object], spec: FeatureSpec, now_ms: int) -> Activity:
    """An event of `POST /v1/activity` or of a file. A field that is null counts as left out.

    Raises ActivityError; its `pointer` is the JSON pointer of the first field that is wrong, such as /value.
    """
    if not isinstance(raw, Mapping):
        raise ActivityError(f"an event is an object with {', '.join(_REQUIRED)}, this is {shown(raw)}", "")
    for name in raw:
        if name not in FIELDS:
            raise ActivityError(
                f"{shown(name)} is not a field of an event: use {', '.join(FIELDS)}", f"/{escaped(name)}"
            )
    for name in _REQUIRED:
        if raw.get(name) is None:
            raise ActivityError(f"{name!r} is missing: every event needs {', '.join(_REQUIRED)}", f"/{name}")
    return Activity(
        event_id=identifier(raw["event_id"], "/event_id"),
        customer_id=identifier(raw["customer_id"], "/customer_id"),
        at_ms=_moment(raw["at"], now_ms),
        channel=_channel(raw["channel"]),
        type=_type(raw["type"], spec),
        value=_value(raw.get("value")),
        subject=_text(raw.get("subject"), "/subject", MAX_SUBJECT),
        text=_text(raw.get("text"), "/text", MAX_TEXT),
        interaction_id=None
        if raw.get("interaction_id") is None
        else identifier(raw["interaction_id"], "/interaction_id", _CONTROL),
    )


def identifier(raw: object, pointer: str, never: re.Pattern[str] = _NOT_IN_IDS) -> str:
    """An id of a customer, an event, an interaction: 1 to 256 bytes of UTF-8 without what `never` finds. Raises ActivityError."""
    if raw is None:
        raise ActivityError("is missing: send it", pointer)
    if not isinstance(raw, str):
        raise ActivityError(f"{shown(raw)} is not text: write ids in quotes", pointer)
    if not 1 <= len(_utf8(raw, pointer)) <= MAX_ID_BYTES:
        raise ActivityError(f"an id has 1 to {MAX_ID_BYTES} bytes: shorten it, or hash it", pointer)
    if raw.isspace():
        raise ActivityError("an id of only blanks names nobody: send the id itself", pointer)
    if never.search(raw):
        what = "control characters" if never is _CONTROL else "braces and no control characters"
        raise ActivityError(f"an id has no {what}: take them out", pointer)
    return raw


def _utf8(text: str, pointer: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ActivityError("half of a surrogate pair is no character: send proper UTF-8", pointer) from error


def _moment(raw: object, now_ms: int) -> int:
    if not isinstance(raw, str):
        raise ActivityError(f"{shown(raw)} is not a time: write it like 2026-11-22T10:00:00.000Z", "/at")
    try:
        at_ms = parse_at(raw, "/at")
    except (InputError, OverflowError) as error:
        raise ActivityError(str(error), "/at") from error
    return checked_moment(at_ms, now_ms)


def checked_moment(at_ms: int, now_ms: int) -> int:
    """A time that the log takes: from 2000 to a day after now. Raises ActivityError."""
    if not YEAR_2000_MS <= at_ms <= now_ms + DAY_MS:
        raise ActivityError(
            "the time lies before 2000 or more than a day ahead: check the sender's clock and unit", "/at"
        )
    return at_ms


def _channel(raw: object) -> str:
    if isinstance(raw, str) and CHANNEL_NAME.fullmatch(raw):
        return raw
    raise ActivityError(
        f"{shown(raw)} is no channel: 1 to 32 of a-z, 0-9, _ and -, such as app, web, ivr, chat", "/channel"
    )


def _type(raw: object, spec: FeatureSpec) -> str:
    if isinstance(raw, str) and raw in spec.codes:
        return raw
    known = ", ".join(sorted(spec.codes))
    raise ActivityError(f"{shown(raw)} is not an activity of features.yaml: declare it, or use one of {known}", "/type")


def _value(raw: object) -> int | None:
    if raw is None:
        return None
    # A JSON reader gives whole numbers beyond 64 bits as floats.
    if (isinstance(raw, float) and abs(raw) >= 2**63) or (isinstance(raw, int) and not -(2**63) <= raw < 2**63):
        raise ActivityError("the value does not fit 64 bits: choose a larger unit", "/value")
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ActivityError(f"{shown(raw)} is not an integer: give minor units, such as 1990 for 19.90", "/value")
    return raw


def _text(raw: object, pointer: str, longest: int) -> str | None:
    if raw is None:
        return None
    if not isinstance(raw, str):
        raise ActivityError(f"{shown(raw)} is not text: write it in quotes", pointer)
    _utf8(raw, pointer)
    if len(raw) > longest:
        raise ActivityError(f"longer than {longest} characters: shorten it", pointer)
    return raw
