"""Who decides in a simulated world: the engine, what others do, and the oracle that knows the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from nba.candidates import Candidate
from nba.decide import Case, Decider
from nba.domain import Scores
from nba.simulate.calls import Ringing
from nba.simulate.population import Life, World
from nba.simulate.value import Market, gains


@dataclass(frozen=True, slots=True)
class Choice:
    """What the customer hears first; `propensity`: the policy's own probability of it."""

    offered: Candidate
    propensity: float


@dataclass(frozen=True, slots=True)
class Situation:
    """One call as the world knows it. `sayable`: what all rules let anybody say; `life` is for the oracle only."""

    case: Case
    sayable: Sequence[Candidate]
    call: Ringing
    life: Life

    @property
    def eligible(self) -> list[Candidate]:
        """What the customer may have: the funnel's first stage alone, whatever service, contact and honesty ask."""
        unfit = {withheld.offer_id for withheld in self.case.passed.withheld if withheld.stage == "eligibility"}
        return [candidate for candidate in self.case.candidates if candidate.offer.id not in unfit]


class Policy(Protocol):
    """Chooses in each call, and may learn from its own log between two rounds."""

    name: str

    def choose(self, situation: Situation) -> Choice | None:
        """The offer to make; None says nothing."""

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """The round that just ended: rows of the decision log, and delayed outcomes (who churned, who stayed)."""


class Teacher(Protocol):
    """The engine's training, handed in by the roof: learns from decision rows, then scores cases."""

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """Add decision rows and delayed outcomes (customer_id, at, outcome) to the log and train anew."""

    def score(self, case: Case) -> Scores | None:
        """What the newest model says; None while there is none."""


class _Fixed:
    """A policy that learns nothing."""

    name = "fixed"

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """Nothing to learn."""


class Nothing(_Fixed):
    """Makes no offer at all."""

    name = "nothing"

    def choose(self, situation: Situation) -> Choice | None:
        """Always None."""
        return None


class RandomEligible(_Fixed):
    """Any eligible offer, each with the same chance: what the customer may have, and no thought of whether now."""

    name = "random eligible"

    def choose(self, situation: Situation) -> Choice | None:
        """Uniform over the eligible ones."""
        return _any_of(situation.eligible, situation.call.pick)


class RandomPassed(_Fixed):
    """Any offer that passed the whole funnel, each with the same chance: the rules' own part of what the engine reaches."""

    name = "random passed"

    def choose(self, situation: Situation) -> Choice | None:
        """Uniform over the sayable ones."""
        return _any_of(situation.sayable, situation.call.pick)


def _any_of(offers: Sequence[Candidate], pick: float) -> Choice | None:
    return Choice(offers[int(pick * len(offers))], 1.0 / len(offers)) if offers else None


class HighestMargin(_Fixed):
    """The offer that earns most if taken; the catalog's order decides a tie."""

    name = "highest margin first"

    def choose(self, situation: Situation) -> Choice | None:
        """Greedy on the margin difference."""
        best = max(situation.sayable, key=lambda candidate: candidate.margin_delta_month, default=None)
        return Choice(best, 1.0) if best else None


class HighestMarginUnruled(HighestMargin):
    """The same without service first, contact limits or dominated offers: what sells when nothing holds it back."""

    name = "highest margin, no rules"

    def choose(self, situation: Situation) -> Choice | None:
        """Greedy on the margin over all plans and add-ons that the customer does not have."""
        own = situation.case.own
        free = [c for c in situation.case.candidates if c.failed is None and (own is None or c.offer.id != own.id)]
        return super().choose(replace(situation, sayable=free))


class HighestAcceptance:
    """The offer most likely to be taken by the engine's own kind of model, whatever it is worth."""

    name = "highest acceptance first"

    def __init__(self, teacher: Teacher, decider: Decider) -> None:
        self._teacher = teacher
        self._base = {o.id: decider.config.policy.base_accept.get(o.kind, 0.1) for o in decider.config.catalog.offers}
        self._places = {offer.id: place for place, offer in enumerate(decider.config.catalog.offers)}

    def choose(self, situation: Situation) -> Choice | None:
        """Greedy on P(accept); one call in ten at random, so that the model has something to learn from."""
        sayable = situation.sayable
        if not sayable:
            return None
        scores = self._teacher.score(situation.case)
        best = max(range(len(sayable)), key=lambda index: self._accept(scores, sayable[index]))
        tried = int(situation.call.pick * 10 * len(sayable))
        index = tried if tried < len(sayable) else best
        return Choice(sayable[index], 0.1 / len(sayable) + (0.9 if index == best else 0.0))

    def _accept(self, scores: Scores | None, candidate: Candidate) -> float:
        offer_id = candidate.offer.id
        return self._base[offer_id] if scores is None else float(scores.accept[self._places[offer_id]])

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """Train on what it said itself."""
        self._teacher.learn(rows, left)


class Engine:
    """This project: funnel, evidence, arbitration, exploration, with a model trained on its own log."""

    name = "this engine"

    def __init__(self, decider: Decider, teacher: Teacher) -> None:
        self._decider, self._teacher = decider, teacher

    def choose(self, situation: Situation) -> Choice | None:
        """The suggestion at the first rank, with the exact probability the engine states."""
        decision = self._decider.decide(situation.case, self._teacher.score(situation.case))
        if not decision.suggestions:
            return None
        first = decision.suggestions[0]
        offered = next(c for c in situation.case.candidates if c.offer.id == first.offer_id)
        return Choice(offered, first.propensity)

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """Retrain."""
        self._teacher.learn(rows, left)


class Oracle(_Fixed):
    """The best single choice within the same rules: knows every customer's true chance to accept and what it leads to.

    It chooses among what the funnel and the need for a true sentence leave, as the engine does, and may say nothing. It
    knows hidden needs, faults, bother and the formulas of accepting and leaving, not the luck of the draw. It looks at
    this call's gain only: no plan over several calls, so a policy could in principle do better still.
    """

    name = "oracle"

    def __init__(self, market: Market, world: World) -> None:
        self._market, self._world = market, world

    def choose(self, situation: Situation) -> Choice | None:
        """Greedy on the true gain; nothing where nothing gains."""
        best = max(zip(self.gains(situation), range(len(situation.sayable)), strict=True), default=(0.0, 0))
        return Choice(situation.sayable[best[1]], 1.0) if best[0] > 0 else None

    def gains(self, situation: Situation, offered: Sequence[Candidate] | None = None) -> list[float]:
        """The true gain of each offer that may be said, or of those given."""
        asked = situation.sayable if offered is None else offered
        return gains(situation.life, asked, situation.call, self._market, self._world)
