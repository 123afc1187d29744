"""What the service calls earned and kept: suggestions made, accepted and declined, money, by any grouping.

Money is a month's, as the journal says it of each accepted suggestion; `times` the horizon of policy.yaml where a page
says so. Shares carry Wilson's 95 % interval (Wilson, JASA 1927), of no more suggestions than those to the same customers,
who mostly say the same again, are worth together. What would have happened anyway is not in these sums: only the
comparison with a hold-out takes it away (`Kept`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nba.evaluate.ab import Effect
from nba.stats import wilson

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Line:
    """One group: suggestions `offers`, what came of them, `share` accepted with its interval, money a month."""

    group: str
    name: str
    offers: int
    accepted: int
    declined: int
    share: float
    low: float
    high: float
    margin_month: float
    saving_month: float


@dataclass(frozen=True, slots=True)
class Kept:
    """The policy against a hold-out, by customer: `effect` of the value kept (own margin a month of those who stayed, over
    the horizon) and `left` of the share who left; `customers` were under the policy, so `value` is what it kept in all.
    """

    control: str
    effect: Effect
    left: Effect
    customers: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Income:
    """The whole report. `reasons`: of declines, (what was declined, why, how often). `drivers`: sentences of the model.

    `warnings`: why these sums lean, such as outcomes that one arm lacks more than another.
    """

    currency: str
    months: float
    first_ms: int
    last_ms: int
    calls: int
    silent_calls: int
    customers: int
    total: Line
    lines: Sequence[Line]
    reasons: Sequence[tuple[str, str, int]]
    kept: Kept | None
    kept_says: str
    drivers: Sequence[str]
    drivers_of: str
    notes: Mapping[str, int]
    warnings: Sequence[str] = ()


def line(
    group: str,
    name: str,
    flags: Mapping[str, Array],
    margin: Array,
    saving: Array,
    customer: Numbers,
    hit: NDArray[np.bool_],
) -> Line:
    """The figures of the suggestions (m,) that `hit` (m,) picks; `customer` (m,): to whom each was made."""
    accepted, offers = flags["accepted"][hit], int(hit.sum())
    yes = int(accepted.sum())
    worth = worth_of(accepted, customer[hit])
    low, high = wilson(yes * worth, offers * worth)
    return Line(
        group, name, offers, yes, int(flags["declined"][hit].sum()), yes / offers if offers else 0.0, low, high,
        round(float(accepted @ margin[hit]), 2), round(float(accepted @ saving[hit]), 2),
    )  # fmt: skip


def lines_by(
    group: str,
    names: Sequence[str | None],
    flags: Mapping[str, Array],
    margin: Array,
    saving: Array,
    customer: Numbers,
) -> list[Line]:
    """One line a name (m,), most suggestions first; what has no name is "unknown"."""
    words = np.array([str(name) if name is not None else "unknown" for name in names])
    found = [line(group, str(name), flags, margin, saving, customer, words == name) for name in np.unique(words)]
    return sorted(found, key=lambda each: (-each.offers, each.name))


def worth_of(yes: Array, customer: Numbers) -> float:
    """What part of n independent suggestions the n that were made are worth, at most 1: 1 / Kish's design effect.

    `yes` (n,) 0 or 1. The variance of a share by customers against that by suggestions: Kish, "Survey Sampling" (1965).
    """
    _, group = np.unique(customer, return_inverse=True)
    groups, n = int(group.max(initial=-1)) + 1, len(yes)
    share = float(yes.mean()) if n else 0.0
    if groups == 1:
        return 1.0 / n
    if not 0.0 < share < 1.0:
        return 1.0
    pull = np.bincount(group, weights=yes - share)
    effect = float(pull @ pull) * groups / (groups - 1) * (n - 1) / n / (n * share * (1.0 - share))
    return 1.0 / max(effect, 1.0)
