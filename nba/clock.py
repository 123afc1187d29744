"""Moments. Inside the engine a moment is an integer: milliseconds since 1970-01-01 UTC, named `*_ms`; `now_ms` is an argument."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

from nba.errors import InputError

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
YEAR_2000_MS = 946_684_800_000
_DAY_0 = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def parse_at(text: str, pointer: str = "") -> int:
    """RFC 3339 text to milliseconds. A time without an offset is refused: whose local time would it be?

    Finer digits are cut off, never rounded: the last microsecond of a month is no moment of the next.

    Raises InputError with `pointer`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise InputError(f"{text!r} is not a time: write it like 2026-11-22T10:00:00.000Z", pointer) from error
    if moment.tzinfo is None:
        raise InputError(f"{text!r} has no offset: write it like 2026-11-22T10:00:00.000Z", pointer)
    return (moment - _EPOCH) // _MS


def parse_day(text: str, option: str) -> int:
    """A day of the command line (2026-11-22: its beginning in UTC), or a moment of it. Raises InputError naming the option."""
    try:
        return parse_at(text if "T" in text else f"{text}T00:00:00Z")
    except InputError as error:
        raise InputError(f"{option} {text}: is no day: write it like 2026-11-22") from error


def format_at(at_ms: int) -> str:
    """Milliseconds to RFC 3339 in UTC with three decimals: 2026-11-22T10:00:00.000Z."""
    day, of_day = divmod(at_ms, DAY_MS)
    minutes, milliseconds = divmod(of_day, 60_000)
    return f"{_written(day)}T{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}Z"


def day_of(at_ms: int) -> str:
    """The UTC day of a moment as 2026-11-22."""
    return _written(at_ms // DAY_MS)


def day_in(at_ms: int, zone: tzinfo) -> str:
    """The day of a moment in a time zone as 2026-11-22."""
    return datetime.fromtimestamp(at_ms / 1000, zone).date().isoformat()


@lru_cache(maxsize=4096)
def _written(day: int) -> str:
    """A day since 1970 as 2026-11-22; an answer has a dozen moments, of the same few days."""
    return date.fromordinal(_DAY_0 + day).isoformat()


def system_now_ms() -> int:
    """The wall clock; called at the edges only and passed on as `now_ms`."""
    return time.time_ns() // 1_000_000
