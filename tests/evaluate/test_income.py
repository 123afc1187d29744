"""The sums of the report, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nba.evaluate.income import line, lines_by, worth_of
from nba.stats import wilson


def test_lines_count_what_came_of_the_suggestions() -> None:
    """Money is of what was accepted, to the cent; most suggestions come first, then the name; no name is unknown."""
    flags = {"accepted": np.array([1.0, 0, 1, 0, 1]), "declined": np.array([0.0, 1, 0, 0, 0])}
    margin, saving = np.array([1.111, 50, 2, 50, -4]), np.array([10.0, 50, 0.005, 50, 3])
    lines = lines_by("kind", ["b", "b", "b", None, "a"], flags, margin, saving, np.arange(5))
    assert [(x.group, x.name, x.offers, x.accepted, x.declined, x.margin_month, x.saving_month) for x in lines] == [
        ("kind", "b", 3, 2, 1, 3.11, 10.01),
        ("kind", "a", 1, 1, 0, -4.0, 3.0),
        ("kind", "unknown", 1, 0, 0, 0.0, 0.0),
    ]
    assert [x.share for x in lines[::2]] == [2 / 3, 0.0]
    assert [(x.low, x.high) for x in lines[::2]] == [pytest.approx(wilson(2, 3)), wilson(0, 1)]
    nothing = line("all", "total", flags, margin, saving, np.arange(5), np.zeros(5, bool))
    assert (nothing.offers, nothing.share, nothing.low, nothing.high, nothing.margin_month) == (0, 0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(("customers", "most"), [(1000, 10), (100, 50)])
def test_a_customer_who_is_asked_often_is_one_customer(customers: int, most: int) -> None:
    """Customers who differ in how often they accept, each asked up to so often: 19 of 20 intervals hold the true share."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        customer = np.repeat(np.arange(customers), rng.integers(1, most + 1, customers))
        yes = (rng.random(len(customer)) < rng.beta(1.0, 4.0, customers)[customer]).astype(float)
        flags, nothing = {"accepted": yes, "declined": 1.0 - yes}, np.zeros(len(yes))
        found = line("all", "all", flags, nothing, nothing, customer, nothing == 0)
        held += found.low <= 0.2 <= found.high
    assert held >= 182


def test_suggestions_count_by_how_many_customers_they_met() -> None:
    """Each to another customer: all of them. Customers who always say the same: one each. One customer: one. None: none."""
    yes = np.tile([1.0, 1.0, 0.0, 0.0], 50)
    assert worth_of(yes, np.arange(200)) == pytest.approx(1.0, abs=0.01)
    assert worth_of(yes, np.arange(200) // 2) * 200 == pytest.approx(100, abs=2)
    assert worth_of(yes, np.zeros(200, dtype=np.int64)) * 200 == pytest.approx(1.0)
    assert worth_of(yes[:0], np.arange(0)) == worth_of(np.zeros(9), np.arange(9)) == 1.0
