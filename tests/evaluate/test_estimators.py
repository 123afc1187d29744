"""In a world with a closed form every estimator that should be unbiased is, and its intervals hold what they promise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import astuple, replace

import numpy as np
import pytest

from nba.evaluate.estimators import Logged, all_values, snips, switch, switch_threshold
from nba.evaluate.interval import drawn_means, estimates
from nba.evaluate.ope import Question, answer, model_warnings
from nba.evaluate.reward import Pairs, cross_fit, fit, time_blocks
from nba.evaluate.sequence import radius

TRUTH = 0.27333333333333337
DRAWS = 1_000
World = Callable[..., Question]


def logged(question: Question, wrong: bool = True) -> Logged:
    """The question with a reward model that is wrong on purpose (dr has to stand it)."""
    n = len(question.reward)
    weight = question.target[np.arange(n), question.offer] / question.propensity
    q = question.foretold * (0.7 if wrong else 1.0) + (0.05 if wrong else 0.0)
    whole = question.pairs.columns(np.arange(len(question.pairs.row))).argmax(axis=1)
    table = np.zeros(15)
    table[question.columns.argmax(axis=1)] = q
    q_target = np.bincount(question.pairs.row, question.pairs.probability * table[whole], n)
    return Logged(weight, question.reward, q, q_target)


def test_unbiased_and_honest_over_a_thousand_logs(world: World) -> None:
    """Over 1,000 logs: means within 3 standard errors of the truth, 95 % intervals that hold it in 93 to 97 % of them."""
    found, held = defaultdict(list), defaultdict(int)
    for seed in range(DRAWS):
        question = world(1000, seed)
        values = all_values(logged(question))
        for name, e in estimates(values, question.customer, seed=seed, draws=300).items():
            found[name].append(e.value)
            held[name] += e.low <= TRUTH <= e.high
    for name in ("ips", "snips", "dr", "switch-dr"):
        values = np.array(found[name])
        assert abs(values.mean() - TRUTH) < 3 * values.std() / DRAWS**0.5, name
        assert 0.93 <= held[name] / DRAWS <= 0.97, name
    assert abs(np.mean(found["dm"]) - TRUTH) > 0.02, "the wrong reward model was to be wrong"


def test_the_whole_way_finds_the_truth(world: World) -> None:
    """With its own cross-fitted reward model, every estimator is within 4 standard errors of the closed form."""
    found = answer(world(20_000, 3), seed=1)
    for name in ("ips", "snips", "dr", "switch-dr"):
        assert abs(found.estimates[name].value - TRUTH) < 4 * found.estimates[name].error, name
        assert found.estimates[name].always_low < TRUTH < found.estimates[name].always_high, name
    # over twelve such worlds dm itself scatters by 0.0105: its early blocks learn from 4,000 rows
    assert found.estimates["dm"].value == pytest.approx(TRUTH, abs=0.03)
    assert found.gain.low > 0 and found.logged.value < found.estimates["dr"].low


def test_the_logging_policy_is_worth_what_it_earned(world: World) -> None:
    """A target that does what the log did has weights of 1 and the log's own mean, to the last digit."""
    question = world(3000, 5)
    n = len(question.reward)
    target = question.target.copy()
    target[np.arange(n), question.offer] = question.propensity
    weight = target[np.arange(n), question.offer] / question.propensity
    log = Logged(weight, question.reward, question.foretold, question.foretold)
    for name in ("ips", "snips", "dr"):
        assert all_values(log)[name].mean() == pytest.approx(question.reward.mean(), abs=1e-12)


def test_self_normalising_takes_the_mean_of_weights_out() -> None:
    """snips is sum(w r) / sum(w), and its rows average to it."""
    rng = np.random.default_rng(0)
    weight, reward = rng.gamma(1.0, 1.0, 500), rng.random(500)
    values = snips(Logged(weight, reward, reward, reward))
    assert values.mean() == pytest.approx((weight * reward).sum() / weight.sum(), abs=1e-12)


def test_each_estimator_agrees_with_a_sum_by_hand() -> None:
    """Two rows that the target never says or says twice as often; the switch leaves weights above its threshold out."""
    log = Logged(np.array([0.0, 2.0]), np.array([5.0, 3.0]), np.array([1.0, 2.0]), np.array([0.5, 1.5]))
    found = {name: values.tolist() for name, values in all_values(log, 2.0).items()}
    assert found == {
        "ips": [0.0, 6.0], "snips": [3.0, 3.0], "dm": [0.5, 1.5], "dr": [0.5, 3.5], "switch-dr": [0.5, 3.5],
    }  # fmt: skip
    assert switch(log, 1.99).tolist() == [0.5, 1.5]


def test_nothing_that_speaks_for_the_target_is_worth_nothing() -> None:
    """Weights that are all 0 leave the self-normalised estimate at 0 instead of at no number."""
    none, reward = np.zeros(3), np.ones(3)
    assert snips(Logged(none, reward, none, none)).tolist() == [0.0, 0.0, 0.0]


def test_switching_cuts_a_weight_that_ruins_the_rest() -> None:
    """One weight of 20,000 among thousands: switch-dr leaves that row to the reward model, and the rest as dr has it."""
    rng = np.random.default_rng(1)
    weight = np.append(rng.gamma(2.0, 0.5, 5000), 20_000.0)
    reward = (rng.random(5001) < 0.1).astype(float)
    reward[-1] = 1.0
    values = all_values(Logged(weight, reward, np.full(5001, 0.1), np.full(5001, 0.1)))
    assert values["dr"].mean() > 3
    assert values["switch-dr"].mean() == pytest.approx(0.1, abs=0.02)
    assert (values["switch-dr"][:-1] == values["dr"][:-1]).all()
    assert switch_threshold(5001) == pytest.approx(70.7, abs=0.1)


def test_customers_are_drawn_not_rows() -> None:
    """Fifty customers who always do the same leave a wider interval than 5,000 rows would pretend."""
    rng = np.random.default_rng(2)
    customer = np.repeat(np.arange(50), 100)
    value = np.repeat((rng.random(50) < 0.3).astype(float), 100)
    by_customer = estimates({"v": value}, customer, seed=0)["v"]
    by_row = estimates({"v": value}, np.arange(5000), seed=0)["v"]
    assert by_customer.high - by_customer.low > 8 * (by_row.high - by_row.low)


def test_the_error_is_the_standard_error_of_the_customers_means() -> None:
    """Of customers with one row each it is the standard error of the mean; rows that only repeat others add nothing."""
    value, customer = np.random.default_rng(6).gamma(1.0, 1.0, 200), np.arange(200)
    found = estimates({"v": value}, customer, seed=0)["v"]
    assert (found.value, found.error) == pytest.approx((value.mean(), value.std(ddof=1) / 200**0.5))
    assert found.always_high - found.value == pytest.approx(radius(200, float(value.std(ddof=1))))
    twice = estimates({"v": np.repeat(value, 2)}, np.repeat(customer, 2), seed=0)["v"]
    assert astuple(twice) == pytest.approx(astuple(found))


@pytest.mark.parametrize("times", [100.0, -0.5])
def test_intervals_know_neither_unit_nor_sign(times: float) -> None:
    """Costs in cents have the interval of gains in euros, turned round; what never varies has none."""
    value, customer = np.random.default_rng(7).gamma(0.3, 1.0, 300), np.arange(300) // 2
    plain, other = (estimates({"v": v}, customer, seed=0)["v"] for v in (value, 3.0 + times * value))
    ends = [3.0 + times * plain.low, 3.0 + times * plain.high]
    assert [other.low, other.high] == pytest.approx(sorted(ends))
    assert plain.high - plain.value > plain.value - plain.low, "values of rare large gains are skewed upwards"
    still = estimates({"v": np.full(300, 2.0)}, customer, seed=0)["v"]
    assert astuple(still) == (2.0, 0.0, 2.0, 2.0, 2.0, 2.0)


def test_the_same_seed_gives_the_same_draws() -> None:
    """Intervals can be computed again."""
    sums, rows = np.arange(30.0)[:, None], np.ones(30)
    assert np.array_equal(drawn_means(sums, rows, 7), drawn_means(sums, rows, 7))
    assert not np.array_equal(drawn_means(sums, rows, 7), drawn_means(sums, rows, 8))
    assert drawn_means(sums, rows, 7).shape == (1_000, 1)
    assert np.array_equal(drawn_means(sums, rows, 7, 5), drawn_means(sums, rows, 7)[:5]), "more draws add to the first"


def test_looking_every_time_is_allowed() -> None:
    """Over 1,000 sequences looked at after every value from the hundredth on, at most 5 % ever leave out the truth."""
    rng = np.random.default_rng(3)
    values = (rng.random((1000, 3000)) < 0.1).astype(float)
    steps = np.arange(1, 3001)
    mean = values.cumsum(axis=1) / steps
    deviation = np.sqrt(np.maximum(mean * (1 - mean), 1e-9))
    reach = np.array([radius(n, 1.0, planned=2000) for n in steps])
    missed = (np.abs(mean - 0.1) > deviation * reach).any(axis=1).mean()
    naive = (np.abs(mean - 0.1) > 1.96 * deviation / np.sqrt(steps))[:, 99:].any(axis=1).mean()
    assert missed <= 0.05
    assert naive > 0.3, "the plain interval, looked at every time, has to fail here"


def test_the_reward_model_never_saw_the_row_its_customer_or_its_future() -> None:
    """Each block is predicted by models of earlier rows of other customers; the first one by the second."""
    n = 100
    customer, at_ms = np.arange(n) % 10, np.arange(n) // 2
    block = time_blocks(at_ms, 5)
    asked: list[tuple[np.ndarray, np.ndarray]] = []

    def spy(x: np.ndarray, y: np.ndarray):
        def predict(rows: np.ndarray) -> np.ndarray:
            asked.append((y.astype(int), rows[:, 0].astype(int)))
            return np.zeros(len(rows))

        return predict

    row = np.arange(n)
    customer = np.where(block == 4, 10 + row % 3, customer)
    number = row[:, None].astype(float)
    cross_fit(at_ms, customer, row.astype(float), number, Pairs(row, np.ones(n), number.__getitem__), spy)
    assert {r for _, wanted in asked for r in wanted} == set(row)
    for known, wanted in asked:
        (here,) = set(block[wanted])
        assert set(block[known]) <= (set(range(here)) if here else {1})
        assert not set(customer[known]) & set(customer[wanted])


def test_returning_customers_leave_the_reward_model_its_past(world: World) -> None:
    """400 customers who call all the time: dm still finds the truth, and dr is more than ips."""
    question = world(8000, 6)
    question = replace(question, customer=question.customer % 400)
    found = answer(question)
    assert found.estimates["dm"].value == pytest.approx(TRUTH, abs=0.02)
    assert found.estimates["dr"].error < 0.97 * found.estimates["ips"].error
    assert not any("reward model" in warning for warning in found.warnings)


def test_a_reward_model_with_little_to_learn_from_is_said() -> None:
    """No yes in the past: later calls teach, said so; one customer only: nothing to learn from, said as well."""
    n = 400
    row, none = np.arange(n), np.zeros((n, 1))
    pairs, reward = Pairs(row, np.ones(n), none.__getitem__), (row % 4 == 0) * (row >= 240.0)
    late = cross_fit(row, row % 50, reward, none, pairs)
    assert late.late > 0 and late.q_logged.min() > 0 and len(model_warnings(late)) >= 1
    alone = cross_fit(row, row * 0, reward, none, pairs)
    assert alone.rows == 0 and "from 0 rows" in model_warnings(alone)[0]
    at_once = cross_fit(row * 0, row, (row % 4 == 0) * 1.0, none, pairs)
    assert at_once.q_target.mean() == pytest.approx(0.25, abs=0.01) and not model_warnings(at_once)


def test_the_regressions_find_their_weights() -> None:
    """Logistic for 0 and 1, ridge for money, columns of any scale, and a constant column does no harm."""
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.normal(0, 1000, 5000), rng.normal(size=5000), np.ones(5000)])
    line = -1 + x[:, 0] / 1000 - 0.5 * x[:, 1]
    share = 1 / (1 + np.exp(-line))
    assert np.abs(fit(x, (rng.random(5000) < share).astype(float))(x) - share).mean() < 0.02
    assert np.abs(fit(x, line + rng.normal(size=5000))(x) - line).mean() < 0.05
