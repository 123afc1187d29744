"""A world in which a policy lives with its customers for a year: they use, call, hear an offer, take it or not, stay or leave.

Every call goes through the engine's own memory, features and funnel; only who chooses differs. Each customer's luck is
the same under every policy (see `population.Life.luck`), so differences come from the choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from nba.clock import DAY_MS
from nba.config import Config
from nba.decide import Decider
from nba.simulate.calls import Memory, answer, call_of, support_contact
from nba.simulate.history import BEFORE_DAYS, PLAIN, row_of
from nba.simulate.judge import Judge
from nba.simulate.life import live
from nba.simulate.policies import Policy, Situation
from nba.simulate.population import Life, World, day_of_ms, populate, profile_of
from nba.simulate.truth import leaving_rate, overpays
from nba.simulate.value import CALL_COST, Market, market_of, worth

_LARGEST = 30
_STEP_DAYS = 7  # how often margin is booked and leaving is drawn


@dataclass
class Result:
    """What came of one policy. Money in euros over the whole population.

    `value`: margin earned, less the cost of calls, plus what those who stayed are worth for the years ahead
    (`value.YEARS`). `saved`: bills below those of the plan each customer began on. `regret`: what the oracle would have
    added in the same calls beyond what was chosen; `regret_by_choice`: the largest parts of it, "said > the oracle's";
    `share_by_round`: the same as a share, 0 a random passed one, 1 the oracle's; `declared_share_by_round`: likewise,
    with the worth that policy.yaml declares in place of the truth's (see `judge`). `violations`: sales into an open issue, and
    plans with a cheaper one that covers. `by_customer`: `value` of each, in the order of the population, for paired
    intervals. `learning`: the year in which a learner learnt what it knew in this one.
    """

    policy: str
    customers: int
    calls: int = 0
    offers: int = 0
    accepted: int = 0
    kept: int = 0
    value: float = 0.0
    saved: float = 0.0
    overpaid_month: float = 0.0
    regret: float = 0.0
    regret_by_choice: dict[str, float] = field(default_factory=dict)
    share_by_round: list[float] = field(default_factory=list)
    declared_share_by_round: list[float] = field(default_factory=list)
    by_offer: dict[str, int] = field(default_factory=dict)
    share_of_catalog: float = 0.0
    violations: int = 0
    by_customer: list[float] = field(default_factory=list)
    learning: Result | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines: everything but the values customer by customer."""
        own = {name: found for name, found in asdict(self).items() if name not in ("by_customer", "learning")}
        return {**own, "learning": self.learning.as_json() if self.learning else None}


def run(
    config: Config,
    policy: Policy,
    memory: Memory,
    *,
    customers: int,
    seed: int,
    start_ms: int,
    days: int = 365,
    rounds: int = 6,
    world: World = PLAIN,
    progress: Callable[[int], None] = lambda done: None,
) -> Result:
    """Let `policy` live with `customers` for `days`; after each of the `rounds` but the last it may learn from its log.

    `memory`: an empty one. `progress` hears how many customer-rounds are done, of customers * rounds.
    """
    play = _Play(config, policy, memory, world, Result(policy.name, customers))
    first = day_of_ms(start_ms)
    lives = populate(play.market.plans, customers, seed, first - BEFORE_DAYS)
    for life in lives:
        memory.append(life.customer_id, live(life, first, play.market.plans, world))
        life.saved = 0.0
    for number in range(rounds):
        until = first + days * (number + 1) // rounds
        for index, life in enumerate(lives):
            play.round(life, until)
            progress(number * customers + index + 1)
        play.end_round(lives, last=number == rounds - 1)
    return play.end(lives)


class _Play:
    """One run: the rules, the truth, and what has been counted."""

    def __init__(self, config: Config, policy: Policy, memory: Memory, world: World, result: Result) -> None:
        self.config, self.policy, self.memory, self.world, self.result = config, policy, memory, world, result
        self.market: Market = market_of(config.catalog)
        self.decider = Decider(config)
        self.judge = Judge(config, self.market, world)
        self.rows: list[dict[str, Any]] = []
        self.left: list[dict[str, Any]] = []

    def round(self, life: Life, until: int) -> None:
        """One customer until the end of the round."""
        while life.day < until and not life.gone:
            next_step = min(until, (life.day // _STEP_DAYS + 1) * _STEP_DAYS)
            began = life.day
            self.memory.append(life.customer_id, live(life, next_step, self.market.plans, self.world, until_call=True))
            life.earned += self.market.margin_month(life) * (life.day - began) * 12 / 365
            if life.calling:
                self._call(life)
            if life.day % _STEP_DAYS == 0:
                self._may_leave(life)

    def _may_leave(self, life: Life) -> None:
        chance, _ = life.luck()
        life.gone = chance[11] < _STEP_DAYS * leaving_rate(life, overpays(life, self.market.plans), self.world)
        if life.gone:
            self.left.append(_delayed(life, "churned"))

    def _call(self, life: Life) -> None:
        call = call_of(life)
        self.result.calls += 1
        life.earned -= CALL_COST
        self.memory.put_profile(life.customer_id, profile_of(life, self.market.plans), call.now_ms)
        case = self.decider.case(self.memory.read(life.customer_id, call.now_ms), call.request(life.customer_id))
        situation = Situation(case, case.sayable, call, life)
        choice = self.policy.choose(situation)
        self.judge.look(situation, choice)
        if choice is None:
            self.memory.append(life.customer_id, support_contact(life, call))
            return
        accepted, events, contact = answer(life, choice.offered, call, self.market.plans, self.world)
        self.memory.append_contacts(life.customer_id, [contact])
        self.memory.append(life.customer_id, events)
        self.result.accepted += accepted
        self.rows.append(row_of(case, call, choice.offered, choice.propensity, accepted, self.policy.name))

    def end_round(self, lives: list[Life], last: bool) -> None:
        """Book the round's regret and let the policy learn, of leaving too: complete up to the last evening."""
        if not last:
            self.judge.next_round()
            here = next((life for life in lives if not life.gone), None)
            self.policy.learn(self.rows, self.left + ([_delayed(here, "stayed")] if here else []))
        self.rows, self.left = [], []

    def end(self, lives: list[Life]) -> Result:
        """Count up."""
        result = self.result
        kept = [life for life in lives if not life.gone]
        result.kept = len(kept)
        result.by_customer = [round(life.earned + worth(life, self.market, self.world), 4) for life in lives]
        result.value = round(sum(result.by_customer), 2)
        result.saved = round(sum(life.saved for life in lives), 2)
        result.overpaid_month = round(sum(overpays(life, self.market.plans) for life in kept), 2)
        judge = self.judge
        result.offers = judge.offers.total()
        result.violations = judge.violations
        result.regret = round(sum(tally.regret for tally in judge.gains), 2)
        largest = sorted(judge.missed.items(), key=lambda part: -part[1])[:_LARGEST]
        result.regret_by_choice = {name: round(part, 2) for name, part in largest}
        result.share_by_round = [tally.share for tally in judge.gains]
        result.declared_share_by_round = [tally.share for tally in judge.declared]
        result.by_offer = dict(judge.offers.most_common())
        result.share_of_catalog = len(judge.offers) / len(self.config.catalog.offers)
        return result


def _delayed(life: Life, outcome: str) -> dict[str, Any]:
    at = datetime.fromtimestamp((life.day + 1) * DAY_MS / 1000 - 1, UTC)
    return {"customer_id": life.customer_id, "at": at, "outcome": outcome}
