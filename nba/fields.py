"""A profile or a context as it came in, held against the types that features.yaml declares."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping

from nba.config import FieldType
from nba.errors import ProfileError
from nba.rules import Value

MAX_TEXT = 256
_WORDS = reprlib.Repr()
_WORDS.maxstring = _WORDS.maxother = _WORDS.maxlong = 100
_FITTING: Mapping[FieldType, frozenset[type]] = {
    "number": frozenset({float, int}),
    "boolean": frozenset({bool}),
    "category": frozenset({str}),
    "text": frozenset({str}),
}


def typed(raw: Mapping[str, object], types: Mapping[str, FieldType], pointer: str) -> dict[str, Value]:
    """The values of `raw`, numbers as float, null kept as None.

    Raises ProfileError, whose `pointer` is the JSON pointer of the first field that is unknown or of the wrong type.
    """
    return {name: _value(name, value, types, f"{pointer}/{escaped(name)}") for name, value in raw.items()}


def misfits(kept: Mapping[str, Value], types: Mapping[str, FieldType]) -> list[str]:
    """The fields that were kept before features.yaml declared another type for them. Undeclared ones are nobody's concern."""
    return [
        name
        for name, value in kept.items()
        if value is not None and name in types and type(value) not in _FITTING[types[name]]
    ]


def shown(value: object) -> str:
    """What somebody sent, short enough for a message. JSON may be nested more deeply than Python writes it down."""
    return _WORDS.repr(value)


def escaped(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def _value(name: str, value: object, types: Mapping[str, FieldType], pointer: str) -> Value:
    wanted = types.get(name)
    if wanted is None:
        raise ProfileError(f"{name!r} is not declared in features.yaml: declare it there or leave it out", pointer)
    if value is None:
        return None
    if wanted == "boolean":
        return _boolean(value, pointer)
    if wanted == "number":
        return _number(value, pointer)
    return _text(value, pointer)


def _boolean(value: object, pointer: str) -> bool:
    if isinstance(value, bool):
        return value
    raise ProfileError(f"{shown(value)} is not a truth value: write true or false, without quotes", pointer)


def _number(value: object, pointer: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProfileError(f"{shown(value)} is not a number: write it without quotes", pointer)
    try:
        number = float(value)
    except OverflowError as error:
        raise ProfileError("the number is too large: give one that fits a float64", pointer) from error
    if not math.isfinite(number):
        raise ProfileError(f"{value!r} is not a finite number: leave the field out when it is unknown", pointer)
    return number


def _text(value: object, pointer: str) -> str:
    if not isinstance(value, str):
        raise ProfileError(f"{shown(value)} is not text: write it in quotes", pointer)
    if len(value) > MAX_TEXT:
        raise ProfileError(f"longer than {MAX_TEXT} characters: shorten it", pointer)
    return value
