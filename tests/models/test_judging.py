"""Figures and gates: what they measure is known in advance here, so that they can be held to it."""

from __future__ import annotations

import numpy as np
import pytest

from kits.decisions import make_rows
from models.calibrate import Calibration, fit_calibration, sigmoid
from models.dataset import read_decisions
from models.drift import drift
from models.judge import against_base_rate, against_champion, groups
from models.matrix import Assembler
from models.metrics import (
    bin_places,
    calibration_error_with_interval,
    log_losses,
    paired_difference,
    reliability,
)
from models.offpolicy import Log, explored_log, off_policy_gate, value_of
from models.schema import Schema, SchemaColumn
from models.slices import Split, split_in_time
from nba.config import Config
from nba.errors import RefusedError
from nba.stats import auc, wilson


def world(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities and labels drawn from them."""
    rng = np.random.default_rng(seed)
    p = sigmoid(rng.normal(-1.5, 1.0, n))
    return p, (rng.random(n) < p).astype(np.float64)


def test_auc_counts_pairs() -> None:
    """It is the share of pairs in the right order, ties half; with one class there is none."""
    p, y = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
    assert auc(p, y) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert auc(p, np.ones(4)) is None


def test_true_probabilities_show_no_more_error_than_noise() -> None:
    """Perfectly calibrated rows stay below the noise that is reported with the error; spoilt ones do not."""
    p, y = world(5000)
    honest = calibration_error_with_interval(p, y, 0)
    assert honest.value <= honest.noise
    spoilt = calibration_error_with_interval(np.clip(p * 1.8, 0, 1), y, 0)
    assert spoilt.low > spoilt.noise


@pytest.mark.parametrize("off", [0.0, 0.15])
def test_the_interval_of_a_calibration_error_holds_the_true_one(off: float) -> None:
    """Of 100 logs at least 90, for probabilities that are right and for some that are off; and the value stands in it."""
    held = 0
    for seed in range(100):
        p, y = world(1000, seed)
        said = sigmoid(np.log(p / (1 - p)) + off)
        truth = np.abs(np.bincount(bin_places(said), weights=p - said)).sum() / 1000
        found = calibration_error_with_interval(said, y, seed)
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert held >= 90


@pytest.mark.parametrize("steps", [1, 3])
def test_a_champion_of_few_words_does_not_stop_a_challenger_that_is_right(steps: int) -> None:
    """One number for all, or three, show less noise than a probability each: the gate takes that away, and stays sharp."""
    stopped = caught = 0
    for seed in range(60):
        p, y = world(2000, seed)
        group = np.searchsorted(np.quantile(p, np.arange(1, steps) / steps), p)
        champion = (np.bincount(group, weights=p) / np.bincount(group))[group]
        customers = np.arange(2000)
        stopped += not against_champion(p, champion, y, customers, seed)[1].passed
        loud = sigmoid(np.log(p / (1 - p)) + 0.5)
        caught += not against_champion(loud, champion, y, customers, seed)[1].passed
    assert stopped <= 6 and caught >= 54


def test_platt_finds_the_slope_and_intercept_that_made_the_rows() -> None:
    """Raw scores that were stretched and shifted come back to the truth."""
    p, y = world(50_000)
    raw = (np.log(p / (1 - p)) + 1.0) / 0.5
    found = fit_calibration(raw, y)
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.intercept == pytest.approx(-1.0, abs=0.05)


def test_platt_on_a_handful_changes_little_and_never_turns_the_order() -> None:
    """Ten rows cannot stretch the scores far, and scores that point the wrong way keep their order."""
    raw = np.linspace(-2, 2, 10)
    assert 0.5 < fit_calibration(raw, (raw > 0).astype(float)).slope < 2.0
    p, y = world(5000)
    assert fit_calibration(-np.log(p / (1 - p)), y).slope > 0.0
    assert Calibration().apply(np.array([0.0]))[0] == 0.5


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_a_calibration_is_the_likeliest_under_its_prior(turned: float) -> None:
    """No neighbour has a smaller penalised log loss of the weighted rows; where the order would turn, with slope 1."""
    rng = np.random.default_rng(4)
    raw, weight = rng.normal(0.0, 2.0, 60), rng.gamma(1.0, 1.0, 60)
    label = (rng.random(60) < sigmoid(turned * (2.0 * raw - 1.0))).astype(np.float64)

    def loss(slope: float, intercept: float) -> float:
        prior = 0.5 * ((slope - 1.0) / 0.3) ** 2 + 0.5 * intercept**2
        return float(weight @ log_losses(Calibration(slope, intercept).apply(raw), label)) + prior

    found = fit_calibration(raw, label, weight)
    around = [(0.0, 0.01), (0.0, -0.01)] + ([(0.01, 0.0), (-0.01, 0.0)] if turned > 0 else [])
    assert all(loss(found.slope + a, found.intercept + b) > loss(found.slope, found.intercept) for a, b in around)
    assert found.slope > 1.0 if turned > 0 else found.slope == 1.0


def test_the_paired_interval_covers_the_truth() -> None:
    """In 95 of 100 worlds, give or take, the interval of a difference holds the true one."""
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        customers = rng.integers(0, 200, 400)
        shared = rng.normal(0, 1, 200)[customers]
        found = paired_difference(shared + rng.normal(0.3, 1, 400), np.zeros(400), customers, seed)
        covered += found.low <= 0.3 <= found.high
    assert 87 <= covered <= 100


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_one_id_for_many_customers_lets_nothing_worse_pass(share: float) -> None:
    """Calls of nobody known are logged as of one customer, who drawn whole is there or not: rows are drawn then."""
    rng = np.random.default_rng(3)
    p = np.where(rng.random(2000) < 0.5, 0.1, 0.6)
    y = (rng.random(2000) < p).astype(np.float64)
    customers = np.where(np.arange(2000) < 2000 * share, 0, np.arange(2000))
    worse = against_champion(np.full_like(p, 0.35), p, y, customers, 0)[0]
    same = against_champion(p, p * 0.999, y, customers, 0)[0]
    assert (worse.passed, same.passed) == (False, True)
    found = paired_difference(log_losses(p, y), log_losses(np.full_like(p, 0.35), y), customers, 0)
    assert found.value - 0.1 < found.low < found.value < found.high < found.value + 0.1


def test_gates_stop_what_is_worse_and_pass_what_is_equal() -> None:
    """A challenger that knows less is stopped by log loss, one that exaggerates by calibration, an equal one passes."""
    p, y = world(6000)
    customers = np.arange(len(p))
    flat = np.full_like(p, y.mean())
    loud = sigmoid(np.log(p / (1 - p)) + 0.5)
    assert [gate.passed for gate in against_champion(p, p, y, customers, 0)] == [True, True]
    assert not against_champion(flat, p, y, customers, 0)[0].passed
    assert not against_champion(loud, p, y, customers, 0)[1].passed
    assert [gate.passed for gate in against_base_rate(p, y, 0.2, customers, 0)] == [True, True]
    assert not against_base_rate(sigmoid(-np.log(p / (1 - p))), y, float(y.mean()), customers, 0)[0].passed


def test_a_first_model_that_foretells_worse_than_the_base_rate_is_stopped() -> None:
    """The same probabilities given to the wrong calls are as well calibrated in sum, and worse than one number for all."""
    p, y = world(5000)
    rate, customers = float(y.mean()), np.arange(5000)
    assert [gate.passed for gate in against_base_rate(p, y, rate, customers, 0)] == [True, True]
    assert not against_base_rate(np.roll(p, 1), y, rate, customers, 0)[0].passed
    assert against_base_rate(np.full(5000, rate), y, rate, customers, 0)[0].passed, "what learnt nothing is no worse"


def test_a_small_honest_journal_is_not_blamed_for_its_noise() -> None:
    """150 calls show errors beyond a twentieth that chance alone makes: true probabilities pass all the same."""
    for seed in range(5):
        p, y = world(150, seed)
        assert calibration_error_with_interval(p, y, 0).value > 0.05
        assert against_base_rate(p, y, float(y.mean()), np.arange(150), 0)[1].passed


def test_groups_are_judged_by_their_own_rows() -> None:
    """Shares, foretold and log loss by hand, against the base rate of each; most rows first, then the name."""
    names = np.array(["b", "a", "b", "c", "b"])
    p, y = np.array([0.5, 0.2, 0.25, 0.8, 0.75]), np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    found = groups(names, p, y, {"a": 0.1, "b": 0.5, "c": 0.5})
    assert [(g.name, g.rows, g.accepted, g.predicted, g.auc) for g in found] == [
        ("b", 3, pytest.approx(1 / 3), 0.5, 0.5), ("a", 1, 0.0, 0.2, None), ("c", 1, 0.0, 0.8, None),
    ]  # fmt: skip
    assert [g.log_loss for g in found[1:]] == pytest.approx([-np.log(0.8), -np.log(0.2)])
    assert [g.base_log_loss for g in found] == pytest.approx([-np.log(0.5), -np.log(0.9), -np.log(0.5)])
    assert [(g.low, g.high) for g in found] == [wilson(1, 3), wilson(0, 1), wilson(0, 1)]


def test_off_policy_value_is_the_true_value() -> None:
    """On a log with known propensities the estimate of a fixed policy holds its true reward in the interval."""
    rng = np.random.default_rng(0)
    n = 20_000
    offer = rng.choice(3, n, p=[0.5, 0.3, 0.2]).astype(np.int32)
    propensity = np.array([0.5, 0.3, 0.2])[offer]
    reward = (rng.random(n) < np.array([0.1, 0.3, 0.2])[offer]).astype(float)
    none = np.empty((n, 0, 0))
    log = Log(None, offer, propensity, reward, np.arange(n), none)  # type: ignore[arg-type]  # no rows are read
    for pick, truth in ((0, 0.1), (1, 0.3), (2, 0.2)):
        value = value_of(log, np.full(n, pick), 0)
        assert value.low <= truth <= value.high
        assert value.effective == pytest.approx(np.count_nonzero(offer == pick))


def test_a_log_without_exploration_is_not_valued(config: Config) -> None:
    """Where every propensity is 1 the gate says so and does not guess."""
    table = make_rows(200, propensity=np.ones(200))
    assembler = Assembler(read_decisions(table, config.catalog), config)
    assert explored_log(assembler, np.arange(200), np.zeros(200)) is None


def test_drift_finds_the_column_that_moved() -> None:
    """The moved column comes first and is named another population; the others are stable."""
    rng = np.random.default_rng(0)
    schema = Schema((SchemaColumn("x.a", "number"), SchemaColumn("x.b", "category", None, ("p", "q"))))
    then = np.column_stack([rng.normal(size=5000), rng.integers(1, 3, 5000)]).astype(np.float32)
    now = np.column_stack([rng.normal(2.0, size=5000), rng.integers(1, 3, 5000)]).astype(np.float32)
    found = drift(schema, then, now)
    assert [(shift.column, shift.says) for shift in found] == [("x.a", "another population"), ("x.b", "stable")]


def test_the_split_keeps_a_moment_together() -> None:
    """Rows of one moment never stand on both sides, and the slices are in order."""
    at = np.sort(np.random.default_rng(0).integers(0, 40, 1000))
    slices = split_in_time(at, Split())
    parts = [set(at[part]) for part in (slices.training, slices.calibration, slices.judging)]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert max(parts[0]) < min(parts[1]) < min(parts[2])
    assert split_in_time(at, Split(valid_from_ms=30)).train == np.searchsorted(at, 30)
    with pytest.raises(RefusedError):
        split_in_time(at, Split(valid_from_ms=99))


def test_a_campaign_in_six_waves_is_split_by_its_share() -> None:
    """The last wave judges and the one before calibrates: a fifth of six waves had left nothing to calibrate on."""
    slices = split_in_time(np.repeat(np.arange(6), 170), Split())
    assert (slices.train, slices.calibrate, slices.rows) == (680, 850, 1020)
    with pytest.raises(RefusedError, match="cannot be split in time"):
        split_in_time(np.repeat(np.arange(2), 170), Split())


@pytest.mark.parametrize("days", [1, 2])
def test_an_experiment_that_is_dated_by_the_day_is_told_a_way_that_it_has(days: int) -> None:
    """One mailing is one date: nobody has its exact times or more days, and where chance drew, any order is as good."""
    with pytest.raises(RefusedError, match=f"only {days} different .*drawn at random.*a random moment of its day"):
        split_in_time(np.repeat(np.arange(days), 170), Split())


def test_reliability_bins_hold_every_row_once() -> None:
    """The bins cover the rows, and each interval holds its share."""
    p, y = world(999)
    curve = reliability(p, y)
    assert sum(b.rows for b in curve) == 999
    assert all(b.low <= b.seen <= b.high for b in curve)
    assert wilson(0, 10)[0] == 0.0
    assert log_losses(np.array([0.0, 1.0]), np.array([0.0, 1.0])).max() < 1e-9


@pytest.mark.parametrize("champion", [False, True])
def test_a_value_that_is_no_number_stops(monkeypatch: pytest.MonkeyPatch, champion: bool) -> None:
    """What cannot be computed has not been passed: rewards too large to add up leave no value to compare."""
    n = 400
    log = Log(
        None,  # type: ignore[arg-type]  # no rows are read
        np.zeros(n, dtype=np.int32),
        np.full(n, 0.5),
        np.where(np.arange(n) % 2, 1e308, -1e308),
        np.arange(n),
        np.empty((n, 0, 0)),
    )
    monkeypatch.setattr("models.offpolicy.best_offers", lambda log, scorer: np.zeros(n, dtype=np.int64))
    scorer = object()
    gate = off_policy_gate(log, scorer, scorer if champion else None, 0)  # type: ignore[arg-type]  # not asked
    assert not gate.passed
    assert "no number" in gate.says


def test_a_drifting_model_that_is_better_than_the_base_rate_is_a_first_champion() -> None:
    """Acceptance fell to a third: saying the old base rate is further off, so the model may be the first one."""
    rng = np.random.default_rng(1)
    then = sigmoid(rng.normal(0.0, 1.5, 6000))
    y = (rng.random(6000) < then * 0.5).astype(np.float64)
    p = then * 0.75
    customers = np.arange(6000)
    log_loss, calibration = against_base_rate(p, y, 0.5, customers, 0)
    assert log_loss.passed
    assert calibration.passed, calibration.says
    loud = np.clip(then * 0.75 + 0.3, 0.0, 1.0)
    assert not against_base_rate(loud, y, 0.5, customers, 0)[1].passed  # further off than the base rate


def test_where_the_base_rate_is_right_a_gross_error_stops() -> None:
    """Without a drift nothing excuses probabilities that are far off."""
    p, y = world(6000)
    loud = sigmoid(np.log(p / (1 - p)) + 1.0)
    assert not against_base_rate(loud, y, float(y.mean()), np.arange(len(p)), 0)[1].passed


def test_answers_that_are_no_numbers_stop() -> None:
    """A model with one NaN is stopped by both gates instead of ending in a traceback."""
    p, y = world(500)
    broken = np.where(np.arange(500) == 7, np.nan, p)
    for gates in (
        against_base_rate(broken, y, 0.2, np.arange(500), 0),
        against_champion(broken, p, y, np.arange(500), 0),
    ):
        assert [gate.passed for gate in gates] == [False, False]
