"""A log that cannot carry the question is refused with its reason, and each planted defect is caught by its own check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nba.errors import RefusedError
from nba.evaluate.ope import Question, answer, refuse_leak
from nba.evaluate.overlap import Overlap, overlap, refusals, warnings_of

Changed = Callable[..., Question]


def test_a_sound_log_is_answered(asked: Question) -> None:
    """Nothing to warn of; the figures of the overlap are there."""
    found = answer(asked)
    assert found.warnings == ()
    assert found.overlap.mean_weight == pytest.approx(1.0, abs=4 * found.overlap.mean_weight_error)
    assert 100 < found.overlap.effective < found.overlap.rows


def test_a_log_that_never_explored_is_refused(changed: Changed) -> None:
    """With every propensity 1 the answer is no, and how to get one."""
    with pytest.raises(RefusedError, match=r"every propensity is 1.*exploration\.gamma"):
        answer(changed(propensity=np.ones(4000)))


def test_few_effective_rows_are_refused(world: Callable[..., Question]) -> None:
    """Two hundred calls cannot speak for this policy."""
    with pytest.raises(RefusedError, match="effective rows"):
        answer(world(200, 1))


def test_one_giant_weight_is_refused_and_may_be_clipped(asked: Question, changed: Changed) -> None:
    """A propensity of one in a million: refused; on request clipped, with a warning that says how much was cut."""
    row = int(np.flatnonzero(asked.target[np.arange(4000), asked.offer] > 0.5)[0])
    propensity = asked.propensity.copy()
    propensity[row] = 1e-6
    with pytest.raises(RefusedError, match="one row carries"):
        answer(changed(propensity=propensity))
    clipped = answer(changed(propensity=propensity), clip=20.0)
    assert "clipped (1 rows" in clipped.warnings[0]
    assert clipped.overlap.heaviest == 20.0


def test_offers_the_log_never_tried_are_refused(world: Callable[..., Question]) -> None:
    """The target says an offer in every fifth call that the log never could: its mass is missing from the weights."""
    never = np.array([[0.5, 0.5, 0, 0, 0.0]] * 3)
    often = np.array([[0.4, 0.4, 0.2, 0, 0.0]] * 3)
    with pytest.raises(RefusedError, match="never tried"):
        answer(world(4000, 2, never, often))


@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_propensities_that_are_too_small_are_caught(asked: Question, changed: Changed, factor: float) -> None:
    """Planted: every propensity logged too small. The weights do not average to 1."""
    with pytest.raises(RefusedError, match="propensities cannot be right"):
        answer(changed(propensity=asked.propensity * factor))


def test_the_wrong_propensity_of_one_offer_is_named(asked: Question, changed: Changed) -> None:
    """Planted: one offer's propensity is a third of the truth, others a little larger, so that the mean weight is still 1."""
    propensity = np.where(asked.offer == 3, asked.propensity / 1.6, asked.propensity * 1.2)
    with pytest.raises(RefusedError, match="'d' cannot be right, which makes up"):
        answer(changed(propensity=propensity))


def test_a_reversed_label_is_caught(asked: Question, changed: Changed) -> None:
    """Planted: accepted and declined exchanged. What the model finds likely then earns least."""
    with pytest.raises(RefusedError, match="accepted and declined were exchanged"):
        answer(changed(reward=1.0 - asked.reward))


def test_a_leaked_future_is_caught(asked: Question, changed: Changed) -> None:
    """Planted: a column that was written after the outcome."""
    leak = np.column_stack([asked.columns, asked.reward + 0.01 * np.random.default_rng(0).random(4000)])
    pairs = asked.pairs
    wide = np.column_stack([pairs.columns(np.arange(len(pairs.row))), leak[pairs.row, -1]])
    with pytest.raises(RefusedError, match="written after the call"):
        answer(changed(columns=leak, pairs=type(pairs)(pairs.row, pairs.probability, wide.__getitem__)))


@pytest.mark.parametrize("customers", [1, 2, 9])
def test_a_log_of_a_few_customers_is_refused(asked: Question, changed: Changed, customers: int) -> None:
    """Customers are drawn for the intervals: of one (an id that is a constant) they would have no width."""
    with pytest.raises(RefusedError, match=f"4,000 rows are of {customers} customers, fewer than 10"):
        answer(changed(customer=np.arange(4000) % customers))


def test_a_model_that_says_the_same_of_every_call_foretells_nothing() -> None:
    """Calls that are foretold alike are in no order, also where all that earned something came last."""
    refuse_leak(np.repeat([0.0, 1.0], 100), np.full(200, 0.5))


def test_saying_nothing_earns_nothing(asked: Question, changed: Changed) -> None:
    """A target that is silent half of the time is worth half, and is not blamed for it."""
    half = asked.pairs.probability / 2
    pairs = type(asked.pairs)(asked.pairs.row, half, asked.pairs.columns)
    found, whole = answer(changed(target=asked.target / 2, pairs=pairs)), answer(asked)
    assert found.estimates["ips"].value == pytest.approx(whole.estimates["ips"].value / 2)
    assert found.estimates["dr"].value == pytest.approx(whole.estimates["dr"].value / 2, rel=0.02)


def test_every_estimator_values_a_call_and_not_only_the_calls_in_which_the_target_speaks(
    asked: Question, changed: Changed
) -> None:
    """A target that is silent in every other call is worth about half a call, also to the estimator that divides by weights."""
    speaks = np.arange(len(asked.reward)) % 2 == 0
    probability = np.where(speaks[asked.pairs.row], asked.pairs.probability, 0.0)
    pairs = type(asked.pairs)(asked.pairs.row, probability, asked.pairs.columns)
    found = answer(changed(target=asked.target * speaks[:, None], pairs=pairs)).estimates
    assert found["snips"].value == pytest.approx(found["ips"].value, rel=0.05)
    assert found["snips"].error < found["ips"].error


def test_few_rows_that_all_count_alike_are_no_heavy_tail() -> None:
    """A greedy target on a log of 80 offers at random: 125 of 10,000 rows speak for it, each as much as any other."""
    weight = np.where(np.arange(10_000) < 125, 80.0, 0.0)
    found = overlap(weight, weight, np.full(10_000, 1 / 80), np.ones(10_000), np.arange(10_000))
    assert found.effective == pytest.approx(125) and found.tail == pytest.approx(0.008)
    assert refusals(found) == []


AT_THE_LIMIT = Overlap(
    rows=10_000, effective=100.0, mean_weight=1.0, mean_weight_error=0.01, heaviest=20.0, heaviest_share=0.05, tail=0.05,
    unused=0.5, explored=True, customers=10,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"explored": False, "customers": 9}, "every propensity is 1"),
        ({"customers": 9}, "fewer than 10"),
        ({"effective": 99.4}, "99 effective rows"),
        ({"heaviest_share": 0.0501}, "one row carries 5%"),
        ({"tail": 0.0501}, "a few heavy rows"),
        ({"tail": 0.0501, "effective": 999.9}, "a few heavy rows"),
        ({"tail": 0.0501, "effective": 1000.0}, None),
        ({"mean_weight": 0.89, "mean_weight_error": 0.036}, "never tried"),
        ({"mean_weight": 0.89, "mean_weight_error": 0.037}, None),
        ({"mean_weight": 0.91, "mean_weight_error": 0.001}, None),
        ({"mean_weight": 1.06, "mean_weight_error": 0.019}, "propensities cannot be right"),
        ({"mean_weight": 1.06, "mean_weight_error": 0.021}, None),
        ({"mean_weight": 1.04, "mean_weight_error": 0.001}, None),
        ({"worst_offer": ("d", 0.16, 0.1, 4.6)}, "propensities of 'd'"),
        ({"worst_offer": ("d", 0.16, 0.1, 4.4)}, None),
        ({"worst_offer": ("d", 0.14, 0.1, 9.0)}, None),
    ],
)
def test_a_log_is_refused_beyond_its_limits_and_not_at_them(changes: dict, message: str | None) -> None:
    """Ten customers, 100 effective rows, a twentieth on one row; what noise explains is no reason."""
    said = refusals(replace(AT_THE_LIMIT, **changes))
    assert (message is None and said == []) or (len(said) == 1 and message in said[0])


def test_clipping_forgives_a_tail_and_nothing_else() -> None:
    """It is the way past heavy rows, not past few of them."""
    heavy = replace(AT_THE_LIMIT, heaviest_share=0.9, tail=0.9)
    assert len(refusals(heavy)) == 2 and refusals(heavy, clipped=True) == []
    assert len(refusals(replace(heavy, effective=99.0), clipped=True)) == 1
    assert len(refusals(replace(heavy, mean_weight=1.2), clipped=True)) == 1


@pytest.mark.parametrize(("mean", "error", "warned"), [(0.97, 0.009, 1), (0.97, 0.011, 0), (0.985, 0.001, 0)])
def test_a_little_that_was_never_tried_is_told(mean: float, error: float, warned: int) -> None:
    """Beyond a fiftieth, where it is more than noise; clipped weights lack some anyway and say that instead."""
    found = replace(AT_THE_LIMIT, mean_weight=mean, mean_weight_error=error)
    assert len(warnings_of(found, None, 0, 0.0)) == warned
    (clipped,) = warnings_of(found, 20.0, 3, 0.1)
    assert clipped.startswith("weights above 20 were clipped (3 rows, 10.0% of all weight)")


def test_the_figures_of_an_overlap_by_hand() -> None:
    """300 rows of weight 2 in 600 of 200 customers; one in a hundred of the effective ones are three."""
    weight = np.where(np.arange(600) < 300, 2.0, 0.0)
    found = overlap(weight, weight, np.where(np.arange(600) == 0, 0.998, 1.0), np.ones(600), np.arange(600) // 3)
    assert (found.rows, found.effective, found.customers, found.unused) == (600, 300.0, 200, 0.5)
    assert (found.mean_weight, found.heaviest, found.heaviest_share, found.tail) == (1.0, 2.0, 1 / 300, 0.01)
    assert found.mean_weight_error == pytest.approx((1 / 199) ** 0.5) and found.explored


def test_dear_offers_that_are_seldom_taken_are_no_reversed_label(asked: Question, changed: Changed) -> None:
    """Money runs against what is likely, for the dear is taken less often; the label itself agrees with the model."""
    money = asked.reward * (0.01 / (asked.foretold**3))
    assert answer(changed(reward=money, accepted=asked.reward)).estimates["ips"].value > 0
    with pytest.raises(RefusedError, match="exchanged"):
        answer(changed(reward=money, accepted=1.0 - asked.reward))


def test_the_warning_of_clipped_weights_is_true(world: Callable[..., Question]) -> None:
    """A reward model that finds everything too good: clipped, dr lies above the truth, towards the model."""
    asked = world(20_000, 3)
    found = answer(asked, clip=2.0, learn=lambda x, y: lambda rows: np.full(len(rows), 0.9))
    assert found.estimates["dr"].low > 0.2733 > found.estimates["ips"].high
    assert "dr and switch-dr towards the reward model" in found.warnings[0]
