"""How a feature came about over time: the small bars beside a reason. Same bytes, same pure function as the feature itself.

A bar is the feature's own `take` over a shorter window, so a bar is exact in the same sense as the number it explains.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from features.calendar import month_starts
from features.compute import settle, vector
from features.spec import FeatureSpec
from nba.clock import DAY_MS
from nba.config import Feature, FeaturesConfig, Window
from nba.errors import NotFoundError
from nba.rules import Rule

MONTHS_SHOWN = 6
_DAYS_SHOWN = 30
_MINUTE_MS = 60_000
_BY_MONTH_FROM_MS = 120 * DAY_MS
_RARE_FROM_MS = 31 * DAY_MS  # what is measured a few times a month, such as a bill


@dataclass(frozen=True, slots=True)
class Bars:
    """One feature over time. `starts_ms` (n,) ascending, UTC; `values` (n,): None where nothing was measured.

    `counted` (n,): whether the feature itself looks at that bar. `step`: month (calendar) or span (`step_ms` long each).
    """

    feature: str
    of: str
    take: str
    unit: str | None
    step: str
    step_ms: int | None
    starts_ms: list[int]
    values: list[float | None]
    counted: list[bool]


class SeriesBook:
    """The series of every feature of a config, compiled when first asked for."""

    def __init__(self, config: FeaturesConfig) -> None:
        self._config = config
        self._features = {feature.name: feature for feature in config.features}
        self._plans: dict[str, _Plan | None] = {}

    def bars(self, name: str, log: bytes, now_ms: int) -> Bars | None:
        """The bars of one feature up to `now_ms`; None for one that stands on no activity. Raises NotFoundError."""
        if name not in self._features:
            raise NotFoundError(f"no feature {name!r}: give one that features.yaml declares")
        if name not in self._plans:
            leaves = self._leaves(name, set())
            self._plans[name] = _Plan(name, leaves, self._config) if leaves else None
        plan = self._plans[name]
        return None if plan is None else plan.bars(log, now_ms)

    def _leaves(self, name: str, seen: set[str]) -> list[Feature]:
        """The window features that a feature stands on, in the order of its formula."""
        feature = self._features.get(name)
        if feature is None or name in seen:
            return []
        seen.add(name)
        if feature.derived is None:
            return [feature]
        text = feature.derived
        reads = [read for _, read in Rule(text, {}, list(self._features)).reads]
        ordered = sorted(reads, key=text.find)
        return [leaf for read in ordered for leaf in self._leaves(read, seen)]


class _Plan:
    """How the bars of one feature are computed: a spec with one shorter window, or one window a month."""

    def __init__(self, name: str, leaves: list[Feature], config: FeaturesConfig) -> None:
        self.name, self.first, self.config = name, leaves[0], config
        same = [leaf for leaf in leaves if (leaf.of, leaf.where) == (self.first.of, self.first.where)]
        self.months = {leaf.window.months_back for leaf in same if leaf.window and leaf.window.months_back is not None}
        self.span_ms = max((leaf.window.span_ms or 0 for leaf in same if leaf.window), default=0)
        rare = self.first.take in ("mean", "min", "max", "last") and self.span_ms >= _RARE_FROM_MS
        self.by_month = bool(self.months) or rare or self.span_ms >= _BY_MONTH_FROM_MS
        activity = config.activities.get(str(self.first.of))
        self.unit = activity.unit if activity else None
        self.take = _take(self.first, self.unit)

    @cached_property
    def _shown_ms(self) -> int:
        return self.span_ms or _DAYS_SHOWN * DAY_MS

    @cached_property
    def _step_ms(self) -> int:
        if self._shown_ms <= DAY_MS:
            return max(_MINUTE_MS, self._shown_ms // 24 // _MINUTE_MS * _MINUTE_MS)
        return -(-self._shown_ms // (_DAYS_SHOWN * DAY_MS)) * DAY_MS

    @cached_property
    def _spec(self) -> FeatureSpec:
        shape = {"of": self.first.of, "take": self.take, "where": self.first.where}
        if self.by_month:
            windows = ["month", *(f"month-{back}" for back in range(1, MONTHS_SHOWN))][::-1]
        else:
            windows = [f"{self._step_ms // _MINUTE_MS}m"]
        asked = tuple(
            Feature.model_validate({"name": f"bar_{i}", "window": Window.parse(w), **shape})
            for i, w in enumerate(windows)
        )
        return FeatureSpec(self.config.model_copy(update={"features": asked}))

    def bars(self, log: bytes, now_ms: int) -> Bars:
        settled = settle(log, self._spec)
        if self.by_month:
            starts = _last_months(self.config.timezone, now_ms)
            values = vector(settled, now_ms, self._spec).tolist()
        else:
            count = -(-self._shown_ms // self._step_ms)
            ends = [now_ms - back * self._step_ms for back in range(count - 1, -1, -1)]
            starts = [end - self._step_ms for end in ends]
            values = [vector(settled, end, self._spec).tolist()[0] for end in ends]
        known = [None if math.isnan(value) else value for value in values]
        counted = self._counted(starts, now_ms)
        step, step_ms = ("month", None) if self.by_month else ("span", self._step_ms)
        of = str(self.first.of)
        return Bars(self.name, of, self.take, self.unit, step, step_ms, starts, known, counted)

    def _counted(self, starts: list[int], now_ms: int) -> list[bool]:
        if self.months:
            return [back in self.months for back in range(len(starts) - 1, -1, -1)]
        return [start > now_ms - self._shown_ms - DAY_MS for start in starts]


def _take(feature: Feature, unit: str | None) -> str:
    """What a bar shows: amounts as amounts, extremes as extremes, everything else as how often."""
    if feature.take in ("sum", "mean", "min", "max", "last"):
        return str(feature.take)
    return "sum" if feature.take == "trend" and unit is not None else "count"


def _last_months(zone: str, now_ms: int) -> list[int]:
    starts = month_starts(zone)
    current = bisect_right(starts.tolist(), now_ms) - 1
    found: list[int] = starts[max(current - MONTHS_SHOWN + 1, 0) : current + 1].tolist()
    return found


def as_answer(bars: Bars, written: Mapping[int, str]) -> dict[str, object]:
    """Bars as JSON; `written`: each start as RFC 3339."""
    return {
        "of": bars.of, "take": bars.take, "unit": bars.unit, "step": bars.step, "step_ms": bars.step_ms,
        "starts": [written[start] for start in bars.starts_ms], "values": bars.values, "counted": bars.counted,
    }  # fmt: skip
