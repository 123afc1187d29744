"""The contacts of a customer as a log tells of them, for a decision whose case is rebuilt from columns."""

from __future__ import annotations

import numpy as np

from features.contacts import MAX_CONTACTS
from models.dataset import Decisions, repeated_rows
from nba.config import Catalog
from nba.domain import OUTCOMES, Contact
from nba.funnel import COUNTED

_COUNTED = np.array([OUTCOMES.index(word) for word in sorted(COUNTED)], dtype=np.int8)


class LoggedContacts:
    """Who had met which offer before a row. Back-tests and repeated rows met nobody.

    A row counts from the moment of its decision on, whenever its outcome came in.
    """

    def __init__(self, decisions: Decisions, catalog: Catalog) -> None:
        met = np.flatnonzero(np.isin(decisions.outcome, _COUNTED) & ~decisions.backtest & ~repeated_rows(decisions))
        self._decisions, self._offers = decisions, [offer.id for offer in catalog.offers]
        self._rows = met[np.lexsort((decisions.at_ms[met], decisions.customer[met]))]
        self._customers, self._at_ms = decisions.customer[self._rows], decisions.at_ms[self._rows]

    def before(self, row: int) -> tuple[Contact, ...]:
        """The newest contacts before this row's moment, as many as the store keeps, in order of time."""
        first, end = np.searchsorted(
            self._customers, [self._decisions.customer[row], self._decisions.customer[row] + 1]
        )
        until = first + int(np.searchsorted(self._at_ms[first:end], self._decisions.at_ms[row]))
        return tuple(self._contact(int(met)) for met in self._rows[max(first, until - MAX_CONTACTS) : until])

    def _contact(self, row: int) -> Contact:
        of = self._decisions
        offer, outcome = self._offers[int(of.offer[row])], OUTCOMES[int(of.outcome[row])]
        return Contact(int(of.at_ms[row]), offer, outcome, "", decision_id=str(of.decision[row]))
