"""What an event may be, and the field that is named when it is not."""

from __future__ import annotations

import pytest

from features.activity import parse_event
from features.spec import FeatureSpec
from kits.activity import NOW_MS, make_config
from nba.clock import format_at
from nba.errors import ActivityError, ConfigError


@pytest.fixture
def raw():
    """A sound event with some fields changed; None takes a field out."""

    def make(**changes):
        event = {
            "event_id": "e",
            "customer_id": "c",
            "at": format_at(NOW_MS),
            "channel": "web",
            "type": "spent",
            **changes,
        }
        return {name: value for name, value in event.items() if value != "-"}

    return make


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", "-"), ("event_id", ""), ("event_id", 7), ("event_id", "x" * 257), ("event_id", "é" * 129),
        ("customer_id", "a{b"), ("customer_id", "a}b"), ("customer_id", "a\x00"), ("customer_id", "a\u0085"),
        ("customer_id", None),
        ("customer_id", "\ud800"), ("interaction_id", "a\nb"), ("interaction_id", 5),
        ("at", "yesterday"), ("at", "2026-09-21T10:00:00"), ("at", 1_790_000_000), ("at", "1999-12-31T23:59:59Z"),
        ("at", "2026-12-01T00:00:00Z"), ("at", "0001-01-01T00:00:00+23:59"), ("at", "9999-12-31T23:59:59Z"),
        ("channel", "Web"), ("channel", "x" * 33), ("channel", ""), ("channel", ["web"]),
        ("type", "sold"), ("type", None), ("type", {}),
        ("value", 1.0), ("value", True), ("value", "1"), ("value", 2**63), ("value", -(2**63) - 1), ("value", float("nan")),
        ("subject", "x" * 257), ("subject", 1), ("text", "x" * 2001), ("text", "\udfff"), ("colour", "red"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_by_its_pointer(raw, spec, field, value):
    """The sender learns which field, why, and what to do."""
    with pytest.raises(ActivityError) as caught:
        parse_event(raw(**{field: value}), spec, NOW_MS)
    assert caught.value.pointer == f"/{field}"
    assert str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", 2**63 - 1), ("value", -(2**63)), ("value", None), ("subject", "Ü" * 256), ("text", "x" * 2000),
        ("event_id", "é" * 128), ("customer_id", " x "), ("channel", "a_new-channel9"), ("interaction_id", "call 7"),
        ("interaction_id", "{3F25-04E0}"),
    ],
)  # fmt: skip
def test_the_edges_of_what_is_allowed_are_allowed(raw, spec, field, value):
    """A limit is a limit, not one less."""
    assert getattr(parse_event(raw(**{field: value}), spec, NOW_MS), field) == value


def test_an_unknown_type_is_told_the_known_ones(raw, spec):
    """The cure is in the message."""
    with pytest.raises(ActivityError, match=r"complaint, failed, resolved, seen, spent, told"):
        parse_event(raw(type="sold"), spec, NOW_MS)


@pytest.mark.parametrize("ahead", [0, 86_400_000])
def test_a_clock_may_be_a_day_ahead_and_no_more(raw, spec, ahead):
    """Later events count when their time has come."""
    assert parse_event(raw(at=format_at(NOW_MS + ahead)), spec, NOW_MS).at_ms == NOW_MS + ahead
    with pytest.raises(ActivityError):
        parse_event(raw(at=format_at(NOW_MS + 86_400_001)), spec, NOW_MS)


def test_two_types_with_one_code_are_refused_by_name():
    """Sixteen bits tell types apart; a clash inside one config is found before anything is written."""
    with pytest.raises(ConfigError, match=r"'t231' and 't\d+' share the code|share the code"):
        FeatureSpec(make_config(activities={f"t{i}": {} for i in range(3000)}, features=[]))


def test_features_that_read_each_other_in_a_circle_are_refused():
    """Nobody could compute them."""
    circle = [{"name": "one", "is": "features.two + 1"}, {"name": "two", "is": "features.one + 1"}]
    with pytest.raises(ConfigError, match="one, two read each other"):
        FeatureSpec(make_config(features=circle))
