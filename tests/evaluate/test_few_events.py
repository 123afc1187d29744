"""Acceptances so rare that hardly any speaks for the target: refused, for no interval holds from a handful."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nba.errors import RefusedError
from nba.evaluate.ope import Question, answer

World = Callable[..., Question]


def rare(world: World, n: int, seed: int, share: float, changed: Callable[..., Question]) -> Question:
    """`n` calls of the usual world in which only that share of the acceptances happened."""
    asked, rng = world(n, seed), np.random.default_rng(seed)
    return changed(asked, reward=asked.reward * (rng.random(n) < share), foretold=None)


def test_a_log_without_acceptances_for_the_target_is_refused(world: World, changed: Callable[..., Question]) -> None:
    """Nobody accepted what the policy would have said: that is no value of exactly 0, sure at every look."""
    from dataclasses import replace

    asked = world(3000, 1)
    agrees = asked.target[np.arange(3000), asked.offer] > 0.3
    with pytest.raises(RefusedError, match=r"0 effective rows .* earned something else than most"):
        answer(replace(asked, reward=np.where(agrees, 0.0, asked.reward), foretold=None))
