"""Numbers, money and plurals as a locale writes them.

The symbols and patterns are Babel's (CLDR); only the formatting itself is done here, because Babel's own takes 30 µs a
number and a decision formats several. A property test holds it against Babel.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.numbers import (
    get_currency_precision,
    get_currency_symbol,
    get_decimal_symbol,
    get_group_symbol,
    get_minus_sign_symbol,
    is_currency,
)

_SPEC = re.compile(r"^(?P<round>up|down)?(?:\.(?P<decimals>\d))?(?P<type>f|d|%)?$")
_ROUNDING = {"up": ROUND_CEILING, "down": ROUND_FLOOR, None: ROUND_HALF_EVEN}


class Wording:
    """How one locale writes the numbers and the money of one currency."""

    def __init__(self, locale: str, currency: str) -> None:
        parsed = Locale.parse(locale, sep="-" if "-" in locale else "_")
        self.decimals = minor_digits(currency)
        self._plural = parsed.plural_form
        self._symbols = {ord(","): get_group_symbol(parsed), ord("."): get_decimal_symbol(parsed)}
        pattern = parsed.currency_formats["standard"]
        symbols = {ord("¤"): get_currency_symbol(currency, parsed), ord("-"): get_minus_sign_symbol(parsed)}
        positive, negative = zip(pattern.prefix, pattern.suffix, strict=True)
        self._around = {False: [p.translate(symbols) for p in positive], True: [p.translate(symbols) for p in negative]}

    def number(self, value: float, decimals: int, rounding: str | None = None) -> str:
        """`value` with so many decimals. `rounding`: up, down (exact, in decimal), or None for the nearest."""
        return _digits(value + 0.0, decimals, rounding).translate(self._symbols)

    def money(self, value: float) -> str:
        """`value` in the currency's own decimals."""
        before, after = self._around[round(value, self.decimals) < 0]
        return f"{before}{self.number(abs(value), self.decimals)}{after}"

    def plural(self, value: float, forms: list[str]) -> str:
        """The form of a noun for this number, from `one|other` (or `one|few|many|other`)."""
        names = ["one", "other"] if len(forms) == 2 else ["one", "few", "many", "other"]
        return dict(zip(names, forms, strict=False)).get(self._plural(value), forms[-1])


@lru_cache(maxsize=64)
def wording(locale: str, currency: str) -> Wording:
    """The wording of a locale; English where the locale is unknown to CLDR."""
    try:
        return Wording(locale, currency)
    except (UnknownLocaleError, ValueError):
        return Wording("en", currency)


def minor_digits(currency: str) -> int:
    """How many decimals a currency has: 2 for EUR, 0 for JPY."""
    return int(get_currency_precision(currency))


def known_currency(currency: str) -> bool:
    """Whether it is a code of ISO 4217, one of today or of before."""
    return bool(is_currency(currency))


def known_locale(locale: str) -> bool:
    """Whether CLDR has this locale."""
    try:
        return Locale.parse(locale, sep="-" if "-" in locale else "_") is not None
    except (UnknownLocaleError, ValueError):
        return False


def spec_problem(spec: str) -> str | None:
    """What is wrong with a format spec, or None."""
    if spec in ("", "money") or _SPEC.match(spec):
        return None
    if spec.startswith("plural|") and len(spec.split("|")) in (3, 5):
        return None
    return f"format {spec!r} is not known: use .1f, up.1f, down.1f, d, .0%, money or plural|day|days"


def write(value: object, spec: str, words: Wording) -> str:
    """One value of a template by its format spec: text as it is, numbers and money as the locale writes them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return clean(str(value))
    if spec == "money":
        return words.money(value)
    if spec.startswith("plural|"):
        return words.plural(value, spec.split("|")[1:])
    parsed = _parsed(spec)
    if parsed is None:
        return words.number(value, 0 if float(value).is_integer() else 2)
    rounding, decimals, percent = parsed
    if percent:
        return words.number(value * 100, decimals, rounding) + " %"
    return words.number(value, decimals, rounding)


@lru_cache(maxsize=256)
def _parsed(spec: str) -> tuple[str | None, int, bool] | None:
    """Rounding, decimals, and whether it is a percentage; None: as the number stands."""
    match = _SPEC.match(spec) if spec else None
    return None if match is None else (match["round"], int(match["decimals"] or 0), match["type"] == "%")


def clean(text: str) -> str:
    """Text for one line: control and bidirectional override characters out, runs of blanks to one."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


@lru_cache(maxsize=4096)  # a sentence and its reasons write the same numbers; never -0.0, which equals 0.0
def _digits(value: float, decimals: int, rounding: str | None) -> str:
    # z: nobody owes -0.00, which is what a difference of equal sums often is
    return f"{value if rounding is None else _directed(value, decimals, rounding):z,.{decimals}f}"


def _directed(value: float, decimals: int, rounding: str) -> float:
    if not math.isfinite(value):
        return value
    # Decimal(repr) is the number as people read it: 2.1 must not round up to 2.2 for its binary tail.
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), rounding=_ROUNDING[rounding]))
