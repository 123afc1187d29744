"""One decision, from what is known of a customer to what the agent says. Read top to bottom.

    case    -> what every offer would cost and save, funnel (may it be said), evidence (is there a true sentence)
    decide  -> arbitration (is it worth saying), exploration (is another one tried first), phrase (say it)

Pure: no Redis, no HTTP, no model; the same case, scores and seed give the same decision, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from nba.arbitration import Arbiter, Ranked
from nba.candidates import CatalogRules, Withheld
from nba.case import Case, CaseMaker, Priced, Request, facts_of
from nba.config import Config
from nba.domain import Customer, Kind, Scores, Stage
from nba.errors import RuleError
from nba.experiments import Mode
from nba.exploration import draw, first_rank_probabilities, rank_probability, ranked
from nba.past import Past
from nba.phrase import Phrasebook, Reason
from nba.rules import Names, Rule

__all__ = ["Case", "Decider", "Decision", "Priced", "Request", "Suggestion"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One line for the agent. `propensity`: the exact probability of this offer at this rank under the policy."""

    rank: int
    offer_id: str
    kind: Kind
    title: str
    say: str
    because: tuple[Reason, ...]
    accept_probability: float
    expected_value: float
    cost_month: float | None
    saving_month: float | None
    margin_delta_month: float
    covers: bool
    past: Past
    propensity: float
    explored: bool
    skill: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What came out, every offer of the catalog accounted for exactly once: suggested, or withheld with its stage.

    `heads`: which heads of the model spoke (accept, stay); without stay, keeping a customer did not count.
    """

    suggestions: tuple[Suggestion, ...]
    withheld: tuple[Withheld, ...]
    eligible: int
    passed: int
    nothing_because: str | None
    source: str
    degraded: tuple[str, ...]
    mode: Mode = "policy"
    heads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _LineUp:
    """Everything before the draw. `best`: in falling order of expected value; `probabilities`: of coming first."""

    withheld: list[Withheld]
    best: list[Ranked]
    probabilities: list[float]


class Decider:
    """A config, compiled. Build one for each version of a config; it is not for several threads at once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.rules = CatalogRules(config.catalog)
        self._arbiter = Arbiter(config.policy)
        self._phrases = Phrasebook(config, {offer.offer.id: offer.say for offer in self.rules.offers})
        self._off_when = Rule(config.policy.exploration.off_when)
        names = Names(self.rules.variables | self._arbiter.variables | self._off_when.variables)
        self._cases = CaseMaker(config, self.rules, self._phrases, names)

    def case(self, customer: Customer, request: Request) -> Case:
        """Everything that can be computed before a model is asked."""
        return self.shortlist(self.priced(customer, request))

    def priced(self, customer: Customer, request: Request) -> Priced:
        """The first step of `case`: what every offer would cost and save."""
        return self._cases.priced(customer, request)

    def shortlist(self, of: Priced) -> Case:
        """The second step of `case`: funnel and evidence."""
        return self._cases.shortlist(of)

    def decide(
        self, case: Case, scores: Scores | None, *, degraded: Sequence[str] = (), mode: Mode = "policy"
    ) -> Decision:
        """Run the stages in order. `scores`: rows in the order of `case.candidates`; None: base rates stand in.

        `mode`: the policy, or an arm that was held out: a random offer among those that may be said, or none.
        """
        line = self._line_up(case, scores, mode)
        suggestions = self._suggest(case, line)
        flags = (*case.customer.degraded, *degraded, *case.passed.overridden, *_score_flags(scores, line.best))
        return Decision(
            suggestions=tuple(suggestions),
            withheld=tuple(line.withheld),
            eligible=case.passed.eligible,
            passed=len(case.sayable),
            nothing_because=None if suggestions else _why_nothing(line.withheld, mode, case.customer),
            source=_source(scores, case),
            degraded=tuple(dict.fromkeys(flags)),
            mode=mode,
            heads=_heads(scores),
        )

    def first_rank(self, case: Case, scores: Scores | None, *, mode: Mode = "policy") -> dict[str, float]:
        """P(offer is put first) by offer id, for every offer that could be; sums to 1, or empty: nothing would be said."""
        line = self._line_up(case, scores, mode)
        return dict(zip((r.candidate.offer.id for r in line.best), line.probabilities, strict=True))

    def _line_up(self, case: Case, scores: Scores | None, mode: Mode) -> _LineUp:
        """Everything up to the draw: what may be said, in order, and with which probability it comes first."""
        withheld = list(case.withheld)
        standing = self._arbiter.worths.standing(case.candidates, case.sayable, case.own, case.columns)
        ranking = self._arbiter.rank(case.sayable, scores, self.rules.place, case.values, standing)
        best = _one_of_a_kind(ranking if mode == "random" else _worth_saying(ranking, withheld), withheld)
        if mode == "nothing":
            withheld += [Withheld(r.candidate.offer.id, "arbitration", "held out: this arm says nothing") for r in best]
            best = []
        return _LineUp(withheld, best, self._probabilities(case, best, mode))

    def _suggest(self, case: Case, line: _LineUp) -> list[Suggestion]:
        if not line.best:
            return []
        request, probabilities = case.request, line.probabilities
        key = (request.customer_id, request.interaction_id or request.decision_id)
        first = draw(probabilities, self.config.policy.seed, *key)
        order = ranked(first, len(line.best))
        below = f"ranked below the first {request.limit}"
        rest = [line.best[index].candidate.offer.id for index in order[request.limit :]]
        line.withheld.extend(Withheld(offer_id, "arbitration", below) for offer_id in rest)
        return [
            self._suggestion(case, line, index, rank, explored=rank == 0 and first != 0)
            for rank, index in enumerate(order[: request.limit])
        ]

    def _probabilities(self, case: Case, best: list[Ranked], mode: Mode) -> list[float]:
        if not best:
            return []
        if mode == "random" or len(best) == 1:
            return [1.0 / len(best)] * len(best)
        exploration = self.config.policy.exploration
        off = bool(case.customer.degraded) or self._exploration_is_off(case)
        free = [item.candidate.offer.kind not in exploration.off_for for item in best]
        return first_rank_probabilities([r.expected_value for r in best], None if off else exploration.gamma, free)

    def _exploration_is_off(self, case: Case) -> bool:
        """A condition that cannot be evaluated for this customer switches exploration off for them."""
        try:
            return self._off_when.truth(case.values)
        except RuleError:
            return True

    def _suggestion(self, case: Case, line: _LineUp, index: int, rank: int, *, explored: bool) -> Suggestion:
        item = line.best[index]
        candidate, offer = item.candidate, item.candidate.offer
        template = case.templates[offer.id]
        locale = self._phrases.language(template, case.locale)
        facts = facts_of(case, candidate, locale)
        sentence = self._phrases.sentence(offer, template, facts, locale)
        return Suggestion(
            rank=rank + 1,
            offer_id=offer.id,
            kind=offer.kind,
            title=offer.title_in(case.locale),
            say=sentence.say,
            because=sentence.because,
            accept_probability=item.accept,
            expected_value=round(item.expected_value, 4),
            cost_month=candidate.cost_month,
            saving_month=candidate.saving_month,
            margin_delta_month=candidate.margin_delta_month,
            covers=candidate.covers,
            past=candidate.past,
            propensity=rank_probability(line.probabilities, index, rank),
            explored=explored,
            skill=offer.skill,
        )


def _worth_saying(ranking: list[Ranked], withheld: list[Withheld]) -> list[Ranked]:
    """Those that beat saying nothing, which is worth 0."""
    for item in ranking:
        if not item.expected_value > 0:
            reason = f"worth {item.expected_value:.2f}: saying nothing is better"
            withheld.append(Withheld(item.candidate.offer.id, "arbitration", reason))
    return [item for item in ranking if item.expected_value > 0]


def _one_of_a_kind(ranking: list[Ranked], withheld: list[Withheld]) -> list[Ranked]:
    """The best of each group of near-identical offers."""
    kept: dict[str, Ranked] = {}
    for item in ranking:
        offer = item.candidate.offer
        first = kept.setdefault(offer.group or f"offer {offer.id}", item)
        if first is not item:
            withheld.append(Withheld(offer.id, "arbitration", f"near-identical to {first.candidate.offer.id}"))
    return list(kept.values())


def _score_flags(scores: Scores | None, best: Sequence[Ranked]) -> tuple[str, ...]:
    if scores is None:
        return ("model",)
    return () if all(item.scored for item in best) else ("scores",)


def _heads(scores: Scores | None) -> tuple[str, ...]:
    """Which heads of a model spoke; without `stay`, nothing that a model foretells of staying counted."""
    if scores is None:
        return ()
    return ("accept",) if scores.stay_if_accepted is None else ("accept", "stay")


def _source(scores: Scores | None, case: Case) -> str:
    """The model, where it spoke of some offer that may be said, or was there and had nothing to speak of."""
    if scores is None or "features" in case.customer.degraded:
        return "fallback"
    spoke = any(0.0 <= scores.accept[place] <= 1.0 for place in case.asked)
    return "model" if spoke or not case.asked else "fallback"


_NOTHING: dict[Stage, str] = {
    "eligibility": "nothing fits this customer",
    "consent": "only service may be offered to this customer",
    "service_first": "something has to be put right first",
    "contact": "what fits has been offered before and rests",
    "authority": "what fits needs more authority",
    "max_cost": "what fits costs more than the caller's limit",
    "dominated": "what they have is already the cheapest that covers their use",
    "evidence": "there is no true reason to give",
    "arbitration": "nothing is worth more than saying nothing",
}


def _why_nothing(withheld: Sequence[Withheld], mode: Mode, customer: Customer) -> str:
    """The latest stage that stopped something: the offers that came closest to being said.

    Of whom no activity is known, sales wait for evidence: that is said, and not that an offer of help is worth nothing.
    """
    if mode == "nothing":
        return "held out: this customer is in the arm that hears no suggestion"
    found = Counter(map(itemgetter(1), withheld))
    stages = [stage for stage in _NOTHING if stage in found]
    late = stages[-1] if stages else "eligibility"
    why = ""
    if customer.activity_at_ms is None and "features" not in customer.degraded:
        late = "evidence" if late == "arbitration" and "evidence" in found else late
        why = ": nothing is known of what this customer did" if late in ("eligibility", "evidence") else ""
    counts = ", ".join(f"{stage} {found[stage]}" for stage in stages)
    return f"{_NOTHING[late]}{why} (withheld: {counts})"
