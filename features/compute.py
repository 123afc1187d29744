"""The features of one customer at one moment: packed bytes in, numbers out. Pure; serving and training call the same.

`settle` brings a log into order once, whatever the order of arrival: damaged records out, one record for each event id
(the earliest `at_ms`, then the smallest bytes), streams sorted by time, sums accumulated. `vector` then answers for any
moment. Because the earliest record of an event wins, settling a whole log and looking at it from an earlier moment is
the same as settling what was there at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.calendar import local_day, local_days, shortest_missed_day_ms
from features.packing import CHECK, EVENT_BYTES, HAS_VALUE, LAST_MS, SMALL, TYPE, fold, readable
from features.spec import STREAM_SHIFT, TAKES, Derived, FeatureSpec
from nba.clock import HOUR_MS, YEAR_2000_MS
from nba.errors import RuleError
from nba.rules import Answer, Values

_EMPTY = bytes(EVENT_BYTES)
_SUBJECT = 6  # of its 8 four-byte words
_FLAGS = 31  # of its bytes
_Numbers = NDArray[np.float64]
_MOMENT = (1 << STREAM_SHIFT) - 1
_INT64 = np.iinfo(np.int64)
_SET_BELOW = 256  # subjects; a Python set is quicker there


@dataclass(frozen=True, slots=True)
class Settled:
    """A log in order.

    `records` (n, 4) uint64: every event once, by time and id. The other arrays run over the m entries of the streams, by
    stream and time, between two empty ones that spare every reader the edges: entry 0 and entry m + 1. `keys` (m + 2,)
    int64: stream << 44 | at_ms; `rows` (m + 2,): the record of each, counted from 1.

    The streams that are asked for values stand first, and the next three arrays end one entry behind them. `values` int64;
    `sums` int64: their running totals; `valued` int64: the running count of entries that have one, None where none lacks
    it. `exact`: no running total has left int64.
    """

    records: NDArray[np.uint64]
    keys: NDArray[np.int64]
    rows: NDArray[np.intp]
    values: NDArray[np.int64]
    sums: NDArray[np.int64]
    valued: NDArray[np.int64] | None
    exact: bool
    damaged: bool


def settle(log: bytes, spec: FeatureSpec) -> Settled:
    """Bring a customer's log into order; see the module for the rules."""
    padded, damaged = _records(log)
    clean = _clean(padded[1:-1])
    if not damaged and not _possible(padded[1:-1, 0], clean):
        padded, damaged, clean = _padded(readable(log)), True, False
    if not clean:
        padded = _padded(in_order(padded[1:-1]))
    streams = spec.streams
    numbers, rows = _streams(padded, spec)
    order = numbers.argsort(kind="stable")  # stable: inside a stream the order stays that of time and id
    numbers = numbers.take(order)
    rows = order if rows is None else rows.take(order)
    # By index where `take` would first copy a column whose numbers do not lie together.
    keys = streams.bases.take(numbers) + padded[:, 0].view(np.int64)[rows]
    asked = padded.take(rows[: numbers.searchsorted(streams.valued + 1) + 1], axis=0)
    flags = int(np.bitwise_and.reduce(asked[1:-1, 3])) >> 56
    has_value = None if flags & HAS_VALUE else (asked.view(np.uint8)[:, _FLAGS] & HAS_VALUE).cumsum(dtype=np.int64)
    values = asked[:, 2].view(np.int64).copy()
    return Settled(padded[1:-1], keys, rows, values, values.cumsum(), has_value, bool(flags & SMALL), damaged)


def _records(log: bytes) -> tuple[NDArray[np.uint64], bool]:
    """Records of shape (n + 2, 4) between two empty ones, and whether some bytes had to be left out."""
    if len(log) % EVENT_BYTES == 0:
        words = np.frombuffer(_EMPTY + log + _EMPTY, "<u8")
        wanted = CHECK if len(log) // EVENT_BYTES % 2 else 0
        if fold(int(np.bitwise_xor.reduce(words))) == wanted:
            return words.reshape(-1, 4), False
    found = readable(log)
    return _padded(found), len(found) * EVENT_BYTES < len(log)


def _possible(at_ms: NDArray[np.uint64], clean: bool) -> bool:
    """Whether all moments are later than 2000 and none absurd; where they ascend the first and the last one tell."""
    if not len(at_ms):
        return True
    first, last = (at_ms[0], at_ms[-1]) if clean else (at_ms.min(), at_ms.max())
    return bool(first >= YEAR_2000_MS and last < LAST_MS)


def _padded(records: NDArray[np.uint64]) -> NDArray[np.uint64]:
    padded = np.zeros((len(records) + 2, EVENT_BYTES // 8), "<u8")
    padded[1:-1] = records
    return padded


def _clean(words: NDArray[np.uint64]) -> bool:
    """Already in order of time and id and without an id twice."""
    at_ms, ids = words[:, 0], words[:, 1]
    later = at_ms[1:] > at_ms[:-1]
    if not later.all() and not (later | ((at_ms[1:] == at_ms[:-1]) & (ids[1:] > ids[:-1]))).all():
        return False
    return not _repeated(ids)


def _repeated(ids: NDArray[np.uint64]) -> bool:
    halves = np.sort(ids.astype(np.uint32))  # sorts in half the time; two ids that share a half are rare
    if not (halves[1:] == halves[:-1]).any():
        return False
    ordered = np.sort(ids)
    return bool((ordered[1:] == ordered[:-1]).any())


def in_order(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One record for each event id, the earliest and then the smallest, ordered by time and id; shape (≤ n, 4)."""
    once = _first_of_each(words) if _repeated(words[:, 1]) else words
    order = once[:, 0].argsort(kind="stable")  # a log is nearly in order: one pass, with no other key
    ordered = once.take(order, axis=0)
    at_ms, ids = ordered[:, 0], ordered[:, 1]
    if ((at_ms[1:] == at_ms[:-1]) & (ids[1:] < ids[:-1])).any():
        ordered = ordered.take(np.lexsort((ids, at_ms)), axis=0)
    return ordered


def _first_of_each(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    order = np.lexsort((words[:, 3], words[:, 2], words[:, 0], words[:, 1]))
    ids = words[order, 1]
    first = np.ones(len(order), np.bool_)
    np.not_equal(ids[1:], ids[:-1], out=first[1:])
    return words[order[first]]


def _streams(
    padded: NDArray[np.uint64], spec: FeatureSpec
) -> tuple[NDArray[np.unsignedinteger], NDArray[np.intp] | None]:
    """The stream of each entry, and the record that it is; None: entry i is record i."""
    streams = spec.streams
    types = padded.view(np.uint16)[:, TYPE]
    numbers = streams.of_type.take(types)
    numbers[0], numbers[-1] = 0, streams.unread
    asked = streams.narrowed.take(types).nonzero()[0]
    words = padded[:, 3].take(asked)
    more = []
    for layer in streams.layers if len(asked) else ():
        word = words & layer.mask
        place = layer.words.searchsorted(word)
        found = (layer.words.take(place) == word).nonzero()[0]
        if len(found):
            more.append((layer.numbers.take(place.take(found)), asked.take(found)))
    if not more:
        return numbers, None
    rows = np.concatenate([np.arange(len(padded)), *(found for _, found in more)])
    return np.concatenate([numbers, *(number for number, _ in more)]), rows


def vector(settled: Settled, now_ms: int, spec: FeatureSpec) -> NDArray[np.float64]:
    """All features at `now_ms` in the order of `spec.names`, float64; NaN where there is neither data nor a default.

    Sums are exact integers before their one conversion to float64, whatever the values.
    """
    if not spec.names:
        return np.empty(0)
    grouped = _Moment(settled, now_ms, spec).features() if spec.windows.count else spec.windows.missing
    out = grouped.take(spec.place, mode="clip") if len(grouped) else np.empty(len(spec.names))
    if spec.derived:
        _derive(out, spec)
    return out


def moments(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The `at_ms` of keys of a settled log, same shape."""
    return keys & _MOMENT


def newest_ms(settled: Settled, now_ms: int) -> int | None:
    """The newest event at or before `now_ms`, of any type."""
    at_ms = settled.records[:, 0]
    count = len(at_ms)
    if count and at_ms[-1] > now_ms:
        count = int(at_ms.searchsorted(np.uint64(max(now_ms, 0)), side="right"))
    return int(at_ms[count - 1]) if count else None


def _derive(out: NDArray[np.float64], spec: FeatureSpec) -> None:
    numbers = out.tolist()
    for level in spec.levels:
        known = {name: numbers[place] for name, place in level.reads if numbers[place] == numbers[place]}
        answers = level.block.ask(Values(known, level.names))
        for item, answer in zip(level.items, answers, strict=True):
            out[item.position] = numbers[item.position] = _number(item, answer)


def _number(item: Derived, answer: Answer) -> float:
    try:
        return item.rule.as_number(answer)
    except RuleError:
        return item.missing


class _Moment:
    """One evaluation: the segments' bounds at a moment, and each `take` over its slice of them.

    A segment is the entries after `low` up to `high`, both counted from the empty entry 0.
    """

    __slots__ = ("counted", "found", "high", "low", "now_ms", "settled", "totals", "values", "windows")

    def __init__(self, settled: Settled, now_ms: int, spec: FeatureSpec) -> None:
        self.settled = settled
        self.now_ms = now_ms
        self.windows = spec.windows
        half = spec.windows.segments
        self.found = settled.keys[1:].searchsorted(spec.windows.keys(min(now_ms, LAST_MS)), side="right")
        self.low, self.high = self.found[:half], self.found[half:]
        self.values = settled.values
        self.counted = self.high - self.low
        if settled.valued is not None:
            self.counted = np.where(self.windows.of_values, self._between(settled.valued), self.counted)
        self.totals = self._between(settled.sums) if settled.exact else self._long_totals()

    def _between(self, running: NDArray[np.int64]) -> NDArray[np.int64]:
        bounds = running.take(self.found, mode="clip")  # beyond its end lie streams that nobody asks for values
        return np.asarray(bounds[self.windows.segments :] - bounds[: self.windows.segments])

    def _long_totals(self) -> NDArray[Any]:
        """Sums that int64 might not hold, as Python integers."""
        return np.array([sum(self.values[low:high].tolist()) for low, high in self._pairs(slice(None))], object)

    def _pairs(self, part: slice) -> list[tuple[int, int]]:
        """First entry and the one behind the last, of each segment."""
        return list(zip((self.low[part] + 1).tolist(), (self.high[part] + 1).tolist(), strict=True))

    def features(self) -> NDArray[np.float64]:
        """The window features, grouped by take."""
        windows = self.windows
        out = np.empty(windows.count)
        some = self.counted[: windows.count] != 0
        for take, part in windows.slices.items():
            _TAKES[take](self, part, out)
        for take, older in windows.older.items():
            some[windows.slices[take]] |= self.counted[older] != 0
        for take in ("distinct", "streak"):
            if take in windows.slices:
                some[windows.slices[take]] = out[windows.slices[take]] != 0
        return np.where(some, out, windows.missing)

    def count(self, part: slice, out: _Numbers) -> None:
        out[part] = self.counted[part]

    def trend_count(self, part: slice, out: _Numbers) -> None:
        out[part] = self.counted[part] - self.counted[self.windows.older["trend_count"]]

    def sum(self, part: slice, out: _Numbers) -> None:
        out[part] = self.totals[part]

    def trend_sum(self, part: slice, out: _Numbers) -> None:
        out[part] = self.totals[part] - self.totals[self.windows.older["trend_sum"]]

    def mean(self, part: slice, out: _Numbers) -> None:
        out[part] = self.totals[part]
        out[part] /= np.maximum(self.counted[part], 1)

    def min(self, part: slice, out: _Numbers) -> None:
        self._extreme(part, out, np.minimum, _INT64.max)

    def max(self, part: slice, out: _Numbers) -> None:
        self._extreme(part, out, np.maximum, _INT64.min)

    def _extreme(self, part: slice, out: _Numbers, ufunc: np.ufunc, neutral: int) -> None:
        values = self.values
        if self.settled.valued is not None:
            values = np.where(np.diff(self.settled.valued, prepend=0) == 0, neutral, values)
        bounds = self.found.take(self.windows.interleaved[2 * part.start : 2 * part.stop]) + 1
        out[part] = ufunc.reduceat(values, bounds)[::2]

    def last(self, part: slice, out: _Numbers) -> None:
        place = self.high[part]
        # The newest entry with a value is the first one at which the count is reached.
        if self.settled.valued is not None:
            place = self.settled.valued.searchsorted(self.settled.valued.take(place), side="left")
        out[part] = self.values[place]

    def hours_since(self, part: slice, out: _Numbers) -> None:
        out[part] = (self.now_ms - moments(self.settled.keys.take(self.high[part]))) / HOUR_MS

    def distinct(self, part: slice, out: _Numbers) -> None:
        subjects, rows = self.settled.records.view(np.uint32)[:, _SUBJECT], self.settled.rows
        out[part] = [_distinct(subjects[rows[low:high] - 1]) for low, high in self._pairs(part)]

    def streak(self, part: slice, out: _Numbers) -> None:
        zone = self.windows.zone
        today = local_day(self.now_ms, zone)
        keys = self.settled.keys
        out[part] = [_streak(moments(keys[low:high]), zone, today) for low, high in self._pairs(part)]


_TAKES = {name: getattr(_Moment, name) for name in TAKES}


def _distinct(subjects: NDArray[np.uint32]) -> int:
    """Different subjects; 0 stands for none."""
    if len(subjects) <= _SET_BELOW:
        return len(set(subjects.tolist()) - {0})
    ordered = np.sort(subjects)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(ordered[0])


def _streak(at_ms: NDArray[np.int64], zone: str, today: int) -> int:
    """Days in a row up to today or yesterday. Days ascend with time, but for a clock set back over midnight."""
    if not len(at_ms) or (newest := local_day(int(at_ms[-1]), zone)) < today - 1:
        return 0
    wide = (at_ms[1:] - at_ms[:-1] > shortest_missed_day_ms(zone)).nonzero()[0]
    breaks = wide[local_days(at_ms[wide + 1], zone) - local_days(at_ms[wide], zone) > 1]
    return newest - local_day(int(at_ms[breaks[-1] + 1 if len(breaks) else 0]), zone) + 1
