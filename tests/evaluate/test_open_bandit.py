"""The published figures of the Open Bandit Pipeline, from our own code; and the logs that must not be answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nba.errors import RefusedError
from nba.evaluate.estimators import Logged, direct, doubly_robust, ips
from nba.evaluate.ope import answer
from nba.evaluate.open_bandit import published_q, question, read_impressions, thompson


def test_random_to_thompson_is_what_was_published(open_bandit: Path) -> None:
    """Campaign all: ips 0.004553, dm 0.003545, dr 0.004727, each to its six digits."""
    log = read_impressions(open_bandit, "random", "all")
    asked = question(log, thompson(open_bandit, "all"))
    weight = asked.target[np.arange(10_000), asked.offer] / asked.propensity
    seen = Logged(weight, asked.reward, *published_q(log, asked))
    assert round(ips(seen).mean(), 6) == 0.004553
    assert round(direct(seen).mean(), 6) == 0.003545
    assert round(doubly_robust(seen).mean(), 6) == 0.004727


def test_our_own_way_agrees_with_what_was_published(open_bandit: Path) -> None:
    """Cross-fitted in time, our dr lies in the published interval, and ours holds the value seen on policy."""
    log = read_impressions(open_bandit, "random", "all")
    found = answer(question(log, thompson(open_bandit, "all")))
    assert 0.001625 < found.estimates["dr"].value < 0.009322
    assert 0.001531 < found.estimates["ips"].low < found.estimates["ips"].value < found.estimates["ips"].high
    on_policy = read_impressions(open_bandit, "bts", "all").click.mean()
    assert found.estimates["dr"].low < on_policy < found.estimates["dr"].high


@pytest.mark.parametrize("campaign", ["all", "men", "women"])
def test_the_thompson_logs_are_refused(open_bandit: Path, campaign: str) -> None:
    """Propensities down to one in a million cannot speak for the random policy; clipped on request, with a warning."""
    log = read_impressions(open_bandit, "bts", campaign)
    asked = question(log, np.full((log.items, 3), 1.0 / log.items))
    with pytest.raises(RefusedError, match="carr"):
        answer(asked)
    clipped = answer(asked, clip=20.0)
    assert "were clipped" in clipped.warnings[0]
