"""What is said is true, by a second route; and a sentence that is not is caught, however it was bent."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from features.spec import FeatureSpec
from nba.cli.memory import LocalMemory
from nba.decide import Case, Decider, Decision, Request, Suggestion
from nba.domain import Activity, Scores
from nba.load import load_config
from nba.simulate import history
from nba.verify import Claim, Verifier

TELCO = load_config(Path(__file__).parents[2] / "nba" / "configs" / "telco")
NOW_MS = 1_795_430_000_000
PERIODS = {
    "last three full months": "last month", "letzten drei vollen Monaten": "letzten Monat", "last month": "this month",
    "30 days": "60 days", "90 days": "30 days", "a month": "a week",
}  # fmt: skip
INTENTS = ("billing", "technical", "plan")


@dataclass(frozen=True)
class Told:
    """One decision with everything that it may be held against."""

    case: Case
    decision: Decision
    events: tuple[Activity, ...]

    def claims(self) -> list[Claim]:
        return [claim_of(s) for s in self.decision.suggestions]

    def problems(self, verifier: Verifier, claims: list[Claim]) -> list[str]:
        context = self.case.request.context or {}
        return verifier.problems(claims, self.events, self.case.customer, context, NOW_MS)


def claim_of(suggestion: Suggestion) -> Claim:
    because = {reason.feature: reason.value for reason in suggestion.because}
    return Claim(suggestion.offer_id, suggestion.say, because, suggestion.saving_month)


@pytest.fixture(scope="module")
def told() -> list[Told]:
    """250 simulated customers, each asked three times in English or German, with scores of no particular model."""
    memory = LocalMemory(FeatureSpec(TELCO.features))
    made = history(TELCO, 250, 11, NOW_MS, memory)
    events: defaultdict[str, list[Activity]] = defaultdict(list)
    for event in made.activity:
        events[event.customer_id].append(event)
    decider, draw = Decider(TELCO), np.random.default_rng(5)
    found = []
    for number, (name, intent) in enumerate(product(sorted(made.profiles), INTENTS[:3])):
        locale = ("en", "de")[number % 2]
        request = Request(name, NOW_MS, f"d-{number}", limit=5, locale=locale, context={"intent": intent})
        case = decider.case(memory.read(name, NOW_MS), request)
        decision = decider.decide(case, Scores(draw.uniform(0, 1, len(case.candidates))))
        found.append(Told(case, decision, tuple(events[name])))
    return found


def test_everything_that_is_said_is_true(told: list[Told]) -> None:
    """Several hundred sentences over most of the catalog, and the verifier has nothing to say against any."""
    verifier = Verifier(TELCO)
    spoken = [s.offer_id for t in told for s in t.decision.suggestions]
    assert len(spoken) > 400 and len(set(spoken)) > 15
    assert [p for t in told for p in t.problems(verifier, t.claims())] == []


def bent(claim: Claim, other: Claim) -> Iterator[tuple[str, Claim]]:
    """The claim told wrongly, in every way that applies to it."""
    for match in re.finditer(r"\d+(?:[.,]\d+)*", claim.say):
        digits = match[0]
        for kind, wrong in (("number up", _stepped(digits, 1)), ("number down", _stepped(digits, -1))):
            yield kind, replace(claim, say=claim.say[: match.start()] + wrong + claim.say[match.end() :])
    for true, false in PERIODS.items():
        if true in claim.say:
            yield "period", replace(claim, say=claim.say.replace(true, false))
    yield "another's sentence", replace(claim, say=other.say)
    yield "another person", replace(claim, say=re.sub(r"^\S+ \S+,", "Ms. Somebody,", claim.say))
    yield "another offer", replace(claim, offer_id=other.offer_id)
    if claim.saving_month is not None:
        yield "another saving", replace(claim, saving_month=round(claim.saving_month + 0.01, 2))
    for name, value in claim.because.items():
        if isinstance(value, float):
            yield "another fact", replace(claim, because={**claim.because, name: value * 1.001 + 0.001})
    yield "one word more", replace(claim, say=claim.say[:-1] + ", guaranteed.")


def _stepped(digits: str, by: int) -> str:
    """The last digit one higher or lower: what rounding in somebody's favour looks like."""
    last = int(digits[-1]) + by
    return digits[:-1] + str(last % 10)


def test_every_planted_falsehood_is_caught(told: list[Told]) -> None:
    """Wrong price, month, plan, person, fact or rounding: at least 300 of them, not one passes."""
    verifier = Verifier(TELCO)
    others = [c for t in told for c in t.claims()]
    planted: dict[str, int] = defaultdict(int)
    missed = []
    for number, item in enumerate(told[:120]):
        for claim in item.claims()[:1]:
            other = next(o for o in others[number:] + others if o.offer_id != claim.offer_id and o.say != claim.say)
            for kind, wrong in bent(claim, other):
                planted[kind] += 1
                if wrong == claim or not item.problems(verifier, [wrong]):
                    missed.append((kind, claim.say, wrong.say))
    assert missed == []
    assert sum(planted.values()) >= 300 and len(planted) >= 8


def test_a_stale_fact_and_an_invented_event_are_caught(told: list[Told]) -> None:
    """A sentence that was true before the last event, or that no event supports, is false."""
    verifier = Verifier(TELCO)
    stale = invented = 0
    for item in told:
        for claim in item.claims():
            facts = [n for n in claim.because if n in item.case.customer.features]
            if not facts:
                continue
            later = tuple(replace(e, event_id=f"again-{e.event_id}") for e in item.events)
            stale += bool(
                item.problems(verifier, [claim]) == [] and replace_events(item, later).problems(verifier, [claim])
            )
            invented += bool(replace_events(item, (), clear=True).problems(verifier, [claim]))
    assert stale >= 100 and invented >= 100


def replace_events(item: Told, more: tuple[Activity, ...], *, clear: bool = False) -> Told:
    return replace(item, events=more if clear else item.events + more)
