"""A comparison that can only have one answer is told from one that can have two."""

from __future__ import annotations

from itertools import product

import pytest

from nba.comparisons import mismatch, texts_beside
from nba.rules import Rule

TYPES = {
    ("profile", "plan"): "category", ("profile", "lines"): "number", ("profile", "autopay"): "boolean",
    ("attributes", "gb"): "number", ("", "saving_month"): "number", ("features", "gb_m1"): "number",
}  # fmt: skip
ALWAYS_THE_SAME = [
    "profile.plan != 10", "10 == profile.plan", "(profile.plan) == 10", "profile.plan in [1, 2]", "profile.lines == '2'",
    "profile.autopay == 1", "profile.autopay == 'true'", "profile.plan == -1", "profile.lines in ['1']",
    "profile.plan == attributes.gb", "saving_month == '0'", "profile.plan == true", "profile.plan == !profile.autopay",
    "!(profile.lines != 'one')", "has(profile.plan) && profile.plan == 3", "gb_m1 == 'x'",
]  # fmt: skip
SOUND = [
    "profile.plan != '10'", "profile.autopay == true", "profile.lines == -1", "profile.lines in [1, 2]", "'a' in [profile.plan]",
    "size(profile.plan) == 3", "profile.plan.size() == 3", "3 == profile.plan.size()", "profile.plan == 'a' == true",
    "[1.0].all(x, x == 1.0)", "profile.lines in [1 + 2, attributes.gb]", "ceil(profile.lines) == 3", "gb_m1 == 3",
    "profile.plan == string(3)", "true == (profile.lines > 3)", "has(profile.lines) == true", "profile.lines > 3 == true",
    "[profile.plan][0] == 'a'", "profile.autopay ? profile.plan == 'a' : profile.lines == 3", "profile.new == 1",
]  # fmt: skip


@pytest.mark.parametrize("text", ALWAYS_THE_SAME)
def test_what_never_differs_is_named_and_never_differs(text: str) -> None:
    """The complaint is right: whatever the customer is, the rule gives one answer."""
    assert mismatch(text, TYPES, ["gb_m1"]) is not None
    rule = Rule(text, bare=["gb_m1"])
    given = {"attributes__gb": 10.0, "saving_month": 0.0, "features__gb_m1": 1.0}
    people = product(["10", "a", "true"], [1.0, 2.0, 10.0], [True, False])
    found = {
        rule.truth({**given, "profile__plan": plan, "profile__lines": lines, "profile__autopay": pays})
        for plan, lines, pays in people
    }
    assert len(found) == 1


@pytest.mark.parametrize("text", SOUND)
def test_what_may_differ_is_let_pass(text: str) -> None:
    """Nothing is said of a comparison whose sides are computed, or of one type."""
    assert mismatch(text, TYPES, ["gb_m1"]) is None


def test_a_comparison_with_null_is_told_the_way_to_ask() -> None:
    """What is missing cannot be compared at all; the way to ask for it is named."""
    assert "has(profile.plan)" in str(mismatch("profile.plan != null", TYPES))


@pytest.mark.parametrize(
    "text", ["profile.plan > 5", "5 <= profile.plan", "profile.lines < '3'", "profile.lines >= true && gb_m1 > 1.0"]
)
def test_what_has_no_order_is_named(text: str) -> None:
    """Beside another condition the error of such a comparison may pass for a plain no, and the offer is never made."""
    assert "cannot be compared with" in str(mismatch(text, TYPES, ["gb_m1"]))


def test_the_texts_that_a_name_is_compared_with() -> None:
    """On either side, in a list, negated; not those beside another name, and no number."""
    rule = """context.intent in ['plan', "usage"] || 'bill' == context.intent || context.intent != 'sim'
      && profile.plan == 'l-40' && context.intent == 3"""
    assert list(texts_beside(rule, ("context", "intent"))) == ["plan", "usage", "bill", "sim"]
