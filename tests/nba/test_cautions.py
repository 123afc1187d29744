"""What `nba check` warns of: where a promise is weakened or a sentence says what nobody verifies, and nowhere else."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from kits.shop import Shop
from nba.cautions import literal_numbers
from nba.cli import build
from nba.errors import ConfigError
from nba.load import check_folder, find_config

ARM = "experiments:\n  - name: e\n    arms:\n      - {name: a, share: 0.5}\n      - name: b\n        share: 0.5\n"

# ruff: noqa: E501
WEAK = [
    ("policy", "[outage]", "[]", r"policy.yaml:9: service_first.service_intents is empty, so service first is weakened: name"),
    ("policy", "rest_after_bad_experience_h: 24", "rest_after_bad_experience_h: 0", r"policy.yaml:9: service_first.rest_after_bad_experience_h is 0, so service first is weakened: sales follow at once on complaint: give"),
    ("policy", "service_intents: [outage]", "override: [up_sell]", r"policy.yaml:9: service_first.override lets up_sell pass"),
    ("policy", "base_accept:", "consent: {vulnerable_kinds: [resolve, up_sell]}\nbase_accept:", r"policy.yaml:8: consent.vulnerable_kinds: up_sell is sold to customers who are marked vulnerable: leave it out"),
    ("policy", "base_accept:", "consent: {no_marketing_kinds: [cross_sell]}\nbase_accept:", r"policy.yaml:8: consent.no_marketing_kinds: cross_sell is sold to customers who have refused marketing: leave it out"),
    ("policy", "base_accept:", ARM + "        policy:\n          service_first:\n            override: [up_sell]\nbase_accept:", r"policy.yaml:16: e, arm b: service_first.override lets up_sell pass"),
    ("policy", "base_accept:", ARM + "        policy: {consent: {vulnerable_kinds: [up_sell]}}\nbase_accept:", r"policy.yaml:14: e, arm b: consent.vulnerable_kinds: up_sell"),
    ("policy", "worth: {", "worth: {context: [{when: \"context.intent in ['outge']\", times: 2, kinds: [resolve]}], ", r"policy.yaml:9: service_first.service_intents: 'outage' is asked for nowhere, 'outge' is, at policy.yaml:7: .*write them the same"),
    ("catalog", ">= features.data_gb_peak", ">= features.data_gb_peak && context.intent != 'outge'", r"policy.yaml:9: service_first.service_intents: 'outage' is asked for nowhere, 'outge' is, at catalog.yaml:\d+: "),
    ("catalog", "{title} covers that and saves", "5G covers 12 and saves", r"catalog.yaml:24: flex-10: literal number 12 in a template is not verified: use a claim"),
    ("policy", "with {title}", "in 5 minutes", r"policy.yaml:6: literal number 5 in a template is not verified: use a claim"),
    ("catalog", "saves you {saving_month} a month", "saves you €{saving_month} a month", r"catalog.yaml:24: flex-10: {saving_month} brings its currency sign along: leave out the '€'"),
    ("catalog", "spart {saving_month}", "spart {saving_month} EUR", r"catalog.yaml:25: flex-10: {saving_month} brings its currency sign along: leave out the 'EUR'"),
    ("policy", "{salutation} {family_name}, judging", "judging", r"policy.yaml:3: opening.en does not begin with a name and a comma, .*: begin with `{salutation} {family_name}, `"),
    ("policy", "{salutation} {family_name}, let", "{salutation} {family_name}: let", r"policy.yaml:6: opening_for.resolve.en does not begin"),
    ("catalog", "features.data_gb_peak < 8.0 && saving_month > 0", "features.data_gb_peak < 8.0", r"catalog.yaml:\d+: flex-10: say 1 names saving_month without .*: it will stay unsaid"),
    ("catalog", "currency: EUR", "currency: EUR\nlabels: {data_bg: {en: GB}}", r"catalog.yaml:3: labels.data_bg: no offer has this attribute: write its name"),
    ("catalog", "        de: ", "        fr: ", r"catalog.yaml:\d+: flex-10: say 1 has no text in de: add one"),
]  # fmt: skip


def changed(shop: Shop, file: str, old: str, new: str) -> list[str]:
    """The warnings of the shop with one thing written differently."""
    path = shop() / f"{file}.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return check_folder(path.parent)[1]


@pytest.mark.parametrize(("file", "old", "new", "message"), WEAK, ids=[w[3][:60] for w in WEAK])
def test_what_weakens_a_promise_is_named_with_its_place(
    shop: Shop, file: str, old: str, new: str, message: str
) -> None:
    """One change, one warning: file, line, what, and the way out."""
    found = changed(shop, file, old, new)
    assert len(found) == 1 and re.match(message, found[0]), found


@pytest.mark.parametrize("name", ["telco", "megaline"])
def test_a_sound_config_is_not_warned_about(shop: Shop, name: str) -> None:
    """Neither the shop of these tests nor what is shipped deserves one; whoever is warned for nothing reads none."""
    assert check_folder(shop())[1] == [] == check_folder(find_config(name))[1]


def test_an_arm_is_not_blamed_for_what_the_policy_says(shop: Shop) -> None:
    """An override that the arm only inherits is named once, where it stands."""
    path = shop() / "policy.yaml"
    text = path.read_text(encoding="utf-8").replace("[outage]", "[outage], override: [up_sell]")
    path.write_text(text + ARM + "        policy: {worth: {saving: 2.0}}\n", encoding="utf-8")
    assert [w.partition(": ")[0] for w in check_folder(path.parent)[1]] == ["policy.yaml:9"]


def test_a_saving_needs_a_plan_of_ones_own(shop: Shop) -> None:
    """Where no profile can name a plan, what is said about it would never be said: the author hears it."""
    folder = shop()
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8").replace("plan: category", "tariff: category")
        path.write_text(text.replace("profile.plan", "profile.tariff"), encoding="utf-8")
    (found,) = check_folder(folder)[1]
    assert re.match(
        r"features.yaml:\d+: profile has no `plan: category`, .* and saving_month \(of flex-10, say\)", found
    )


@pytest.mark.parametrize("intent", ["fault", "technician", "resolved"])
def test_another_intent_is_no_slip_of_the_pen(shop: Shop, intent: str) -> None:
    """Only what differs by one letter, or by two that changed places, is taken for one."""
    weight = f"worth: {{context: [{{when: \"context.intent == '{intent}'\", times: 2, kinds: [resolve]}}], "
    assert changed(shop, "policy", "worth: {", weight) == []


@pytest.mark.parametrize(
    ("say", "found"),
    [
        ("saves you 12 a month", ["12"]), ("saves €12 or 12,50 € or 5 %", ["€12", "12,50 €", "5 %"]), ("10GB", ["10"]),
        ("EUR12, EUR 12", ["12", "12"]), ("2x faster", ["2"]), ("5G, 4K, MP3, LTE4 and WPA-3 around the clock, 24/7", []),
        ("L 40 GB is enough", []), ("L 40 GB for 40", ["40"]), ("{a:.1f} GB on {b:plural|1 day|2 days}, {{3}}", ["3"]),
    ],
)  # fmt: skip
def test_a_number_is_told_from_a_name(say: str, found: list[str]) -> None:
    """What an offer is called, or a technology, is no claim; everything else that is counted is one."""
    assert literal_numbers(say, ["L 40 GB"]) == found


@pytest.mark.parametrize(("days", "warned"), [("7", False), ("30", True), ("7 €", True)])
def test_the_window_of_a_fact_may_be_said(shop: Shop, days: str, warned: bool) -> None:
    """`in the last 7 days` is true of what is counted over 7 days, and of nothing counted over 30."""
    say = f"  - id: plans\n    kind: inform\n    title: plans\n    say:\n      - when: 'features.plan_views_7d > 0'\n        en: you looked {{plan_views_7d:d}} times in the last {days} days\n        de: "  # fmt: skip
    found = changed(shop, "catalog", "  - {id: music", say + "oft geschaut\n  - {id: music")
    assert bool(found) is warned


def test_the_verb_prints_them_and_lets_the_config_pass(shop: Shop) -> None:
    """A warning is a note with exit status 0; in JSON it stands under its own name."""
    path = shop() / "policy.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("[outage]", "[]"), encoding="utf-8")
    said = CliRunner().invoke(build(), ["check", "--config", str(path.parent)])
    assert said.exit_code == 0 and "note: policy.yaml:9: service_first.service_intents is empty" in said.stderr
    body = CliRunner().invoke(build(), ["check", "--config", str(path.parent), "--json"])
    assert len(json.loads(body.stdout)["warnings"]) == 1


MAILS = {
    "features": "activities: {visit: {}}\nprofile: {recency: number}\n",
    "catalog": "currency: USD\noffers:\n  - {id: mail, kind: cross_sell, title: Mail}\n",
    "policy": 'opening: {en: "{salutation} {family_name}, we suggest {title}"}\n'
    + ARM
    + "        policy: {worth: {saving: 2}}\n",
}


def test_a_policy_that_names_no_intents_is_warned_where_none_arrive(shop: Shop) -> None:
    """Whose customers write no intents may leave the whole subject out; what stands in by default refuses nothing."""
    found = check_folder(shop(**MAILS))[1]
    assert len(found) == 1 and re.match(
        r"policy.yaml:1: no call carries context.intent, .*: declare `context: ", found[0]
    )


def test_a_policy_that_names_intents_is_refused_where_none_arrive(shop: Shop) -> None:
    """Who asks for intents and has no field for them would wait for ever, and hears both ways out."""
    asking = MAILS["policy"] + "service_first: {service_intents: [outage]}\n"
    with pytest.raises(
        ConfigError, match=r"context\.intent, which no call carries.*declare `context: \{intent: category\}`"
    ):
        check_folder(shop(**{**MAILS, "policy": asking}))
