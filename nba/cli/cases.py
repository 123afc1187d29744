"""Logged decisions as the cases they were: from their records, else rebuilt from the columns of a log."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dataset import Decisions
from nba.cli.columns import ids_of, number_or_nan, x_rows
from nba.cli.contacts import LoggedContacts
from nba.cli.records import read_records
from nba.config import Config
from nba.decide import Case, Decider, Request
from nba.domain import Contact, Customer
from nba.errors import DataError, InputError
from nba.rules import Value
from nba.settings import Settings
from serving.record import customer_of, request_of


class Replayed(NamedTuple):
    """A logged decision again. `row`: of its first rank in the log; `recorded`: whole, and not rebuilt from columns."""

    row: int
    case: Case
    recorded: bool


class Cases:
    """Makes cases for the config of today."""

    def __init__(self, config: Config) -> None:
        self.config, self.decider = config, Decider(config)

    def of_record(self, record: Mapping[str, Any]) -> Case:
        """A recorded decision: the whole case, as it was. Raises DataError when this config lacks what it was made with."""
        try:
            customer = customer_of(record, self.config)
        except KeyError as error:
            raise DataError(
                f"decision {record['decision_id']} was recorded without feature {error}: it was made with another "
                "features.yaml; evaluate with the config that it was made with, or newer decisions only"
            ) from error
        return self.decider.case(customer, request_of(record))

    def of_columns(
        self,
        decision_id: str,
        customer_id: str,
        at_ms: int,
        x: Mapping[str, Value],
        contacts: tuple[Contact, ...] = (),
        interaction_id: str | None = None,
    ) -> Case:
        """A decision of another log: the case is rebuilt from the x columns and its earlier rows, without open issues.

        Whom the log has columns of counts as known: else no offer without a sentence would be sold, and nothing would say so.
        """
        fields = self.config.features
        customer = Customer(
            customer_id,
            {f.name: number_or_nan(x.get(f.name)) for f in fields.features},
            profile={name: x[name] for name in fields.profile if x.get(name) is not None},
            contacts=contacts,
            activity_at_ms=at_ms,
        )
        context = {name: x[name] for name in fields.context if x.get(name) is not None}
        request = Request(customer_id, at_ms, decision_id, interaction_id=interaction_id, context=context)
        return self.decider.case(customer, request)

    def replayed(
        self, settings: Settings, path: Path, decisions: Decisions, rows: NDArray[np.int64]
    ) -> Iterator[Replayed]:
        """The decisions of these rows, one a row, in no order: from the records beside them, the rest from their columns.

        Raises DataError and InputError where a case cannot be made.
        """
        ids = ids_of(decisions, set(rows.tolist()))
        row_of, rest = {identifier: row for row, identifier in ids.items()}, set(ids)
        for record in read_records(settings, path, row_of.keys()):
            row = row_of[record["decision_id"]]
            rest.discard(row)
            yield Replayed(row, self.of_record(record), True)
        if rest and not decisions.x_columns:
            raise InputError(
                f"{len(rest):,} decisions have neither a record nor x.* columns, so their cases cannot be made again: "
                "write x.NAME for every feature, as it was served"
            )
        contacts = LoggedContacts(decisions, self.config.catalog)
        for row, x in x_rows(decisions, rest, self.config.features.columns):
            _refuse_infinite(x, decisions.place(row))
            customer = str(decisions.customer_ids[int(decisions.customer[row])])
            of = (ids[row], customer, int(decisions.at_ms[row]), x, contacts.before(row), contacts.interaction(row))
            yield Replayed(row, self.of_columns(*of), False)


def _refuse_infinite(x: Mapping[str, Value], place: str) -> None:
    """Raises DataError: a case cannot be rebuilt from an infinite feature, and one of them would be every mean."""
    for name, value in x.items():
        if isinstance(value, float) and math.isinf(value):
            raise DataError(
                f"{place}: column 'x.{name}': {value} is no number: log what was measured, or leave it empty"
            )
