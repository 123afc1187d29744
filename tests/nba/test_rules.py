"""Rules are CEL with doubles, and fail in words."""

from __future__ import annotations

import contextlib
import gc
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba.errors import RuleError
from nba.rules import Rule, Values, references

VALUES = {"features__a": 5.0, "features__b": 0.0, "profile__plan": "x", "saving_month": 3.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("features.a - 2", 3.0),
        ("max(features.a, 7) / (1 + 1)", 3.5),
        ("ceil(2.1) + floor(2.9) + abs(-1.5)", 6.5),
        ("max(1, 2, 3) - min(4, 5)", -1.0),
        ("features.b > 0 ? features.a / features.b : -1.0", -1.0),
        ("profile.plan != 'features.a'", True),
        ("profile.plan in ['x', 'y'] && saving_month > 0", True),
        ("has(features.nope)", False),
        ("has(features.a) && features.a == 5", True),
        ("profile.plan.startsWith('x') ? 1 : 0", 1.0),
        ("-features.a / -2", 2.5),
        ("features.a / 2 / 5", 0.5),
        ("[1, 2].exists(x, x > 1)", True),
    ],
)
def test_a_rule_gives_what_its_author_means(text: str, value: object) -> None:
    """Integers and doubles mix, strings stay strings, functions and has() work."""
    assert Rule(text).evaluate(VALUES) == value


def test_attributes_and_prices_are_constants_of_the_offer() -> None:
    """They are written in once, negative and quoted ones included."""
    rule = Rule("attributes.n - attributes.m + price_month > 0 && attributes.s == 'it\\'s'", {
        "attributes__n": 10, "attributes__m": -2, "price_month": 0.5, "attributes__s": "it's"})  # fmt: skip
    assert rule.truth({}) and not rule.reads


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("features.a / features.b > 2", "division by zero"),
        ("1 / 0", "division by zero"),
        ("features.nope > 1", "no value for features.nope: declare a default"),
        ("max(features.nope, 1) > 0", "no value for features.nope"),
        ("profile.plan > 2", "No such overload"),
    ],
)
def test_what_cannot_be_computed_is_an_error_with_the_rule_named(text: str, message: str) -> None:
    """Never infinity, never a silent false."""
    with pytest.raises(RuleError, match=message) as caught:
        Rule(text).evaluate(VALUES)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["1 +", "__import__('os')", "open('x')", "features", "foo > 1", "features.a.b.c(", "'a", "os.system('x')", ""],
)
def test_what_is_not_a_rule_is_refused_when_it_is_read(text: str) -> None:
    """Unknown names and syntax show before the first customer does."""
    with pytest.raises(RuleError):
        Rule(text)


@pytest.mark.parametrize("text", ["1.0", "'yes'", "saving_month"])
def test_a_condition_has_to_be_true_or_false(text: str) -> None:
    """A number or a text is no condition."""
    with pytest.raises(RuleError, match="true or false"):
        Rule(text).truth(VALUES)


@pytest.mark.parametrize("text", ["1e308 * 10", "'x'", "true"])
def test_a_formula_has_to_be_a_finite_number(text: str) -> None:
    """Infinity, text and booleans are no amounts of money."""
    with pytest.raises(RuleError, match="finite number"):
        Rule(text).number(VALUES)


def test_a_derived_feature_names_the_others_bare_or_with_scope() -> None:
    """Both ways of the contract, and a function of the same shape stays a function."""
    rule = Rule("max(a, features.b) / 2", bare={"a", "b"})
    assert rule.number(VALUES) == 2.5
    assert references("max(a, features.b)", {"a", "b"}) == {("features", "a"), ("features", "b")}


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_division_and_signs_agree_with_python(a: float, b: float, c: float) -> None:
    """The guard around divisors changes no result."""
    values = {"features__a": a, "features__b": b, "features__c": c}
    rule = Rule("features.a / (features.b - features.c) - features.b / features.c * -features.a")
    if b == c or c == 0:
        with pytest.raises(RuleError):
            rule.number(values)
        return
    expected = a / (b - c) - b / c * -a
    if math.isfinite(expected):
        assert rule.number(values) == expected


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    """Nothing else ever comes out, and nothing is executed."""
    with contextlib.suppress(RuleError):
        Rule(text).evaluate(VALUES)


@pytest.mark.parametrize("text", ["features.a > 2", "features.nope > 2", "has(features.nope)"])
def test_what_a_rule_was_asked_of_is_freed(text: str) -> None:
    """Nothing stays in memory, whether the rule could be evaluated or not: a service checks its rules at every reload."""
    gc.collect()
    before = sum(type(each) is Values for each in gc.get_objects())
    rule = Rule(text)
    for _ in range(10):
        rule.answer(Values(VALUES))
        rule.answer(VALUES)
    gc.collect()
    assert sum(type(each) is Values for each in gc.get_objects()) == before
