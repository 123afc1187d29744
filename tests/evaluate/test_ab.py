"""One arm against another: the figures of a kept library, errors that are as rare as promised, and defects that are caught."""

from __future__ import annotations

import numpy as np
import pytest

from nba.errors import DataError, InputError, RefusedError
from nba.evaluate.ab import Metric, check_before, compare, holm, holm_adjusted, unit_sums
from nba.evaluate.experiment import assignment, ratio, refuse_mismatch, refuse_uneven
from nba.evaluate.power import Plan, lift_for, power_of, units_for

ARMS = ("control", "new")


def noise(key: int, n: int = 4000) -> np.ndarray:
    """Numbers in [0, 1) that no version of a generator changes (SplitMix64)."""
    mask = (1 << 64) - 1
    found = []
    for i in range(1, n + 1):
        x = (i * 0x9E3779B97F4A7C15 + key * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        found.append(((x ^ (x >> 31)) >> 11) / 2**53)
    return np.array(found)


@pytest.fixture(scope="module")
def trial() -> dict[str, np.ndarray]:
    """4,000 customers: arm, a column from before, calls, acceptances, money."""
    arm = (noise(1) < 0.5).astype(np.int64)
    before = -np.log(1 - noise(2) * 0.999999)
    calls = 1 + np.floor(3 * noise(3))
    accepted = np.minimum(calls, np.floor(calls * (noise(4) < 0.1 + 0.05 * before + 0.03 * arm)))
    return {"arm": arm, "before": before, "calls": calls, "accepted": accepted, "money": accepted * (5 + 20 * noise(5))}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [  # tea-tasting 2.0.0: control, treatment, difference, its ends, relative, its ends, p
        ("mean", (4.266955817617194, 4.854582492646073, 0.5876266750288792, -0.187729692672286, 1.3629830427300444,
                  0.13771566900287913, -0.04084418426694503, 0.3495168587445814, 0.13739330266836688)),
        ("ratio", (0.14412811387900357, 0.16795222692211995, 0.02382411304311638, -0.0005427393329246778,
                   0.04819096541915743, 0.16529816703989386, -0.0039040082430042977, 0.3632419258221551, 0.05532326862185778)),
        ("cuped", (4.275401285782914, 4.846187545725611, 0.5707862599426967, -0.19815665601773713, 1.3397291759031305,
                   0.1335047219639347, -0.042908703626527656, 0.3424351047626437, 0.14565867955527198)),
    ],
)  # fmt: skip
def test_the_figures_are_those_of_tea_tasting(trial: dict, name: str, wanted: tuple[float, ...]) -> None:
    """Mean, ratio of means and CUPED on the same 4,000 customers agree to nine digits."""
    over = trial["accepted" if name == "ratio" else "money"]
    under = trial["calls"] if name == "ratio" else np.ones(4000)
    before = trial["before"][:, None] if name == "cuped" else None
    e = compare(Metric("m", over, under), trial["arm"], ARMS, before=before)[0]
    found = (e.control, e.treatment, e.difference, e.low, e.high, e.relative, e.relative_low, e.relative_high, e.p)
    assert found == pytest.approx(wanted, rel=1e-9)


def test_looking_every_day_rejects_at_most_one_in_twenty() -> None:
    """1,000 experiments in which nothing differs, customers who come back, looked at daily: at most 5 % are ever sure."""
    rng, fooled, naive = np.random.default_rng(8), 0, 0
    for _ in range(1000):
        arm = rng.integers(0, 2, 1500)
        rate = rng.beta(1.0, 4.0, 1500)
        calls, accepted = np.zeros(1500), np.zeros(1500)
        sure = once = False
        for day in range(20):
            here = np.arange(1500) < 75 * (day + 1)
            calling = here & (rng.random(1500) < 0.3)
            calls += calling
            accepted += calling & (rng.random(1500) < rate)
            e = compare(Metric("accepted", accepted, calls), arm, ARMS, planned=1500)[0]
            sure |= e.always_p < 0.05
            once |= e.p < 0.05
        fooled += sure
        naive += once
    assert fooled <= 50
    assert naive > 100, "the plain test, looked at every day, has to fail here"


def test_cuped_narrows_without_moving(trial: dict) -> None:
    """A column that explains half of the variance takes about half of it away; the effect stays."""
    rng = np.random.default_rng(1)
    before = rng.normal(size=(4000, 1))
    value = before[:, 0] + rng.normal(size=4000) + 0.2 * trial["arm"]
    plain = compare(Metric("m", value, np.ones(4000)), trial["arm"], ARMS)[0]
    less = compare(Metric("m", value, np.ones(4000)), trial["arm"], ARMS, before=before)[0]
    assert less.saved == pytest.approx(0.5, abs=0.05)
    assert less.high - less.low < 0.8 * (plain.high - plain.low)
    assert less.low < 0.2 < less.high


@pytest.mark.parametrize("cuped", [False, True])
def test_a_ratio_in_another_unit_is_the_same_experiment(trial: dict, cuped: bool) -> None:
    """Acceptances a call or in a hundred, with what was known before or without: the same p-values, lift and saving."""
    before = trial["before"][:, None] if cuped else None
    plain, other = (
        compare(Metric("m", 6.0 * trial["accepted"], under * trial["calls"]), trial["arm"], ARMS, before=before)[0]
        for under in (1.0, 60.0)
    )
    for name in ("p", "always_p", "relative", "relative_low", "relative_high", "saved"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name)), name
    for name in ("difference", "low", "high", "always_low", "always_high"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name) / 60), name
    assert (plain.saved > 0.01) is cuped


def test_groups_are_the_units_when_groups_were_assigned() -> None:
    """20 sites whose habits differ: by site the test is honest, by call it is sure of nothing at all too often."""
    rng, by_site, by_call = np.random.default_rng(2), 0, 0
    for _ in range(300):
        site = np.repeat(np.arange(20), 200)
        accepted = (rng.random(4000) < np.clip(rng.normal(0.3, 0.08, 20), 0, 1)[site]).astype(float)
        arm = rng.permutation(20) % 2
        sums = np.bincount(site, weights=accepted)
        by_site += compare(Metric("m", sums, np.full(20, 200.0)), arm, ARMS)[0].p < 0.05
        by_call += compare(Metric("m", accepted, np.ones(4000)), arm[site], ARMS)[0].p < 0.05
    assert by_site / 300 < 0.09
    assert by_call / 300 > 0.3


def test_a_guardrail_says_stop_and_a_goal_says_sure() -> None:
    """A doubled churn stops; a clear gain is sure; nothing is said of three events."""
    rng = np.random.default_rng(3)
    arm = rng.integers(0, 2, 6000)
    left = (rng.random(6000) < np.where(arm == 1, 0.1, 0.05)).astype(float)
    one = np.ones(6000)
    assert compare(Metric("churned", left, one, harm=True), arm, ARMS)[0].says.startswith("STOP: churned")
    assert compare(Metric("kept", 1 - left, one), arm, ARMS)[0].says == "sure: less"
    rare = np.where(np.arange(6000) < 6, 1.0, 0.0)
    assert compare(Metric("rare", rare, one), arm, ARMS)[0].always_p == 1.0
    same = (rng.random(6000) < 0.05).astype(float)
    calm = compare(Metric("same", same, one, harm=True), arm, ARMS, tolerance=1.0)[0]
    assert calm.says == "harm beyond what is allowed is excluded"


def test_many_metrics_are_not_many_chances() -> None:
    """Holm's p-values by hand, and a goal that is sure alone is not sure among ten."""
    assert holm_adjusted([0.01, 0.04, 0.03, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.2])
    rng = np.random.default_rng(5)
    arm = rng.integers(0, 2, 4000)
    value = rng.normal(size=4000) + 0.115 * arm
    others = [Metric(f"m{k}", rng.normal(size=4000), np.ones(4000)) for k in range(9)]
    effects = [compare(metric, arm, ARMS)[0] for metric in (Metric("m", value, np.ones(4000)), *others)]
    assert effects[0].says == "sure: more"
    assert holm(effects)[0].always_holm == pytest.approx(10 * effects[0].always_p)
    assert holm(effects)[0].says == "not sure yet: let it run"
    guard = compare(Metric("churned", (value > 1.5).astype(float), np.ones(4000), harm=True), arm, ARMS)[0]
    alone, *_, kept = holm([*effects, guard])
    assert alone == holm(effects)[0], "a guardrail is no further chance for a goal"
    assert (kept.holm, kept.always_holm, kept.says) == (guard.p, guard.always_p, guard.says)


def test_units_without_a_call_are_units() -> None:
    """Who was assigned and never called stands in the sums with nothing, also at their end."""
    sums = unit_sums(np.array([0, 2, 2]), 5, {"calls": np.ones(3), "money": np.array([1.5, 2.0, 3.0])})
    assert {name: values.tolist() for name, values in sums.items()} == {
        "calls": [1.0, 0.0, 2.0, 0.0, 0.0],
        "money": [1.5, 0.0, 5.0, 0.0, 0.0],
    }


def test_a_mismatch_of_the_arms_is_refused() -> None:
    """5,300 and 4,700 of an even split; 5,050 and 4,950 are chance. The usual p-value is SciPy's."""
    stats = pytest.importorskip("scipy.stats")
    fair = ratio({"control": 5050, "new": 4950}, None)
    refuse_mismatch(fair)
    assert fair.p == pytest.approx(stats.chisquare([5050, 4950]).pvalue)
    with pytest.raises(RefusedError, match="sample ratio mismatch"):
        refuse_mismatch(ratio({"control": 5300, "new": 4700}, None))
    refuse_mismatch(ratio({"control": 9000, "new": 1000}, {"control": 0.9, "new": 0.1}))


def test_looking_at_the_ratio_every_day_is_allowed() -> None:
    """Of 400 fair assignments watched at 200 looks, at most one is ever called a mismatch."""
    new = np.random.default_rng(6).binomial(50, 0.5, (400, 200)).cumsum(axis=1)
    looks = 50 * np.arange(1, 201)
    fooled = sum(
        any(ratio({"c": int(n - k), "t": int(k)}, None).always_p < 0.001 for n, k in zip(looks, row, strict=True))
        for row in new
    )
    assert fooled <= 1


def test_an_empty_arm_is_named() -> None:
    """An arm without anybody, a single arm, an unknown control."""
    unit = np.arange(4)
    with pytest.raises(RefusedError, match="arm 'new' is empty"):
        assignment(["control"] * 4, unit, None, planned=("control", "new"))
    with pytest.raises(RefusedError, match="nothing to compare with"):
        assignment(["control"] * 4, unit, None)
    with pytest.raises(DataError, match="no such arm"):
        assignment(["a", "b", "a", "b"], unit, "c")


def test_units_in_two_arms_are_left_out_or_refused() -> None:
    """One of 200 is left out with a count; five of them are a broken assignment."""
    names = ["a", "b"] * 200
    unit = np.repeat(np.arange(200), 2)
    fixed = [names[2 * (i // 2) + (i // 2) % 2] for i in range(400)]
    one = [*fixed]
    one[1] = "b"
    found = assignment(one, unit, "a")
    assert found.in_two_arms == 1 and (found.arm == -1).sum() == 2
    with pytest.raises(RefusedError, match="5 of 200 units were in two arms"):
        assignment(
            [{"a": "b", "b": "a"}[name] if i in (0, 2, 4, 6, 8) else name for i, name in enumerate(fixed)], unit, "a"
        )


def test_a_column_from_after_the_start_is_caught() -> None:
    """Planted: a "column from before" that the treatment moved, and one that is the outcome itself."""
    rng = np.random.default_rng(7)
    arm = rng.integers(0, 2, 3000)
    metric = Metric("accepted", (rng.random(3000) < 0.3).astype(float), np.ones(3000))
    sound = rng.normal(size=3000)
    check_before(["x.age"], sound[:, None], arm, metric)
    with pytest.raises(RefusedError, match=r"x\.calls_since.*measured after the start"):
        check_before(["x.calls_since"], (sound + 0.4 * arm)[:, None], arm, metric)
    with pytest.raises(RefusedError, match=r"x\.leak knows accepted"):
        check_before(["x.leak"], (metric.over + 0.01 * sound)[:, None], arm, metric)


def test_the_power_of_a_share_is_what_happens() -> None:
    """Half as many acceptances more also vary more: the customers that are asked for see them in 80 % of the draws, not 73 %."""
    plan = Plan(0.01, (0.01 * 0.99) ** 0.5, looking=False, binary=True)
    half = units_for(plan, 0.5) // 2
    rng = np.random.default_rng(4)
    one, two = rng.binomial(half, 0.01, 20_000) / half, rng.binomial(half, 0.015, 20_000) / half
    z = (two - one) / np.sqrt((one * (1 - one) + two * (1 - two)) / half)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.01)
    assert power_of(plan, 0.5, 2 * half) == pytest.approx(0.8, abs=0.001)
    assert lift_for(plan, 2 * half) == pytest.approx(0.5, abs=0.001)


def test_power_is_what_the_library_says_and_what_happens() -> None:
    """Units as tea-tasting 2.0.0 counts them, and 400 experiments of that size find the lift in about 80 %."""
    plan = Plan(4.5616505951441795, 12.509213436316234, looking=False)
    assert units_for(plan, 0.1) == pytest.approx(23_612, abs=5)
    assert power_of(plan, 0.1, 23_612) == pytest.approx(0.8, abs=0.001)
    assert lift_for(plan, units_for(plan, 0.1)) == pytest.approx(0.1, rel=1e-4)
    small, rng, found = Plan(1.0, 1.0, looking=False), np.random.default_rng(9), 0
    n = units_for(small, 0.2)
    arm = np.arange(n) % 2
    for _ in range(400):
        found += compare(Metric("m", rng.normal(1, 1, n) + 0.2 * arm, np.ones(n)), arm, ARMS)[0].p < 0.05
    assert 0.74 < found / 400 < 0.86


def test_what_nobody_could_see_is_not_promised() -> None:
    """A share is not lifted above 1, and nobody who looks every day is told anything before a hundred customers."""
    once = Plan(0.9, 0.3, looking=False, binary=True)
    assert lift_for(once, 40) is None and lift_for(once, 400) == pytest.approx(0.07, abs=0.01)
    daily = Plan(0.2, 0.4, binary=True)
    assert lift_for(daily, 99) is None and power_of(daily, 4.0, 99) == 0.0
    assert units_for(Plan(1.0, 0.1), 4.0) == 100 and units_for(Plan(1.0, 0.1, looking=False), 4.0) < 100


def test_what_costs_customers_is_counted() -> None:
    """Looking daily about doubles them, CUPED takes its share away, groups and more goals add, a lift of 0 is no question."""
    plain = units_for(Plan(0.2, 0.4, looking=False), 0.1)
    assert units_for(Plan(0.2, 0.4), 0.1) == pytest.approx(1.91 * plain, rel=0.01)
    assert units_for(Plan(0.2, 0.4, looking=False, saved=0.5), 0.1) == pytest.approx(plain / 2, rel=0.001)
    assert units_for(Plan(0.2, 0.4, looking=False, group=11, icc=0.1), 0.1) == pytest.approx(2 * plain, rel=0.001)
    assert units_for(Plan(0.2, 0.4, looking=False, comparisons=5), 0.1) > 1.4 * plain
    with pytest.raises(InputError, match="--lift 0"):
        units_for(Plan(0.2, 0.4), 0.0)
    with pytest.raises(InputError, match="--icc 2"):
        Plan(0.2, 0.4, icc=2.0)


def test_a_guardrail_without_a_figure_is_not_called_harmless() -> None:
    """One unit of the new arm has a value: nothing can be said of harm, and nothing is."""
    arm = np.arange(40) % 2
    few = Metric("handle_s", np.full(40, 300.0), np.where((arm == 0) | (np.arange(40) == 1), 1.0, 0.0), harm=True)
    assert compare(few, arm, ARMS)[0].says.startswith("cannot be judged")


def test_missing_outcomes_are_compared_as_the_arms_are() -> None:
    """60 of 1,000 against none is no chance, 60 against 50 is; nothing missing and one arm alone are no question."""
    units = {"control": 1000, "new": 1000}
    refuse_uneven({"control": 50, "new": 60}, units)
    refuse_uneven({}, units)
    refuse_uneven({"new": 60}, {"new": 1000, "nothing": 0})
    with pytest.raises(RefusedError, match=r"control 0\.0%, new 6\.0%"):
        refuse_uneven({"new": 60}, units)
