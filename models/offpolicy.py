"""What a model would have earned on the logged calls: self-normalised inverse propensity, over rows of the first rank.

The policy that is valued says the offer with the highest acceptance among those that the log has shown. A row counts,
with weight 1 / propensity, when that is the offer which was said. Source: Swaminathan and Joachims, "The self-normalized
estimator for counterfactual learning" (2015). The whole engine's policy is valued by `nba evaluate ope`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.judge import Gate
from models.matrix import Assembler
from models.metrics import DRAWS, Array, drawn_together
from models.pairs import pair_place
from models.schema import as_float32
from models.scorer import Scorer

MOST_ROWS = 4_000
FEWEST_EFFECTIVE = 30.0


@dataclass(frozen=True, slots=True)
class Log:
    """Rows of the first rank (n,): logged offer (place in the catalog), propensity, reward, customer.

    `pairs`: the pair columns of each row with every offer, float64 (n, offers, pair columns).
    """

    assembler: Assembler
    offer: NDArray[np.int32]
    propensity: Array
    reward: Array
    customer: NDArray[np.int64]
    pairs: NDArray[np.float64]


def explored_log(assembler: Assembler, rows: NDArray[np.int64], label: Array) -> Log | None:
    """The newest of these `rows` (n,) that are of the first rank; None where the log never explored: nothing can be valued."""
    decisions = assembler.decisions
    first = decisions.rank[rows] == 1
    rows, label = rows[first][-MOST_ROWS:], label[first][-MOST_ROWS:]
    propensity = decisions.propensity[rows]
    if not len(rows) or (propensity > 0.999).all():
        return None
    reward = (
        label if decisions.reward is None else np.where(np.isnan(decisions.reward[rows]), label, decisions.reward[rows])
    )
    held, customer = assembler.subset(rows), decisions.customer[rows].astype(np.int64)
    return Log(held, decisions.offer[rows], propensity, reward, customer, held.pairs(np.arange(len(rows))))


def best_offers(log: Log, scorer: Scorer) -> NDArray[np.int64]:
    """The place of the offer that the scorer would say to each row (n,), among the offers the log has shown."""
    shown, schema = np.unique(log.offer), scorer.schema
    matrix = log.assembler.matrix(schema, np.arange(len(log.offer)))
    table = schema.offer_table(log.assembler.config.catalog)
    of_offer, of_pair = schema.places("offer"), schema.places("pair")
    wanted = np.array([pair_place(schema.columns[place].name) for place in of_pair], dtype=np.intp)
    accept = []
    for offer in shown:
        matrix[:, of_offer] = table[offer]
        matrix[:, of_pair] = as_float32(log.pairs[:, offer][:, wanted])
        accept.append(scorer.run(matrix).accept)
    best = np.argmax(np.stack(accept), axis=0)
    return np.asarray(shown[best], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Value:
    """Reward a call with 95 % interval; `effective`: Kish's effective number of rows; `draws` (DRAWS,) of the bootstrap."""

    mean: float
    low: float
    high: float
    effective: float
    draws: Array

    @property
    def finite(self) -> bool:
        """Whether it can be compared with anything."""
        return bool(
            np.isfinite([self.mean, self.low, self.high, self.effective]).all() and np.isfinite(self.draws).all()
        )

    def __str__(self) -> str:
        return f"{self.mean:.4f} (95 % {self.low:.4f} to {self.high:.4f}, {self.effective:.0f} effective rows)"


def value_of(log: Log, picks: NDArray[np.int64], seed: int) -> Value:
    """The value of a policy that would have said `picks` (n,); the same seed draws the same customers for every policy."""
    group = drawn_together(log.customer)
    with np.errstate(all="ignore"):  # rewards or weights too large to add up: the gate sees no number
        weight = (picks == log.offer) / log.propensity
        weights, rewards = np.bincount(group, weights=weight), np.bincount(group, weights=weight * log.reward)
        counts = np.random.default_rng(seed).poisson(1.0, (DRAWS, len(weights))).astype(np.float64)
        draws = (counts @ rewards) / np.maximum(counts @ weights, 1e-9)
        mean = float(rewards.sum() / max(weights.sum(), 1e-9))
        low, high = np.quantile(draws, (0.025, 0.975))
        effective = float(weight.sum() ** 2 / max((weight**2).sum(), 1e-9))
    return Value(mean, float(low), float(high), effective, draws)


def off_policy_gate(log: Log | None, challenger: Scorer, champion: Scorer | None, seed: int) -> Gate:
    """Stops a challenger whose value is below the champion's beyond noise, or no number; passes where the log cannot tell."""
    if log is None:
        return Gate("off_policy", True, "not judged: every propensity is 1, so the log says nothing of other choices")
    one = value_of(log, best_offers(log, challenger), seed)
    if one.effective < FEWEST_EFFECTIVE:
        return Gate("off_policy", True, f"not judged: only {one.effective:.0f} effective rows agree with the policy")
    if not one.finite:
        return _no_number(one)
    if champion is None:
        return Gate("off_policy", True, f"value a call {one}; no champion to compare with")
    two = value_of(log, best_offers(log, champion), seed)
    says = f"value a call {one} against the champion's {two}"
    if two.effective < FEWEST_EFFECTIVE:
        return Gate("off_policy", True, f"not judged, too few rows agree with the champion: {says}")
    if not two.finite:
        return _no_number(two)
    worse = float(np.quantile(one.draws - two.draws, 0.975)) < 0.0
    return Gate("off_policy", not (worse and one.low < two.low), says)


def _no_number(value: Value) -> Gate:
    return Gate(
        "off_policy",
        False,
        f"value a call is no number ({value}): mend the columns 'reward' and 'propensity' of the log",
    )
