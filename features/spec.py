"""What the features of a config are, compiled once: which event goes into which stream, and which slice each feature reads.

A *stream* is the events of one type, narrowed by one `where`. A *segment* is a window over a stream; a feature is one
segment, a trend two. All segments are found by one binary search over keys `stream << 44 | at_ms`, so a hundred
features cost little more than one. Features stand grouped by their `take` here (`Group`), which makes every group a
slice; `place` says where each feature of the config stands in that order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.calendar import local_days, month_starts
from features.packing import CHANNELS, channel_code, subject_hash, type_code
from nba.config import Feature, FeaturesConfig, Window
from nba.errors import ConfigError
from nba.rules import Block, Names, Rule

STREAM_SHIFT = 44  # milliseconds since 1970 need 43 bits until the year 2248
_OF_VALUES = ("sum", "trend", "mean", "min", "max", "last")
TAKES = ("sum", "trend_sum", "mean", "min", "max", "last", "count", "trend_count", "distinct", "streak", "hours_since")
_Stream = tuple[str, tuple[str, ...], tuple[str, ...]]  # type, subjects, channels; empty: any


@dataclass(frozen=True, slots=True)
class Derived:
    """A feature computed from others: its place in the vector, its formula, and the value when the formula fails."""

    position: int
    rule: Rule
    missing: float


class Level:
    """Derived features that are computed together: what they read is window features or stands on a level before.

    `reads`: the variables that their formulas need, and the places of these in the vector.
    """

    __slots__ = ("block", "items", "names", "reads")

    def __init__(self, items: Sequence[Derived], position: Mapping[str, int]) -> None:
        self.items = tuple(items)
        self.block = Block([item.rule for item in items])
        self.names = Names(v for item in items for v in item.rule.variables)
        self.reads = tuple((variable, position[name]) for _, name, variable in self.names.plain)


class FeatureSpec:
    """The compiled features of a config.

    `names`: all features in the order of the config, derived ones included: the order of every vector. `levels`: the
    derived ones, in the order in which they are computed. `aging`: how much a profile field changes with each day, by
    name. `told_codes`: types whose every event is part of the story; `weighty`: those that rules look for in it, which
    are issues and bad experiences.
    Raises ConfigError: two types or channels with one code, or derived features that read each other in a circle.
    """

    def __init__(self, config: FeaturesConfig) -> None:
        self.config = config
        self.names = tuple(feature.name for feature in config.features)
        self.aging = {name: field.a_day for name, field in config.profile.items() if field.a_day is not None}
        self.codes = {name: type_code(name) for name in config.activities}
        self.channels = frozenset(CHANNELS) | {c for f in config.features for c in f.where.get("channel", ())}
        _refuse_clashes("activity types", self.codes)
        _refuse_clashes("channels", {name: channel_code(name) for name in sorted(self.channels)})
        self.weighty = {
            n: k for n, k in config.activities.items() if k.opens_issue or k.closes_issue or k.bad_experience
        }
        self.channel_names = {channel_code(name): name for name in self.channels}
        self.told_codes = {code: name for name, code in self.codes.items() if config.activities[name].told}
        self.told = np.isin(np.arange(65536), list(self.told_codes))
        windows = sorted((f for f in config.features if f.take), key=lambda f: TAKES.index(_group(f, config)))
        self.streams = _Streams(windows)
        self.windows = _Windows(windows, self.streams, config)
        position = {name: index for index, name in enumerate(self.names)}
        grouped = {feature.name: index for index, feature in enumerate(windows)}
        self.place = np.array([grouped.get(name, 0) for name in self.names], np.intp)
        if any(f.take == "streak" for f in windows):
            local_days(np.zeros(1, np.int64), config.timezone)  # makes the zone's table now, not within the first call
        found = _in_levels(config.features)
        self.derived = tuple(item for items in found for item in items)
        self.levels = tuple(Level(items, position) for items in found)


def _refuse_clashes(what: str, codes: Mapping[str, int]) -> None:
    first: dict[int, str] = {}
    for name, code in codes.items():
        other = first.setdefault(code, name)
        if other != name:
            raise ConfigError([f"features.yaml: the {what} {other!r} and {name!r} share the code {code}: rename one"])


def _group(feature: Feature, config: FeaturesConfig) -> str:
    if feature.take != "trend":
        return str(feature.take)
    activity = config.activities.get(str(feature.of))
    return "trend_count" if activity is None or activity.unit is None else "trend_sum"


def _stream(feature: Feature) -> _Stream:
    subjects, channels = feature.where.get("subject", ()), feature.where.get("channel", ())
    return str(feature.of), tuple(sorted(set(subjects))), tuple(sorted(set(channels)))


@dataclass(frozen=True, slots=True)
class Layer:
    """Streams with a `where` on the same fields. `words` (k + 1,) ascending: what the masked last word of an event is for
    the stream `numbers[i]`; one word that no event has stands at the end.
    """

    mask: np.uint64
    words: NDArray[np.uint64]
    numbers: NDArray[np.unsignedinteger]


class _Streams:
    """From an event to the streams it belongs to.

    Streams are numbered from 1, those that are asked for values first: up to `valued`. `of_type` (65536,): the stream of
    all events of a type, `unread`, the last number, where no feature asks for them. `narrowed` (65536,): whether a type has
    narrowed streams. `layers`: these; a stream lies in one layer only, so its events keep their order. `bases`: what each
    adds to a moment to make its key.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        valued = list(dict.fromkeys(_stream(f) for f in features if f.take in _OF_VALUES))
        self.valued = len(valued)
        self.all: tuple[_Stream, ...] = tuple(dict.fromkeys([*valued, *map(_stream, features)]))
        self.unread = len(self.all) + 1
        self.bases = np.arange(self.unread + 1, dtype=np.int64) << STREAM_SHIFT
        # One byte sorts in half the time.
        kept_in: type[np.unsignedinteger] = np.uint8 if self.unread < 256 else np.uint16
        self.of_type = np.full(65536, self.unread, kept_in)
        self.narrowed = np.zeros(65536, np.bool_)
        layers: dict[int, list[dict[int, int]]] = {}
        for number, (kind, subjects, channels) in enumerate(self.all, 1):
            if not subjects and not channels:
                self.of_type[type_code(kind)] = number
                continue
            self.narrowed[type_code(kind)] = True
            mask = 0xFFFF << 32 | (0xFFFF_FFFF if subjects else 0) | (0xFF << 48 if channels else 0)
            _enter(layers.setdefault(mask, []), _words(kind, subjects, channels), number)
        self.layers = tuple(_layer(mask, entries, kept_in) for mask, several in layers.items() for entries in several)


def _words(kind: str, subjects: Sequence[str], channels: Sequence[str]) -> list[int]:
    hashes = [subject_hash(name) for name in subjects] or [0]
    codes = [channel_code(name) for name in channels] or [0]
    return [code << 48 | type_code(kind) << 32 | subject for code in codes for subject in hashes]


def _enter(layers: list[dict[int, int]], words: Sequence[int], number: int) -> None:
    """Put a stream into the first layer in which all its words are free."""
    for entries in layers:
        if entries.keys().isdisjoint(words):
            entries.update(dict.fromkeys(words, number))
            return
    layers.append(dict.fromkeys(words, number))


def _layer(mask: int, entries: Mapping[int, int], kept_in: type[np.unsignedinteger]) -> Layer:
    words = sorted(entries)
    numbers = np.array([*(entries[word] for word in words), 0], kept_in)
    return Layer(np.uint64(mask), np.array([*words, 2**64 - 1], np.uint64), numbers)


class _Windows:
    """The segments: which moments bound them, and in which stream they lie.

    Arrays of 2 * segments entries, lower bounds first, then upper ones; an event counts when lower < at <= upper. A
    feature's segment stands at the feature's own place; the older halves of the trends follow after all features.
    `slices`: the features of each take; `older`: the older halves; `of_values`: segments whose events need a value.
    """

    def __init__(self, features: Sequence[Feature], streams: _Streams, config: FeaturesConfig) -> None:
        groups = [_group(f, config) for f in features]
        self.count = len(features)
        trends = [i for i, f in enumerate(features) if f.take == "trend"]
        self.slices = {t: slice(groups.index(t), groups.index(t) + groups.count(t)) for t in dict.fromkeys(groups)}
        self.older = {t: _older(groups, trends, t, self.count) for t in self.slices if t.startswith("trend")}
        of_values = [f.take in _OF_VALUES and t != "trend_count" for f, t in zip(features, groups, strict=True)]
        self.of_values = np.array([*of_values, *(of_values[i] for i in trends)], np.bool_)
        self.missing = np.array([f.missing for f in features], np.float64)
        self.zone = config.timezone
        segments = [_bounds(f.window, 0) for f in features] + [_bounds(features[i].window, 1) for i in trends]
        self.segments = len(segments)
        self._edges = [pair[side] for side in (0, 1) for pair in segments]
        number = [streams.all.index(_stream(f)) + 1 for f in features]
        number += [number[i] for i in trends]
        self._bases = np.array(number * 2, np.int64) << STREAM_SHIFT
        self._relative = np.array([kind == "ago" for kind, _ in self._edges], np.int64)
        self._longest = max((amount for kind, amount in self._edges if kind == "ago"), default=0)
        self._starts: list[int] = month_starts(self.zone).tolist()
        self._of_month: tuple[int, NDArray[np.int64]] = (-1, self._fixed(0))
        self.interleaved = np.arange(2 * len(segments)).reshape(2, -1).T.ravel()

    def keys(self, now_ms: int) -> NDArray[np.int64]:
        """The composite keys to search for at this moment, shape (2 * segments,), to be searched from the right."""
        month = bisect_right(self._starts, now_ms) - 1
        if self._of_month[0] != month:
            self._of_month = (month, self._fixed(month))
        fixed = self._of_month[1]
        if now_ms >= self._longest:
            return np.asarray(fixed + self._relative * now_ms)
        # Below 0 a bound would reach into the stream before.
        return np.asarray(np.maximum(fixed - self._bases + self._relative * now_ms, 0) + self._bases)

    def _fixed(self, month: int) -> NDArray[np.int64]:
        """The part of the keys that stays the same during a month."""
        return self._bases + np.array([self._moment(kind, amount, month) for kind, amount in self._edges], np.int64)

    def _moment(self, kind: str, amount: int, month: int) -> int:
        if kind == "month":  # lower bounds are exclusive: a month's first instant counts
            return self._starts[min(max(month - amount, 0), len(self._starts) - 1)] - 1
        return -amount if kind == "ago" else 0


def _older(groups: Sequence[str], trends: Sequence[int], take: str, count: int) -> slice:
    first = count + trends.index(groups.index(take))
    return slice(first, first + groups.count(take))


def _bounds(window: Window | None, older: int) -> tuple[tuple[str, int], tuple[str, int]]:
    """Lower and upper edge: so long ago, the first instant of so many months back, or since ever."""
    if window is None:
        return ("never", 0), ("ago", 0)
    if window.span_ms is not None:
        return ("ago", window.span_ms * (older + 1)), ("ago", window.span_ms * older)
    back = window.months_back or 0
    return ("month", back), ("month", back - 1) if back else ("ago", 0)


def _in_levels(features: Sequence[Feature]) -> list[list[Derived]]:
    """The derived features so that each stands on a level after those it reads."""
    names = [feature.name for feature in features]
    waiting = {f.name: (i, f, Rule(str(f.derived), {}, names)) for i, f in enumerate(features) if f.derived is not None}
    levels: list[list[Derived]] = []
    while waiting:
        ready = [n for n, (_, _, rule) in waiting.items() if not any(name in waiting for _, name in rule.reads)]
        if not ready:
            raise ConfigError([f"features.yaml: {', '.join(sorted(waiting))} read each other in a circle: break it"])
        levels.append([_derived(*waiting.pop(name)) for name in ready])
    return levels


def _derived(position: int, feature: Feature, rule: Rule) -> Derived:
    return Derived(position, rule, feature.missing)
