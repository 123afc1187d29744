"""What holds whatever a catalog, a store or a model says: limits in money, unknown histories, heads that are no numbers."""

from __future__ import annotations

import numpy as np
import pytest

from kits.shop import CATALOG, NOW_MS, POLICY, case_for, customer
from nba.config import Config, Policy
from nba.decide import Decider
from nba.domain import SERVICE_KINDS, Contact, Scores
from nba.load import load_config

MUSIC = "{id: music, kind: cross_sell, title: Music, price_month: 5, margin_month: 3}"


def with_music(shop, more: str, currency: str = "EUR") -> Decider:
    """The shop with another add-on in the place of Music."""
    catalog = CATALOG.replace(MUSIC, more).replace("currency: EUR", f"currency: {currency}")
    return Decider(load_config(shop(catalog=catalog)))


def withheld(decider: Decider, offer: str, of=None, **request: object) -> str | None:
    """The stage that stopped an offer; None: it may be said."""
    decision = decider.decide(case_for(decider, of, limit=20, **request), None)
    return next((w.stage for w in decision.withheld if w.offer_id == offer), None)


def test_an_add_on_is_dominated_by_a_plan_that_is_enough_for_less(shop) -> None:
    """More for the own plan is not sold where another plan covers the same use and costs less in all."""
    more = (
        '{id: music, kind: cross_sell, title: More, price_month: 5, margin_month: 9, cost_month: "own_cost_month + 5.0"'
    )
    assert withheld(with_music(shop, more + ', covers: "true"}'), "music") == "dominated"
    assert withheld(with_music(shop, more + ", competes: true}"), "music") == "dominated"
    assert withheld(with_music(shop, more + "}"), "music") is None


def test_a_formula_counts_against_the_callers_limit(shop) -> None:
    """Also where the offer has no price of its own."""
    more = '{id: music, kind: cross_sell, title: More, margin_month: 9, cost_month: "own_cost_month + 60.0"}'
    decider = with_music(shop, more)
    assert withheld(decider, "music") != "max_cost"
    assert withheld(decider, "music", max_cost_month=60.0) == "max_cost"


def test_what_is_not_enough_is_not_offered(shop) -> None:
    """`covers` is asked of every offer that declares it, plan or not."""
    for price in (0, 5):
        more = f'{{id: music, kind: cross_sell, title: More, price_month: {price}, margin_month: 9, covers: "false"}}'
        assert withheld(with_music(shop, more), "music") == "eligibility"


def test_an_add_on_of_unknown_total_has_no_cost(shop, decider: Decider) -> None:
    """Whose own plan is unknown, of them nobody knows what they would pay: no limit can be kept, and no plan is cheaper."""
    stranger = customer(profile={"plan": "of another age"})
    case = case_for(decider, stranger)
    assert next(c for c in case.candidates if c.offer.id == "music").cost_month is None
    assert withheld(decider, "music", stranger, max_cost_month=10.0) == "max_cost"
    rival = with_music(shop, MUSIC.replace("}", ", competes: true}"))
    assert withheld(rival, "music", stranger) is None
    assert withheld(rival, "music") == "dominated"


def test_an_unreadable_history_offers_help_only(decider: Decider) -> None:
    """What may have been declined yesterday is not offered again because the record of it is damaged."""
    decision = decider.decide(case_for(decider, customer(degraded=("contacts",)), limit=20), None)
    assert {s.kind for s in decision.suggestions} <= SERVICE_KINDS
    assert {w.stage for w in decision.withheld if w.offer_id == "music"} == {"contact"}


def test_nobody_is_offered_the_plan_they_have(shop) -> None:
    """Even where its rule forgot to say so."""
    catalog = CATALOG.replace("eligible: \"profile.plan != 'l-40'\"", 'eligible: "true"')
    assert withheld(Decider(load_config(shop(catalog=catalog))), "l-40") == "eligibility"


@pytest.mark.parametrize(("eligible", "stage"), [("true", "dominated"), ("profile.plan != 'own'", None)])
def test_the_own_plan_dominates_where_its_rule_holds(shop, eligible: str, stage: str | None) -> None:
    """Who has a plan that fits them and costs less is not told of a dearer one; a rule that rules it out is believed."""
    own = f'{{id: own, kind: optimize, title: Own, price_month: 20, eligible: "{eligible}"}}'
    large = "{id: large, kind: up_sell, title: Large, price_month: 60, margin_month: 90}"
    catalog = "currency: EUR\noffers:\n  - " + own + "\n  - " + large + "\n"
    decider = Decider(load_config(shop(catalog=catalog)))
    assert withheld(decider, "large", customer(profile={"plan": "own"})) == stage
    assert withheld(decider, "own", customer(profile={"plan": "own"})) == "eligibility"


def test_near_identical_offers_rest_together_once_one_was_accepted(shop) -> None:
    """Who has just bought one of a kind is not offered the other."""
    twins = "{id: music, kind: cross_sell, title: A, price_month: 5, margin_month: 3, group: g}\n"
    decider = with_music(shop, twins + "  - " + twins.replace("id: music", "id: tunes").strip())
    bought = Contact(NOW_MS - 3_600_000, "music", "accepted", "web")
    assert withheld(decider, "tunes") is None or withheld(decider, "tunes") == "arbitration"
    assert withheld(decider, "tunes", customer(contacts=(bought,))) == "contact"


@pytest.mark.parametrize(("bad_ms", "stage"), [(None, None), (-2, None), (0, None), (+2, "service_first")])
def test_a_new_bad_experience_after_a_resolution_counts(
    decider: Decider, bad_ms: int | None, stage: str | None
) -> None:
    """What was put right in this call frees the way; what went wrong after it closes it again."""
    closed = NOW_MS - 60_000
    bad = {} if bad_ms is None else {"bad_experience_ms": closed + bad_ms, "bad_experience_in": "call-1"}
    of = customer(closed_ms=closed, closed_in="call-1", **bad)
    assert withheld(decider, "music", of) == stage


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -0.5, 1.01])
def test_a_stay_head_that_gives_no_probability_keeps_nobody(decider: Decider, broken: float) -> None:
    """It counts for no offer then, and the answer says so: taken as 1, its offer would outrank healthy ones."""
    case = case_for(decider, limit=20)
    count = len(case.candidates)
    accept = np.full(count, 0.3)
    stay = np.full(count, 0.9)
    stay[decider.rules.place["music"]] = broken
    found = decider.decide(case, Scores(accept, stay, np.full(count, 0.8)))
    plain = decider.decide(case, Scores(accept))
    assert [(s.offer_id, s.expected_value) for s in found.suggestions] == [
        (s.offer_id, s.expected_value) for s in plain.suggestions
    ]
    assert "scores" in found.degraded
    assert "scores" not in plain.degraded


def test_money_is_rounded_to_the_minor_unit_of_the_currency(shop) -> None:
    """Twelve and a half yen are not said as thirteen."""
    decider = with_music(shop, MUSIC, currency="JPY")
    flex = next(c for c in case_for(decider).candidates if c.offer.id == "flex-10")
    assert flex.cost_month is not None and flex.saving_month is not None
    assert flex.cost_month == round(flex.cost_month)
    assert flex.saving_month == round(flex.saving_month)


def test_the_skill_that_can_help_is_named(shop, config: Config) -> None:
    """An escalation says to whom."""
    from nba.answer import answer

    catalog = CATALOG.replace("title: a person who can help}", "title: a person, skill: network}")
    decider = Decider(load_config(shop(catalog=catalog)))
    case = case_for(decider, limit=20)
    said = answer(decider.config, case, decider.decide(case, None), model=None)["suggestions"]
    assert {s["offer_id"]: s.get("skill") for s in said}["person"] == "network"
    assert all("skill" not in s for s in said if s["offer_id"] != "person")


def test_a_lever_below_nothing_is_refused(config: Config) -> None:
    """Minus two times a loss would be a gain."""
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Policy.model_validate({**config.policy.model_dump(by_alias=True), "worth": {"levers": {"music": -2}}})


@pytest.mark.parametrize("name", ["saving_month", "saving_year"])
@pytest.mark.parametrize(("more", "said"), [(5.0, False), (0.0, False), (-5.0, True)])
def test_what_costs_more_is_not_told_as_a_saving(shop, name: str, more: float, said: bool) -> None:
    """A template that forgot its condition stays unsaid where nothing is saved: neither minus five nor nothing is a saving."""
    cost = f'cost_month: "own_cost_month + {more}", say: [{{en: "{{title}} saves you {{{name}}}"}}]'
    decider = with_music(shop, f"{{id: music, kind: cross_sell, title: More, margin_month: 9, {cost}}}")
    assert withheld(decider, "music") == (None if said else "evidence")


def test_an_offer_of_this_call_may_be_said_again_and_counts_in_the_next(decider: Decider) -> None:
    """The list refreshes during a call: only what was put on other occasions uses up `at_most`."""
    before = Contact(NOW_MS - 86_400_000, "flex-10", "spoken", "call", interaction_id="call-0")
    here = Contact(NOW_MS - 1000, "flex-10", "shown", "call", interaction_id="call-1")
    of = customer(contacts=(before, here))
    assert withheld(decider, "flex-10", of) is None
    assert withheld(decider, "flex-10", of, interaction_id="call-2") == "contact"
    assert withheld(decider, "flex-10", of, interaction_id=None) == "contact"


DAY_MS = 86_400_000


@pytest.mark.parametrize(("outcome", "days"), [("declined", 90), ("accepted", 30), ("spoken", 30)])
def test_a_rest_is_over_when_its_days_are(decider: Decider, outcome: str, days: int) -> None:
    """To the millisecond: flex-10 rests 90 days after a no, and counts what was said or accepted for 30."""
    for age_ms, stage in ((days * DAY_MS - 1, "contact"), (days * DAY_MS, None)):
        two = [Contact(NOW_MS - age_ms, "flex-10", outcome, "call", interaction_id=f"call-{n}") for n in (8, 9)]
        assert withheld(decider, "flex-10", customer(contacts=tuple(two))) == stage


def test_one_conversation_is_one_contact(decider: Decider) -> None:
    """Lines of one call, or of one decision outside of a call, are one time each; flex-10 may be put twice."""
    times = ({"interaction_id": "call-0"}, {"decision_id": "d-0"})
    met = [
        Contact(NOW_MS - DAY_MS - step, "flex-10", outcome, "call", **how)
        for how in times
        for step, outcome in enumerate(("spoken", "shown"))
    ]
    assert withheld(decider, "flex-10", customer(contacts=tuple(met[:2]))) is None
    assert withheld(decider, "flex-10", customer(contacts=tuple(met[2:]))) is None
    assert withheld(decider, "flex-10", customer(contacts=tuple(met))) == "contact"


def test_the_limit_across_offers_counts_sales_and_holds_back_sales(shop) -> None:
    """Help is never rationed, and neither it nor an offer that the catalog has no more uses up the limit."""
    policy = POLICY + "contact: {at_most: 1, per_days: 30}\n"
    decider = Decider(load_config(shop(policy=policy)))
    for offer, stage in (("line-check", None), ("gone", None), ("flex-10", "contact")):
        of = customer(contacts=(Contact(NOW_MS - DAY_MS, offer, "spoken", "call", interaction_id="call-0"),))
        assert withheld(decider, "music", of) == stage
        assert withheld(decider, "person", of) is None


@pytest.mark.parametrize("cost", [41.90, 29.90])
def test_what_costs_the_same_is_not_dominated(shop, cost: float) -> None:
    """Only a plan that costs less speaks against another way to pay for the same use."""
    same = f"{{id: same, kind: optimize, title: Same, price_month: {cost}, margin_month: 20}}\n"
    decider = Decider(load_config(shop(catalog=CATALOG + f"  - {same}")))
    assert withheld(decider, "same") == ("dominated" if cost > 29.90 else None)


@pytest.mark.parametrize(("days", "stage"), [(10, "authority"), (364, "authority"), (366, None)])
def test_a_budget_is_spent_for_its_days(shop, days: int, stage: str | None) -> None:
    """What was given away before `budget_per_days` is made up for; what was given since is not given again."""
    gift = "{id: gift, kind: retain, title: a gift, discount_month: 5, contact: {per_days: 1}}"
    policy = POLICY + "authority: {budget_per_customer: 100, budget_per_days: 365}\n"
    catalog = CATALOG + f"  - {gift}\n  - {gift.replace('id: gift', 'id: other')}\n"
    decider = Decider(load_config(shop(catalog=catalog, policy=policy)))
    given = Contact(NOW_MS - days * 86_400_000, "gift", "accepted", "call", interaction_id="call-0")
    assert withheld(decider, "other", customer(contacts=(given,))) == stage


def test_who_gives_nothing_away_needs_no_authority(shop) -> None:
    """A budget that was overspent holds back discounts alone; a discount at its limit, and all of a budget, may be given."""
    offers = "".join(
        f"  - {{id: gift-{n}, kind: retain, title: a gift, discount_month: {n}, contact: {{per_days: 1}}}}\n"
        for n in (5, 6, 50)
    )
    policy = POLICY + "authority: {default: {discount_month: 5}, budget_per_customer: 60}\n"
    decider = Decider(load_config(shop(catalog=CATALOG + offers, policy=policy)))
    given = [Contact(NOW_MS - 10 * DAY_MS, o, "accepted", "call", interaction_id="call-0") for o in ("gift-50", "gone")]
    assert withheld(decider, "gift-5", customer(contacts=tuple(given[1:]))) is None
    assert withheld(decider, "gift-6", customer(contacts=tuple(given[1:]))) == "authority"
    assert withheld(decider, "gift-5", customer(contacts=tuple(given))) == "authority"
    assert withheld(decider, "music", customer(contacts=tuple(given))) is None


def test_an_unread_profile_may_have_refused_marketing(decider: Decider) -> None:
    """Nothing but care is offered to somebody of whom nobody knows what they allow."""
    unread = customer(profile={}, degraded=("profile",))
    assert withheld(decider, "music", unread) == "consent"
    assert withheld(decider, "line-check", unread) is None
    assert withheld(decider, "music", customer(profile={})) is None
