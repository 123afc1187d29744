"""Worlds whose truth has a closed form, and where the published data lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nba.evaluate.ope import Question
from nba.evaluate.reward import Pairs

OPEN_BANDIT = Path(__file__).parents[3] / "shared" / "data" / "open_bandit"
# P(accept | need, offer), what the log did, what the target does: three needs, five offers.
ACCEPT = np.array([[0.05, 0.1, 0.2, 0.3, 0.1], [0.3, 0.1, 0.05, 0.1, 0.2], [0.1, 0.4, 0.1, 0.05, 0.05]])
LOGGING = np.array([[0.4, 0.3, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.1, 0.2, 0.3, 0.3]])
TARGET = np.array([[0.05, 0.05, 0.2, 0.6, 0.1], [0.7, 0.1, 0.05, 0.05, 0.1], [0.05, 0.8, 0.05, 0.05, 0.05]])
TRUTH = float((TARGET * ACCEPT).sum(axis=1).mean())


def ask(n: int = 4000, seed: int = 0, logging: np.ndarray = LOGGING, target: np.ndarray = TARGET) -> Question:
    """n calls of n / 2 customers whose need is uniform; the target's value is TRUTH."""
    rng = np.random.default_rng(seed)
    need = rng.integers(0, 3, n)
    offer = (logging[need].cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    rows, offers = np.repeat(np.arange(n), 5), np.tile(np.arange(5), n)

    def columns(row: np.ndarray, place: np.ndarray) -> np.ndarray:
        return np.eye(15)[need[row] * 5 + place]

    return Question(
        customer=rng.integers(0, n // 2, n),
        at_ms=np.arange(n) * 60_000,
        offer=offer,
        offers=list("abcde"),
        propensity=logging[need, offer],
        reward=(rng.random(n) < ACCEPT[need, offer]).astype(float),
        target=target[need],
        columns=columns(np.arange(n), offer),
        pairs=Pairs(rows, target[need].ravel(), columns(rows, offers)),
        foretold=ACCEPT[need, offer],
    )


@pytest.fixture
def asked() -> Question:
    return ask()


@pytest.fixture
def world() -> Callable[..., Question]:
    """`world(n, seed, …)`: see `ask`."""
    return ask


@pytest.fixture
def changed(asked: Question) -> Callable[..., Question]:
    """The plain question with some fields replaced."""
    return lambda **fields: replace(asked, **fields)


@pytest.fixture
def open_bandit() -> Path:
    if not (OPEN_BANDIT / "random_all.csv.gz").is_file():
        pytest.skip("the Open Bandit data are not beside the repository")
    return OPEN_BANDIT
