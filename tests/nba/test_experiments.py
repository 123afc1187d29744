"""Assignments are fixed by the unit, have the shares that were asked for, and hold-outs are what they say."""

from __future__ import annotations

from collections import Counter

import pytest

from kits.shop import POLICY, case_for
from nba.config import Policy
from nba.decide import Decider
from nba.errors import ConfigError
from nba.experiments import arm_configs, assign, assignment_of
from nba.load import load_config

EXPERIMENTS = """
holdout: {random: 0.05, nothing: 0.05}
experiments:
  - name: kinder
    arms:
      - {name: control, share: 0.4}
      - {name: generous, share: 0.4, policy: {worth: {saving: 3.0}}}
  - name: desks
    unit: agent_group
    arms: [{name: old, share: 0.5}, {name: new, share: 0.5, model: 20260101T000000-aaaaaa}]
"""


def policy(text: str = EXPERIMENTS) -> str:
    return POLICY + text


def test_each_arm_gets_its_share(shop) -> None:
    """50,000 customers fall into hold-outs and arms as the policy asks, within four standard errors."""
    drawn = load_config(shop(policy=policy())).policy
    n = 50_000
    seen = Counter((a.experiment, a.arm) if (a := assign(drawn, f"c-{i}", None)) else None for i in range(n))
    expected = {("holdout", "random"): 0.05, ("holdout", "nothing"): 0.05, ("kinder", "control"): 0.36,
                ("kinder", "generous"): 0.36, None: 0.18}  # fmt: skip
    for arm, share in expected.items():
        assert abs(seen[arm] / n - share) < 4 * (share * (1 - share) / n) ** 0.5


def test_an_assignment_is_the_units_own(shop) -> None:
    """The same customer always, and outside of that the agent's group; the names lead back to the arm."""
    drawn = load_config(shop(policy=policy())).policy
    for name in (f"c-{i}" for i in range(200)):
        first = assign(drawn, name, "north")
        assert first == assign(drawn, name, "north")
        if first is not None:
            assert assignment_of(drawn, first.experiment, first.arm) == first
        if first is None or first.experiment != "desks":
            assert assign(drawn, name, "south") == first
    by_group = {assign(drawn, name, "north") for name in (f"c-{i}" for i in range(500))}
    assert len({a.arm for a in by_group if a and a.experiment == "desks"}) == 1


def test_an_arm_changes_what_it_says_it_changes(shop) -> None:
    """Only the named weight differs; the rest of the policy is the same."""
    config = load_config(shop(policy=policy()))
    ((name, changed),) = arm_configs(config)
    assert name == ("kinder", "generous") and changed.policy.worth.saving == 3.0
    assert changed.policy.model_copy(update={"worth": config.policy.worth}) == config.policy


CHANGES = "{plans: {binds_days: 180}, kinds: {optimize: {times: 0.5, for_months: 6}}}"
LIFETIME = "lifetime: {leave_month: 0.03, if_accepted: " + CHANGES + "}"
PLAIN = "worth: {horizon_months: 12, margin: 1.0, saving: 1.0, of_kind: {resolve: 20, escalate: 5}}"


@pytest.mark.parametrize(
    ("worth", "arm", "weights"),
    [
        (LIFETIME, "{exploration: {gamma: 61}}", (0.0, 0.0, 0.0)),
        (LIFETIME, "{worth: {saving: 0.5}}", (0.0, 0.5, 0.0)),
        (LIFETIME, "{worth: {lifetime: null}}", (1.0, 1.0, 1.0)),
        ("horizon_months: 12", "{worth: {" + LIFETIME + "}}", (0.0, 0.0, 0.0)),
        ("margin: 2.0", "{worth: {" + LIFETIME + "}}", (2.0, 0.0, 0.0)),
    ],
)
def test_an_arm_is_laid_over_what_is_said_and_not_over_its_defaults(
    shop, worth: str, arm: str, weights: tuple[float, float, float]
) -> None:
    """The weights are as in a policy.yaml that says the same; what a yes changes stays field by field."""
    arms = "[{name: as-is, share: 0.5}, {name: other, share: 0.5, policy: " + arm + "}]"
    text = POLICY.replace(PLAIN, "worth: {" + worth + "}") + "experiments: [{name: e, arms: " + arms + "}]\n"
    config = load_config(shop(policy=text))
    ((_, changed),) = arm_configs(config)
    found = changed.policy.worth
    assert (found.margin, found.saving, found.stay) == weights
    if found.lifetime is not None:
        change = found.lifetime.change_of(changed.catalog.by_id["flex-10"])
        assert (change.binds_days, change.times, change.for_months) == (180.0, 0.5, 6.0)


def test_the_random_arm_is_uniform_over_what_may_be_said(decider: Decider) -> None:
    """Also over offers that are worth less than saying nothing; the logged probability is 1 / n."""
    case = case_for(decider, limit=10)
    decision = decider.decide(case, None, mode="random")
    assert {s.offer_id for s in decision.suggestions} == {"flex-10", "music", "line-check", "person"}
    assert decision.suggestions[0].propensity == 0.25
    assert decider.first_rank(case, None, mode="random") == dict.fromkeys(
        ("flex-10", "music", "line-check", "person"), 0.25
    )


def test_the_silent_arm_hears_nothing_and_says_why(decider: Decider) -> None:
    """No suggestion, and every offer is still accounted for."""
    decision = decider.decide(case_for(decider), None, mode="nothing")
    assert not decision.suggestions and decision.nothing_because.startswith("held out")
    assert len({w.offer_id for w in decision.withheld}) == 5


def test_what_is_said_first_has_the_probability_that_first_rank_gives(decider: Decider) -> None:
    """One code path: the propensity of the answer is the one an off-policy estimate uses."""
    case = case_for(decider)
    decision = decider.decide(case, None)
    assert decider.first_rank(case, None)[decision.suggestions[0].offer_id] == decision.suggestions[0].propensity


BROKEN = {
    "shares of the arms add up": ("share: 0.4}\n", "share: 0.7}\n"),
    "same name": ("name: generous", "name: control"),
    "saving": ("saving: 3.0", "saving: -3.0"),
    "unknown offer 'musik'": ("saving: 3.0", "levers: {musik: 2}"),
    "cannot change experiments": ("worth: {saving: 3.0}", "holdout: {random: 1}"),
    "add up to more than 1": ("nothing: 0.05", "nothing: 0.99"),
    "name is taken": ("name: desks", "name: kinder"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_experiment_is_named(shop, message: str) -> None:
    """Every defect of an experiment is found when the config is read."""
    old, new = BROKEN[message]
    with pytest.raises(ConfigError, match=message):
        load_config(shop(policy=policy(EXPERIMENTS.replace(old, new, 1))))


def test_without_experiments_nobody_is_in_one() -> None:
    """The default policy draws nobody."""
    plain = Policy.model_validate({"opening": {"en": "{title}"}})
    assert assign(plain, "c", "g") is None
