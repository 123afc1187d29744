"""The profile of a customer as it is kept: one JSON value with the moment at which it was given."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from nba.rules import Value


def dump_profile(profile: Mapping[str, Value], at_ms: int) -> bytes:
    """The profile and when it was given. A PUT replaces the whole profile, so the last one written stands."""
    return orjson.dumps({"at": at_ms, "profile": dict(profile)})


def read_profile(raw: bytes | None) -> tuple[dict[str, Value], int | None, bool]:
    """The profile, its moment, and whether it could not be read."""
    if raw is None:
        return {}, None, False
    try:
        kept = orjson.loads(raw)
        return dict(kept["profile"]), int(kept["at"]), False
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return {}, None, True
