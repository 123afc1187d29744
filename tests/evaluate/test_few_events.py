"""Acceptances so rare that hardly any speaks for the target: the figures are shown, and nothing is concluded from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nba.errors import RefusedError
from nba.evaluate.ope import Question, answer

World = Callable[..., Question]


def thinned(asked: Question, share: float, seed: int) -> Question:
    """The same calls in which only that share of the acceptances happened."""
    kept = np.random.default_rng(1000 + seed).random(len(asked.reward)) < share
    return replace(asked, reward=np.where(kept, asked.reward, 0.0), foretold=None)


def test_no_acceptance_for_the_target_is_not_surely_nothing(world: World) -> None:
    """Nobody accepted what the policy would have said: no interval of no width is sure of 0 at every look."""
    asked = world(3000, 1)
    agrees = asked.target[np.arange(3000), asked.offer] > 0.01
    found = answer(replace(asked, reward=np.where(agrees, 0.0, asked.reward), foretold=None))
    assert found.events == 0 and any("only 0 effective rows" in warning for warning in found.warnings)
    assert {(e.always_low, e.always_high) for e in found.estimates.values()} == {(-math.inf, math.inf)}
    assert "neither better nor worse" in found.verdict


def test_a_better_policy_is_not_called_worse_for_want_of_acceptances(world: World) -> None:
    """The target is worth more than a log of rare acceptances: of 60 such logs at most two are told the contrary."""
    logging, target = np.array([[0.8, 0.05, 0.05, 0.05, 0.05]] * 3), np.array([[0.05, 0.8, 0.05, 0.05, 0.05]] * 3)
    said = []
    for seed in range(60):
        try:
            found = answer(thinned(world(2000, seed, logging, target), 0.1, seed), draws=300)
        except RefusedError:
            continue
        said.append("worse than" in found.verdict and "neither" not in found.verdict)
        assert (found.events < 10) == any("effective rows that speak" in warning for warning in found.warnings)
    assert len(said) > 40 and sum(said) <= 2


def test_enough_acceptances_are_judged(world: World) -> None:
    """A third of the usual acceptances in 4,000 calls: a better policy is called better."""
    found = answer(thinned(world(4000, 2), 0.3, 2))
    assert found.events > 50 and found.verdict.startswith("better")
    assert found.estimates["dr"].always_low > -1
