"""What is best: acceptance x value x context weight x business lever, every factor in the open.

    value = margin * stay_1 * margin_delta * H  +  stay * (stay_1 - stay_0) * own_margin * H
            + saving * saving_month * H  +  of_kind[kind]  +  keeps_months[kind] * own_margin  +  lifetime

H: horizon in months. stay_1, stay_0: P(still a customer | accepted, not accepted), 1 without a stay head. The words in
front (margin, stay, saving) and the tables by kind are the weights of policy.yaml: of_kind is money, keeps_months is what
help, advice or a renewal keeps of the plan they have, as far as no stay head tells: who brings more is worth more to keep.
lifetime, for policies that declare it: what a yes adds to the margin that they bring until they leave (nba/lifetime.py). It
counts margin, saving and staying itself, so beside it the words in front of those are 0 unless the policy gives them.
What an agent earns is not in it. Saying nothing has value 0, so an offer is only made when its expected value is above that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nba.candidates import Candidate
from nba.config import Offer, Policy, Worth
from nba.domain import Kind, Scores
from nba.lifetime import Lifetimes, Standing
from nba.rules import Block, Rule, Value, Values

DEFAULT_BASE_ACCEPT: dict[Kind, float] = {
    "resolve": 0.5, "inform": 0.4, "escalate": 0.3, "optimize": 0.2, "retain": 0.15, "cross_sell": 0.04, "up_sell": 0.04,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with what arbitration made of it; money in the catalog's currency over the horizon, or the lifetime's months.

    `accept`: P(accept). `scored`: it came from the model, not from a base rate.
    """

    candidate: Candidate
    accept: float
    scored: bool
    value: float
    weight: float
    expected_value: float


class Arbiter:
    """The weights of a policy, its context conditions compiled. `worths`: what an acceptance is worth by them."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.worths = Worths(policy.worth)
        self._context = policy.worth.context
        self._whens = Block([Rule(weight.when) for weight in policy.worth.context])
        self.variables = frozenset(name for rule in self._whens.rules for name in rule.variables)

    def rank(
        self,
        candidates: Sequence[Candidate],
        scores: Scores | None,
        places: Mapping[str, int],
        values: Values,
        standing: Standing,
    ) -> list[Ranked]:
        """Candidates in falling order of expected value; ties by offer id. `places`: offer id to its row in `scores`."""
        weights = self._weights(values)
        heads = _whole(scores, [places[c.offer.id] for c in candidates])
        ranked = [self._ranked(c, heads, places[c.offer.id], weights, standing) for c in candidates]
        if heads is not scores:
            ranked = [replace(item, scored=False) for item in ranked]
        return sorted(ranked, key=lambda r: (-r.expected_value, r.candidate.offer.id))

    def base_accept(self, kind: Kind) -> float:
        """The base rate that stands in for a missing score."""
        return self._policy.base_accept.get(kind, DEFAULT_BASE_ACCEPT[kind])

    def _weights(self, values: Values) -> tuple[dict[str, float], dict[str, float]]:
        by_kind: dict[str, float] = {}
        by_offer: dict[str, float] = {}
        for answer, weight in zip(self._whens.ask(values), self._context, strict=True):
            if answer is True:  # a condition that cannot be evaluated does not hold
                for kind in weight.kinds:
                    by_kind[kind] = by_kind.get(kind, 1.0) * weight.times
                for offer in weight.offers:
                    by_offer[offer] = by_offer.get(offer, 1.0) * weight.times
        return by_kind, by_offer

    def _ranked(
        self,
        candidate: Candidate,
        scores: Scores | None,
        place: int,
        weights: tuple[dict[str, float], dict[str, float]],
        standing: Standing,
    ) -> Ranked:
        offer = candidate.offer
        accept = _score(scores, place)
        scored = accept is not None
        probability = accept if accept is not None else _base(scores, place, self.base_accept(offer.kind))
        value = self.worths.of(candidate, standing, *_stay(scores, place))
        weight = (
            weights[0].get(offer.kind, 1.0)
            * weights[1].get(offer.id, 1.0)
            * self._policy.worth.levers.get(offer.id, 1.0)
        )
        return Ranked(candidate, probability, scored, value, weight, probability * value * weight)


class Worths:
    """What an acceptance is worth by the formula at the top of this file, for the weights of one policy."""

    def __init__(self, worth: Worth) -> None:
        self._worth = worth
        self._lifetimes = None if worth.lifetime is None else Lifetimes(worth.lifetime)

    def standing(
        self,
        candidates: Sequence[Candidate],
        sayable: Sequence[Candidate],
        own: Offer | None,
        columns: Mapping[str, Value],
    ) -> Standing:
        """How a customer stands before anything is said: as `Lifetimes.standing`, without a lifetime their margin alone."""
        if self._lifetimes is None:
            return Standing(own.margin_month if own else 0.0)
        return self._lifetimes.standing(candidates, sayable, own, columns)

    def of(self, candidate: Candidate, standing: Standing, stay_1: float = 1.0, stay_0: float = 1.0) -> float:
        """The value of a yes to this candidate; `stay_1`, `stay_0` as above."""
        worth, kind = self._worth, candidate.offer.kind
        margin = worth.margin * stay_1 * candidate.margin_delta_month * worth.horizon_months
        stay = worth.stay * (stay_1 - stay_0) * standing.margin * worth.horizon_months
        saving = worth.saving * (candidate.saving_month or 0.0) * worth.horizon_months
        keeps = worth.keeps_months.get(kind, 0.0) * standing.margin
        lifetime = 0.0 if self._lifetimes is None else self._lifetimes.gain(candidate, standing)
        return margin + stay + saving + keeps + worth.of_kind.get(kind, 0.0) + lifetime


def _score(scores: Scores | None, place: int) -> float | None:
    if scores is None:
        return None
    value = float(scores.accept[place])
    return value if 0.0 <= value <= 1.0 else None  # NaN fails both comparisons


def _base(scores: Scores | None, place: int, of_kind: float) -> float:
    """The offer's own base rate as the model saw it, else that of its kind: never a constant that could outrank others."""
    own = math.nan if scores is None or scores.base is None else float(scores.base[place])
    return own if 0.0 <= own <= 1.0 else of_kind


def _stay(scores: Scores | None, place: int) -> tuple[float, float]:
    if scores is None or scores.stay_if_accepted is None or scores.stay_if_not is None:
        return 1.0, 1.0
    return float(scores.stay_if_accepted[place]), float(scores.stay_if_not[place])


def _whole(scores: Scores | None, places: Sequence[int]) -> Scores | None:
    """The scores, without their stay head where it gives one of these offers no probability.

    Without it for all: an offer that was taken to keep everybody would outrank those that were not.
    """
    if scores is None or scores.stay_if_accepted is None or scores.stay_if_not is None:
        return scores
    heads = (scores.stay_if_accepted, scores.stay_if_not)
    if all(0.0 <= head[place] <= 1.0 for head in heads for place in places):
        return scores
    return replace(scores, stay_if_accepted=None, stay_if_not=None)
