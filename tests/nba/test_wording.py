"""Numbers and money as the locale writes them, against Babel's own."""

from __future__ import annotations

import pytest
from babel.numbers import format_currency, format_decimal
from hypothesis import given
from hypothesis import strategies as st

from nba.wording import clean, spec_problem, wording, write


@pytest.mark.parametrize(
    ("locale", "currency"),
    [("en", "EUR"), ("de", "EUR"), ("en_US", "USD"), ("fr", "EUR"), ("de_CH", "CHF"), ("ja", "JPY")],
)
@given(cents=st.integers(-10_000_000, 10_000_000))
def test_money_and_numbers_are_written_as_babel_writes_them(locale: str, currency: str, cents: int) -> None:
    """The quick formatter differs from the kept library in nothing."""
    words = wording(locale, currency)
    value = cents / 100
    if currency == "JPY":
        value = float(cents)
    assert words.money(value) == format_currency(value, currency, locale=locale)
    assert words.number(value, 2) == format_decimal(value, "#,##0.00", locale=locale)


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (2.14, "up.1f", "2.2"), (2.1, "up.1f", "2.1"), (2.19, "down.1f", "2.1"), (2.14, ".1f", "2.1"), (3.0, "", "3"),
        (0.125, ".0%", "12 %"), (1234.5, ".1f", "1,234.5"), (1, "plural|day|days", "day"), (2, "plural|day|days", "days"),
        (7.5, "money", "€7.50"), (-7.5, "money", "-€7.50"), (1099.6, "up.0f", "1,100"),
        (-0.004, "", "0.00"), (-0.004, "money", "€0.00"), (0.3 - 0.1 - 0.2, "money", "€0.00"), (-0.4, "d", "0"),
        (-0.04, "up.1f", "0.0"), (-0.04, "down.1f", "-0.1"), (-0.001, ".0%", "0 %"), (-0.005001, "money", "-€0.01"),
    ],
)  # fmt: skip
def test_a_format_spec_does_what_it_says(value: float, spec: str, text: str) -> None:
    """up and down round in decimal, so that 2.1 stays 2.1."""
    assert write(value, spec, wording("en", "EUR")) == text
    assert spec_problem(spec) is None


@given(st.decimals(-1000, 1000, places=4).map(float), st.integers(0, 3))
def test_directed_rounding_never_crosses_the_value(value: float, decimals: int) -> None:
    """At most is at least the value, at least is at most it, and neither is further off than one last digit."""
    words = wording("en", "EUR")
    up, down = (float(words.number(value, decimals, way).replace(",", "")) for way in ("up", "down"))
    assert down <= value <= up and up - down <= 10**-decimals + 1e-9


@pytest.mark.parametrize("spec", ["x", "r", ".1e", "!r", "plural|a", "plural|a|b|c", "10f", "up"])
def test_other_specs_are_named(spec: str) -> None:
    """A spec that is not known is a problem for nba check, `up` alone excepted."""
    assert spec == "up" or spec_problem(spec)


def test_a_name_cannot_break_the_line() -> None:
    """Control and direction characters become blanks."""
    assert clean("Kr\naus\u202e  \x00Hans") == "Kr aus Hans"
