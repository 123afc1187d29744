"""`nba evaluate ab` without its printing: calls to units, metrics and effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.delayed import Churn
from nba.cli.arms import (
    assigned_unit,
    check_outcomes,
    checked_ratio,
    experiment_arms,
    first_columns,
    planned_shares,
    unit_word,
)
from nba.cli.calls import Calls, customers_of, leaving
from nba.cli.columns import number_or_nan
from nba.config import Config
from nba.evaluate.ab import Effect, Metric, check_before, compare, holm, unit_sums
from nba.evaluate.experiment import MISMATCH, Assignment, Ratio, assignment, ratio
from nba.experiments import HOLDOUT
from nba.rules import Value

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
MOST_COLUMNS = 10
BEYOND_NOISE = 4.0  # standard errors of a correlation
BEYOND_PLAN = 10.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What was asked on the command line; None: as the config says, or the usual."""

    experiment: str
    unit: str | None = None
    control: str | None = None
    shares: dict[str, float] | None = None
    guardrails: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    cuped: bool = True
    horizon_ms: int = 0
    tolerance: float = 0.0
    planned: float = 5_000


@dataclass(frozen=True, slots=True)
class Trial:
    """What came out. `columns`: those of before the start that CUPED used."""

    experiment: str
    unit: str
    arms: dict[str, int]
    ratio: Ratio | None
    effects: list[Effect]
    columns: list[str]
    notes: list[str]
    counts: dict[str, int]

    @property
    def stop(self) -> bool:
        """Whether a guardrail says stop."""
        return any(effect.says.startswith("STOP") for effect in self.effects)

    def as_json(self) -> dict[str, Any]:
        """Plain data; infinite ends become null."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain | {"stop": self.stop}


def analyse(calls: Calls, config: Config, ask: Ask, churn: Churn | None) -> Trial:
    """Compare the arms. Raises InputError and RefusedError as nba.evaluate.experiment and nba.evaluate.ab say."""
    planned = ask.shares or planned_shares(config, ask.experiment)
    unit_name = ask.unit or assigned_unit(config, ask.experiment)
    inside, names = experiment_arms(calls, ask.experiment)
    units, unit = np.unique([unit_word(calls, unit_name, k) for k in inside], return_inverse=True)
    found = assignment(names, unit, ask.control, tuple(planned or ()))
    arm = np.full(len(units), -1)
    arm[unit[found.arm >= 0]] = found.arm[found.arm >= 0]
    counts = {name: int((arm == k).sum()) for k, name in enumerate(found.arms)}
    checked = checked_ratio(counts, planned)
    check_outcomes(calls, ask.experiment, unit_name)
    metrics = _metrics(calls, ask, churn, inside, unit, len(units))
    names_before, before, infinite = _before(calls, ask, inside, unit, arm, metrics[0], unit_name)
    effects = [
        effect
        for metric in metrics
        for effect in compare(metric, arm, found.arms, before=before, planned=ask.planned, tolerance=ask.tolerance)
    ]
    notes = _notes(calls, found, checked, counts, churn, unit_name, ask.experiment)
    asked = [metric for metric in metrics if metric.name in (*ask.goals, *ask.guardrails)]
    notes += _uneven_values(asked, arm, found.arms) + _beyond_plan(ask.planned, sum(counts.values()))
    repaired = calls.counts | infinite
    repaired |= {"units in two arms, left out": found.in_two_arms} if found.in_two_arms else {}
    return Trial(ask.experiment, unit_name, counts, checked, holm(effects), names_before, notes, repaired)


def _metrics(calls: Calls, ask: Ask, churn: Churn | None, inside: Numbers, unit: Numbers, units: int) -> list[Metric]:
    columns = {name: values[inside] for name, values in calls.sums().items()} | {"calls": np.ones(len(inside))}
    sums = unit_sums(unit, units, columns)
    found = [Metric(name, sums[name], sums["calls"]) for name in ("accepted", "margin", "saving")]
    found.append(Metric("declined", sums["declined"], sums["calls"], harm=True))
    for name in (*ask.goals, *ask.guardrails):
        values = calls.numbers[name][inside]
        known = ~np.isnan(values)
        parts = unit_sums(unit, units, {"over": np.where(known, values, 0.0), "under": known.astype(np.float64)})
        found.append(Metric(name, parts["over"], parts["under"], harm=name in ask.guardrails))
    if churn is not None:
        found.append(_churned(calls, ask, churn, inside, unit, units))
    return found


def _churned(calls: Calls, ask: Ask, churn: Churn, inside: Numbers, unit: Numbers, units: int) -> Metric:
    """Customers who left within the horizon, by unit; customers whose horizon is not over are in neither sum."""
    names, code = customers_of(calls, inside)
    left, known = leaving(calls.at_ms[inside], churn, names, code, ask.horizon_ms)
    home = np.zeros(len(names), dtype=np.int64)
    home[code] = unit
    parts = unit_sums(home, units, {"left": left * known, "known": known})
    return Metric("left", parts["left"], parts["known"], harm=True)


def _before(
    calls: Calls, ask: Ask, inside: Numbers, unit: Numbers, arm: Numbers, goal: Metric, unit_name: str
) -> tuple[list[str], Array | None, dict[str, int]]:
    """Numeric x columns as they were at each customer's first call in the experiment: before anything was said to them.

    Then what was infinite in them, counted by column.
    """
    if not ask.cuped or unit_name != "customer":
        return [], None, {}
    _, first = np.unique(unit, return_index=True)  # calls stand in order of time
    rows = first_columns(calls, ask.experiment, inside[first])
    names = sorted(
        {n for row in rows[:200] for n, v in row.items() if isinstance(v, (int, float)) and n not in ask.without}
    )
    if not names:
        return [], None, {}
    x, infinite = _filled(_matrix(rows, names), names)
    inside_arm = arm >= 0
    limited = Metric(goal.name, goal.over[inside_arm], goal.under[inside_arm])
    check_before([f"x.{name}" for name in names], x[inside_arm], arm[inside_arm], limited)
    keep = _telling(x, goal)
    return [f"x.{names[k]}" for k in keep], x[:, keep], infinite


def _matrix(rows: Sequence[Mapping[str, Value]], names: list[str]) -> Array:
    """Columns (units, k), NaN where not known; filled row by row, for all of them as Python numbers would not fit."""
    x = np.empty((len(rows), len(names)))
    for k, row in enumerate(rows):
        x[k] = [number_or_nan(row.get(name)) for name in names]
    return x


def _filled(x: Array, names: list[str]) -> tuple[Array, dict[str, int]]:
    """Columns (units, k) with their mean where they are not known or infinite; how often each was infinite, in words."""
    infinite = np.isinf(x)
    counts = {
        f"units at which x.{name} is infinite, taken as not known": int(hits)
        for name, hits in zip(names, infinite.sum(axis=0), strict=True)
        if hits
    }
    x = np.where(infinite, np.nan, x)
    mean = np.nanmean(np.where(np.isnan(x).all(axis=0), 0.0, x), axis=0)
    return np.where(np.isnan(x), mean, x), counts


def _telling(x: Array, goal: Metric) -> list[int]:
    """The columns that go with the goal most, over all arms together, so that the choice knows nothing of them.

    Only those that go with it beyond noise: among dozens some always do by chance, and taking those away takes a part of
    the effect with them.
    """
    value = goal.over - goal.over.sum() / max(goal.under.sum(), 1e-12) * goal.under
    chance = np.sqrt(len(value)) * x.std(axis=0) * value.std()
    strength = np.abs((x - x.mean(axis=0)).T @ value) / np.where(chance > 0, chance, np.inf)
    order = np.argsort(-strength, kind="stable")[:MOST_COLUMNS]
    return [int(k) for k in order if strength[k] > BEYOND_NOISE]


def _notes(
    calls: Calls,
    found: Assignment,
    checked: Ratio | None,
    sizes: dict[str, int],
    churn: Churn | None,
    unit: str,
    experiment: str,
) -> list[str]:
    notes = []
    if checked is None:
        notes.append(_unplanned(sizes, experiment))
    if not calls.recorded:
        notes.append("no records beside the decisions: calls in which nothing was said are not counted")
    if churn is None:
        notes.append("no delayed outcomes: whether customers left is not guarded")
    units = sum(sizes.values())
    if unit != "customer" and units < 2 * 5 * len(found.arms):
        notes.append(f"only {units} units were assigned: with so few groups a difference has to be large to be seen")
    return notes


def _uneven_values(metrics: Sequence[Metric], arm: Numbers, arms: Sequence[str]) -> list[str]:
    """A note for each metric that more units of one arm than of another have no value of."""
    notes = []
    units = {name: int((arm == k).sum()) for k, name in enumerate(arms)}
    for metric in metrics:
        lacking = {name: int(((arm == k) & (metric.under == 0)).sum()) for k, name in enumerate(arms)}
        if sum(lacking.values()) and ratio(lacking, {n: float(c) for n, c in units.items()}, 2.0).always_p < MISMATCH:
            seen = ", ".join(f"{name} {count / max(units[name], 1):.1%}" for name, count in lacking.items())
            notes.append(
                f"{metric.name} is missing in one arm more than in another (units without it: {seen}): what is left out "
                "differs, so its difference cannot be trusted: log it alike in every arm"
            )
    return notes


def _beyond_plan(planned: float, units: int) -> list[str]:
    if units <= BEYOND_PLAN * planned:
        return []
    said = f"the intervals at every look are narrowest at the {planned:,.0f} planned units, and there are {units:,}"
    return [f"{said}: give the next one --planned-customers before it starts; `nba evaluate power` tells the number"]


def _unplanned(sizes: dict[str, int], experiment: str) -> str:
    """What can be said of the sizes of the arms where nobody told which were planned."""
    how = "give --shares " + ",".join(f"{name}={1 / len(sizes):.2g}" for name in sizes)
    found = ratio(sizes, None)
    if experiment == HOLDOUT or found.always_p >= MISMATCH:
        return f"planned shares unknown, so the sizes of the arms were not checked: {how}"
    seen = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    return (
        f"planned shares unknown; if equal ones were planned, this is a sample ratio mismatch and no difference can be "
        f"trusted: {seen} (p {found.always_p:.1g}): {how}, or those that were planned"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
