"""The policy against its hold-outs: silent calls count, and what the policy keeps is measured against them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models.delayed import Churn
from nba.cli.calls import WORDS, Calls, Shown
from nba.cli.earned import Against, earned
from nba.cli.trial import Ask, analyse
from nba.clock import DAY_MS
from nba.config import Experiment, Holdout
from nba.domain import OUTCOMES
from nba.errors import RefusedError
from nba.load import find_config, load_config

CUSTOMERS = 3000
TELCO = load_config(find_config("telco"))
CONFIG = TELCO.model_copy(update={"policy": TELCO.policy.model_copy(update={"holdout": Holdout(nothing=0.2)})})


def calls() -> tuple[Calls, Churn]:
    """One call each; a fifth is held out and hears nothing. 30 % of those leave, of the others 20 %."""
    rng = np.random.default_rng(0)
    held = rng.random(CUSTOMERS) < 0.2
    words = {name: np.full(CUSTOMERS, None, dtype=object) for name in WORDS}
    words["customer_id"][:] = [f"c-{k}" for k in range(CUSTOMERS)]
    words["experiment"][held], words["arm"][held] = "holdout", "nothing"
    call = np.flatnonzero(~held)
    flags = {name: np.zeros(len(call)) for name in (*OUTCOMES, "none")}
    flags["accepted"] = (rng.random(len(call)) < 0.3).astype(float)
    rank = np.ones(len(call), dtype=np.int64)
    shown = Shown(call, rank * 0, rank, flags, np.full(len(call), 4.0), np.full(len(call), 2.0))
    at_ms = np.arange(CUSTOMERS) * 1000
    gone = rng.random(CUSTOMERS) < np.where(held, 0.3, 0.2)
    churn = Churn(
        pa.array([f"c-{k}" for k in np.flatnonzero(gone)], pa.large_string()), at_ms[gone] + DAY_MS, 90 * DAY_MS
    )
    x = [{"plan": "l-40"} for _ in range(CUSTOMERS)]
    return Calls([f"d-{k:05d}" for k in range(CUSTOMERS)], at_ms, words, x, shown, {}, {}, CUSTOMERS), churn


def test_the_policy_is_compared_with_who_heard_nothing() -> None:
    """Nobody accepts what was never said; the shares are those of policy.yaml; fewer leave under the policy."""
    made, churn = calls()
    found = analyse(made, CONFIG, Ask("holdout", cuped=False, horizon_ms=30 * DAY_MS), churn)
    effects = {effect.metric: effect for effect in found.effects}
    assert set(found.arms) == {"nothing", "policy"} and found.ratio.planned["policy"] == 0.8
    assert effects["accepted"].control == 0.0 and effects["accepted"].low > 0.25
    assert effects["left"].high < 0


def test_the_report_says_what_was_kept(tmp_path) -> None:
    """Ten in a hundred more stay, each worth the margin of their plan over the horizon."""
    made, churn = calls()
    kept = earned(made, CONFIG, Against(horizon_ms=30 * DAY_MS), churn, [], tmp_path).kept
    worth = CONFIG.catalog.by_id["l-40"].margin_month * CONFIG.policy.worth.horizon_months
    assert kept.control == "nothing" and kept.low < 0.1 * worth * kept.customers < kept.high
    assert kept.low > 0


def test_cuped_knows_only_what_was_there_before_the_first_word() -> None:
    """A column that the treatment moves from the second call on is used as it was at the first one, and is no defect."""
    n, rng = 1000, np.random.default_rng(3)
    customer, later = np.tile(np.arange(n), 2), np.repeat([0, 1], n)
    habit, new = rng.normal(size=n), np.arange(n) % 2
    words = {name: np.full(2 * n, None, dtype=object) for name in WORDS}
    words["customer_id"][:] = [f"c-{k:04d}" for k in customer]
    words["experiment"][:], words["arm"][:] = "tone", np.where(new[customer] == 1, "new", "control")
    flags = {name: np.zeros(2 * n) for name in (*OUTCOMES, "none")}
    flags["accepted"] = (rng.random(2 * n) < np.where(habit[customer] > 0, 0.5, 0.2)).astype(float)
    rank = np.ones(2 * n, dtype=np.int64)
    shown = Shown(np.arange(2 * n), rank * 0, rank, flags, rank * 1.0, rank * 0.0)
    x = [{"habit": habit[k] + 3.0 * new[k] * late} for k, late in zip(customer, later, strict=True)]
    ids = [f"d-{k:05d}" for k in range(2 * n)]
    found = analyse(Calls(ids, np.arange(2 * n) * 1000, words, x, shown, {}, {}, 2 * n), TELCO, Ask("tone"), None)
    assert found.columns == ["x.habit"] and found.effects[0].saved > 0.1


def test_the_report_trusts_no_hold_out_of_which_a_part_is_lost(tmp_path) -> None:
    """A fifth was to be held out and a planned refuses the comparison, and the report claims no money from it."""
    made, churn = calls()
    planned = CONFIG.model_copy(update={"policy": TELCO.policy.model_copy(update={"holdout": Holdout(nothing=0.4)})})
    with pytest.raises(RefusedError, match="sample ratio mismatch"):
        analyse(made, planned, Ask("holdout", cuped=False), churn)
    found = earned(made, planned, Against(horizon_ms=30 * DAY_MS), churn, [], tmp_path)
    assert found.kept is None and "sample ratio mismatch" in found.kept_says


def test_the_report_takes_no_groups_for_customers(tmp_path) -> None:
    """An experiment that assigned agent groups: its customers would make the interval far too narrow."""
    made, churn = calls()
    arms = ({"name": "nothing", "share": 0.2}, {"name": "policy", "share": 0.8})
    tone = Experiment.model_validate({"name": "tone", "unit": "agent_group", "arms": arms})
    grouped = TELCO.model_copy(update={"policy": TELCO.policy.model_copy(update={"experiments": (tone,)})})
    held = made.words["experiment"] == "holdout"
    made.words["experiment"][:], made.words["arm"][:] = "tone", np.where(held, "nothing", "policy")
    found = earned(made, grouped, Against("tone", "nothing", 30 * DAY_MS), churn, [], tmp_path)
    assert found.kept is None and "agent groups" in found.kept_says


def test_a_guardrail_that_one_arm_lacks_is_named() -> None:
    """Long calls of the new arm were not measured, so harm seems excluded: said beside it; lost alike in both, it is not."""
    made, churn = calls()
    rng = np.random.default_rng(5)
    arm, seconds = rng.integers(0, 2, CUSTOMERS), rng.exponential(300.0, CUSTOMERS)
    made.words["experiment"][:], made.words["arm"][:] = "tone", np.where(arm == 1, "new", "control")
    ask = Ask("tone", guardrails=("handle_s",), cuped=False)
    for lost, told in (((arm == 1) & (seconds > 500), True), (seconds > 500, False)):
        made.numbers["handle_s"] = np.where(lost, np.nan, seconds)
        notes = analyse(made, TELCO, ask, churn).notes
        assert any("handle_s is missing in one arm more" in note for note in notes) is told


@pytest.mark.parametrize(("planned", "told"), [(CUSTOMERS, False), (CUSTOMERS / 8, False), (CUSTOMERS / 20, True)])
def test_far_more_customers_than_planned_are_said(planned: float, told: bool) -> None:
    """Planned for few, an interval for every look is wide where there are many: what would be seen may not be."""
    made, churn = calls()
    notes = analyse(made, CONFIG, Ask("holdout", cuped=False, planned=planned), churn).notes
    assert any("--planned-customers before it starts" in note for note in notes) is told
