"""What the agent reads and why: each number as its language writes it, and whom it is said to once."""

from __future__ import annotations

import pytest

from kits.shop import CATALOG, FEATURES, POLICY, case_for, customer
from nba.decide import Decider
from nba.load import load_config

OPENING = "{salutation} {family_name}, judging by your recent activity we believe you would benefit from {title}"


def first(decider: Decider, of=None, **request: object):
    return decider.decide(case_for(decider, of, **request), None).suggestions[0]


@pytest.mark.parametrize(
    ("locale", "label", "reasons"),
    [
        ("en", "", {"data gb peak: 2.1", "saving a month: €12.00"}),
        ("en", ", label: {en: busiest month}", {"busiest month: 2.1", "saving a month: €12.00"}),
        ("de", ", label: {de: stärkster Monat}", {"stärkster Monat: 2,1", "Ersparnis im Monat: 12,00\xa0€"}),
    ],
)
def test_a_reason_is_read_as_the_sentence_says_it(shop, locale: str, label: str, reasons: set[str]) -> None:
    """The same rounding and currency, under the label of the config or of the engine, else under its own name."""
    peak = 'is: "data_mb_m1 / 1024.0"'
    decider = Decider(load_config(shop(features=FEATURES.replace(peak, peak + label))))
    assert {reason.text for reason in first(decider, locale=locale).because} == reasons


@pytest.mark.parametrize(("locale", "tenure"), [("en", "months with us"), ("de", "Monate bei uns")])
def test_fields_and_attributes_are_reasons_under_their_labels(shop, locale: str, tenure: str) -> None:
    """A label in another language is still more than the name of a column."""
    field = "tenure_months: {type: number, label: {en: months with us, de: Monate bei uns}, default"
    features = FEATURES.replace("tenure_months: {type: number, default", field)
    labels = "currency: EUR\nlabels: {data_gb: {en: GB included}}"
    catalog = CATALOG.replace("currency: EUR", labels).replace(
        "{data_gb_peak", "{tenure_months:d} {data_gb:d} {data_gb_peak"
    )
    texts = {reason.text for reason in first(Decider(load_config(shop(features, catalog))), locale=locale).because}
    assert {f"{tenure}: 30", "GB included: 10"} <= texts


def test_a_number_without_a_format_is_no_money(shop) -> None:
    """Only what is money is written as money on its own."""
    catalog = CATALOG.replace("you used at most", "{data_gb} GB for {price_month}: you used at most")
    assert "10 GB for €29.90: you used" in first(Decider(load_config(shop(catalog=catalog)))).say


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_fact_that_is_no_number_is_not_said(shop, broken: float) -> None:
    """A template whose condition does not ask for it stays unsaid all the same."""
    catalog = CATALOG.replace("features.data_gb_peak < 8.0 && saving_month > 0", "saving_month > 0")
    decider = Decider(load_config(shop(catalog=catalog.replace("features.data_gb_peak", "2.0"))))
    decision = decider.decide(
        case_for(decider, customer(features={"data_mb_m1": 2150.0, "data_gb_peak": broken}), limit=9), None
    )
    assert [w.stage for w in decision.withheld if w.offer_id == "flex-10"] == ["evidence"]


def test_the_sentence_that_stands_on_most_facts_is_said(shop) -> None:
    """Whatever the order of the catalog; where its facts are missing, the next."""
    less = '      - {when: "true", en: "{title} is cheaper"}\n      - when: "features.data_gb_peak < 8.0'
    catalog = CATALOG.replace('      - when: "features.data_gb_peak < 8.0', less)
    decider = Decider(load_config(shop(catalog=catalog)))
    assert "saves you" in first(decider).say
    few = customer(profile={"plan": "of another age", "salutation": "Mr.", "family_name": "Kraus"})
    said = {s.offer_id: s.say for s in decider.decide(case_for(decider, few, limit=9), None).suggestions}
    assert said["flex-10"].endswith("Flex 10 GB: Flex 10 GB is cheaper.")


@pytest.mark.parametrize(
    ("opening", "known", "nameless"),
    [
        ("{title}, for you", "Mr. Kraus, Flex 10 GB, for you: ", "Flex 10 GB, for you: "),
        ("{title} for you, {salutation} {family_name}", "Flex 10 GB for you, Mr. Kraus: ", "Flex 10 GB for you,: "),
        ("we suggest {title}", "Mr. Kraus, we suggest Flex 10 GB: ", "We suggest Flex 10 GB: "),
    ],
)
def test_a_caller_is_addressed_once(shop, opening: str, known: str, nameless: str) -> None:
    """By an opening that names them at its end as well; a title before a comma is nobody's name."""
    decider = Decider(load_config(shop(policy=POLICY.replace(OPENING, opening))))
    assert first(decider).say.startswith(known)
    assert first(decider, customer(profile={"plan": "l-40"})).say.startswith(nameless)
