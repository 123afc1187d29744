"""The features of one customer at one moment: packed bytes in, numbers out. Pure; serving and training call the same.

`settle` brings a log into order once, whatever the order of arrival: damaged records out, one record for each event id
(the earliest `at_ms`, then the smallest bytes), streams sorted by time, sums accumulated. `vector` then answers for any
moment. Because the earliest record of an event wins, settling a whole log and looking at it from an earlier moment is
the same as settling what was there at that moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.calendar import local_days
from features.packing import CHECK, EVENT_BYTES, HAS_SUBJECT, HAS_VALUE, LAST_MS, fold, readable
from features.spec import STREAM_SHIFT, FeatureSpec
from nba.clock import YEAR_2000_MS
from nba.errors import RuleError
from nba.rules import Values

HOUR_MS = 3_600_000.0
_Found = tuple[NDArray[Any], NDArray[np.bool_]]  # the numbers of one take, and where there was data
_INT64 = np.iinfo(np.int64)
_SORT_BELOW = 600  # events; from there on the table of `_repeated` is quicker than sorting the ids


@dataclass(frozen=True, slots=True)
class Settled:
    """A log in order.

    `records` (n, 4) uint64: every event once, by time and id; `at_ms` (n,): their moments. The other arrays run over the
    m entries of the streams, by stream and time: `keys` int64 (stream << 44 | at_ms), `values` int64, `sums` and `valued`
    int64 (m + 1,): running totals of values and of events that have one, `subjects` int64 (-1: none). `exact`: no
    running total can leave int64.
    """

    records: NDArray[np.uint64]
    at_ms: NDArray[np.int64]
    keys: NDArray[np.int64]
    values: NDArray[np.int64]
    sums: NDArray[np.int64]
    valued: NDArray[np.int64]
    subjects: NDArray[np.int64]
    exact: bool
    damaged: bool


def settle(log: bytes, spec: FeatureSpec) -> Settled:
    """Bring a customer's log into order; see the module for the rules."""
    words, damaged = _records(log)
    if not _clean(words):
        words = in_order(words)
    at_ms = words[:, 0].view(np.int64)
    values = words[:, 2].view(np.int64)
    tail = words[:, 3]
    keys, rows = _streams(at_ms, tail, spec)
    values = values[rows]
    tail = tail[rows]
    subjects = (tail & np.uint64(0xFFFF_FFFF)).view(np.int64)
    flags = tail >> np.uint64(56)
    has_value = (flags & np.uint64(HAS_VALUE)).view(np.int64)
    if len(flags) and not (flags & np.uint64(HAS_SUBJECT)).all():
        subjects[(flags & np.uint64(HAS_SUBJECT)) == 0] = -1
    exact = _magnitude(values) * len(values) <= _INT64.max
    return Settled(words, at_ms, keys, values, _running(values), _running(has_value), subjects, exact, damaged)


def _records(log: bytes) -> tuple[NDArray[np.uint64], bool]:
    """Records of shape (n, 4), and whether some bytes had to be left out."""
    if len(log) % EVENT_BYTES == 0:
        flat_words = np.frombuffer(log, "<u8")
        words = flat_words.reshape(-1, 4)
        wanted = CHECK if len(words) % 2 else 0
        if fold(int(np.bitwise_xor.reduce(flat_words))) == wanted and _possible(words[:, 0].view(np.int64)):
            return words, False
    words = readable(log)
    return words, len(words) * EVENT_BYTES < len(log)


def _possible(at_ms: NDArray[np.int64]) -> bool:
    return len(at_ms) == 0 or bool(at_ms.min() >= YEAR_2000_MS and at_ms.max() < LAST_MS)


def _clean(words: NDArray[np.uint64]) -> bool:
    """Already in order of time and id and without an id twice."""
    at_ms, ids = words[:, 0], words[:, 1]
    later = at_ms[1:] > at_ms[:-1]
    if not later.all() and not (later | ((at_ms[1:] == at_ms[:-1]) & (ids[1:] > ids[:-1]))).all():
        return False
    return not _repeated(ids)


def _repeated(ids: NDArray[np.uint64]) -> bool:
    if len(ids) > _SORT_BELOW:
        # Each id writes its place into a slot by its low bits; who no longer finds itself there met another one.
        slots = (ids & np.uint64(0xFFFF)).view(np.int64)
        table = np.empty(65536, np.int32)  # only slots just written are read
        places = np.arange(len(ids), dtype=np.int32)
        table[slots] = places
        owners = table[slots]
        met = owners != places
        if bool((ids[met] == ids[owners[met]]).any()):
            return True
        ids = ids[met]
    ordered = np.sort(ids)
    return bool((ordered[1:] == ordered[:-1]).any())


def in_order(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One record for each event id, the earliest and then the smallest, ordered by time and id; shape (≤ n, 4)."""
    order = np.lexsort((words[:, 3], words[:, 2], words[:, 0], words[:, 1]))
    ids = words[order, 1]
    first = np.ones(len(order), np.bool_)
    np.not_equal(ids[1:], ids[:-1], out=first[1:])
    kept = words[order[first]]
    return np.ascontiguousarray(kept[np.lexsort((kept[:, 1], kept[:, 0]))])


def _streams(
    at_ms: NDArray[np.int64], tail: NDArray[np.uint64], spec: FeatureSpec
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Sorted keys of all stream entries, and which record each of them is."""
    streams = spec.streams
    place = streams.of_type[(tail >> np.uint64(32)) & np.uint64(0xFFFF)]
    if streams.has_where:
        place = _narrowed(place, tail, spec)
    layers = streams.layers.reshape(len(streams.layers), -1)
    rows: NDArray[np.intp] = np.arange(len(at_ms))
    numbers = layers[0][place] if len(layers) else np.full(len(at_ms), -1, np.int16)
    if len(layers) > 1:
        more = [(np.flatnonzero(n >= 0), n) for n in (layer[place] for layer in layers[1:])]
        numbers = np.concatenate([numbers, *(n[found] for found, n in more)])
        rows = np.concatenate([rows, *(found for found, _ in more)])
    order = np.argsort(numbers, kind="stable")  # stable: inside a stream the order stays that of time and id
    numbers = numbers[order]
    unread = int(numbers.searchsorted(0))  # events of no stream stand first, as -1
    rows = rows[order[unread:]]
    return (numbers[unread:].astype(np.int64) << STREAM_SHIFT) + at_ms[rows], rows


def _narrowed(place: NDArray[np.intp], tail: NDArray[np.uint64], spec: FeatureSpec) -> NDArray[np.intp]:
    """The flat place of (type, subject, channel) in a layer."""
    streams = spec.streams
    _, _, subjects, channels = streams.layers.shape
    if subjects > 1:
        named = tail & np.uint64(0xFFFF_FFFF)
        row = streams.subjects.searchsorted(named)
        hit = streams.subjects.take(row, mode="clip") == named
        hit &= (tail & np.uint64(HAS_SUBJECT << 56)) != 0
        place = place * subjects + (row + 1) * hit
    if channels > 1:
        place = place * channels + streams.of_channel[(tail >> np.uint64(48)) & np.uint64(0xFF)]
    return place


def _magnitude(values: NDArray[np.int64]) -> int:
    """At least the largest absolute value, as a Python integer; x ^ (x >> 63) is x or -x - 1."""
    return int(np.bitwise_or.reduce(values ^ (values >> 63), initial=0)) + 1


def _running(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    totals = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(numbers, out=totals[1:])
    return totals


def vector(settled: Settled, now_ms: int, spec: FeatureSpec) -> NDArray[np.float64]:
    """All features at `now_ms` in the order of `spec.names`, float64; NaN where there is neither data nor a default.

    Sums are exact integers before their one conversion to float64, whatever the values.
    """
    out = np.full(len(spec.names), np.nan)
    if len(spec.perm):
        out[spec.perm] = _Moment(settled, now_ms, spec).values()
    if spec.derived:
        _derive(out, spec)
    return out


def newest_ms(settled: Settled, now_ms: int) -> int | None:
    """The newest event at or before `now_ms`, of any type."""
    count = int(settled.at_ms.searchsorted(now_ms, side="right"))
    return int(settled.at_ms[count - 1]) if count else None


def _derive(out: NDArray[np.float64], spec: FeatureSpec) -> None:
    numbers = out.tolist()
    known = Values({name: numbers[place] for name, place in spec.reads if numbers[place] == numbers[place]}, spec.fixed)
    for item in spec.derived:
        try:
            number = item.rule.number(known)
        except RuleError:
            number = item.missing
        out[item.position] = number
        if not math.isnan(number):
            known[item.variable] = number


class _Moment:
    """One evaluation: the segments' bounds at a moment, and each `take` over its slice of them."""

    def __init__(self, settled: Settled, now_ms: int, spec: FeatureSpec) -> None:
        self.settled = settled
        self.now_ms = now_ms
        self.windows = spec.windows
        found = settled.keys.searchsorted(spec.windows.keys(min(now_ms, LAST_MS)), side="right")
        half = len(found) // 2
        self.low, self.high = found[:half], found[half:]

    def values(self) -> NDArray[np.float64]:
        """The window features, grouped by take."""
        out = self.windows.missing.copy()
        if len(self.settled.keys):
            for take, part in self.windows.slices.items():
                found, some = getattr(self, f"_{take}")(part)
                np.copyto(out[part], found, where=some, casting="unsafe")
        return out

    def _events(self, part: slice) -> NDArray[np.int64]:
        return np.asarray(self.high[part] - self.low[part])

    def _with_value(self, part: slice) -> NDArray[np.int64]:
        return np.asarray(self.settled.valued[self.high[part]] - self.settled.valued[self.low[part]])

    def _totals(self, part: slice) -> NDArray[Any]:
        if self.settled.exact:
            return np.asarray(self.settled.sums[self.high[part]] - self.settled.sums[self.low[part]])
        pairs = zip(self.low[part].tolist(), self.high[part].tolist(), strict=True)
        return np.array([sum(self.settled.values[low:high].tolist()) for low, high in pairs], object)

    def _count(self, part: slice) -> _Found:
        events = self._events(part)
        return events, events > 0

    def _trend_count(self, part: slice) -> _Found:
        newer, older = self._events(part), self._events(self.windows.older["trend_count"])
        return newer - older, (newer > 0) | (older > 0)

    def _sum(self, part: slice) -> _Found:
        return self._totals(part), self._with_value(part) > 0

    def _trend_sum(self, part: slice) -> _Found:
        older = self.windows.older["trend_sum"]
        some = (self._with_value(part) > 0) | (self._with_value(older) > 0)
        return self._totals(part) - self._totals(older), some

    def _mean(self, part: slice) -> _Found:
        events = self._with_value(part)
        return self._totals(part).astype(np.float64) / np.maximum(events, 1), events > 0

    def _min(self, part: slice) -> _Found:
        return self._extreme(part, np.minimum, _INT64.max)

    def _max(self, part: slice) -> _Found:
        return self._extreme(part, np.maximum, _INT64.min)

    def _extreme(self, part: slice, ufunc: np.ufunc, neutral: int) -> _Found:
        values = np.append(self.settled.values, neutral)
        if self.settled.valued[-1] < len(values) - 1:
            values[:-1][np.diff(self.settled.valued) == 0] = neutral
        bounds = np.stack((self.low[part], self.high[part]), axis=1).ravel()
        return ufunc.reduceat(values, bounds)[::2], self._with_value(part) > 0

    def _last(self, part: slice) -> _Found:
        count = self.settled.valued[self.high[part]]  # the newest event with a value is the count-th one that has one
        place = self.settled.valued.searchsorted(count, side="left") - 1
        return self.settled.values[np.maximum(place, 0)], self._with_value(part) > 0

    def _hours_since(self, part: slice) -> _Found:
        newest = self.settled.keys[np.maximum(self.high[part] - 1, 0)] & ((1 << STREAM_SHIFT) - 1)
        return (self.now_ms - newest) / HOUR_MS, self._events(part) > 0

    def _distinct(self, part: slice) -> _Found:
        pairs = zip(self.low[part].tolist(), self.high[part].tolist(), strict=True)
        found = np.array([_distinct(self.settled.subjects[low:high]) for low, high in pairs], np.int64)
        return found, found > 0

    def _streak(self, part: slice) -> _Found:
        zone = self.windows.zone
        today = int(local_days(np.array([self.now_ms], np.int64), zone)[0])
        pairs = zip(self.low[part].tolist(), self.high[part].tolist(), strict=True)
        moments = (self.settled.keys[low:high] & ((1 << STREAM_SHIFT) - 1) for low, high in pairs)
        found = np.array([_streak(local_days(at_ms, zone), today) for at_ms in moments], np.int64)
        return found, found > 0


def _distinct(subjects: NDArray[np.int64]) -> int:
    ordered = np.sort(subjects[subjects >= 0])
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(len(ordered))


def _streak(days: NDArray[np.int64], today: int) -> int:
    """Days in a row up to today or yesterday. `days` ascends; a day may come back after a clock was set back over midnight."""
    distinct = np.unique(days)
    if not len(distinct) or distinct[-1] < today - 1:
        return 0
    breaks = np.flatnonzero(np.diff(distinct) != 1)
    return len(distinct) - (int(breaks[-1]) + 1 if len(breaks) else 0)
