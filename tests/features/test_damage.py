"""Whatever stands in a customer's values: they are answered as far as they can be read, and what is damaged is named."""

from __future__ import annotations

import json
from dataclasses import asdict

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import contacts, thread
from features.packing import LAST_MS
from features.profile import dump_profile
from features.spec import FeatureSpec
from features.view import customer
from nba.clock import YEAR_2000_MS
from nba.domain import Contact, StatedIntent
from nba.load import find_config, load_config
from serving.view import unified_view

NOW_MS = 1_790_000_000_000
CONFIG = load_config(find_config("telco"))
SPEC = FeatureSpec(CONFIG.features)
CONTACT = {"a": NOW_MS, "o": "music", "u": "shown", "c": "call", "d": "d-1", "i": "i-1", "r": "dear"}
LINE = [NOW_MS, 7, "complaint", "web", "billing", "words", "i-1"]
PROFILE = {"at": NOW_MS, "profile": {"plan": "m-20", "tenure_months": 30, "locale": "en"}}

MOMENTS = st.sampled_from([0, -1, -99999999999999999, YEAR_2000_MS - 1, LAST_MS, 1 << 63, 1 << 64, 10**30])
NUMBERS = st.one_of(MOMENTS, st.integers(), st.sampled_from(["1e300", "1e999", "NaN", "-0", "1.5"]).map(float))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5))
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner)),
    max_leaves=5,
)


def written(value: object) -> bytes:
    """As JSON of any kind, with what orjson would not write."""
    return json.dumps(value).encode()


def changed(good: dict | list) -> st.SearchStrategy[object]:
    """The good value with one or two of its places taken by anything."""
    places = range(len(good)) if isinstance(good, list) else sorted(good)

    def put(changes: dict) -> dict | list:
        copy = good.copy()
        for place, value in changes.items():
            copy[place] = value
        return copy

    return st.dictionaries(st.sampled_from(list(places)), ANYTHING, min_size=1, max_size=2).map(put)


def lines_of(good: dict | list) -> st.SearchStrategy[bytes]:
    """Lines: good ones, changed ones, any JSON, any bytes."""
    one = st.one_of(st.just(good), changed(good), ANYTHING).map(written) | st.binary(max_size=9)
    return st.lists(one, max_size=4).map(lambda found: b"".join(part + b"\n" for part in found))


PROFILES = st.one_of(
    changed(PROFILE).map(written),
    changed(PROFILE["profile"]).map(lambda fields: written({"at": NOW_MS, "profile": fields})),
    ANYTHING.map(written),
    st.binary(max_size=9),
    st.none(),
)


@settings(max_examples=600, deadline=None)
@given(profile=PROFILES, met=lines_of(CONTACT), told=lines_of(LINE))
def test_no_bytes_in_a_customers_values_are_an_exception(profile, met, told):
    """They are read, told and written as JSON; what is written anew from them can be read without complaint."""
    found = customer("c", b"", profile, met, told, NOW_MS, SPEC)
    known = {name: value for name, value in asdict(found).items() if name != "features"}
    orjson.dumps(known)
    if found.profile_at_ms is not None or found.contacts or found.degraded:
        orjson.dumps(unified_view(CONFIG, found, NOW_MS))
    clean = customer("c", b"", None, contacts.shortened(met), thread.shortened(told, SPEC), NOW_MS, SPEC)
    assert clean.degraded == ()
    assert clean.contacts == found.contacts


def read(profile: bytes | None = None, met: bytes = b"", told: bytes = b""):
    """The customer of these values."""
    return customer("c", b"", profile, met, told, NOW_MS, SPEC)


def line_of(**changes: object) -> bytes:
    return orjson.dumps(CONTACT | changes) + b"\n"


@pytest.mark.parametrize(
    "damage",
    [
        {"d": 5},
        {"d": None},
        {"i": 5},
        {"r": ["x"]},
        {"u": "bought"},
        {"a": -99999999999999999},
        {"a": YEAR_2000_MS - 1},
        {"a": LAST_MS},
    ],
    ids=str,
)
def test_a_damaged_contact_is_named_and_the_others_count(damage):
    """A decision that is a number, a reason that is a list, a moment before all calendars."""
    found = read(met=line_of() + line_of(**damage))
    assert found.degraded == ("contacts",)
    assert found.contacts == (Contact(NOW_MS, "music", "shown", "call", "d-1", "i-1", "dear"),)


@pytest.mark.parametrize("damage", [b'{"a":17', b"7", b"\xff\xfe", b"[]"])
def test_what_is_no_contact_at_all_is_named_and_the_others_count(damage):
    """Half a line, as a disk that was full leaves it, or another kind of value."""
    found = read(met=damage + b"\n" + line_of())
    assert found.degraded == ("contacts",)
    assert [contact.offer_id for contact in found.contacts] == ["music"]


def test_a_contact_counts_once_for_each_decision_or_else_each_moment():
    """Of what is told again the earliest stands; without a decision two moments are two contacts."""
    again = line_of(a=NOW_MS - 5) + line_of(a=NOW_MS - 9) + line_of(a=NOW_MS - 7, u="declined")
    assert [(c.at_ms, c.outcome) for c in read(met=again).contacts] == [(NOW_MS - 9, "shown"), (NOW_MS - 7, "declined")]
    alone = "".join(json.dumps({**CONTACT, "d": "", "a": NOW_MS - ms}) + "\n" for ms in (5, 9, 9))
    assert [c.at_ms for c in read(met=alone.encode()).contacts] == [NOW_MS - 9, NOW_MS - 5]


@pytest.mark.parametrize("moment", [0, -99999999999999999, YEAR_2000_MS - 1, LAST_MS, 10**30])
def test_a_line_of_the_thread_from_another_age_is_named_and_the_others_are_told(moment):
    """No calendar has the day, so it can be neither written nor compared."""
    found = read(told=written(LINE) + b"\n" + written([moment, *LINE[1:]]) + b"\n")
    assert found.degraded == ("thread",)
    assert [entry.at_ms for entry in found.thread] == [NOW_MS]


def test_an_event_that_is_no_hash_is_named_even_twice():
    """Beyond 64 bits nothing could write the line anew."""
    bad = written([NOW_MS, 1 << 64, *LINE[2:]]) + b"\n"
    found = read(told=bad + written(LINE) + b"\n" + bad)
    assert (found.degraded, len(found.thread)) == (("thread",), 1)


@pytest.mark.parametrize("moment", [b"1e300", b"null", b"true", b"-5", b"99999999999999999999", str(LAST_MS).encode()])
def test_a_profile_whose_moment_is_damaged_still_answers(moment):
    """Its fields can be read; since when they stand is not known."""
    found = read(b'{"at":' + moment + b',"profile":{"plan":"m-20"}}')
    assert (found.degraded, found.profile, found.profile_at_ms) == (("profile",), {"plan": "m-20"}, None)
    assert unified_view(CONFIG, found, NOW_MS)["degraded"] == ["profile"]


def test_a_field_that_is_no_plain_value_is_left_out_of_the_profile():
    """Rules compare texts, numbers and booleans; a list among them is damage."""
    found = read(orjson.dumps({"at": NOW_MS, "profile": {"plan": ["x"], "locale": "de"}}))
    assert (found.degraded, found.profile, found.profile_at_ms) == (("profile",), {"locale": "de"}, NOW_MS)


def test_what_was_written_is_read_without_complaint():
    """The first and the last moment there is, and contacts without their optional fields."""
    met = contacts.line(Contact(YEAR_2000_MS, "o", "later", "web")) + line_of()
    found = read(dump_profile({"plan": None, "age": 3, "vip": True, "x": 1.5}, NOW_MS), met, written(LINE) + b"\n")
    assert (found.degraded, len(found.contacts), len(found.thread)) == ((), 2, 1)
    assert found.profile == {"plan": None, "age": 3, "vip": True, "x": 1.5}


def test_an_intent_outlives_a_thread_that_is_shortened():
    """A flood of lines does not make an interaction forget what it is about."""
    said = StatedIntent(NOW_MS - 1, "call-1", "outage")
    flood = b"".join(written([NOW_MS - 5_000 + n, n, "complaint", "web", f"bill {n}"]) + b"\n" for n in range(2_000))
    kept = thread.shortened(thread.intent_line(said) + flood + thread.intent_line(said), SPEC)
    assert len(kept) < len(flood) / 2
    assert read(told=kept).intents == (said,)
