"""The two folders that the engine ships: sound, complete in both languages, and true to the published prices."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nba.candidates import CatalogRules, make_candidates, rule_values
from nba.config import Config
from nba.decide import Decider, Request
from nba.domain import KINDS, Customer
from nba.experiments import arm_configs
from nba.load import load_config
from nba.phrase import Facts, Phrasebook

ROOT = Path(__file__).parents[2]
TELCO = load_config(ROOT / "nba/configs/telco")
MEGALINE = load_config(ROOT / "nba/configs/megaline")
DATA = ROOT.parent / "shared/data/megaline"
NOW_MS = 1_790_000_000_000


def test_telco_speaks_of_all_seven_kinds() -> None:
    """24 offers, none of the kinds left out, several plans among them."""
    kinds = Counter(offer.kind for offer in TELCO.catalog.offers)
    assert set(kinds) == set(KINDS)
    assert sum(kinds.values()) == 24
    assert [o.id for o in TELCO.catalog.offers if o.is_plan] == ["flex-3", "flex-10", "m-20", "l-40", "xl-80", "max"]


def test_the_example_of_a_lifetime_is_a_sound_arm(tmp_path: Path) -> None:
    """Behind the telco policy it loads without a warning more; its arm weighs nothing but the lifetime and money by kind."""
    folder = Path(shutil.copytree(ROOT / "nba/configs/telco", tmp_path / "shop"))
    with (folder / "policy.yaml").open("a", encoding="utf-8") as policy:
        policy.write((ROOT / "docs/examples/worth-lifetime.yaml").read_text(encoding="utf-8"))
    ((name, arm),) = arm_configs(load_config(folder))
    worth = arm.policy.worth
    assert name == ("lifetime", "lifetime") and worth.lifetime is not None
    assert (worth.margin, worth.saving, worth.stay, worth.context) == (0.0, 0.0, 0.0, ())
    assert set(worth.keeps_months.values()) == {0.0}
    assert {offer for offer, lever in worth.levers.items() if lever != 1.0} == {"renewal-phone", "world-pass-pause"}
    assert worth.lifetime.change_of(arm.catalog.by_id["flex-10"]).binds_days == 180.0


def test_the_opening_is_the_contracts_sentence() -> None:
    """Word for word, in both folders."""
    words = "{salutation} {family_name}, judging by your recent activity we believe you would benefit from {title}"
    assert TELCO.policy.opening["en"] == words
    assert MEGALINE.policy.opening["en"] == words


def test_telco_says_everything_in_both_languages() -> None:
    """No sentence and no opening falls back to the other language; titles need two only where they are words."""
    assert TELCO.policy.locales == ("en", "de")
    assert all(set(texts) == {"en", "de"} for texts in TELCO.policy.opening_for.values())
    for offer in TELCO.catalog.offers:
        assert offer.say, offer.id
        assert all(set(say.texts) == {"en", "de"} for say in offer.say), offer.id
    labels = [f.label for f in TELCO.features.features if f.label]
    assert all(set(label) == {"en", "de"} for label in labels)


def test_service_is_never_something_to_benefit_from() -> None:
    """Fixes, information and the path to a person have openings of their own."""
    for kind in ("resolve", "inform", "escalate"):
        assert "benefit" not in TELCO.policy.opening_for[kind]["en"]


def test_an_escalation_names_who_can_help() -> None:
    """Every path to a person says which skill it leads to."""
    skills = [offer.skill for offer in TELCO.catalog.offers if offer.kind == "escalate"]
    assert skills and all(skills)


@pytest.mark.parametrize("config", [TELCO, MEGALINE], ids=["telco", "megaline"])
def test_texts_continue_the_opening(config: Config) -> None:
    """Joined by a colon and ended by a full stop, so neither part brings its own."""
    openings = [
        *config.policy.opening.values(),
        *(t for texts in config.policy.opening_for.values() for t in texts.values()),
    ]
    texts = [text for offer in config.catalog.offers for say in offer.say for text in say.texts.values()]
    assert not [text for text in openings + texts if text.rstrip()[-1] in ".!?:;,"]


@pytest.mark.parametrize("locale", ["en", "de"])
def test_every_template_renders(locale: str) -> None:
    """No brace, no missing value, whatever template of whatever offer is said."""
    decider = Decider(TELCO)
    book = Phrasebook(TELCO, {rules.offer.id: rules.say for rules in decider.rules.offers})
    numbers = {column.name: 3.0 for column in TELCO.features.columns}
    person = {"salutation": "Frau", "family_name": "Graf", "own_title": "L 40 GB"}
    money = {"price_month": 9.9, "cost_month": 29.9, "own_cost_month": 41.9, "saving_month": 12.0, "saving_year": 144.0}
    for offer in TELCO.catalog.offers:
        for template in book._templates[offer.id]:
            special = {**offer.attributes, **person, **money, "title": offer.title_in(locale)}
            facts = Facts(special, numbers)
            said = book.sentence(offer, template, facts, locale).say
            assert said.startswith("Frau Graf, ")
            assert said.endswith(".")
            assert not any(bad in said for bad in ("{", "}", "nan", "None", "  ", ": :"))


def test_rounded_numbers_say_so() -> None:
    """A number that is rounded up is 'at most', one that is rounded down 'at least': both stay true when nothing is rounded."""
    words = {"en": {"up": "at most", "down": "at least"}, "de": {"up": "höchstens", "down": "mindestens"}}
    texts = [(offer.id, *text) for offer in TELCO.catalog.offers for say in offer.say for text in say.texts.items()]
    rounded = [
        (offer_id, locale, text, word)
        for offer_id, locale, text in texts
        for direction, word in words[locale].items()
        if f":{direction}." in text
    ]
    assert {locale for _, locale, _, _ in rounded} == words.keys()
    assert [(offer_id, locale) for offer_id, locale, text, word in rounded if word not in text] == []


megabytes = st.integers(0, 130_000)


@settings(max_examples=150, deadline=None)
@given(
    plan=st.sampled_from(["flex-3", "flex-10", "m-20", "l-40", "xl-80", "max"]),
    data=st.tuples(megabytes, megabytes, megabytes),
    minutes=st.tuples(*[st.integers(0, 900)] * 3),
    addons=st.sampled_from([0.0, 9.9]),
)
def test_no_telco_sentence_promises_more_than_the_bill_shows(
    plan: str, data: tuple[int, ...], minutes: tuple[int, ...], addons: float
) -> None:
    """A plan that is said to save costs less by an own count, and covers what was used; 'at most' is not below the use."""
    features = {f.name: f.missing for f in TELCO.features.features}
    for month in (1, 2, 3):
        features |= {f"data_mb_m{month}": float(data[month - 1]), f"minutes_m{month}": float(minutes[month - 1])}
        features[f"data_gb_begun_m{month}"] = float(math.ceil(data[month - 1] / 1024))
    features |= {"data_gb_peak": max(data) / 1024, "data_gb_m1": data[0] / 1024, "minutes_peak": float(max(minutes))}
    features["roaming_fees_month"] = 0.0
    profile = {"plan": plan, "addons_month": addons, "tenure_months": 30.0, "family_name": "Graf", "salutation": "Ms."}
    decider = Decider(TELCO)
    case = decider.case(
        Customer("c", features, profile), Request("c", NOW_MS, "d", context={"intent": "plan"}, limit=24)
    )
    for said in decider.decide(case, None).suggestions:
        offer = TELCO.catalog.by_id[said.offer_id]
        if not offer.is_plan:
            continue
        saving = round(_bill(plan, data, minutes) - _bill(offer.id, data, minutes), 2)
        assert said.saving_month == pytest.approx(saving, abs=0.01)
        assert ("saves you" in said.say or " less" in said.say) <= (saving > 0)
        assert float(offer.attributes["data_gb"]) * 1024 >= max(data)
        claimed = {r.feature: r.text for r in said.because}
        if "data_gb_peak" in claimed and "at most" in said.say:
            assert float(claimed["data_gb_peak"].split(": ")[1].replace(",", "")) >= max(data) / 1024


def _bill(plan: str, data: tuple[int, ...], minutes: tuple[int, ...]) -> float:
    """Average of three months, counted apart from the rules."""
    offer = TELCO.catalog.by_id[plan]
    price, given_gb = offer.price_month or 0.0, float(offer.attributes["data_gb"])
    beyond = sum(max(0.0, math.ceil(mb / 1024) - given_gb) for mb in data) * float(offer.attributes["gb_price"])
    free = offer.attributes.get("minutes_included")
    talk = (
        0.0
        if free is None
        else sum(max(0.0, m - float(free)) for m in minutes) * float(offer.attributes["minute_price"])
    )
    return price + (beyond + talk) / 3


PRICES = {
    "surf": (Decimal(20), 50, 500, 15, Decimal(10), Decimal("0.03"), Decimal("0.03")),
    "ultimate": (Decimal(70), 1000, 3000, 30, Decimal(7), Decimal("0.01"), Decimal("0.01")),
}


@settings(max_examples=300, deadline=None)
@given(
    plan=st.sampled_from(["surf", "ultimate"]),
    minutes=st.integers(0, 2000),
    messages=st.integers(0, 300),
    hundredths=st.integers(0, 7_500_000) | st.integers(0, 70).map(lambda gb: gb * 102_400),
)
def test_megaline_costs_are_the_operators_bill_to_the_cent(
    plan: str, minutes: int, messages: int, hundredths: int
) -> None:
    """Both plans, counted in decimals apart from the rules; the saving is their difference and nothing else."""
    features = {"minutes_m1": float(minutes), "messages_m1": float(messages), "events_m1": 1.0}
    features["data_gb_m1"] = float(math.ceil(hundredths / 102_400.0))
    rules = CatalogRules(MEGALINE.catalog)
    own = rules.by_id[plan].offer
    values = rule_values(features, {"plan": plan}, {}, own)
    made = {c.offer.id: c for c in make_candidates(rules, values, {"plan": plan})}
    true = {name: _megaline_bill(name, minutes, messages, hundredths) for name in PRICES}
    assert {name: Decimal(str(made[name].cost_month)) for name in PRICES} == true
    other = "ultimate" if plan == "surf" else "surf"
    assert Decimal(str(made[other].saving_month)) == true[plan] - true[other]


def _megaline_bill(plan: str, minutes: int, messages: int, hundredths: int) -> Decimal:
    fee, free_messages, free_minutes, free_gb, per_gb, per_message, per_minute = PRICES[plan]
    gigabytes = -(-hundredths // 102_400)
    extra = max(0, gigabytes - free_gb) * per_gb + max(0, messages - free_messages) * per_message
    return fee + extra + max(0, minutes - free_minutes) * per_minute


@pytest.mark.skipif(not DATA.is_dir(), reason="the Megaline files are not in ../shared/data")
def test_the_converter_keeps_every_row(tmp_path: Path) -> None:
    """318,611 rows become as many events with ids of their own; a missed call stays an event of 0 minutes."""
    import pandas as pd

    spec = importlib.util.spec_from_file_location("megaline_convert", ROOT / "benchmarks/megaline_convert.py")
    assert spec is not None
    assert spec.loader is not None
    converter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(converter)
    assert converter.convert(DATA, tmp_path) == {"activity": 318_611, "customers": 500}
    activity = pd.read_parquet(tmp_path / "activity.parquet")
    assert activity["event_id"].is_unique
    assert activity["type"].value_counts().to_dict() == {
        "call_made": 137_735,
        "data_used": 104_825,
        "message_sent": 76_051,
    }
    calls = activity[activity["type"] == "call_made"]
    assert int((calls["value"] == 0).sum()) > 0
    assert (activity["at"].dt.hour == 12).all()
    assert set(pd.read_parquet(tmp_path / "customers.parquet")["plan"]) == set(PRICES)
