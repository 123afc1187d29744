"""What `power` promises of daily looks is what `ab` then does: it says nothing of fewer than 100 units or ten events an arm."""

from __future__ import annotations

import numpy as np
import pytest

from nba.errors import InputError
from nba.evaluate.ab import Metric, compare
from nba.evaluate.power import Plan, lift_for, power_of, units_for

ARMS = ("control", "new")


def seen(plan: Plan, lift: float, customers: int, draws: int = 300) -> float:
    """How often `ab` is sure of that lift with so many customers, assigned in groups of the plan's size."""
    rng, size = np.random.default_rng(3), int(plan.group)
    units, found = customers // size, 0
    arm = (np.arange(units) < round(units * plan.share)).astype(np.int64)
    rate = np.where(arm == 1, plan.mean * (1 + lift), plan.mean)
    for _ in range(draws):
        own = rate if plan.icc == 0 else rng.beta(rate * (1 / plan.icc - 1), (1 - rate) * (1 / plan.icc - 1))
        goal = Metric("accepted", rng.binomial(size, own).astype(float), np.full(units, float(size)))
        found += compare(goal, arm, ARMS, planned=units)[0].always_p < plan.alpha
    return found / draws


def share(rate: float, **fields: float) -> Plan:
    return Plan(rate, (rate * (1 - rate)) ** 0.5, binary=True, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plan", "lift"),
    [
        (share(0.2), 0.1),
        (share(0.2, share=0.95), 0.15),
        (share(0.2, group=50, icc=0.05), 0.5),
        (share(0.001), 9.0),
        (share(0.01), -0.9),
    ],
)
def test_so_many_customers_do_see_it_every_day(plan: Plan, lift: float) -> None:
    """Even arms and a small control, groups of 50, and shares so rare that ten events are the longest wait: 80 % and more."""
    assert seen(plan, lift, units_for(plan, lift)) > 0.73


def test_what_ab_would_not_judge_has_no_power() -> None:
    """60 groups of 50, and 3,000 customers of whom one in a thousand accepts: `ab` says nothing there every day."""
    grouped, rare = share(0.2, group=50, icc=0.05), share(0.001)
    assert seen(grouped, 0.5, 3000) == power_of(grouped, 0.5, 3000) == 0.0
    assert seen(rare, 9.0, 3000) < 0.02 and power_of(rare, 9.0, 3000) < 0.02
    assert lift_for(grouped, 3000) is None and lift_for(rare, 3000) is None
    assert lift_for(grouped, 30_000) == pytest.approx(0.173, abs=0.01)


def test_an_arm_without_events_is_never_judged_daily() -> None:
    """Nobody at all is to accept: no number of customers brings ten events, but a single look sees it."""
    with pytest.raises(InputError, match="--once"):
        units_for(share(0.2), -1.0)
    assert units_for(share(0.2, looking=False), -1.0) < 100
