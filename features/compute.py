"""The features of one customer at one moment: packed bytes in, numbers out. Pure; serving and training call the same.

`settle` brings a log into order once, whatever the order of arrival: damaged records out, one record for each event id
(the earliest `at_ms`, then the smallest bytes), streams sorted by time, sums accumulated. `vector` then answers for any
moment. Because the earliest record of an event wins, settling a whole log and looking at it from an earlier moment is
the same as settling what was there at that moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.calendar import local_day, local_days
from features.packing import CHECK, EVENT_BYTES, HAS_VALUE, LAST_MS, fold, readable
from features.spec import FeatureSpec
from nba.clock import HOUR_MS, YEAR_2000_MS
from nba.errors import RuleError
from nba.rules import Values

_TYPE = 14  # of the 16 two-byte words of a record
_SUBJECT = 6  # of its 8 four-byte words
_FLAGS = 31  # of its bytes
_Bools = NDArray[np.bool_]  # where a feature has data; a take narrows its own part
_INT64 = np.iinfo(np.int64)
_SORT_BELOW = 600  # events; from there on the table of `_repeated` is quicker than sorting the ids


@dataclass(frozen=True, slots=True)
class Settled:
    """A log in order.

    `records` (n, 4) uint64: every event once, by time and id. The other arrays run over the m entries of the streams, by
    stream and time: `entries` (m, 4) uint64, their records; `keys` (m,) int64: stream << 44 | at_ms; `sums` (m + 1,) int64:
    running totals of the values; `valued` (m + 1,) int64: running count of those that have one, None where none that is
    asked for a value lacks it. `exact`: no running total can leave int64.
    """

    records: NDArray[np.uint64]
    entries: NDArray[np.uint64]
    keys: NDArray[np.int64]
    sums: NDArray[np.int64]
    valued: NDArray[np.int64] | None
    exact: bool
    damaged: bool


def settle(log: bytes, spec: FeatureSpec) -> Settled:
    """Bring a customer's log into order; see the module for the rules."""
    records, damaged = _records(log)
    if not _clean(records):
        records = in_order(records)
    numbers, rows = _streams(records, spec)
    order = numbers.argsort(kind="stable")  # stable: inside a stream the order stays that of time and id
    numbers = numbers.take(order)
    entries = records.take(order if rows is None else rows.take(order), axis=0)
    values = entries[:, 2].view(np.int64)
    largest = int(np.abs(values).view(np.uint64).max(initial=0))  # |-2^63| is 2^63 as uint64
    return Settled(
        records=records,
        entries=entries,
        keys=spec.streams.bases.take(numbers) + entries[:, 0].view(np.int64),
        sums=_running(values),
        valued=_valued(entries, int(numbers.searchsorted(spec.streams.valued))),
        exact=largest * len(values) <= _INT64.max,
        damaged=damaged,
    )


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


def _streams(records: NDArray[np.uint64], spec: FeatureSpec) -> tuple[NDArray[np.int16], NDArray[np.intp] | None]:
    """The stream of each entry, and the record that it is; None: entry i is record i."""
    streams = spec.streams
    numbers = streams.of_type.take(records.view(np.uint16)[:, _TYPE])
    more = []
    for layer in streams.layers:
        word = records[:, 3] & layer.mask
        place = layer.words.searchsorted(word)
        found = (layer.words.take(place) == word).nonzero()[0]
        if len(found):
            more.append((layer.numbers.take(place.take(found)), found))
    if not more:
        return numbers, None
    rows = np.concatenate([np.arange(len(records)), *(found for _, found in more)])
    return np.concatenate([numbers, *(number for number, _ in more)]), rows


def _valued(entries: NDArray[np.uint64], asked: int) -> NDArray[np.int64] | None:
    """Running count of entries with a value; None when the first `asked`, those of streams asked for values, all have one."""
    has_value = entries.view(np.uint8)[:, _FLAGS] & HAS_VALUE
    return None if has_value[:asked].all() else _running(has_value)


def _running(numbers: NDArray[Any]) -> NDArray[np.int64]:
    totals = np.zeros(len(numbers) + 1, np.int64)
    numbers.cumsum(out=totals[1:])
    return totals


def vector(settled: Settled, now_ms: int, spec: FeatureSpec) -> NDArray[np.float64]:
    """All features at `now_ms` in the order of `spec.names`, float64; NaN where there is neither data nor a default.

    Sums are exact integers before their one conversion to float64, whatever the values.
    """
    if not spec.names:
        return np.empty(0)
    grouped = _Moment(settled, now_ms, spec).values() if spec.windows.count else spec.windows.missing
    out = grouped.take(spec.place, mode="clip") if len(grouped) else np.empty(len(spec.names))
    if spec.derived:
        _derive(out, spec)
    return out


def newest_ms(settled: Settled, now_ms: int) -> int | None:
    """The newest event at or before `now_ms`, of any type."""
    at_ms = settled.records[:, 0]
    count = len(at_ms)
    if count and at_ms[-1] > now_ms:
        count = int(at_ms.searchsorted(np.uint64(max(now_ms, 0)), side="right"))
    return int(at_ms[count - 1]) if count else None


def _derive(out: NDArray[np.float64], spec: FeatureSpec) -> None:
    numbers = out.tolist()
    known = Values({name: numbers[place] for name, place in spec.reads if numbers[place] == numbers[place]})
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
        self.found = settled.keys.searchsorted(spec.windows.keys(min(now_ms, LAST_MS)), side="right")
        half = len(self.found) // 2
        self.low, self.high = self.found[:half], self.found[half:]
        self.events = self.high - self.low
        self.with_value = self.events if settled.valued is None else self._between(settled.valued)

    def _between(self, running: NDArray[np.int64]) -> NDArray[np.int64]:
        bounds = running.take(self.found)
        return np.asarray(bounds[len(self.low) :] - bounds[: len(self.low)])

    def values(self) -> NDArray[np.float64]:
        """The window features, grouped by take."""
        if not len(self.settled.keys):
            return self.windows.missing
        out = np.empty(self.windows.count)
        some = self.events[: self.windows.count] != 0
        for take, part in self.windows.slices.items():
            out[part] = getattr(self, f"_{take}")(part, some[part])
        np.copyto(out, self.windows.missing, where=~some)
        return out

    @cached_property
    def totals(self) -> NDArray[Any]:
        """The sum of the values in each segment; Python integers where int64 might not do."""
        if self.settled.exact:
            return self._between(self.settled.sums)
        pairs = zip(self.low.tolist(), self.high.tolist(), strict=True)
        return np.array([sum(self._numbers[low:high].tolist()) for low, high in pairs], object)

    @property
    def _numbers(self) -> NDArray[np.int64]:
        return self.settled.entries[:, 2].view(np.int64)

    def _only_valued(self, part: slice, some: _Bools) -> None:
        if self.settled.valued is not None:
            np.not_equal(self.with_value[part], 0, out=some)

    def _count(self, part: slice, _: _Bools) -> NDArray[Any]:
        return self.events[part]

    def _trend_count(self, part: slice, some: _Bools) -> NDArray[Any]:
        older = self.events[self.windows.older["trend_count"]]
        np.logical_or(some, older, out=some)
        return np.asarray(self.events[part] - older)

    def _sum(self, part: slice, some: _Bools) -> NDArray[Any]:
        self._only_valued(part, some)
        return self.totals[part]

    def _trend_sum(self, part: slice, some: _Bools) -> NDArray[Any]:
        older = self.windows.older["trend_sum"]
        self._only_valued(part, some)
        np.logical_or(some, self.with_value[older], out=some)
        return np.asarray(self.totals[part] - self.totals[older])

    def _mean(self, part: slice, some: _Bools) -> NDArray[Any]:
        self._only_valued(part, some)
        totals = self.totals[part].astype(np.float64)
        np.divide(totals, self.with_value[part], out=totals, where=some)
        return totals

    def _min(self, part: slice, some: _Bools) -> NDArray[Any]:
        return self._extreme(part, some, np.minimum, _INT64.max)

    def _max(self, part: slice, some: _Bools) -> NDArray[Any]:
        return self._extreme(part, some, np.maximum, _INT64.min)

    def _extreme(self, part: slice, some: _Bools, ufunc: np.ufunc, neutral: int) -> NDArray[Any]:
        self._only_valued(part, some)
        values = np.append(self._numbers, neutral)  # a bound may be the end, where reduceat wants an element
        if self.settled.valued is not None:
            values[:-1][np.diff(self.settled.valued) == 0] = neutral
        bounds = self.found.take(self.windows.interleaved[2 * part.start : 2 * part.stop])
        return np.asarray(ufunc.reduceat(values, bounds)[::2])

    def _last(self, part: slice, some: _Bools) -> NDArray[Any]:
        self._only_valued(part, some)
        place = self.high[part] - 1
        if self.settled.valued is not None:  # the newest event with a value is the count-th one that has one
            count = self.settled.valued.take(self.high[part])
            place = self.settled.valued.searchsorted(count, side="left") - 1
        return self._numbers.take(place, mode="clip")

    def _hours_since(self, part: slice, _: _Bools) -> NDArray[Any]:
        newest = self.settled.entries[:, 0].view(np.int64).take(self.high[part] - 1, mode="clip")
        return np.asarray((self.now_ms - newest) / HOUR_MS)

    def _distinct(self, part: slice, some: _Bools) -> NDArray[Any]:
        subjects = self.settled.entries.view(np.uint32)[:, _SUBJECT]
        pairs = zip(self.low[part].tolist(), self.high[part].tolist(), strict=True)
        found = np.array([_distinct(subjects[low:high]) for low, high in pairs], np.int64)
        np.not_equal(found, 0, out=some)
        return found

    def _streak(self, part: slice, some: _Bools) -> NDArray[Any]:
        zone = self.windows.zone
        today = local_day(self.now_ms, zone)
        at_ms = self.settled.entries[:, 0].view(np.int64)
        pairs = zip(self.low[part].tolist(), self.high[part].tolist(), strict=True)
        found = np.array([_streak(local_days(at_ms[low:high], zone), today) for low, high in pairs], np.int64)
        np.not_equal(found, 0, out=some)
        return found


def _distinct(subjects: NDArray[np.uint32]) -> int:
    """Different subjects; 0 stands for none."""
    if not len(subjects):
        return 0
    ordered = np.sort(subjects)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(ordered[0])


def _streak(days: NDArray[np.int64], today: int) -> int:
    """Days in a row up to today or yesterday. `days` ascends, but for a clock set back over midnight."""
    if not len(days) or days[-1] < today - 1:
        return 0
    breaks = (days[1:] - days[:-1] > 1).nonzero()[0]
    first = days[breaks[-1] + 1] if len(breaks) else days[0]
    return int(days[-1]) - int(first) + 1
