"""What came of an offer when this customer met it before: columns of the pair, so that a model knows a no when it hears one.

Without them an offer that was declined twice is foretold as if it were new, and "the same offer three times" is what
customers leave for. The contact limits of the funnel forbid; these columns tell how likely a yes still is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from nba.clock import DAY_MS
from nba.domain import STRENGTH, Column, Contact, Outcome

# What reached the customer's ear. What was only shown to the agent, or skipped by them, did not.
HEARD: frozenset[Outcome] = frozenset({"accepted", "declined", "later", "spoken"})
HEARD_MS = 30 * DAY_MS


class Past(NamedTuple):
    """How often this customer accepted and declined this offer before now, and heard it in the last 30 days; NaN: unknown.

    An occasion is one decision (one moment, where a contact names no decision), its strongest outcome counts, and the
    window is exact: now - 30 days < at <= now.
    """

    accepted_before: float
    declined_before: float
    heard_30d: float


NEVER = Past(0.0, 0.0, 0.0)
UNKNOWN = Past(math.nan, math.nan, math.nan)
NO_PAST: Mapping[str, Past] = MappingProxyType({})
PAST_COLUMNS = tuple(Column(f"pair.{name}", "number") for name in Past._fields)


def pasts(contacts: Sequence[Contact], now_ms: int) -> Mapping[str, Past]:
    """The past of each offer that this customer has heard, by offer id; the others have `NEVER`.

    `contacts`: those up to `now_ms`, in order of time.
    """
    strongest: dict[tuple[str, str | int], Contact] = {}
    for contact in contacts:
        if contact.outcome in HEARD:
            occasion = (contact.offer_id, contact.decision_id or contact.at_ms)
            known = strongest.setdefault(occasion, contact)
            if STRENGTH.index(contact.outcome) < STRENGTH.index(known.outcome):
                strongest[occasion] = contact
    found: dict[str, Past] = {}
    for contact in strongest.values():
        accepted, declined, heard = found.get(contact.offer_id, NEVER)
        found[contact.offer_id] = Past(
            accepted + (contact.outcome == "accepted"),
            declined + (contact.outcome == "declined"),
            heard + (contact.at_ms > now_ms - HEARD_MS),
        )
    return found
