"""Calendar months and days of a time zone as tables of moments, so that computing a feature never asks a time zone.

A month runs from the first instant whose local date lies in it to the first instant of the next one, clock changes or not.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from nba.clock import DAY_MS

FIRST_YEAR, LAST_YEAR = 1996, 2110  # events begin in 2000 and month-36 reaches back to 1997


@lru_cache(maxsize=16)
def month_starts(zone: str) -> NDArray[np.int64]:
    """First instants of the months from January 1996 on, int64 milliseconds UTC, ascending, (months,)."""
    tz = ZoneInfo(zone)
    months = [datetime(y, m, 1, tzinfo=tz) for y in range(FIRST_YEAR, LAST_YEAR) for m in range(1, 13)]
    return np.array([round(month.timestamp() * 1000) for month in months], np.int64)


@lru_cache(maxsize=16)
def _offsets(zone: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From which instants (ms UTC) on which offset (ms) holds."""
    tz = ZoneInfo(zone)
    starts, offsets = [-(1 << 62)], [_offset_ms(tz, datetime(FIRST_YEAR, 1, 1, tzinfo=UTC))]
    day = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    while day.year < LAST_YEAR:
        following = day + timedelta(days=1)
        if _offset_ms(tz, following) != offsets[-1]:
            change = _change(tz, day, following)
            starts.append(round(change.timestamp() * 1000))
            offsets.append(_offset_ms(tz, following))
        day = following
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def _offset_ms(tz: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(tz).utcoffset() or timedelta()
    return round(offset.total_seconds() * 1000)


def _change(tz: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second with the new offset, by halving."""
    old = _offset_ms(tz, before)
    seconds = round((after - before).total_seconds())
    low, high = 0, seconds
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ms(tz, before + timedelta(seconds=middle)) == old:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def local_days(at_ms: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """The local calendar day of each moment, as days since 1970-01-01; same shape."""
    starts, offsets = _offsets(zone)
    return (at_ms + offsets[starts.searchsorted(at_ms, side="right") - 1]) // DAY_MS


def local_day(at_ms: int, zone: str) -> int:
    """The local calendar day of one moment."""
    starts, offsets = _offset_lists(zone)
    return (at_ms + offsets[bisect_right(starts, at_ms) - 1]) // DAY_MS


@lru_cache(maxsize=16)
def _offset_lists(zone: str) -> tuple[list[int], list[int]]:
    starts, offsets = _offsets(zone)
    return starts.tolist(), offsets.tolist()


@lru_cache(maxsize=16)
def shortest_missed_day_ms(zone: str) -> int:
    """Two moments between which a whole local day passed are further apart than this: a day less all that clocks were put on."""
    _, offsets = _offset_lists(zone)
    return DAY_MS - (max(offsets) - min(offsets))
