"""The past of a pair (see nba/past.py) counted from the log itself, where it was not logged as served.

A company's own history and logs of older versions have no such columns; who heard what before stands in their rows.
A row counts from the moment on at which its outcome came in (`outcome_at`): what a customer answered days later nobody
knew in the calls between, and a model that were told would foretell outcomes from themselves. Where the log does not say
when, an outcome is taken as known since its decision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset import Decisions, repeated_rows
from nba.domain import OUTCOMES
from nba.past import HEARD, HEARD_MS

_HEARD = np.array([OUTCOMES.index(word) for word in sorted(HEARD)], dtype=np.int8)


@dataclass(frozen=True, slots=True)
class PastRows:
    """Rows (m,) in which a customer heard an offer, sorted by customer, offer and moment.

    `offers`: of the catalog. `moments` int64 (k,): when their outcomes came in, distinct and sorted. `places` int64 (m,):
    customer, offer and rank of the moment in one number, sorted: what came before a row is then two searches. `accepted`,
    `declined` float64 (m + 1,): counted up to each row.
    """

    offers: int
    moments: NDArray[np.int64]
    places: NDArray[np.int64]
    accepted: NDArray[np.float64]
    declined: NDArray[np.float64]

    def before(
        self, customer: NDArray[np.int64], offer: NDArray[np.int64], at_ms: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The past of pairs at their moments, in the order of `Past`: float64 (..., 3) for three arrays of one shape.

        Strictly before: rows of the same moment are the same call.
        """
        group = (customer * self.offers + offer) * (len(self.moments) + 1)
        first = np.searchsorted(self.places, group)
        until = np.searchsorted(self.places, group + np.searchsorted(self.moments, at_ms))
        since = np.searchsorted(self.moments, at_ms - HEARD_MS, side="right")
        recent = np.searchsorted(self.places, group + since)
        columns = (
            self.accepted[until] - self.accepted[first],
            self.declined[until] - self.declined[first],
            (until - np.minimum(recent, until)).astype(np.float64),
        )
        return np.stack(columns, axis=-1)


def past_rows(decisions: Decisions, offers: int) -> PastRows:
    """Who heard what, and when. `offers`: how many the catalog has. Back-tests and repeated rows told nobody anything."""
    heard = np.isin(decisions.outcome, _HEARD) & ~decisions.backtest & ~repeated_rows(decisions)
    moments, rank = np.unique(decisions.known_ms[heard], return_inverse=True)
    pair = decisions.customer[heard].astype(np.int64) * offers + decisions.offer[heard]
    places = pair * (len(moments) + 1) + rank
    order = np.argsort(places, kind="stable")
    outcome = decisions.outcome[heard][order]
    accepted, declined = (_counted(outcome == OUTCOMES.index(word)) for word in ("accepted", "declined"))
    return PastRows(offers, moments, places[order], accepted, declined)


def _counted(hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(hit)])
