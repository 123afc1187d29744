"""What is tried: inverse-gap weighting over the first rank.

Source: Foster and Rakhlin, "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles" (2020),
arXiv:2002.04926, algorithm SquareCB: every arm but the best gets 1 / (K + gamma * gap), the best one the rest.
One function gives the probabilities, two draw from them, one says with which probability an offer stands at a rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def first_rank_probabilities(values: Sequence[float], gamma: float | None, free: Sequence[bool]) -> list[float]:
    """P(candidate i is put first), for candidates in falling order of expected value; sums to 1.

    `values`: expected values, the first one positive; gaps are relative to it, so `gamma` has no unit. `free`: whether a
    candidate may take part in exploration; when the best one may not, it is put first for certain. `gamma` None: greedy.
    """
    count = len(values)
    if not count:
        return []
    greedy = [1.0] + [0.0] * (count - 1)
    if gamma is None or count < 2 or not free[0] or values[0] <= 0:
        return greedy
    arms = sum(free)
    gaps = [1.0 - value / values[0] for value in values]
    others = [1.0 / (arms + gamma * gap) if may else 0.0 for gap, may in zip(gaps[1:], free[1:], strict=True)]
    return [1.0 - sum(others), *others]


def draw(probabilities: Sequence[float], seed: int, *key: str) -> int:
    """The index drawn; the same seed and key always draw the same one."""
    return drawn(probabilities, uniform(seed, *key))


def drawn(probabilities: Sequence[float], point: float) -> int:
    """The index that `point` in [0, 1) falls on; the likeliest one where the probabilities sum to less than it by rounding."""
    for index, probability in enumerate(probabilities):
        point -= probability
        if point < 0:
            return index
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def uniform(seed: int, *key: str) -> float:
    """A number in [0, 1) from a seed and a key: 53 bits of BLAKE2b; the parts carry their lengths, so keys do not collide."""
    digest = blake2b(digest_size=8, key=seed.to_bytes(8, "big", signed=True))
    for part in key:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2**53


def ranked(first: int, count: int) -> list[int]:
    """The order of the answer: the drawn candidate, then the others as they stand."""
    return [first, *(index for index in range(count) if index != first)]


def rank_probability(probabilities: Sequence[float], index: int, rank: int) -> float:
    """P(candidate `index` stands at `rank`), rank from 0, under `ranked` with the first one drawn from `probabilities`.

    Candidate j moves from place j to j + 1 exactly when one that stands behind it was drawn.
    """
    if rank == 0:
        return probabilities[index]
    if rank == index:
        return min(1.0, sum(probabilities[:index]))
    if rank == index + 1:
        return min(1.0, sum(probabilities[index + 1 :]))
    return 0.0
