"""The profile of a customer as it is kept: one JSON value with the moment at which it was given."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from features.packing import LAST_MS
from nba.clock import YEAR_2000_MS
from nba.rules import Value

_PLAIN = frozenset({str, float, int, bool, type(None)})


def dump_profile(profile: Mapping[str, Value], at_ms: int) -> bytes:
    """The profile and when it was given. A PUT replaces the whole profile, so the last one written stands."""
    return orjson.dumps({"at": at_ms, "profile": dict(profile)})


def read_profile(raw: bytes | None) -> tuple[dict[str, Value], int | None, bool]:
    """The profile, its moment, and whether something of it could not be read; what could be is there."""
    if raw is None:
        return {}, None, False
    try:
        kept = orjson.loads(raw)
        given, at_ms = kept["profile"], kept["at"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}, None, True
    if type(given) is not dict:
        return {}, None, True
    fields = {name: value for name, value in given.items() if type(value) in _PLAIN}
    possible = type(at_ms) is int and YEAR_2000_MS <= at_ms < LAST_MS
    return fields, at_ms if possible else None, not possible or len(fields) < len(given)
