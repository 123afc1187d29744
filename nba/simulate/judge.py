"""Holds each choice against the truth: what it gained, what the oracle would have gained in the same call, and random.

Two truths are counted side by side. *Gain* is what `value.gain` says: margin and months over the years ahead. *Declared*
is what the policy.yaml itself wants (arbitration's value without a stay head) times the true chance to accept, so it
tells how well a policy does what it was asked to do. Comparing inside the same calls takes most of the noise out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nba.arbitration import Worths
from nba.candidates import Candidate
from nba.config import Config
from nba.simulate.policies import Choice, Oracle, Situation
from nba.simulate.population import World
from nba.simulate.truth import accept_probability, is_tone_deaf
from nba.simulate.value import Market

Gains = Callable[[Situation, Sequence[Candidate]], list[float]]


@dataclass
class Tally:
    """Sums over the calls of a round, in euros: of what was chosen, of a random one of those passed, of the best one."""

    chosen: float = 0.0
    random: float = 0.0
    best: float = 0.0

    def add(self, chosen: float, all_gains: Sequence[float]) -> None:
        """One call; saying nothing gains 0 and may be the best."""
        self.chosen += chosen
        self.random += sum(all_gains) / len(all_gains) if all_gains else 0.0
        self.best += max([0.0, *all_gains])

    @property
    def regret(self) -> float:
        """What the best choice would have added."""
        return round(self.best - self.chosen, 2)

    @property
    def share(self) -> float:
        """How far from a random one of those passed (0) to the best (1); 0 where there was nothing to choose."""
        room = self.best - self.random
        return round((self.chosen - self.random) / room, 4) if room > 0 else 0.0


@dataclass
class Judge:
    """Looks at every call of one policy. `gains`, `declared`: one tally a round, the last one still open.

    `missed`: regret in euros by what was said and what the oracle would have said, "offer > offer".
    """

    config: Config
    market: Market
    world: World
    gains: list[Tally] = field(default_factory=lambda: [Tally()])
    declared: list[Tally] = field(default_factory=lambda: [Tally()])
    offers: Counter[str] = field(default_factory=Counter)
    missed: dict[str, float] = field(default_factory=dict)
    violations: int = 0
    worths: Worths = field(init=False)

    def __post_init__(self) -> None:
        self.worths = Worths(self.config.policy.worth)

    def look(self, situation: Situation, choice: Choice | None) -> None:
        """Before the customer answers, for the answer changes them."""
        chosen = choice.offered if choice else None
        oracle = Oracle(self.market, self.world)
        for tally, gains in ((self.gains[-1], oracle.gains), (self.declared[-1], self._declared)):
            of_sayable = gains(situation, situation.sayable)
            found = self._found(situation, chosen, of_sayable, gains)
            tally.add(found, of_sayable)
            if tally is self.gains[-1]:
                self._note(situation, chosen, found, of_sayable)
        if chosen is not None:
            self.offers[chosen.offer.id] += 1
            self.violations += self._breaks_a_rule(situation, chosen)

    def next_round(self) -> None:
        """Open the next tally."""
        self.gains.append(Tally())
        self.declared.append(Tally())

    @staticmethod
    def _found(situation: Situation, chosen: Candidate | None, of_sayable: list[float], gains: Gains) -> float:
        """The chosen one's gain, also of a policy that does not keep to what may be said."""
        if chosen is None:
            return 0.0
        ids = [candidate.offer.id for candidate in situation.sayable]
        return of_sayable[ids.index(chosen.offer.id)] if chosen.offer.id in ids else gains(situation, [chosen])[0]

    def _note(self, situation: Situation, chosen: Candidate | None, found: float, of_sayable: list[float]) -> None:
        best = max([0.0, *of_sayable])
        if best <= found:
            return
        wanted = situation.sayable[of_sayable.index(best)].offer.id if best > 0 else "nothing"
        name = f"{chosen.offer.id if chosen else 'nothing'} > {wanted}"
        self.missed[name] = self.missed.get(name, 0.0) + best - found

    def _declared(self, situation: Situation, offered: Sequence[Candidate]) -> list[float]:
        case, life, occasion = situation.case, situation.life, situation.call.occasion
        standing = self.worths.standing(case.candidates, case.sayable, case.own, case.columns)
        return [
            accept_probability(life, candidate, occasion, self.market.plans, self.world)
            * self.worths.of(candidate, standing)
            for candidate in offered
        ]

    def _breaks_a_rule(self, situation: Situation, chosen: Candidate) -> bool:
        """Counted apart from the funnel: from the customer's true state and from the costs of all plans."""
        life, valid_days = situation.life, self.config.policy.service_first.issue_valid_days
        is_old = life.issue is not None and life.day - life.issue_since >= valid_days
        if is_tone_deaf(life, chosen.offer, situation.call.occasion) and not is_old:
            return True
        if not chosen.offer.is_plan or chosen.cost_month is None:
            return False
        own = situation.case.own
        others = [*situation.sayable, *(c for c in situation.case.candidates if own and c.offer.id == own.id)]
        cheaper = (c.cost_month for c in others if c.offer.is_plan and c.covers and c.cost_month is not None)
        return any(cost < chosen.cost_month for cost in cheaper)
