"""The four values of a customer as one noun: the same for the store, for replays and for tests. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from features import contacts, thread
from features.calendar import local_day
from features.compute import Settled, newest_ms, settle, vector
from features.profile import read_profile
from features.spec import FeatureSpec
from nba.domain import Customer
from nba.rules import Value

_PARTS = ("activity", "profile", "contacts", "thread")


def customer(
    customer_id: str,
    log: bytes | Settled,
    profile: bytes | None,
    met: bytes,
    told: bytes,
    now_ms: int,
    spec: FeatureSpec,
    *,
    entries: int | None = None,
) -> Customer:
    """What is known at `now_ms` from the values of `features.keys.CustomerKeys`; empty bytes where there is none.

    `log`: as it lies there, or settled already.
    `entries`: how much of the thread is wanted, its newest lines; all that is kept (`thread_events`) where not given.
    """
    settled = log if isinstance(log, Settled) else settle(log, spec)
    fields, profile_at_ms, profile_damaged = read_profile(profile)
    known_contacts, contacts_damaged = contacts.read_contacts(met, now_ms)
    story = thread.read_story(told, settled.records, now_ms, spec, entries)
    damage = (settled.damaged, profile_damaged, contacts_damaged, story.damaged)
    degraded = tuple(name for name, bad in zip(_PARTS, damage, strict=True) if bad) if any(damage) else ()
    return Customer(
        customer_id=customer_id,
        features=dict(zip(spec.names, vector(settled, now_ms, spec).tolist(), strict=True)),
        profile=_as_of(now_ms, fields, profile_at_ms, spec) if spec.aging else fields,
        profile_at_ms=profile_at_ms,
        contacts=known_contacts,
        thread=story.entries,
        open_issues=story.open_issues,
        closed_ms=story.closed[0],
        closed_in=story.closed[1],
        bad_experience_ms=story.bad_experience[0],
        bad_experience_in=story.bad_experience[1],
        intents=story.intents,
        activity_at_ms=newest_ms(settled, now_ms),
        degraded=degraded,
    )


def _as_of(now_ms: int, fields: dict[str, Value], given_ms: int | None, spec: FeatureSpec) -> dict[str, Value]:
    """The profile with its counted days moved on, calendar days in the config's zone: 24 days ago "in 30 days" is 6 days now."""
    if given_ms is None:
        return fields
    zone = spec.config.timezone
    days = local_day(now_ms, zone) - local_day(given_ms, zone)
    moved: dict[str, Value] = {}
    for name, a_day in spec.aging.items() if days else ():
        value = fields.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            moved[name] = value + days * a_day
    return fields | moved


def with_damage(known: Customer, places: Sequence[int]) -> Customer:
    """The customer when the values at these places of `features.keys.CustomerKeys` could not be read at all."""
    unread = {_PARTS[place] for place in places}
    return replace(known, degraded=tuple(part for part in _PARTS if part in unread or part in known.degraded))
