"""What is known of a customer's profile as time goes by since it was given."""

from __future__ import annotations

import pytest

from features.profile import dump_profile
from features.spec import FeatureSpec
from features.view import customer
from kits.activity import make_config
from nba.clock import DAY_MS, HOUR_MS, parse_at

GIVEN_MS = parse_at("2026-03-27T23:30:00Z")  # half past midnight of the 28th in Berlin; clocks go forward a night later
HALF_MS = HOUR_MS // 2
FIELDS = {"ends_days": 30, "age": 40.0, "plan": "l"}


def known(now_ms: int, **fields: object) -> dict[str, object]:
    profile = {"ends_days": {"type": "number", "a_day": -1}, "age": "number", "plan": "category"}
    spec = FeatureSpec(make_config(profile=profile))
    return customer("c", b"", dump_profile(FIELDS | fields, GIVEN_MS), b"", b"", now_ms, spec).profile


@pytest.mark.parametrize(
    ("later_ms", "days"),
    [(0, 30), (23 * HOUR_MS, 30), (47 * HALF_MS, 29), (93 * HALF_MS, 28), (40 * DAY_MS, -10), (-HOUR_MS, 31)],
)
def test_days_that_are_counted_go_on_with_the_calendar(later_ms, days):
    """By the days of the config's zone, whatever the clocks do; past their end, and back for an earlier moment."""
    assert known(GIVEN_MS + later_ms) == FIELDS | {"ends_days": days}


@pytest.mark.parametrize("value", [None, True, "soon"])
def test_what_is_no_number_stays_as_it_is(value):
    """A field of another type, from before the config declared it, is none to count."""
    assert known(GIVEN_MS + DAY_MS, ends_days=value)["ends_days"] == value
