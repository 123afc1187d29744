"""What the features of a config are, compiled once: which event goes into which stream, and which slice each feature reads.

A *stream* is the events of one type, narrowed by one `where`. A *segment* is a window over a stream; a feature is one
segment, a trend two. All segments are found by one binary search over keys `stream << 44 | at_ms`, so a hundred
features cost little more than one. Features stand grouped by their `take` here (`Group`), which makes every group a
slice; `perm` brings them back into the order of the config.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.calendar import month_starts
from features.packing import CHANNELS, channel_code, subject_hash, type_code
from nba.config import Feature, FeaturesConfig, Window
from nba.errors import ConfigError
from nba.rules import Rule, flat

STREAM_SHIFT = 44  # milliseconds since 1970 need 43 bits until the year 2248
_TAKES = ("count", "trend_count", "sum", "trend_sum", "mean", "min", "max", "last", "distinct", "streak", "hours_since")
_Stream = tuple[str, tuple[str, ...], tuple[str, ...]]  # type, subjects, channels; empty: any


@dataclass(frozen=True, slots=True)
class Derived:
    """A feature computed from others: its place in the vector, the variable that others read it by, its formula, and the
    value when the formula fails.
    """

    position: int
    variable: str
    rule: Rule
    missing: float


class FeatureSpec:
    """The compiled features of a config.

    `names`: all features in the order of the config, derived ones included: the order of every vector. `reads`: which
    variables the derived ones need of the window features, and their places. `told_codes`: types whose every event is
    part of the story; `weighty`: those that rules look for in it.
    Raises ConfigError: two types or channels with one code, or derived features that read each other in a circle.
    """

    def __init__(self, config: FeaturesConfig) -> None:
        self.config = config
        self.names = tuple(feature.name for feature in config.features)
        self.codes = {name: type_code(name) for name in config.activities}
        self.channels = frozenset(CHANNELS) | {c for f in config.features for c in f.where.get("channel", ())}
        _refuse_clashes("activity types", self.codes)
        _refuse_clashes("channels", {name: channel_code(name) for name in sorted(self.channels)})
        self.weighty = {
            n: k for n, k in config.activities.items() if k.opens_issue or k.closes_issue or k.bad_experience
        }
        self.channel_names = {channel_code(name): name for name in self.channels}
        self.told_codes = {code: name for name, code in self.codes.items() if config.activities[name].text}
        self.told = _table(65536, list(self.told_codes)) > 0
        windows = sorted((f for f in config.features if f.take), key=lambda f: _TAKES.index(_group(f, config)))
        self.streams = _Streams([_stream(feature) for feature in windows])
        self.windows = _Windows(windows, self.streams, config)
        position = {name: index for index, name in enumerate(self.names)}
        self.perm = np.array([position[f.name] for f in windows], np.intp)
        self.derived = _in_order(config.features)
        read = {name for item in self.derived for _, name in item.rule.reads}
        self.reads = tuple((flat("features", f.name), position[f.name]) for f in windows if f.name in read)
        self.fixed = frozenset(name for name, _ in self.reads) | {f"has__{name}" for name, _ in self.reads}


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


class _Streams:
    """Tables from an event's (type, subject, channel) to the streams it belongs to.

    `of_type` (65536,) and `of_channel` (256,): small numbers for the codes that features tell apart, 0 for the others;
    `subjects`: the hashes that features name, ascending. `layers[k][type, subject, channel]`: a stream of such an event,
    -1 for none; an event of several streams finds them in several layers, most configs need one or two.
    """

    def __init__(self, wanted: Sequence[_Stream]) -> None:
        self.all: tuple[_Stream, ...] = tuple(dict.fromkeys(wanted))
        types = sorted({s[0] for s in self.all})
        subjects = sorted({subject_hash(name) for s in self.all for name in s[1]})
        channels = sorted({name for s in self.all for name in s[2]})
        self.of_type = _table(65536, [type_code(name) for name in types])
        self.of_channel = _table(256, [channel_code(name) for name in channels])
        self.subjects = np.array(subjects, np.uint64)
        self.has_where = bool(subjects or channels)
        shape = (len(types) + 1, len(subjects) + 1, len(channels) + 1)
        layers: list[NDArray[np.int16]] = []
        for number, (kind, named_subjects, named_channels) in enumerate(self.all):
            rows = _numbers([subjects.index(subject_hash(n)) for n in named_subjects], len(subjects))
            places = _numbers([channels.index(n) for n in named_channels], len(channels))
            _enter(layers, np.ix_([types.index(kind) + 1], rows, places), number, shape)
        self.layers = np.stack(layers) if layers else np.empty((0, *shape), np.int16)


def _enter(layers: list[NDArray[np.int16]], where: tuple[Any, ...], number: int, shape: tuple[int, ...]) -> None:
    """Write a stream into the first layer where all its places are free: in one layer its events keep their order."""
    for layer in layers:
        if (layer[where] < 0).all():
            layer[where] = number
            return
    layers.append(np.full(shape, -1, np.int16))
    layers[-1][where] = number


def _table(size: int, codes: Sequence[int]) -> NDArray[np.intp]:
    table = np.zeros(size, np.intp)
    table[list(codes)] = np.arange(1, len(codes) + 1)
    return table


def _numbers(named: Sequence[int], count: int) -> list[int]:
    return [index + 1 for index in named] if named else list(range(count + 1))


class _Windows:
    """The segments: `edges` say which moment bounds them, `base` in which stream they lie.

    Arrays of 2 * segments entries, lower bounds first, then upper ones; an event counts when lower < at <= upper.
    A feature's segment stands at the feature's own place; the older halves of the trends follow after all features.
    """

    def __init__(self, features: Sequence[Feature], streams: _Streams, config: FeaturesConfig) -> None:
        groups = [_group(f, config) for f in features]
        self.count = len(features)
        self.slices = {
            take: slice(groups.index(take), groups.index(take) + groups.count(take)) for take in dict.fromkeys(groups)
        }
        trends = [i for i, f in enumerate(features) if f.take == "trend"]
        self.older = {take: _older(groups, trends, take, self.count) for take in groups if take.startswith("trend")}
        self.missing = np.array([f.missing for f in features], np.float64)
        self.zone = config.timezone
        segments = [_bounds(f.window, 0) for f in features] + [_bounds(features[i].window, 1) for i in trends]
        unique = sorted({edge for pair in segments for edge in pair})
        self._spans = np.array([-amount for kind, amount in unique if kind == "ago"], np.int64)
        self._backs = np.array([amount for kind, amount in unique if kind == "month"], np.int64)
        self._months = month_starts(self.zone) - 1  # lower bounds are exclusive: a month's first instant counts
        self._month_list: list[int] = (self._months + 1).tolist()
        self._longest = -int(self._spans.min(initial=0))
        number = [streams.all.index(_stream(f)) for f in features]
        number += [number[i] for i in trends]
        self.edges = np.array([unique.index(pair[side]) for side in (0, 1) for pair in segments], np.intp)
        self.base = np.array(number * 2, np.int64) << STREAM_SHIFT

    def keys(self, now_ms: int) -> NDArray[np.int64]:
        """The composite keys to search for at this moment, shape (2 * segments,), to be searched from the right."""
        moments = np.empty(len(self._spans) + len(self._backs) + 1, np.int64)
        np.add(self._spans, now_ms, out=moments[: len(self._spans)])
        if len(self._backs):
            month = bisect_right(self._month_list, now_ms) - 1
            moments[len(self._spans) : -1] = self._months[np.clip(month - self._backs, 0, len(self._months) - 1)]
        moments[-1] = 0
        if now_ms < self._longest:
            np.maximum(moments, 0, out=moments)  # below 0 a bound would reach into the stream before
        return moments[self.edges] + self.base


def _older(groups: Sequence[str], trends: Sequence[int], take: str, count: int) -> slice:
    first = count + trends.index(groups.index(take))
    return slice(first, first + groups.count(take))


def _bounds(window: Window | None, older: int) -> tuple[tuple[str, int], tuple[str, int]]:
    """Lower and upper edge; sorted as "ago" < "month" < "never", the order in which `keys` lays the moments out."""
    if window is None:
        return ("never", 0), ("ago", 0)
    if window.span_ms is not None:
        return ("ago", window.span_ms * (older + 1)), ("ago", window.span_ms * older)
    back = window.months_back or 0
    return ("month", back), ("month", back - 1) if back else ("ago", 0)


def _in_order(features: Sequence[Feature]) -> tuple[Derived, ...]:
    """The derived features so that each comes after those it reads."""
    names = [feature.name for feature in features]
    waiting = {f.name: (i, f, Rule(str(f.derived), {}, names)) for i, f in enumerate(features) if f.derived is not None}
    ordered: list[Derived] = []
    while waiting:
        ready = [n for n, (_, _, rule) in waiting.items() if not any(name in waiting for _, name in rule.reads)]
        if not ready:
            raise ConfigError([f"features.yaml: {', '.join(sorted(waiting))} read each other in a circle: break it"])
        for name in ready:
            position, feature, rule = waiting.pop(name)
            ordered.append(Derived(position, flat("features", name), rule, feature.missing))
    return tuple(ordered)
