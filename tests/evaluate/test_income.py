"""The sums of the report, by hand."""

from __future__ import annotations

import numpy as np

from nba.evaluate.income import line, lines_by
from nba.tails import wilson


def test_lines_count_what_came_of_the_suggestions() -> None:
    """Money is of what was accepted, to the cent; most suggestions come first, then the name; no name is unknown."""
    flags = {"accepted": np.array([1.0, 0, 1, 0, 1]), "declined": np.array([0.0, 1, 0, 0, 0])}
    margin, saving = np.array([1.111, 50, 2, 50, -4]), np.array([10.0, 50, 0.005, 50, 3])
    lines = lines_by("kind", ["b", "b", "b", None, "a"], flags, margin, saving)
    assert [(x.group, x.name, x.offers, x.accepted, x.declined, x.margin_month, x.saving_month) for x in lines] == [
        ("kind", "b", 3, 2, 1, 3.11, 10.01),
        ("kind", "a", 1, 1, 0, -4.0, 3.0),
        ("kind", "unknown", 1, 0, 0, 0.0, 0.0),
    ]
    assert [(x.share, (x.low, x.high)) for x in lines[::2]] == [(2 / 3, wilson(2, 3)), (0.0, wilson(0, 1))]
    nothing = line("all", "total", flags, margin, saving, np.zeros(5, bool))
    assert (nothing.offers, nothing.share, nothing.low, nothing.high, nothing.margin_month) == (0, 0.0, 0.0, 1.0, 0.0)
