"""The probabilities that are logged are the real ones."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kits.shop import POLICY, case_for, customer
from nba.decide import Decider
from nba.exploration import draw, first_rank_probabilities, rank_probability, ranked, uniform
from nba.load import load_config

values_of = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=12).map(lambda v: sorted(v, reverse=True))


@given(values_of, st.floats(0.1, 1e4), st.integers(0, 2**12 - 1))
def test_probabilities_sum_to_one_and_follow_the_value(values: list[float], gamma: float, mask: int) -> None:
    """A better offer is never less likely; what may not be explored has probability 0."""
    free = [bool(mask >> i & 1) for i in range(len(values))]
    p = first_rank_probabilities(values, gamma, free)
    assert sum(p) == pytest.approx(1.0) and min(p) >= 0
    explored = [x for x, may in zip(p[1:], free[1:], strict=True) if may]
    assert explored == sorted(explored, reverse=True)
    assert all(x == 0 for x, may in zip(p[1:], free[1:], strict=True) if not may)
    assert p[0] >= max(p) - 1e-12


def test_squarecb_agrees_with_its_formula_by_hand() -> None:
    """1 / (K + gamma * gap) for every arm but the best (Foster and Rakhlin 2020)."""
    assert first_rank_probabilities([10.0, 5.0, 1.0], 20.0, [True] * 3) == pytest.approx(
        [1 - 1 / 13 - 1 / 21, 1 / 13, 1 / 21]
    )


@given(values_of, st.floats(0.1, 1e4), st.sampled_from([2.0**-40, 0.25, 1024.0]))
def test_gamma_has_no_unit(values: list[float], gamma: float, unit: float) -> None:
    """In cents or in thousands, what is tried is the same: only the gap to the best counts, as a share of it."""
    free = [True] * len(values)
    scaled = [value * unit for value in values]
    assert first_rank_probabilities(scaled, gamma, free) == first_rank_probabilities(values, gamma, free)


def test_an_arm_that_may_not_be_tried_takes_no_share() -> None:
    """K counts the arms that take part: a fix in the list does not make the others less likely to be tried."""
    found = first_rank_probabilities([10.0, 8.0, 5.0, 1.0], 20.0, [True, False, True, False])
    assert found == pytest.approx([1 - 1 / 12, 0.0, 1 / 12, 0.0])


@pytest.mark.parametrize("gamma", [None, 20.0])
def test_without_gamma_or_with_a_fixed_first_it_is_certain(gamma: float | None) -> None:
    """A fix that stands first is not gambled with."""
    free = [gamma is None, True]
    assert first_rank_probabilities([3.0, 2.0], gamma, free) == [1.0, 0.0]


@given(values_of, st.floats(0.1, 1e3))
def test_rank_probabilities_are_a_doubly_stochastic_table(values: list[float], gamma: float) -> None:
    """Every offer is at some rank, and every rank holds one offer: rows and columns sum to 1."""
    p = first_rank_probabilities(values, gamma, [True] * len(values))
    table = [[rank_probability(p, i, r) for r in range(len(p))] for i in range(len(p))]
    for line in [*table, *zip(*table, strict=True)]:
        assert sum(line) == pytest.approx(1.0)


def test_what_is_logged_is_what_happens() -> None:
    """100,000 interactions: the share of each offer at each rank is its propensity, within four standard errors."""
    p = first_rank_probabilities([10.0, 9.0, 4.0, 1.0], 8.0, [True, True, False, True])
    n = 100_000
    seen = Counter((i, r) for k in range(n) for r, i in enumerate(ranked(draw(p, 7, "c", str(k)), len(p))))
    for i in range(4):
        for r in range(4):
            expected = rank_probability(p, i, r)
            assert abs(seen[i, r] / n - expected) <= 4 * (max(expected * (1 - expected), 1e-9) / n) ** 0.5


def test_the_same_interaction_draws_the_same() -> None:
    """Seed, customer and interaction decide; parts do not run into each other."""
    assert uniform(1, "ab", "c") == uniform(1, "ab", "c") != uniform(1, "a", "bc")
    assert uniform(1, "ab", "c") != uniform(2, "ab", "c")


@given(st.integers(-(2**63), 2**63 - 1), st.text())
def test_what_may_not_be_tried_is_never_drawn(seed: int, key: str) -> None:
    """Probabilities that rounding left short of 1 end at the likeliest offer, whatever the seed."""
    assert draw([0.0, 1e-12, 0.0, 1e-15, 0.0], seed, key) == 1


def exploring(shop, more: str = "") -> Decider:
    """The shop, which tries everything that may be said."""
    return Decider(load_config(shop(policy=POLICY + f"exploration: {{gamma: 0.1, off_for: []{more}}}\n")))


def first(decider: Decider, **request: object) -> str:
    return decider.decide(case_for(decider, **request), None).suggestions[0].offer_id


@pytest.mark.parametrize("missing", ["features", "profile", "contacts", "thread"])
def test_nothing_is_tried_on_a_customer_who_could_not_be_read(shop, missing: str) -> None:
    """What is not known of a customer is no ground for an experiment on them: the best that is left comes first."""
    decider = exploring(shop)
    healthy, blind = (
        decider.first_rank(case_for(decider, customer(degraded=degraded)), None) for degraded in ((), (missing,))
    )
    assert max(healthy.values()) < 0.5
    assert len(blind) > 1 and sorted(blind.values())[-2:] == [0.0, 1.0]


@pytest.mark.parametrize(("context", "tried"), [({"sentiment": 0.5}, True), ({"sentiment": -0.9}, False), ({}, False)])
def test_what_switches_exploration_off_does_so_when_in_doubt(shop, context: dict, tried: bool) -> None:
    """`off_when` that holds, or that nobody can answer for this call: nothing is tried."""
    decider = exploring(shop, ', off_when: "context.sentiment < -0.5"')
    chances = decider.first_rank(case_for(decider, context=context), None)
    assert (max(chances.values()) < 1.0) is tried


def test_each_interaction_draws_anew_and_keeps_its_draw(shop) -> None:
    """Calls of one customer are told different things first; what a call was told first it is told again."""
    decider = exploring(shop)
    calls = [f"call-{n}" for n in range(40)]
    drawn = {call: {first(decider, interaction_id=call, decision_id=f"{call}-{n}") for n in range(3)} for call in calls}
    assert all(len(said) == 1 for said in drawn.values())
    assert len(set.union(*drawn.values())) > 2


def test_what_was_tried_is_called_so(shop) -> None:
    """The first one, where it is not the best, and no other: whoever reads the log knows what chance put there."""
    decider = exploring(shop)
    cases = [case_for(decider, interaction_id=f"call-{n}", limit=9) for n in range(40)]
    said = [decider.decide(case, None).suggestions for case in cases]
    (best,) = {max(each, key=lambda s: s.expected_value).offer_id for each in said}
    assert all(s.explored == (s.rank == 1 and s.offer_id != best) for each in said for s in each)
    assert len({each[0].explored for each in said}) == 2


def test_without_an_interaction_each_decision_draws_anew(shop) -> None:
    """Nothing holds such decisions together but the customer."""
    decider = exploring(shop)
    assert len({first(decider, interaction_id=None, decision_id=f"d-{n}") for n in range(40)}) > 2
