"""Hundreds of offers: what they share is found out once a case, not once an offer."""

from __future__ import annotations

from collections import Counter

import pytest

import nba.funnel
from kits.shop import NOW_MS, case_for, customer
from nba.config import Catalog, Config, ContactLimit
from nba.decide import Decider
from nba.domain import Contact
from nba.load import find_config, load_config
from nba.rules import Rule

COPIES = 200
SAY = [{"when": "features.plan_views_7d > 3.0", "en": "you looked"}, {"when": "context.mood > 0.0", "en": "so it is"}]


@pytest.fixture
def many(config: Config) -> Decider:
    """The shop with one add-on under many ids, said for one of two reasons: one is not true, one cannot be told."""
    offer = next(offer for offer in config.catalog.offers if offer.id == "music")
    say = type(offer).model_validate({**offer.model_dump(exclude_unset=True), "say": SAY}).say
    copies = [offer.model_copy(update={"id": f"music-{n}", "say": say}) for n in range(COPIES)]
    catalog = Catalog(currency=config.catalog.currency, offers=(*config.catalog.offers, *copies))
    policy = config.policy.model_copy(update={"contact": ContactLimit(at_most=3, per_days=30)})
    return Decider(config.model_copy(update={"catalog": catalog, "policy": policy}))


def test_a_condition_that_offers_share_is_asked_once(many: Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 offers with the same two sentences: each condition is evaluated once, and none of the offers is said."""
    asked: Counter[str] = Counter()
    answer = Rule.answer
    monkeypatch.setattr(Rule, "answer", lambda rule, values: (asked.update([rule.text]), answer(rule, values))[1])
    case = case_for(many)
    held_back = [w.offer_id for w in case.withheld if w.stage == "evidence"]
    assert len([offer_id for offer_id in held_back if offer_id.startswith("music-")]) == COPIES
    assert {asked[str(say["when"])] for say in SAY} == {1}


def test_contacts_of_all_offers_are_counted_once(many: Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit across all offers is the same for each of them, however many contacts there were."""
    counted: list[str] = []
    used_up = nba.funnel.ContactHistory._used_up

    def noted(history, limit, contacts, what):
        counted.append(what)
        return used_up(history, limit, contacts, what)

    monkeypatch.setattr(nba.funnel.ContactHistory, "_used_up", noted)
    contacts = tuple(Contact(NOW_MS - 86_400_000 * n, f"music-{n}", "shown", "call") for n in range(1, 50))
    case = case_for(many, customer(contacts=contacts))
    assert any(w.rule.startswith("offers in all") for w in case.withheld)
    assert counted.count("offers in all") == 1


def test_a_copy_with_other_offers_knows_them_by_id() -> None:
    """A config that came through the door has its offers by id already; a copy of it must not keep those of the first."""
    known = load_config(find_config("telco")).catalog
    (one, *_) = known.by_id.values()
    copied = known.model_copy(update={"offers": (one.model_copy(update={"id": "copied"}),)})
    assert [*copied.by_id] == ["copied"]
    assert len(known.by_id) == len(known.offers)  # and the first keeps its own
