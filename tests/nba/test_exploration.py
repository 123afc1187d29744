"""The probabilities that are logged are the real ones."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba.exploration import draw, first_rank_probabilities, rank_probability, ranked, uniform

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


def test_squarecb_by_hand() -> None:
    """1 / (K + gamma * gap) for every arm but the best (Foster and Rakhlin 2020)."""
    assert first_rank_probabilities([10.0, 5.0, 1.0], 20.0, [True] * 3) == pytest.approx(
        [1 - 1 / 13 - 1 / 21, 1 / 13, 1 / 21]
    )


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
