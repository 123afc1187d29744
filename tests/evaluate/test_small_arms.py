"""Arms of a hundredth of the customers, means near nothing, columns that say nothing: where a quick formula misleads."""

from __future__ import annotations

import numpy as np

from nba.evaluate.ab import Metric, compare

ARMS = ("control", "new")


def test_a_mean_near_nothing_has_no_lift_to_print() -> None:
    """Margins that nearly cancel each other: the difference is told, and no ratio to almost 0."""
    value = np.tile([1.0, -1.0, 1.0, -1.0], 50) + 1e-6
    found = compare(Metric("margin", value, np.ones(200)), np.repeat([0, 1], 100), ARMS)[0]
    assert found.relative_low is None and found.relative_high is None
    assert found.low < 0 < found.high
