"""What a customer brings until they leave: the formula by another way, and what follows from it for what is said."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kits.shop import FEATURES, POLICY, case_for, customer
from nba.arbitration import Worths
from nba.candidates import Candidate
from nba.config import Lifetime, Offer, Worth
from nba.decide import Decider
from nba.domain import Scores
from nba.lifetime import DAYS_A_MONTH, Lifetimes, Standing
from nba.load import load_config

PLAN: dict[str, Any] = {"id": "small", "kind": "optimize", "title": "Small", "price_month": 20.0}
GIFT: dict[str, Any] = {"id": "gift", "kind": "retain", "title": "a gift", "plan": False}
HELP: dict[str, Any] = {"id": "check", "kind": "resolve", "title": "a check"}
CHANGES = {
    "plans": {"binds_days": 180.0},
    "kinds": {"optimize": {"times": 0.5, "for_months": 12.0}, "retain": {"extends_days": 365.0}},
    "offers": {"gift": {"times": 0.25, "for_months": 6.0, "lasts_months": 6.0}},
}
RATES = {
    "leave_month": 0.03,
    "overpaid_month": 0.07,
    "bound": {"until_days": 30.0, "times": 0.1},
    "if_accepted": CHANGES,
}
money = st.floats(-40, 40).map(lambda euros: round(euros, 2))


def lifetimes(**changed: Any) -> Lifetimes:
    return Lifetimes(Lifetime.model_validate({**RATES, **changed}))


def candidate(offer: dict[str, Any], saving: float | None, margin_delta: float) -> Candidate:
    return Candidate(Offer.model_validate(offer), 10.0, saving, True, margin_delta)


def standing_of(
    rates: Lifetimes, *, overpaid: float = 0.0, contract_days: float = 0.0, margin: float = 16.0
) -> Standing:
    """Of somebody on a plan for 40 a month, from which another plan would take what they overpay."""
    own = Offer.model_validate({**PLAN, "id": "own", "price_month": 40.0, "margin_month": margin})
    cheaper = [candidate(PLAN, overpaid, 0.0)]
    return rates.standing(cheaper, [], own, {"contract_end_days": contract_days})


def day_by_day(margin: float, overpaid: float, contract_days: float, *, months: int = 36) -> float:
    """The same lifetime of somebody to whom nothing is said, summed in thousandths of a month."""
    step, here, total = 0.001, 1.0, 0.0
    for k in range(months * 1000):
        bound = 0.1 if (k + 0.5) * step < (contract_days - 30.0) / DAYS_A_MONTH else 1.0
        stays = exp(-0.03 * exp(0.07 * min(overpaid, 30.0)) * bound * step)
        total += margin * step * here * (1.0 + stays) / 2.0
        here *= stays
    return total


@pytest.mark.parametrize("contract_days", [0.0, 30.0, 200.0, 730.0, 5000.0])
@pytest.mark.parametrize("overpaid", [0.0, 9.5, 80.0])
def test_a_lifetime_is_the_margin_of_each_moment_times_the_chance_to_be_here(
    overpaid: float, contract_days: float
) -> None:
    """Against the sum over small steps; beyond `overpaid_at_most` nothing more is felt."""
    standing = standing_of(lifetimes(), overpaid=overpaid, contract_days=contract_days)
    assert standing.lifetime == pytest.approx(day_by_day(16.0, overpaid, contract_days), rel=1e-5)


def test_a_cheaper_plan_is_worth_the_months_it_keeps_less_the_margin_it_costs() -> None:
    """By hand, over 12 months, free to go: from 0.03 x e^(0.07 x 10) to 0.03 x 0.5, and 16 a month becomes 12."""
    rates = lifetimes(months=12.0, if_accepted={"kinds": {"optimize": {"times": 0.5, "for_months": 12.0}}})
    before, after = 0.03 * exp(0.7), 0.015
    wanted = 12.0 * (1 - exp(-12 * after)) / after - 16.0 * (1 - exp(-12 * before)) / before
    standing = standing_of(rates, overpaid=10.0)._replace(price=None)
    assert rates.gain(candidate(PLAN, 10.0, -4.0), standing) == pytest.approx(wanted)


def test_a_gift_costs_and_keeps_for_as_long_as_it_lasts() -> None:
    """Six months of 2 less, a quarter of the leaving in them, and a contract that runs a year longer."""
    rates = lifetimes()
    standing = standing_of(rates, contract_days=60.0)
    bound = (60.0 + 365.0 - 30.0) / DAYS_A_MONTH
    wanted, here = 0.0, 1.0
    for months, leaving, margin in (
        (6.0, 0.03 * 0.1 * 0.25, 14.0),
        (bound - 6.0, 0.03 * 0.1, 16.0),
        (36.0 - bound, 0.03, 16.0),
    ):
        stays = exp(-leaving * months)
        wanted += margin * here * (1 - stays) / leaving
        here *= stays
    assert rates.gain(candidate(GIFT, None, -2.0), standing) == pytest.approx(wanted - standing.lifetime)


@given(overpaid=st.floats(0, 60), days=st.floats(0, 900), margin=st.floats(0, 60))
def test_what_changes_nothing_adds_nothing(overpaid: float, days: float, margin: float) -> None:
    """Help that costs nothing and of which the policy says nothing leaves every lifetime as it is, to the last bit."""
    rates = lifetimes()
    assert (
        rates.gain(candidate(HELP, None, 0.0), standing_of(rates, overpaid=overpaid, contract_days=days, margin=margin))
        == 0.0
    )


@given(saving=money, more=st.floats(0, 20), delta=money, overpaid=st.floats(0, 40), days=st.floats(0, 900))
def test_a_larger_saving_is_never_worth_less(
    saving: float, more: float, delta: float, overpaid: float, days: float
) -> None:
    """Whoever brings a margin is kept longer by it; also where only a part of what is charged beyond the price comes again."""
    rates = lifetimes(charges_last=0.24)
    standing = standing_of(rates, overpaid=overpaid, contract_days=days)
    delta = max(delta, -16.0)  # a plan that costs more than it brings is rightly not wished to last
    less, enough = (rates.gain(candidate(PLAN, euros, delta), standing) for euros in (saving, saving + more))
    assert enough >= less - 1e-9


def bigger(saving: float) -> Candidate:
    """A plan for 50 where the own one costs 40."""
    return candidate({**PLAN, "id": "bigger", "kind": "up_sell", "price_month": 50.0}, saving, 0.0)


def overpaying(rates: Lifetimes, *plans: Candidate, sayable: Sequence[Candidate] = (), **columns: Any) -> Standing:
    own = Offer.model_validate({**PLAN, "id": "own", "price_month": 40.0, "margin_month": 16.0})
    return rates.standing(plans, sayable, own, columns)


def test_of_charges_that_a_bigger_plan_saves_a_share_comes_again() -> None:
    """It saves 6, 16 of charges for 10 more in price: with half of them to come again it is dearer by 2, with all it saves 6."""
    for share, overpaid in ((1.0, 6.0), (0.75, 2.0), (0.5, 0.0)):
        assert overpaying(lifetimes(charges_last=share), bigger(6.0)).overpaid == pytest.approx(overpaid)
    half, beside = lifetimes(charges_last=0.5), candidate(PLAN, 20.0, 0.0)
    assert half.after(bigger(6.0), overpaying(half, beside))[0] == pytest.approx(22.0)


def test_charges_that_a_smaller_plan_would_cause_count_in_full() -> None:
    """For 20 less in price it would cost 45 more a month: nobody is told that it saves."""
    rates = lifetimes(charges_last=0.0)
    assert rates.after(candidate(PLAN, -45.0, 0.0), overpaying(rates))[0] == 45.0


@given(share=st.floats(0, 1), saving=st.floats(0, 40), other=st.floats(0, 40))
def test_who_takes_what_suits_them_best_overpays_nothing_more(share: float, saving: float, other: float) -> None:
    """Whatever share of charges comes again: the best plan takes all of it away, and no yes makes it less than nothing."""
    rates, plans = lifetimes(charges_last=share), (bigger(saving), candidate(PLAN, other, 0.0))
    standing = overpaying(rates, *plans)
    left = [rates.after(plan, standing)[0] for plan in plans]
    assert min(left) == pytest.approx(0.0, abs=1e-9) or standing.overpaid == 0.0
    assert min(left) >= 0.0


def test_a_plan_that_does_not_compete_makes_nobody_overpay() -> None:
    """A youth tariff says `competes: false`: what others would pay on it is nothing that they miss."""
    youth = candidate({**PLAN, "id": "youth", "competes": False}, 25.0, 0.0)
    standing = overpaying(lifetimes(), youth, bigger(2.0))
    assert standing.overpaid == pytest.approx(2.0) and lifetimes().after(youth, standing)[0] == 0.0


PAUSE: dict[str, Any] = {"id": "pause", "kind": "optimize", "title": "a pause", "plan": False, "cost_month": "1.0"}


def test_what_lies_idle_is_overpaid_where_a_better_use_may_be_said() -> None:
    """The pause saves 9.90 beside the plan's 5; a credit is a gift, and what is not sayable is not idle."""
    rates = lifetimes()
    pause, credit = candidate(PAUSE, 9.9, -5.0), candidate({**GIFT, "cost_month": "1.0"}, 8.0, -8.0)
    idle = overpaying(rates, candidate(PLAN, 5.0, 0.0), pause, credit, sayable=(pause, credit))
    assert idle.overpaid == pytest.approx(14.9)
    assert rates.after(pause, idle)[0] == pytest.approx(5.0)
    assert rates.after(credit, idle)[0] == pytest.approx(14.9)
    assert overpaying(rates, candidate(PLAN, 5.0, 0.0), pause).overpaid == pytest.approx(5.0)


def test_a_yes_binds_and_extends() -> None:
    """A plan for at least 180 days, a renewal for 365 more; never for less than before."""
    rates = lifetimes()
    for before, plan, renewal in ((0.0, 180.0, 365.0), (100.0, 180.0, 465.0), (500.0, 500.0, 865.0)):
        standing = standing_of(rates, contract_days=before)
        assert rates.after(candidate(PLAN, None, 0.0), standing)[1] == plan
        assert rates.after(candidate(GIFT, None, 0.0), standing)[1] == renewal


def test_a_contract_that_has_ended_long_ago_is_as_one_that_ends_today() -> None:
    """A profile's days count on below 0; a renewal is worth the same to both, and the field may have another name."""
    rates, gift = lifetimes(contract_end_days="term"), candidate(GIFT, None, -2.0)
    ended, today = (overpaying(rates, term=days) for days in (-390.0, 0.0))
    assert ended == today and rates.gain(gift, ended) == rates.gain(gift, today) > 0
    assert overpaying(rates, term=200.0).contract_days == 200.0
    assert overpaying(rates, term=10**400).contract_days == 36_500.0


def test_what_lasts_no_month_costs_nothing() -> None:
    """`lasts_months: 0`: the margin is never given away."""
    once = lifetimes(if_accepted={"offers": {"gift": {"lasts_months": 0.0}}})
    assert once.gain(candidate(GIFT, None, -8.0), standing_of(once)) == 0.0


def test_what_is_said_nearest_to_the_offer_counts_field_by_field() -> None:
    """The offer over its kind, its kind over all plans; a field that the nearer one leaves out is the farther one's."""
    of = Lifetime.model_validate(
        {**RATES, "if_accepted": {**CHANGES, "kinds": {"retain": {"extends_days": 365, "times": 0.5}}}}
    )
    gift = of.change_of(Offer.model_validate(GIFT))
    assert (gift.extends_days, gift.times, gift.lasts_months) == (365.0, 0.25, 6.0)
    assert of.change_of(Offer.model_validate(PLAN)).binds_days == 180.0
    assert of.change_of(Offer.model_validate(HELP)) == Lifetime(leave_month=0.1).change_of(Offer.model_validate(HELP))


def test_beside_a_lifetime_nothing_is_counted_twice() -> None:
    """Its margin, saving and stay are 0 where a policy does not give them; without it they are 1, as ever."""
    beside, given_too = (
        Worth.model_validate({"lifetime": RATES}),
        Worth.model_validate({"lifetime": RATES, "saving": 0.5}),
    )
    assert (beside.margin, beside.saving, beside.stay) == (0.0, 0.0, 0.0)
    assert (given_too.margin, given_too.saving, given_too.stay) == (0.0, 0.5, 0.0)
    assert (Worth().margin, Worth().saving, Worth().stay) == (1.0, 1.0, 1.0)
    worths, yes = (
        Worths(Worth.model_validate({"lifetime": RATES, "of_kind": {"optimize": 3.0}})),
        candidate(PLAN, 5.0, -1.0),
    )
    standing = worths.standing([yes], [], Offer.model_validate({**PLAN, "id": "own", "margin_month": 16.0}), {})
    assert worths.of(yes, standing, 0.9, 0.1) == pytest.approx(lifetimes().gain(yes, standing) + 3.0)


def test_who_has_no_plan_of_ours_brings_what_they_buy() -> None:
    """Nothing is kept, nothing overpaid; a plan brings its own margin for as long as they stay."""
    rates = lifetimes(if_accepted={})
    stranger = rates.standing([candidate(PLAN, None, 12.0)], [], None, {"contract_end_days": 300.0})
    assert stranger == Standing(0.0)
    assert rates.gain(candidate(PLAN, None, 12.0), stranger) == pytest.approx(12.0 * (1 - exp(-36 * 0.03)) / 0.03)


def test_goodwill_is_brought_by_customers_and_not_by_strangers() -> None:
    """Each month of a customer counts for 4 more than the margin; keeping them is worth that more, winning nobody is."""
    rates, plain = lifetimes(goodwill_month=4.0), lifetimes()
    assert standing_of(rates, margin=16.0).lifetime == pytest.approx(standing_of(plain, margin=20.0).lifetime)
    kept = candidate(GIFT, None, 0.0)
    assert rates.gain(kept, standing_of(rates)) == pytest.approx(plain.gain(kept, standing_of(plain)) * 20 / 16)
    assert rates.gain(kept, rates.standing([], [], None, {})) == 0.0
    legacy = rates.standing([], [], None, {"plan": "of-2009"})  # a plan that the catalog no longer has
    assert (legacy.margin, legacy.month) == (0.0, 4.0) and rates.gain(kept, legacy) > 0.0


@pytest.mark.parametrize("days", [None, float("nan"), "soon", True])
def test_an_unknown_end_of_the_contract_holds_nobody(days: Any) -> None:
    """Nothing is kept by a contract of which nothing is known."""
    rates = lifetimes(bound={"until_days": 0.0, "times": 0.1})
    own = Offer.model_validate({**PLAN, "id": "own", "margin_month": 16.0})
    free = rates.standing([], [], own, {})
    assert free.lifetime == pytest.approx(rates.standing([], [], own, {"contract_end_days": days}).lifetime)


WORTH = "{horizon_months: 12, margin: 1.0, saving: 1.0, of_kind: {resolve: 20, escalate: 5}}"
RISK = "{leave_month: 0.05, overpaid_month: 0.07, bound: {until_days: 30, times: 0.01}}"
LIFETIME = f"{{lifetime: {RISK}, of_kind: {{resolve: 0, escalate: 0}}}}"


def test_the_honest_cheaper_plan_is_said_to_who_may_go_and_not_to_who_is_bound_and_stays(shop) -> None:
    """Mr. Kraus overpays 12 a month: free to go, he is kept by the cheaper plan; bound for two years, it costs only margin."""
    ends = FEATURES.replace("profile: {plan: category,", "profile: {plan: category, contract_end_days: number,")
    decider = Decider(load_config(shop(features=ends, policy=POLICY.replace(WORTH, LIFETIME))))
    scores = Scores(np.array([0.0, 0.4, 0.0, 0.0, 0.0]))

    def said(days: float) -> list[str]:
        profile = {**customer().profile, "contract_end_days": days}
        return [s.offer_id for s in decider.decide(case_for(decider, customer(profile=profile)), scores).suggestions]

    assert (said(0.0), said(730.0)) == (["flex-10"], [])
