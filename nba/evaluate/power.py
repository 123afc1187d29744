"""How many units an experiment needs before it starts, and what it can see with those there are.

Two means, two-sided: n = (z_alpha + z_power)^2 (1 + 1 / ratio) variance / difference^2 for the control, ratio n for the
treatment (van Belle, "Statistical Rules of Thumb", 2nd ed. 2008, chapter 2). The treatment of a share has the variance of the
share that it is to have (Fleiss, "Statistical Methods for Rates and Proportions", chapter 4). Assigned in groups: times
1 + (m - 1) icc, Donner and Klar (2000). CUPED takes its share of the variance away. Whoever looks every day pays with a larger
z (sequence.py).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from nba.errors import InputError
from nba.evaluate.sequence import ALPHA, FEWEST_EVENTS, FIRST_LOOK, cautious, looking_quantile
from nba.stats import normal_quantile

MOST_UNITS = 10**12
_SMALLEST, _LARGEST, _MOST_COMPARISONS = 1e-100, 1e100, 10**6  # what can be squared and divided, and written as JSON
_MOST_LIFT = 1e6
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """`mean`, `deviation` of the metric by unit; `share` of the units in the treatment; `saved`: variance that CUPED takes
    away; `group`, `icc`: units assigned together and how alike they are; `comparisons`: goals times treatments; `binary`:
    the mean is a share.
    """

    mean: float
    deviation: float
    power: float = 0.8
    alpha: float = ALPHA
    share: float = 0.5
    saved: float = 0.0
    group: float = 1.0
    icc: float = 0.0
    comparisons: int = 1
    looking: bool = True
    binary: bool = False

    def __post_init__(self) -> None:
        checks = {
            "mean": _SMALLEST <= abs(self.mean) <= _LARGEST,
            "deviation": _SMALLEST <= self.deviation <= _LARGEST,
            "power": 0 < self.power < 1,
            "alpha": 0 < self.alpha < 1,
            "share": 0 < self.share < 1,
            "saved": 0 <= self.saved < 1,
            "group": math.isfinite(self.group) and self.group >= 1,
            "icc": 0 <= self.icc <= 1,
            "comparisons": 1 <= self.comparisons <= _MOST_COMPARISONS,
        }
        for name, sound in checks.items():
            if not sound:
                option = "rate" if self.binary and name in ("mean", "deviation") else name
                value = self.mean if option == "rate" else getattr(self, name)
                raise InputError(f"--{option} {value:g} is not possible: see `nba evaluate power --help`")

    @property
    def reach(self) -> float:
        """How many standard errors a true difference has to be away from 0 to be seen with this power."""
        alpha = self.alpha / self.comparisons
        edge = looking_quantile(alpha) if self.looking else normal_quantile(1 - alpha / 2)
        return edge + normal_quantile(self.power)

    def variance(self, lift: float) -> float:
        """Of the difference of both means times the units in all, after CUPED and grouping."""
        share = min(max(self.mean * (1 + lift), 0.0), 1.0)
        treated = share * (1 - share) if self.binary else self.deviation**2
        control = self.deviation**2
        control, treated = cautious(control, treated, (1 - self.share, self.share))
        each = treated / self.share + control / (1 - self.share)
        return each * (1 - self.saved) * (1 + (self.group - 1) * self.icc)

    def events(self, lift: float) -> float:
        """Of the arm that has fewer: what `ab` counts before it says anything, a unit of both arms; infinite of a mean."""
        if not self.binary:
            return math.inf
        arms = ((self.mean, 1 - self.share), (min(max(self.mean * (1 + lift), 0.0), 1.0), self.share))
        of_a_group = (min(1 - (1 - p) ** self.group, 1 - p**self.group) * share for p, share in arms)
        return float(min(of_a_group) / self.group)


def units_for(plan: Plan, lift: float) -> int:
    """Units in all for a relative lift. Raises InputError for a lift of 0, and for one that nobody could ever see."""
    if not abs(lift) <= _MOST_LIFT:  # also what is no number
        raise InputError(
            f"--lift {lift:g} is no change that anybody has to look for: give a relative one, such as 0.05"
        )
    if lift == 0:
        raise InputError(
            "--lift 0: no number of customers shows that there is no difference; name the least that matters"
        )
    difference = abs(lift * plan.mean) ** 2
    needed = plan.reach**2 * plan.variance(lift)
    if needed > MOST_UNITS * difference:
        raise InputError(
            f"--lift {lift:g}: more than {MOST_UNITS:,} customers would be needed: name a change that would matter"
        )
    return max(math.ceil(needed / difference), _first_told(plan, lift) if plan.looking else 2)


def _first_told(plan: Plan, lift: float) -> int:
    """So many units that `ab` says something at all, with the power asked for: of groups as many as of customers.

    The root of a Poisson count is about normal with standard deviation 1/2: Anscombe, Biometrika 1948. Raises InputError.
    """
    wanted = max(math.sqrt(FEWEST_EVENTS) + normal_quantile(plan.power) / 2, 0.0) ** 2
    events = plan.events(lift)
    if not wanted < events * MOST_UNITS:
        raise InputError(
            f"--lift {lift:g} leaves an arm without a single event: nothing is said of it before ten: look once (--once)"
        )
    return math.ceil(max(FIRST_LOOK * plan.group, wanted / events))


def _told(plan: Plan, lift: float, units: int) -> float:
    """P(`ab` says anything of so many units)."""
    if not plan.looking:
        return 1.0
    if units < FIRST_LOOK * plan.group:
        return 0.0
    return 0.5 * math.erfc(-math.sqrt(2) * (math.sqrt(units * plan.events(lift)) - math.sqrt(FEWEST_EVENTS)))


def lift_for(plan: Plan, units: int) -> float | None:
    """The relative lift that so many units in all would show; None: none, for it would lift a share above 1, or nobody looks
    at so few every day. Raises InputError: fewer than 2 units, or too many.
    """
    if not 2 <= units <= MOST_UNITS:
        raise InputError(f"--customers {units}: give 2 to {MOST_UNITS:,}")
    lift = 0.0
    for _ in range(_STEPS):  # the lift moves the variance of a share, and that the lift
        lift = abs(plan.reach / plan.mean) * math.sqrt(plan.variance(lift) / units)
    too_few = _told(plan, 0.0, units) < plan.power
    return None if too_few or (plan.binary and plan.mean * (1 + lift) > 1) else lift


def power_of(plan: Plan, lift: float, units: int) -> float:
    """P(a lift of that size is seen with so many units)."""
    error = math.sqrt(plan.variance(lift) / units)
    z = abs(lift * plan.mean) / error - (plan.reach - normal_quantile(plan.power))
    return min(0.5 * math.erfc(-z / math.sqrt(2)), _told(plan, lift, units))


def as_json(plan: Plan, lift: float | None, units: int | None, a_day: float | None) -> dict[str, Any]:
    """The answer as plain data; `a_day`: units that arrive a day."""
    needed = units_for(plan, lift) if lift is not None else None
    found: dict[str, Any] = {"plan": asdict(plan), "lift": lift, "customers": needed}
    if needed is not None:
        treated = round(needed * plan.share)
        found |= {"treatment": treated, "control": needed - treated}
        found |= {"planned_customers": math.ceil(needed / plan.group)} if plan.looking else {}
        found |= {"days": math.ceil(needed / a_day)} if a_day else {}
    if units is not None:
        found |= {"given_customers": units, "detectable_lift": lift_for(plan, units)}
        found |= {"power": power_of(plan, lift, units)} if lift is not None else {}
    return found
