"""What the later slice says of a model: figures for the report, and the gates that decide whether it is promoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import (
    Array,
    Bin,
    CalibrationError,
    calibration_difference,
    calibration_error,
    calibration_error_with_interval,
    log_losses,
    paired_difference,
    reliability,
)
from nba.stats import auc, wilson

ECE_SLACK = 0.002
ECE_OF_A_FIRST_MODEL = 0.05


@dataclass(frozen=True, slots=True)
class Group:
    """One offer or kind on the judged rows; `low`, `high`: 95 % interval of the share accepted."""

    name: str
    rows: int
    accepted: float
    low: float
    high: float
    predicted: float
    log_loss: float
    base_log_loss: float
    auc: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One head on the judged rows. `base_rate`: the share known beforehand, from the earlier slices; log losses in nats."""

    rows: int
    rate: float
    base_rate: float
    log_loss: float
    base_log_loss: float
    auc: float | None
    calibration: CalibrationError
    curve: tuple[Bin, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of promotion and what it found, in words."""

    name: str
    passed: bool
    says: str


def figures(p: Array, y: Array, base_rate: float, seed: int) -> Figures:
    """Everything that is reported of one head, from probabilities and labels (n,)."""
    base = np.full_like(p, base_rate)
    return Figures(
        rows=len(y),
        rate=float(y.mean()),
        base_rate=base_rate,
        log_loss=float(log_losses(p, y).mean()),
        base_log_loss=float(log_losses(base, y).mean()),
        auc=auc(p, y),
        calibration=calibration_error_with_interval(p, y, seed),
        curve=tuple(reliability(p, y)),
    )


def groups(names: NDArray[np.str_], p: Array, y: Array, base_rates: Mapping[str, float]) -> list[Group]:
    """The same by offer or by kind, most rows first. `names`, `p`, `y` (n,)."""
    found = []
    for name in np.unique(names):
        hit = names == name
        one, label = p[hit], y[hit]
        low, high = wilson(float(label.sum()), len(label))
        base = np.full_like(one, base_rates[str(name)])
        found.append(Group(
            str(name), len(label), float(label.mean()), low, high, float(one.mean()),
            float(log_losses(one, label).mean()), float(log_losses(base, label).mean()), auc(one, label),
        ))  # fmt: skip
    return sorted(found, key=lambda group: (-group.rows, group.name))


def against_base_rate(p: Array, y: Array, base_rate: float, customers: NDArray[np.int64], seed: int) -> list[Gate]:
    """The gates of a first model: not worse than saying the base rate each time, beyond noise; and no gross miscalibration.

    Noise, because a small honest journal cannot prove more; a model that learnt nothing falls back on the base rate.
    Where acceptance drifted so far that the base rate itself is grossly off, no model of the past can be right, and one
    that is not further off than the base rate passes.
    """
    base = np.full_like(p, base_rate)
    found = paired_difference(log_losses(p, y), log_losses(base, y), customers, seed)
    error, of_base = (calibration_error_with_interval(one, y, seed) for one in (p, base))
    drifted = of_base.value - of_base.noise > ECE_OF_A_FIRST_MODEL
    closer = calibration_difference(p, base, y, seed).low <= 0.0
    return [
        Gate("log_loss", found.low <= 0.0,
             f"{found.value:+.5f} nats against the base rate, 95 % interval {found.low:+.5f} to {found.high:+.5f}"),
        Gate("calibration", error.value - error.noise <= ECE_OF_A_FIRST_MODEL or (drifted and closer),
             f"error {error.value:.4f}, of which noise may make {error.noise:.4f}; allowed beyond noise: "
             f"{ECE_OF_A_FIRST_MODEL}, or, where that drifted further, the base rate's {of_base.value:.4f}"),
    ]  # fmt: skip


def against_champion(p: Array, champion: Array, y: Array, customers: NDArray[np.int64], seed: int) -> list[Gate]:
    """The gates of a challenger, on the rows that both were asked: not worse than the champion beyond noise."""
    found = paired_difference(log_losses(p, y), log_losses(champion, y), customers, seed)
    gap = calibration_difference(p, champion, y, seed)
    errors = f"{calibration_error(p, y):.4f} against the champion's {calibration_error(champion, y):.4f}"
    return [
        Gate("log_loss", found.low <= 0.0,
             f"{found.value:+.5f} nats against the champion, 95 % interval {found.low:+.5f} to {found.high:+.5f}"),
        Gate("calibration", gap.low <= 0.0 or gap.value <= ECE_SLACK,
             f"error {errors}, difference beyond noise {gap.value:+.4f}, 95 % interval {gap.low:+.4f} to {gap.high:+.4f}"),
    ]  # fmt: skip
