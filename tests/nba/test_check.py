"""Every complaint about a config names file, line and cure, and nothing unsound gets through."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nba.errors import ConfigError
from nba.load import find_config, load_config

# ruff: noqa: E501
BAD = [
    ("catalog", "id: music", "id: l-40", r"catalog.yaml:\d+: offer 'l-40' stands already at catalog.yaml:4: give one another id"),
    ("catalog", "features.data_gb_peak < 8.0", "features.data_gb_peek < 8.0", r"catalog.yaml:2\d: .*unknown features.data_gb_peek .*did you mean 'data_gb_peak'"),
    ("catalog", "{data_gb_peak:up.1f} GB last", "{data_gb_pek:up.1f} GB last", r"unknown placeholder {data_gb_pek}: did you mean 'data_gb_peak'"),
    ("catalog", "{data_gb_peak:up.1f} GB last", "{data_gb_peak.__class__} GB last", "not a plain name"),
    ("catalog", "{data_gb_peak:up.1f} GB last", "{data_gb_peak:>9999999} GB last", "format '>9999999' is not known"),
    ("catalog", "kind: cross_sell", "kind: crosssell", r"catalog.yaml:26: offers.2.kind: 'crosssell' is not 'resolve', .* or 'up_sell': did you mean 'cross_sell'"),
    ("catalog", "price_month: 5", "price_month: -5", r"greater than or equal to 0"),
    ("catalog", "price_month: 5", "prise_month: 5", r"prise_month: is not known here: did you mean 'price_month'"),
    ("catalog", "attributes: {data_gb: 10}", "attributes: {price_month: 10}", "reserved name"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan !! 3"', "not a CEL expression"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan > 3"', "mixes types"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan > 3 && profile.tenure_months >= 3"', r"profile.plan \(text\) cannot be compared with 3 \(number\)"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan != 10"', r"catalog.yaml:\d+: flex-10: eligible: profile.plan \(text\) never equals 10 \(number\) .*compare text with text"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"own.data_gb == \'10\'"', "own.data_gb .number. never equals '10'"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"attributes.data_gb == \'10\'"', "attributes.data_gb .number. never equals '10'"),
    ("catalog", "saving_month > 0\"", "context.intent in ['a', 2]\"", r"catalog.yaml:2\d: flex-10: when: context.intent .text. never equals 2"),
    ("features", 'is: "data_mb_m1 / 1024.0"', 'is: "data_mb_m1 == \'0\' ? 0.0 : 1.0"', "data_mb_m1 .number. never equals '0'"),
    ("policy", "base_accept:", 'exploration: {off_when: "context.sentiment == \'bad\'"}\nbase_accept:', r"policy.yaml:8: off_when: context.sentiment .number. never equals 'bad'"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"attributes.minutes > 3"', r"attributes.minutes is not there .*did you mean|known: data_gb"),
    ("catalog", "ceil(features.data_mb_m1 / 1024.0)", "saving_month", "is computed from it"),
    ("features", "take: count, window: 7d", "take: count, window: 7 days", r"features.yaml:11: .*is no window"),
    ("features", "of: page_viewed, where", "of: page_view, where", "unknown activity 'page_view': did you mean 'page_viewed'"),
    ("features", "take: count, window: 7d", "take: count, window: 900d", "looks back further than activity is kept"),
    ("features", "window: month-1", "window: month-99", "is no window"),
    ("features", "window: month-1", "window: month-0", r"^features.yaml:9: features.0.window: 'month-0' is no window: write month for the month so far"),
    ("features", "window: month-1", "window: month-00", "'month-00' is no window: write month for the month so far"),
    ("features", "window: month-1", "window: month-01", "'month-01' is no window: write month-1$"),
    ("features", "window: month-1", "window: month-099", "'month-099' is no window: write a duration .*month-36"),
    ("features", "window: month-1", "window: month-99999", "'month-99999' is no window: write a duration .*month-36"),
    ("features", "window: month-1", "window: month-١", "is no window: write a duration"),
    ("features", "window: month-1", 'window: "month-1\\n"', r"^features.yaml:[^\n]*is no window: write a duration[^\n]*$"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan"', "has to give true or false"),
    ("catalog", 'cost_month: "price_month + max', 'cost_month: "profile.plan" # "max', "has to give a number"),
    ("features", "timezone: Europe/Berlin", "timezone: Europe/Berlyn", "unknown time zone"),
    ("features", "plan: category", "plan: {type: category, a_day: -1}", r"features.yaml:\d+: profile.plan: a_day counts days on, and a category cannot"),
    ("features", "sentiment: number", "sentiment: {type: number, values: [a, b]}", r"features.yaml:\d+: context.sentiment.*: values lists words, and a number is none: declare `type: category`"),
    ("features", "sentiment: number", "sentiment: {type: number, a_day: -1}", r"features.yaml:\d+: context: sentiment: what a call carries is of now"),
    ("features", 'is: "data_mb_m1 / 1024.0"', 'is: "data_gb_peak / 1024.0"', "computed from itself"),
    ("features", 'is: "data_mb_m1 / 1024.0"', 'is: "profile.plan"', "reads other features only"),
    ("features", "name: plan_views_7d", "name: intent", "'intent' is also a feature"),
    ("features", "name: plan_views_7d", "name: max", "is a word of the rules"),
    ("features", "where: {subject: plans}", "where: {channel: [web, App]}", r"^features.yaml:11: features.2.where: no event comes by a channel 'App': write"),
    ("features", "where: {subject: plans}", "where: {subject: []}", r"^features.yaml:11: features.2.where: subject: names none, so no event ever counts"),
    ("features", "tenure_months: {type: number, default: 0}", "tenure_months: {type: number, default: 0}, vulnerable: category", r"^features.yaml:\d+: profile.vulnerable: is a boolean in every config, no category: declare `vulnerable: boolean`"),
    ("features", "tenure_months: {type: number, default: 0}", "tenure_months: category", r"^features.yaml:\d+: profile.tenure_months: is a number in every config"),
    ("catalog", "price_month: 5", "price_month: 010", r"^catalog.yaml:\d+: 010 is another number in YAML: write it without the 0"),
    ("catalog", "attributes: {data_gb: 10}", "attributes: {data_gb: 1:30}", r"^catalog.yaml:\d+: 1:30 is another number in YAML"),
    ("policy", "base_accept:", "seed: 9223372036854775808\nbase_accept:", r"^policy.yaml:8: seed: 9223372036854775808 is out of range"),
    ("features", "take: hours_since}", "take: hours_ago}", "features.3.take"),
    ("features", 'en: "looked at {subject}"', 'en: "looked at {value}"', "unknown placeholder {value}"),
    ("policy", "of_kind: {resolve: 20", "of_kind: {solve: 20", "policy.yaml"),
    ("policy", "worth: {horizon", "levers: {horizon", "levers: is not known here: (did you mean|known)"),
    ("policy", "worth: {horizon_months: 12", "worth: {levers: {musik: 2.0}, horizon_months: 12", "unknown offer 'musik': did you mean 'music'"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.02, if_accepted: {offers: {musik: {times: 2, for_months: 1}}}}, horizon", "a change by unknown offer 'musik': did you mean 'music'"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.02, bound: {times: 0.1}}, horizon", r"^policy.yaml:7: worth.lifetime reads profile.contract_end_days, which is no number of the profile: known: tenure_months; or declare `profile: .contract_end_days"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.02, bound: {times: 0.1}, contract_end_days: plan}, horizon", "reads profile.plan, which is no number of the profile: known: tenure_months; or"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.02, overpaid_month: 1, overpaid_at_most: 30}, horizon", r"^policy.yaml:7: worth.lifetime: overpaid_month times overpaid_at_most is above 20: .*so lower one of them"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0}, horizon", "greater than or equal to"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, if_accepted: {kinds: {sale: {times: 2}}}}, horizon", "'sale' is not 'resolve'"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, contract_end_days: tenure_month}, horizon", "did you mean 'tenure_months'"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, if_accepted: {kinds: {optimize: {times: 0.5}}}}, horizon", r"^policy.yaml:7: a yes to flex-10 changes leaving without for_months, so nothing: times and for_months go together"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, if_accepted: {offers: {music: {for_months: 3}}}}, horizon", "a yes to music changes leaving without times"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, bound: {times: 0}}, horizon", r"lifetime.bound.times: .*greater than or equal to 0.001"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, goodwill_month: 1.0e+300}, horizon", "goodwill_month: .*less than or equal to"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, charges_last: 1.5}, horizon", "charges_last: .*less than or equal to 1"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, if_accepted: {plans: {binds_days: 40000}}}, horizon", "binds_days: .*less than or equal to 36500"),
    ("policy", "worth: {horizon", "worth: {lifetime: {leave_month: 0.1, months: 5000}, horizon", "months: .*less than or equal to 1200"),
    ("policy", '{salutation} {family_name}, let', '{salutation} {familyname}, let', "unknown placeholder"),
    ("policy", "worth: {horizon", "monotone: {pair.saving: 1}\nworth: {horizon", "no model has a column 'pair.saving': did you mean"),
    ("policy", "opening:", "opening: [", "not YAML"),
    ("policy", "service_intents: [outage]", "service_intents: [outage], intent_field: intnt", "no call carries: did you mean 'intent'"),
    ("policy", '"{salutation} {family_name}, let', '"Hello {salutation} {family_name}, let', "'Hello' would not be said"),
    ("catalog", "price_month: 5", "price_month: true", r"catalog.yaml:26: offers.2.price_month: true is no number: write one"),
    ("catalog", "price_month: 5", "price_month: .nan", r"catalog.yaml:26: offers.2.price_month: nan is no finite number: write one"),
    ("catalog", "price_month: 5", "price_month: .inf", r"catalog.yaml:26: offers.2.price_month: inf is no finite number: write one"),
    ("catalog", "attributes: {data_gb: 10}", "attributes: {data_gb: .nan}", r"^catalog.yaml:17: offers.1.attributes.data_gb: nan is no finite number[^\n]*$"),
    ("catalog", "at_most: 2", "at_most: yes", r"catalog.yaml:2\d: offers.1.contact.at_most: true is no number"),
    ("catalog", "currency: EUR", "currency: XXQ", r"catalog.yaml:2: currency 'XXQ' is not in ISO 4217"),
    ("features", "take: hours_since}", "take: hours_since, default: .inf}", "inf is no finite number"),
    ("features", "type: number, default: 0", "type: number, default: .nan", "^[^\n]*nan is no finite number[^\n]*$"),
    ("policy", "resolve: 20", "resolve: on", r"policy.yaml:7: worth.of_kind.resolve: true is no number"),
    ("policy", "optimize: 0.3", "optimize: off", r"base_accept.optimize: false is no number"),
    ("policy", "worth: {horizon", "monotone: {pair.saving_month: true}\nworth: {horizon", r"true is no number"),
    ("policy", "base_accept:", "worth:", "key 'worth' stands here twice"),
    ("catalog", "price_month: 5", "price_month: 14.90 €", r"offers.2.price_month: '14.90 €' is no number: write digits, a point before decimals"),
    ("catalog", "at_most: 2", "at_most: 2.5", "2.5 is no whole number: write one"),
    ("catalog", "at_most: 2", "atmost: 2", "offers.1.contact.atmost: is not known here: did you mean 'at_most'"),
    ("catalog", "id: music", "id: no", r"^[^\n]*offers.2.id: false is no text: put it in quotes$"),
    ("catalog", "id: music", "id: my music", "'my music' is not an id of letters, digits"),
    ("catalog", "currency: EUR", "currency: Euro", "'Euro' is not a currency code such as EUR"),
    ("catalog", "title: Music", "title: 5", r"^catalog.yaml:26: offers.2.title: 5 is no text: put it in quotes$"),
    ("catalog", "title: Music", "title: yes", r"^catalog.yaml:26: offers.2.title: true is no text: put it in quotes$"),
    ("catalog", "title: Music", "title: 2026-11-22", r"^catalog.yaml:26: offers.2.title: 2026-11-22 is no text: put it in quotes$"),
    ("catalog", "title: Music", "title: [a, b]", r"^catalog.yaml:26: offers.2.title: a list is no text: write one in quotes, or one for each language[^\n]*$"),
    ("catalog", "title: Music", "title: ", r"^catalog.yaml:26: offers.2.title: nothing is no text: write one in quotes$"),
    ("catalog", "title: Music", "title: {en: 5}", r"^catalog.yaml:26: offers.2.title.en: 5 is no text: put it in quotes$"),
    ("catalog", "title: Music", "title: {en: [a]}", r"^catalog.yaml:26: offers.2.title.en: a list is no text: write one in quotes$"),
    ("catalog", "title: Music", "title: {}", r"^catalog.yaml:26: offers.2.title: has no words: write the name[^\n]*$"),
    ("catalog", "title: Music", "title: ' '", r"^catalog.yaml:26: offers.2.title: has no words: write the name[^\n]*$"),
    ("catalog", "attributes: {data_gb: 10}", "attributes: {data_gb: [10]}", r"^catalog.yaml:17: offers.1.attributes.data_gb: a list is no single value: write a number[^\n]*$"),
    ("catalog", "attributes: {data_gb: 10}", "attributes: {since: 2026-11-22}", r"^catalog.yaml:17: offers.1.attributes.since: 2026-11-22 is no single value: [^\n]*in quotes$"),
    ("features", "where: {subject: plans}", "where: {subject: 5}", r"^features.yaml:11: features.2.where.subject.0: 5 is no text: put it in quotes$"),
    ("features", "plan: category", "plan: 5", r"^features.yaml:13: profile.plan.type: 5 is not 'number'[^\n]*use one of them$"),
    ("features", "plan: category", "plan: {type: category, default: 5}", r"^features.yaml:13: profile.plan: the default does not fit the type category: put it in quotes$"),
    ("features", "plan: category", "plan: {type: number, default: '5'}", r"^features.yaml:13: profile.plan: the default does not fit the type number: write digits, without quotes$"),
    ("catalog", "title: Music", "title: {english: Music}", "'english' is not a language code such as en"),
    ("catalog", "title: Music", "title: Music, say: hello", r"^[^\n]*offers.2.say: has to be a list, is 'hello': write [^\n]*$"),
    ("catalog", "attributes: {data_gb: 10}", "attributes: lots", "has to be a mapping, is 'lots': write `name: value`"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan != \'a and b\' and true"', r"mismatched input 'and': write && for and$"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan = \'a\'"', "write == for =$"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan.matches(\'(\')"', r"^[^\n]*holds for nobody, it cannot be evaluated: mend the pattern[^\n]*$"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"profile.plan.startsWith(3)"', "gives a function what it does not take"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"1 / 0 > 1"', "holds for nobody"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"(profile.plan != \'a\'"', "see that brackets and quotes close"),
    ("catalog", '"profile.plan != \'flex-10\'"', '"feature.data_mb_m1 > 0.0"', "unknown name 'feature' in .*did you mean 'features'"),
    ("features", "take: count, window: 7d", "take: count, window: 30", r"features.2.window: '30' is no window: .*month-36"),
    ("features", "window: month-1", "window: month-13", "looks back further than activity is kept"),
    ("features", "take: count, window: 7d", "take: trend, window: 300d", "looks back further than activity is kept"),
    ("features", "timezone: Europe/Berlin", "thread_events: 0", "0 is out of range: it has to be greater than or equal to 1"),
]  # fmt: skip


def test_a_pipe_in_the_place_of_a_file_is_named_at_once(shop: Callable[..., Path]) -> None:
    """Nobody may ever write into it."""
    path = shop() / "catalog.yaml"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=r"^catalog\.yaml: is a pipe or a device: it has to be a file of text$"):
        load_config(path.parent)


@pytest.mark.parametrize(("file", "old", "new", "message"), BAD, ids=[f"{b[0]}: {b[2][:40]}" for b in BAD])
def test_a_defect_is_named_with_its_place(
    shop: Callable[..., Path], file: str, old: str, new: str, message: str
) -> None:
    """One planted defect each, and the complaint about exactly that one."""
    folder = shop()
    path = folder / f"{file}.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert all(re.match(rf"{file}\.yaml:\d+: ", problem) for problem in caught.value.problems)


def test_an_attribute_of_two_types_is_compared_with_either(shop: Callable[..., Path]) -> None:
    """One plan has 10 GB, another "unlimited": which of them the customer's own is, nobody knows beforehand."""
    catalog = (shop() / "catalog.yaml").read_text(encoding="utf-8")
    catalog = catalog.replace("{data_gb: 40}", "{data_gb: 40, tier: gold}").replace(
        "{data_gb: 10}", "{data_gb: 10, tier: 2}"
    )
    for literal in ("2", "'gold'"):
        load_config(shop(catalog=catalog.replace("profile.plan != 'l-40'", f"own.tier == {literal}")))


def test_all_problems_come_at_once(shop: Callable[..., Path]) -> None:
    """Nobody mends a config one error at a time."""
    folder = shop()
    path = folder / "catalog.yaml"
    path.write_text(path.read_text().replace("id: music", "id: l-40").replace("< 8.0", "< profile.nope"))
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: &a [*a]",
        "\x00",
        "- 1\n- 2",
        "a: b: c",
        "!!python/object:os.system {}",
        "a: [&a [1,1,1,1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d], [*e,*e,*e,*e,*e,*e,*e,*e]]",
        "x: " + "[" * 3000,
    ],
)
def test_broken_yaml_is_an_error_with_a_line(shop: Callable[..., Path], text: str) -> None:
    """Empty, hostile and deep files end in a ConfigError, never in anything else."""
    folder = shop()
    (folder / "catalog.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"catalog\.yaml"):
        load_config(folder)


def test_the_same_month_of_last_year_is_within_what_is_kept(shop: Callable[..., Path]) -> None:
    """400 days hold every thirteen months in a row."""
    folder = shop()
    path = folder / "features.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("window: month-1", "window: month-12"), encoding="utf-8")
    load_config(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("- 1", "is a list"), ("word", "is one value"), ("a: 1\n\x00", r":2: not YAML: [^\n]*")],
)
def test_what_is_no_mapping_at_all_is_one_line(shop: Callable[..., Path], text: str, message: str) -> None:
    """One problem is one line, and says what the file is instead, or where the foreign character stands."""
    folder = shop()
    (folder / "catalog.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).rpartition(": ")[2].count("`nba init") == 1


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(shop: Callable[..., Path]) -> None:
    """A German editor of another age saves Latin-1: the first line that shows it is named, and what to do."""
    path = shop() / "policy.yaml"
    path.write_bytes(path.read_text(encoding="utf-8").replace("opening:", "# ü\nopening:", 1).encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load_config(path.parent)
    assert re.fullmatch(r"policy\.yaml:2: byte 0xfc is no UTF-8 .*: save the file as UTF-8 text", str(caught.value))


def test_a_missing_file_names_the_way_out(tmp_path: Path) -> None:
    """An empty folder points to nba init."""
    with pytest.raises(ConfigError, match="nba init"):
        load_config(tmp_path)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    """A typing error in --config shows what there is."""
    with pytest.raises(ConfigError, match="telco"):
        find_config("telko")
