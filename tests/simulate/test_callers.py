"""The three callers of the demo hear what their stories promise, whatever day it is."""

from __future__ import annotations

import pytest

from features.activity import parse_event
from features.spec import FeatureSpec
from kits.activity import as_event
from nba.cli.memory import LocalMemory
from nba.clock import DAY_MS
from nba.config import Config
from nba.decide import Decider, Decision, Request
from nba.domain import Activity
from nba.fields import typed
from nba.simulate.callers import Caller, callers

NOW_MS = 1_795_420_800_000
DAYS = [NOW_MS, NOW_MS + 8 * DAY_MS, NOW_MS + 38 * DAY_MS + 23 * 3_600_000, NOW_MS + 98 * DAY_MS]


def asked(config: Config, caller: Caller, now_ms: int, *more: Activity) -> Decision:
    memory = LocalMemory(FeatureSpec(config.features))
    memory.append(caller.customer_id, [*caller.activity, *more])
    memory.put_profile(caller.customer_id, caller.profile, now_ms)
    decider = Decider(config)
    request = Request(
        caller.customer_id, now_ms, "d", interaction_id=caller.interaction_id, context=caller.context, limit=24
    )
    return decider.decide(decider.case(memory.read(caller.customer_id, now_ms), request), None)


def happens(caller: Caller, now_ms: int) -> Activity:
    event = caller.next_event
    subject = event.get("subject")
    return Activity(
        "next", caller.customer_id, now_ms - 1000, str(event["channel"]), str(event["type"]),
        subject=None if subject is None else str(subject), interaction_id=caller.interaction_id,
    )  # fmt: skip


@pytest.mark.parametrize("now_ms", DAYS)
def test_mr_kraus_hears_of_the_plan_that_saves_him_twelve_euros(telco: Config, now_ms: int) -> None:
    """The contract's own example: L 40 GB for 41.90, Flex 10 GB for 29.90, 2.1 GB at most."""
    kraus = callers(now_ms, telco.features.zone)[0]
    first = asked(telco, kraus, now_ms).suggestions[0]
    assert (first.offer_id, first.saving_month) == ("flex-10", 12.0)
    assert first.say.startswith(
        "Mr. Kraus, judging by your recent activity we believe you would benefit from Flex 10 GB: "
        "you used at most 2.1 GB a month in the last three full months"
    )


@pytest.mark.parametrize("now_ms", DAYS)
def test_ms_yildiz_is_helped_and_sold_nothing(telco: Config, now_ms: int) -> None:
    """Her open complaint locks what could be sold to her; a fix comes first, then a person."""
    decision = asked(telco, callers(now_ms, telco.features.zone)[1], now_ms)
    assert [s.kind for s in decision.suggestions[:2]] == ["resolve", "escalate"]
    assert [w.offer_id for w in decision.withheld if w.stage == "service_first"]


@pytest.mark.parametrize("now_ms", DAYS)
def test_mr_novak_is_offered_reasons_to_stay_and_true_savings(telco: Config, now_ms: int) -> None:
    """Retention for one who looked at how to cancel, and what would have cost him less."""
    suggestions = {s.offer_id: s for s in asked(telco, callers(now_ms, telco.features.zone)[2], now_ms).suggestions}
    assert {"double-data", "data-plus-10", "xl-80"} <= set(suggestions)
    assert suggestions["xl-80"].saving_month == 18.0
    assert suggestions["data-plus-10"].saving_month == 22.0


def test_something_happens_and_the_answer_changes(telco: Config) -> None:
    """Each caller's next event changes what is suggested or withheld."""
    for caller in callers(NOW_MS, telco.features.zone):
        before, after = asked(telco, caller, NOW_MS), asked(telco, caller, NOW_MS, happens(caller, NOW_MS))
        ranks = [{(s.offer_id, s.rank) for s in d.suggestions} for d in (before, after)]
        stages = [{(w.offer_id, w.stage) for w in d.withheld} for d in (before, after)]
        assert (ranks[0], stages[0]) != (ranks[1], stages[1]), caller.customer_id


@pytest.mark.parametrize("now_ms", DAYS)
def test_callers_pass_the_doors_of_the_service(telco: Config, now_ms: int) -> None:
    """Their activity, profile and context are what the HTTP interface takes; ids are unique; nothing lies ahead of now."""
    spec = FeatureSpec(telco.features)
    for caller in callers(now_ms, telco.features.zone):
        assert [parse_event(as_event(event), spec, now_ms) for event in caller.activity] == list(caller.activity)
        assert len({event.event_id for event in caller.activity}) == len(caller.activity)
        assert all(event.at_ms < now_ms for event in caller.activity)
        assert typed(caller.profile, telco.features.profile_types, "/profile") == caller.profile
        assert set(caller.context) <= set(telco.features.context)
