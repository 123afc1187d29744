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
_WEIGHT: Mapping[str, int] = {outcome: -STRENGTH.index(outcome) for outcome in HEARD}


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
    occasions: dict[tuple[str, str | int], Contact] = {}
    for contact in contacts:
        weight = _WEIGHT.get(contact.outcome)
        if weight is None:
            continue
        occasion = (contact.offer_id, contact.decision_id or contact.at_ms)
        known = occasions.get(occasion)
        if known is None or weight > _WEIGHT[known.outcome]:
            occasions[occasion] = contact
    counts: dict[str, list[float]] = {}
    since = now_ms - HEARD_MS
    for contact in occasions.values():
        count = counts.get(contact.offer_id)
        if count is None:
            count = counts[contact.offer_id] = [0.0, 0.0, 0.0]
        if contact.outcome == "accepted":
            count[0] += 1.0
        elif contact.outcome == "declined":
            count[1] += 1.0
        if contact.at_ms > since:
            count[2] += 1.0
    return {offer_id: Past._make(count) for offer_id, count in counts.items()}
