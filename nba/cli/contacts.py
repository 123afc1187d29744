"""The contacts of a customer as a log tells of them, for a decision whose case is rebuilt from columns."""

from __future__ import annotations

import numpy as np

from features.contacts import MAX_CONTACTS
from models.dataset import Decisions, repeated_rows
from nba.cli.columns import word_column
from nba.config import Catalog
from nba.domain import OUTCOMES, Contact
from nba.funnel import COUNTED

_SHOWN = OUTCOMES.index("shown")
_COUNTED = np.array([OUTCOMES.index(word) for word in sorted(COUNTED)], dtype=np.int8)


class LoggedContacts:
    """Who had met which offer before a row. Back-tests and repeated rows met nobody.

    Until its outcome came in (`outcome_at`, where the log says it) an offer had been shown and no more.
    """

    def __init__(self, decisions: Decisions, catalog: Catalog) -> None:
        met = np.flatnonzero(np.isin(decisions.outcome, _COUNTED) & ~decisions.backtest & ~repeated_rows(decisions))
        self._decisions, self._offers = decisions, [offer.id for offer in catalog.offers]
        self._interactions = word_column(decisions, "interaction_id")
        self._rows = met[np.lexsort((decisions.at_ms[met], decisions.customer[met]))]
        self._customers, self._at_ms = decisions.customer[self._rows], decisions.at_ms[self._rows]

    def before(self, row: int) -> tuple[Contact, ...]:
        """The newest contacts before this row's moment, as many as the store keeps, in order of time."""
        of = self._decisions
        first, end = np.searchsorted(self._customers, [of.customer[row], of.customer[row] + 1])
        until = first + int(np.searchsorted(self._at_ms[first:end], of.at_ms[row]))
        rows = self._rows[max(first, until - MAX_CONTACTS) : until]
        known = of.known_ms[rows] < of.at_ms[row]
        at_ms = np.where(known, of.known_ms[rows], of.at_ms[rows])
        outcome = np.where(known, of.outcome[rows], _SHOWN)
        columns = (at_ms, of.offer[rows], outcome, of.decision[rows], rows)
        order = np.argsort(at_ms, kind="stable")
        return tuple(
            Contact(at, self._offers[offer], OUTCOMES[word], "", str(decision), self.interaction(met))
            for at, offer, word, decision, met in zip(*(column[order].tolist() for column in columns), strict=True)
        )

    def interaction(self, row: int) -> str | None:
        """The interaction of a row, whose own contacts do not count against it; None where the log does not say."""
        return None if self._interactions is None else self._interactions[row]
