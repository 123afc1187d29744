"""Off-policy estimators, each as one value a row whose mean is the estimate; mean and interval are shared (interval.py).

In all of them, for row i: weight w = pi(a | x) / p with the target policy's probability pi of the logged offer a and the
logged propensity p; reward r; q(x, a) the reward model; q_target = sum over offers of pi(b | x) q(x, b).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logged:
    """n logged decisions: float64 (n,) each. `q_logged` and `q_target` come from a model that has not seen the row.

    `mass`: the target's probability of saying anything, which nothing logged tells of; None where it always speaks.
    """

    weight: Array
    reward: Array
    q_logged: Array
    q_target: Array
    mass: Array | None = None


def ips(log: Logged) -> Array:
    """w r. Unbiased where the log could have said all that the target says. Horvitz and Thompson (1952)."""
    return log.weight * log.reward


def snips(log: Logged) -> Array:
    """Self-normalised: V = sum(w r) / sum(w), linearised: V + w (r - V) / mean(w). Swaminathan and Joachims (NIPS 2015).

    V is what the target earns where it speaks, for the weights sum to that share of the calls: so it counts that often.
    """
    mass = np.ones(len(log.weight)) if log.mass is None else log.mass
    total = max(float(log.weight.sum()), 1e-12)
    value = float(log.weight @ log.reward) / total
    return value * mass + log.weight * (log.reward - value) * (float(mass.sum()) / total)


def direct(log: Logged) -> Array:
    """q_target: all that the reward model says. As good as the model; its interval takes the model as given."""
    return log.q_target


def doubly_robust(log: Logged) -> Array:
    """q_target + w (r - q). Unbiased when the propensities are right or q is. Dudík, Langford and Li (ICML 2011)."""
    return log.q_target + log.weight * (log.reward - log.q_logged)


def switch(log: Logged, threshold: float) -> Array:
    """Doubly robust where w <= threshold, the reward model beyond. Wang, Agarwal and Dudík (ICML 2017)."""
    return log.q_target + np.where(log.weight <= threshold, log.weight * (log.reward - log.q_logged), 0.0)


def switch_threshold(rows: int) -> float:
    """sqrt(n), where `switch` leaves off: rarer with every row, so that the estimate stays consistent. Ionides (2008).

    Wang et al. choose it by a bound on the bias that needs the logging probabilities of all offers. Of those a log holds
    one, and with the target's share beyond estimated from the same weights that bound always exceeds what switching saves.
    """
    return float(np.sqrt(rows))


def all_values(log: Logged, threshold: float | None = None) -> dict[str, Array]:
    """The five by name, each (n,), in the order in which they are printed. `threshold`: of the switch; None: by the rows."""
    limit = switch_threshold(len(log.weight)) if threshold is None else threshold
    return {
        "ips": ips(log),
        "snips": snips(log),
        "dm": direct(log),
        "dr": doubly_robust(log),
        "switch-dr": switch(log, limit),
    }
