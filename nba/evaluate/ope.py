"""What a target policy would have earned on logged calls: five estimators, or a refusal that says why and what to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nba.errors import RefusedError
from nba.evaluate.estimators import Logged, all_values, switch_threshold
from nba.evaluate.interval import DRAWS, Estimate, estimates
from nba.evaluate.overlap import Overlap, clustered, overlap, refusals, refuse, warnings_of, worst_offer
from nba.evaluate.reward import Fit, Foretold, Pairs, cross_fit, fit
from nba.evaluate.sequence import PLANNED
from nba.stats import auc

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
TOO_GOOD = 0.97
AGAINST = -4.0
FEWEST_APART = 10


@dataclass(frozen=True, slots=True)
class Question:
    """n logged decisions and what a target policy does in them.

    `customer`, `at_ms`, `offer` int64 (n,): `offer` is a place in `offers`. `propensity` in (0, 1], `reward` (n,).
    `target` (n, offers): the target's probability of putting each offer first; a row may sum to less than 1 where it
    would say nothing, which earns 0. `columns` (n, k) describe the logged offers, `pairs` those that the target may say.
    `foretold` (n,): how likely the target's model found it that the logged offer is accepted; None where there is none.
    `accepted` (n,): 1, 0 or NaN where it is not known; None where the reward says it.
    `silent`: in how many of the rows the target says nothing, and how to mend it; empty where it mostly speaks. `lost`: of
    which offer or arm most outcomes are missing, and how to mend it; empty where they are missing evenly.
    """

    customer: Numbers
    at_ms: Numbers
    offer: Numbers
    offers: list[str]
    propensity: Array
    reward: Array
    target: Array
    columns: Array
    pairs: Pairs
    foretold: Array | None = None
    accepted: Array | None = None
    silent: str = ""
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`logged`: what the log itself earned a call; `gain`: by how much the doubly robust value is above that, row by row.

    `events`: effective rows that speak for the target and earned something else than most of them do.
    """

    estimates: dict[str, Estimate]
    logged: Estimate
    gain: Estimate
    overlap: Overlap
    threshold: float
    events: float
    warnings: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Better, worse or neither, in words. Of a handful of events the spread is as unknown as the share itself."""
        if self.events < FEWEST_APART:
            return "too little came of what this policy would have said: neither better nor worse than the log is shown"
        if self.gain.low > 0:
            return "better than what was logged, beyond noise"
        worse = "worse than what was logged, beyond noise"
        return worse if self.gain.high < 0 else "no difference from what was logged is shown"

    def as_json(self) -> dict[str, Any]:
        """Plain data; infinite ends become null when written."""
        return asdict(self) | {"verdict": self.verdict}


def answer(
    asked: Question,
    *,
    clip: float | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    planned: float = PLANNED,
    learn: Fit = fit,
) -> Answer:
    """Value the target policy. `clip`: weights above it are cut, with a warning. `learn`: fits the reward model.

    Raises RefusedError: too little overlap, propensities that cannot be right, outcomes that run against the model, a
    column that knows the outcome.
    """
    rows = np.arange(len(asked.reward))
    full = asked.target[rows, asked.offer] / asked.propensity
    weight = full if clip is None else np.minimum(full, clip)
    worst = worst_offer(asked.offer, full, asked.target, asked.customer, asked.offers)
    mass = asked.target.sum(axis=1)
    found = overlap(weight, full, asked.propensity, mass, asked.customer, worst)
    refuse(refusals(found, clipped=clip is not None, silent=asked.silent, lost=asked.lost))
    refuse_reversed(asked)
    q = cross_fit(asked.at_ms, asked.customer, asked.reward, asked.columns, asked.pairs, learn)
    refuse_leak(asked.reward, q.q_logged)
    log = Logged(weight, asked.reward, q.q_logged, q.q_target, mass)
    threshold = switch_threshold(len(weight))
    values = all_values(log, threshold)
    everything = {**values, "logged": asked.reward, "gain": values["dr"] - asked.reward}
    found_of = estimates(everything, asked.customer, seed=seed, draws=draws, planned=planned)
    said = warnings_of(found, clip, int((full > weight).sum()), 1.0 - float(weight.sum() / max(full.sum(), 1e-300)))
    said += model_warnings(q)
    if beyond := int((weight > threshold).sum()):
        said.append(
            f"{beyond:,} weights above {threshold:.0f}, the root of the rows: switch-dr leaves those to the reward model"
        )
    logged, events = found_of.pop("logged"), events_of(weight, asked.reward)
    if events < FEWEST_APART:
        said.append(
            f"only {events:.0f} effective rows that speak for this policy earned something else than most, fewer than "
            f"{FEWEST_APART}: the 95 % intervals are too narrow, and none holds at every look: log more calls"
        )
        found_of = {name: replace(e, always_low=-math.inf, always_high=math.inf) for name, e in found_of.items()}
    gain = found_of.pop("gain")
    return Answer(found_of, logged, gain, found, threshold, events, tuple(said))


def events_of(weight: Array, reward: Array) -> float:
    """Kish's effective number of the rows (n,) with weight whose reward is not the most frequent one among them."""
    values, level = np.unique(reward, return_inverse=True)
    usual = np.argmax(np.bincount(level, weights=weight, minlength=len(values)))
    apart = np.where(level == usual, 0.0, weight)
    return float(apart.sum()) ** 2 / max(float((apart**2).sum()), 1e-300)


def model_warnings(q: Foretold) -> list[str]:
    """What a reader has to know of the reward model: where it had little to learn from, dr is hardly more than ips."""
    said = []
    if q.apart < FEWEST_APART:
        said.append(
            f"the reward model learnt a part of the calls from {q.rows:,} rows with {q.apart:,} that earned something else "
            f"than most, fewer than {FEWEST_APART}: dm says little there, and dr and switch-dr lean on ips: log more calls"
        )
    if q.late:
        said.append(
            f"{q.late:,} calls have no past of other customers to learn from: the reward model learnt them from later calls"
        )
    return said


def refuse_reversed(asked: Question) -> None:
    """Raises RefusedError when what the model finds likely is what fails: a reversed label, or the wrong model."""
    if asked.foretold is None:
        return
    yes = asked.reward if asked.accepted is None else asked.accepted  # money may rightly run against what is likely
    known = ~np.isnan(yes)
    likely, yes = asked.foretold[known], yes[known]
    if not len(yes) or likely.std() == 0 or yes.std() == 0:
        return
    standard = (likely - likely.mean()) / likely.std()
    slope, error = clustered(standard * (yes - yes.mean()), asked.customer[known])
    if error > 0 and slope / error < AGAINST:
        raise RefusedError(
            "the outcomes run against the model: what it finds likely is accepted least "
            f"({-slope / error:.0f} standard errors): see whether accepted and declined were exchanged in the log"
        )


def refuse_leak(reward: Array, q_logged: Array) -> None:
    """Raises RefusedError: rewards (n,) are foretold too well to be true, so a column was written after the outcome."""
    yes = reward > np.median(reward) if reward.max() > 1 or reward.min() < 0 else reward > 0.5
    if min(int(yes.sum()), int((~yes).sum())) < 20:
        return
    area = auc(q_logged, yes.astype(np.float64))
    if area is not None and area > TOO_GOOD:
        raise RefusedError(
            f"the columns foretell the outcome with an AUC of {area:.3f}: one of them was written after the call; leave it "
            "out of features.yaml, or log it as it was at the moment of the decision"
        )
