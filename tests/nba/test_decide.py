"""The decision as a whole: the contract's sentence, every offer accounted for, and what changes it."""

from __future__ import annotations

import numpy as np
import pytest

from kits.shop import NOW_MS, case_for, customer
from nba.answer import answer
from nba.config import Catalog
from nba.decide import Decider
from nba.domain import Contact, OpenIssue, Scores
from nba.load import load_config


def ids(decision) -> list[str]:
    return [s.offer_id for s in decision.suggestions]


def stage_of(decision, offer_id: str) -> str:
    return next(w.stage for w in decision.withheld if w.offer_id == offer_id)


def test_the_sentence_of_the_contract_comes_out(decider: Decider) -> None:
    """Mr. Kraus overpays, so he hears of the cheaper plan, with the number it stands on and what it saves."""
    decision = decider.decide(case_for(decider), None)
    first = decision.suggestions[0]
    assert first.say == (
        "Mr. Kraus, judging by your recent activity we believe you would benefit from Flex 10 GB: "
        "you used at most 2.1 GB last month; Flex 10 GB covers that and saves you €12.00 a month."
    )
    assert first.saving_month == 12.0
    assert {r.feature: r.value for r in first.because} == {"data_gb_peak": 2150.0 / 1024, "saving_month": 12.0}
    assert {r.feature: r.window for r in first.because} == {"data_gb_peak": "month-1", "saving_month": None}


def test_german_is_written_the_german_way(decider: Decider) -> None:
    """Decimal comma, the sign behind the amount, the German opening."""
    first = decider.decide(case_for(decider, locale="de-AT"), None).suggestions[0]
    assert "höchstens 2,1 GB" in first.say
    assert "spart 12,00\xa0€" in first.say
    assert first.say.startswith("Mr. Kraus, nach Ihrer letzten Nutzung")


@pytest.mark.parametrize(
    ("spoken", "wanted", "heard"),
    [
        ("de", "DE", "de"), ("de", "De_ch", "de"), ("de-AT", "de_AT", "de-AT"), ("de-AT", "DE-at-1996", "de-AT"),
        ("de", "de-Latn-AT", "de"), ("pt-BR", "pt-PT", "en"), ("de", "den", "en"), ("de", "e", "en"),
    ],
)  # fmt: skip
def test_a_language_is_known_however_its_tag_is_written(shop, spoken: str, wanted: str, heard: str) -> None:
    """Capitals and underscores say nothing, and the nearest shorter tag stands in: in a question and in a profile."""
    folder = shop(policy=f"opening: {{en: 'We believe in {{title}}', {spoken}: 'Wir glauben an {{title}}'}}\n")
    decider = Decider(load_config(folder))
    asked = case_for(decider, locale=wanted).locale
    by_profile = case_for(decider, customer(profile={"plan": "l-40", "locale": wanted})).locale
    assert (asked, by_profile) == (heard, heard)


def test_a_nameless_caller_hears_a_whole_sentence(decider: Decider) -> None:
    """Without a name the sentence starts at once, with a capital."""
    nameless = customer(profile={"plan": "l-40"})
    assert (
        decider.decide(case_for(decider, nameless), None)
        .suggestions[0]
        .say.startswith("Judging by your recent activity")
    )


def test_service_kinds_have_words_of_their_own(decider: Decider) -> None:
    """A fix is not sold as something to benefit from."""
    says = {s.offer_id: s.say for s in decider.decide(case_for(decider, limit=5), None).suggestions}
    assert says["line-check"] == "Mr. Kraus, let us first put this right with a line check."


def test_every_offer_is_accounted_for_exactly_once(decider: Decider) -> None:
    """Suggested, or withheld with its stage: nothing falls through."""
    decision = decider.decide(case_for(decider, limit=1), None)
    accounted = ids(decision) + [w.offer_id for w in decision.withheld]
    assert sorted(accounted) == sorted(o.id for o in decider.config.catalog.offers)
    assert stage_of(decision, "l-40") == "eligibility"


def test_an_open_issue_stops_sales_and_nothing_else(decider: Decider) -> None:
    """While a complaint is open, the add-on waits; the cheaper plan and the fix may be said."""
    angry = customer(open_issues=(OpenIssue("complaint", NOW_MS - 1000, "chat"),))
    decision = decider.decide(case_for(decider, angry, limit=5), None)
    assert stage_of(decision, "music") == "service_first"
    assert {"flex-10", "line-check"} <= set(ids(decision))


def test_an_open_issue_is_told_with_the_day_of_the_company(decider: Decider) -> None:
    """Half past midnight in Berlin is today there, as the desktop says beside it, and not yesterday as in UTC."""
    angry = customer(open_issues=(OpenIssue("complaint", NOW_MS - 54_200_000, "chat"),))  # 2026-09-20T22:30:00Z
    decision = decider.decide(case_for(decider, angry, limit=5), None)
    assert {w.rule for w in decision.withheld if w.stage == "service_first"} == {
        "open issue: complaint since 2026-09-21"
    }


def test_resolved_in_this_interaction_sets_sales_free(decider: Decider) -> None:
    """The same call may offer again once its issue is closed, even with a service intent."""
    solved = customer(closed_in="call-1", closed_ms=NOW_MS - 10, bad_experience_ms=NOW_MS - 60_000)
    decision = decider.decide(case_for(decider, solved, limit=5, context={"intent": "outage"}), None)
    assert "music" in ids(decision)
    other_call = decider.decide(case_for(decider, solved, interaction_id="call-2", limit=5), None)
    assert stage_of(other_call, "music") == "service_first"


def test_a_declined_offer_rests(decider: Decider) -> None:
    """Declined on the web last week, not repeated in the call, and the rule says so."""
    declined = Contact(NOW_MS - 7 * 86_400_000, "flex-10", "declined", "web")
    decision = decider.decide(case_for(decider, customer(contacts=(declined,))), None)
    assert "flex-10" not in ids(decision)
    assert next(w for w in decision.withheld if w.offer_id == "flex-10").rule == "declined on 2026-09-14, rests 90 days"


def test_at_most_so_often_counts_interactions_and_not_this_one(decider: Decider) -> None:
    """Two earlier calls use up at_most 2; being shown again in this very call does not."""
    two = tuple(Contact(NOW_MS - i, "flex-10", "spoken", "call", interaction_id=f"call-{10 + i}") for i in (1, 2))
    here = tuple(Contact(NOW_MS - i, "flex-10", "shown", "call", interaction_id="call-1") for i in (1, 2, 3))
    assert "flex-10" not in ids(decider.decide(case_for(decider, customer(contacts=two)), None))
    assert "flex-10" in ids(decider.decide(case_for(decider, customer(contacts=here)), None))


def test_no_dearer_plan_when_a_cheaper_one_is_enough(decider: Decider) -> None:
    """A customer on the small plan who uses little is not sold the large one."""
    small = customer(profile={"plan": "flex-10"})
    assert stage_of(decider.decide(case_for(decider, small), None), "l-40") == "dominated"


def test_a_plan_that_is_not_enough_is_no_better_use(decider: Decider) -> None:
    """Whoever uses 30 GB does not benefit from 10 GB, whatever it would save."""
    heavy = customer(profile={"plan": "l-40"}, features={"data_mb_m1": 30 * 1024.0, "data_gb_peak": 30.0})
    decision = decider.decide(case_for(decider, heavy), None)
    assert next(w.rule for w in decision.withheld if w.offer_id == "flex-10").startswith("not enough for what they use")


def test_nothing_is_judged_by_activity_that_is_not_known(decider: Decider) -> None:
    """A caller of whom nothing is known hears service, and no guess about their recent activity."""
    stranger = customer(profile={}, features={"data_mb_m1": 0.0, "data_gb_peak": 0.0}, activity_at_ms=None)
    decision = decider.decide(case_for(decider, stranger, limit=5), None)
    assert {s.kind for s in decision.suggestions} == {"resolve", "escalate"}
    assert stage_of(decision, "music") == "evidence"


def test_the_larger_plan_is_for_those_who_need_it(decider: Decider) -> None:
    """Who uses 30 GB on the 10 GB plan pays overage, and hears that the large plan costs less."""
    heavy = customer(profile={"plan": "flex-10"}, features={"data_mb_m1": 30 * 1024.0, "data_gb_peak": 30.0})
    decision = decider.decide(case_for(decider, heavy), None)
    assert decision.suggestions[0].offer_id == "l-40"
    assert decision.suggestions[0].saving_month == 68.0


def test_unreadable_activity_assumes_the_worst(decider: Decider) -> None:
    """Without features there is no sales offer and the answer says that it is a fallback."""
    blind = customer(features={}, degraded=("features",))
    decision = decider.decide(case_for(decider, blind, limit=5), None)
    assert decision.source == "fallback"
    assert stage_of(decision, "music") == "service_first"
    assert stage_of(decision, "flex-10") == "eligibility"


def test_nothing_to_say_says_why(decider: Decider) -> None:
    """An empty list comes with a reason."""
    vulnerable = customer(profile={"plan": "l-40", "vulnerable": True})
    config = decider.config.model_copy(update={"policy": decider.config.policy.model_copy(update={"base_accept": {}})})
    contacts = tuple(Contact(NOW_MS, o, "declined", "call") for o in ("line-check", "person"))
    decision = Decider(config).decide(case_for(decider, vulnerable), Scores(np.zeros(5)))
    assert decision.suggestions == () and contacts
    assert decision.nothing_because.startswith("nothing is worth more than saying nothing")


@pytest.mark.parametrize(
    ("catalog", "says"),
    [
        (["music", "line-check"], "there is no true reason to give: nothing is known of what this customer did"),
        (["flex-10"], "nothing fits this customer: nothing is known of what this customer did"),
    ],
    ids=["evidence", "eligibility"],
)
def test_who_has_done_nothing_yet_is_told_apart(decider: Decider, catalog: list[str], says: str) -> None:
    """A profile and no activity: the reason names what is missing, also where an offer of service was worth nothing."""
    config = decider.config
    offers = tuple(offer for offer in config.catalog.offers if offer.id in catalog)
    few = config.model_copy(update={"catalog": Catalog(currency="EUR", offers=offers)})
    new = customer(features={"data_mb_m1": float("nan"), "data_gb_peak": float("nan")}, activity_at_ms=None)
    decision = Decider(few).decide(case_for(Decider(few), new), Scores(np.zeros(len(offers))))
    assert decision.suggestions == ()
    assert decision.nothing_because.startswith(says)
    assert decision.source == "model", "it was there, also where it had nothing to speak of"
    known = Decider(few).decide(case_for(Decider(few), customer()), Scores(np.zeros(len(offers))))
    assert "nothing is known" not in (known.nothing_because or "")


def test_a_missing_score_takes_the_base_rate_of_its_kind(decider: Decider) -> None:
    """NaN from a model never outranks healthy offers and is flagged."""
    scores = Scores(np.array([0.5, np.nan, 0.5, 0.5, 0.5]))
    decision = decider.decide(case_for(decider, limit=5), scores)
    by_id = {s.offer_id: s for s in decision.suggestions}
    assert by_id["flex-10"].accept_probability == 0.3
    assert "scores" in decision.degraded and decision.source == "model"


def test_a_model_may_know_the_base_rate_of_an_offer(decider: Decider) -> None:
    """The offer's own base rate comes before that of its kind, and no broken score stands at one half."""
    scores = Scores(np.full(5, np.nan), base=np.array([np.nan, 0.12, np.nan, np.nan, np.nan]))
    by_id = {s.offer_id: s.accept_probability for s in decider.decide(case_for(decider, limit=5), scores).suggestions}
    assert by_id["flex-10"] == 0.12 and by_id["line-check"] == 0.5


def test_the_callers_limit_holds_back_what_costs_more(decider: Decider) -> None:
    """`max_cost_month` counts what the customer would pay in all; a free fix is never too dear."""
    decision = decider.decide(case_for(decider, max_cost_month=20.0, limit=5), None)
    assert stage_of(decision, "flex-10") == "max_cost"
    assert stage_of(decision, "music") == "max_cost"
    assert "line-check" in ids(decision)


@pytest.mark.parametrize("explain", [True, False])
def test_the_answer_has_the_fields_of_the_contract(decider: Decider, explain: bool) -> None:
    """The names that agent desktops rely on."""
    case = case_for(decider)
    body = answer(decider.config, case, decider.decide(case, None), model=None, explain=explain)
    fields = "decision_id customer_id at source degraded model heads policy experiment own freshness funnel "
    fields += "nothing_because suggestions thread"
    assert set(body) == {*fields.split(), *(("withheld", "features") if explain else ())}
    assert body["own"] == {"offer_id": "l-40", "title": "L 40 GB", "cost_month": 41.9}
    assert body["funnel"] == {"catalog": 5, "eligible": 4, "passed": 4, "suggested": 3}


@pytest.mark.parametrize(("before_ms", "age_s"), [(60_999, 60), (0, 0), (-1, None), (-60_000, None)])
def test_nothing_is_fresher_than_now(decider: Decider, before_ms: int, age_s: int | None) -> None:
    """A clock that runs ahead makes an age unknown, never negative."""
    ahead = customer(activity_at_ms=NOW_MS - before_ms, profile_at_ms=NOW_MS - before_ms)
    case = case_for(decider, ahead)
    body = answer(decider.config, case, decider.decide(case, None), model=None)
    assert body["freshness"] == {"activity_s": age_s, "profile_s": age_s}
