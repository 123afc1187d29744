"""The columns that only a pair of customer and offer has, for many rows: what it costs, saves, earns, if it covers, its past.

The journal logs them as served and then they are read. For a history without them they are computed by the same
function that serving calls; where no offer has a formula they depend on the own plan and the offer alone: one table.
The past of a pair is then counted in the log's own rows (models/past.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.batch import Batch
from models.schema import SchemaColumn
from nba.candidates import MONEY_COLUMNS, CatalogRules, make_candidate, make_candidates, money_values, rule_values
from nba.config import Config
from nba.domain import Column
from nba.past import PAST_COLUMNS
from nba.rules import Names, Rule, Value, Values

MONEY_NAMES = tuple(column.name for column in MONEY_COLUMNS)
PAST_NAMES = tuple(column.name for column in PAST_COLUMNS)
PAIR_NAMES = MONEY_NAMES + PAST_NAMES
Reading = tuple[str, str]  # scope and name, as a rule writes them
# The past of pairs: decision rows and offers (catalog places), two arrays of one shape, to float64 (..., len(PAST_NAMES)).
Before = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


class Pairs:
    """The wanted pair columns, by name. `reads`: the columns that it needs of a batch."""

    def __init__(self, config: Config, wanted: Sequence[str], rules: CatalogRules | None = None) -> None:
        """`rules`: those of the catalog where they are compiled already, which takes longer than most batches."""
        self._config = config
        self._wanted = list(wanted)
        self._rules = rules or CatalogRules(config.catalog)
        self._inputs = _formula_inputs(config, self._rules)
        self._names = Names(name for rule in _formulas(self._rules) for name in rule.variables)
        inputs = [column.name for column in self._inputs.values()]
        self.reads = list(dict.fromkeys(["x.plan", *inputs, *wanted])) if wanted else []

    def values(self, batch: Batch, offers: NDArray[np.int32], before: Before) -> NDArray[np.float64]:
        """As logged, else computed: float64 (rows, wanted columns), NaN where unknown; `offers` (rows,): catalog places.

        Money that is empty in a log was unknown; an empty past was never asked for (an older version wrote the row, or the
        contacts could not be read), and the log knows it.
        """
        found = {name: batch.numbers(SchemaColumn(name, "number")) for name in self._wanted if batch.has(name)}
        lacking = set(self._wanted) - found.keys()
        if not lacking.isdisjoint(MONEY_NAMES):
            money = dict(zip(MONEY_NAMES, self._money(batch, offers).T, strict=True))
            found |= {name: money[name] for name in lacking & money.keys()}
        past = [name for name in self._wanted if name in PAST_NAMES]
        if any(name in lacking or np.isnan(found[name]).any() for name in past):
            told = dict(zip(PAST_NAMES, before(batch.rows, offers.astype(np.int64)).T, strict=True))
            found |= {name: _filled(found.get(name), told[name]) for name in past}
        return np.stack([found[name] for name in self._wanted], axis=1)

    def of_all(self, batch: Batch, before: Before) -> NDArray[np.float64]:
        """All pair columns of each row with every offer, computed: float64 (rows, offers, pair columns)."""
        offers = np.arange(len(self._rules.offers))
        past = before(*np.broadcast_arrays(batch.rows[:, None], offers))
        return np.concatenate([self._money_of_all(batch), past], axis=2)

    def _money_of_all(self, batch: Batch) -> NDArray[np.float64]:
        if not self._has_formulas:
            return self._table[self._own_plans(batch)]
        found = [
            [money_values(c) for c in make_candidates(self._rules, values, profile)]
            for values, profile in self._customers(batch)
        ]
        return np.array(found).reshape(-1, len(self._rules.offers), len(MONEY_NAMES))

    def _money(self, batch: Batch, offers: NDArray[np.int32]) -> NDArray[np.float64]:
        if not self._has_formulas:
            return self._table[self._own_plans(batch), offers]
        pairs = zip(self._customers(batch), offers.tolist(), strict=True)
        found = [money_values(make_candidate(self._rules, *customer, offer)) for customer, offer in pairs]
        return np.array(found).reshape(-1, len(MONEY_NAMES))

    @property
    def _has_formulas(self) -> bool:
        return any(rules.cost or rules.covers for rules in self._rules.offers)

    def _customers(self, batch: Batch) -> Iterator[tuple[Values, dict[str, Value]]]:
        """What the formulas see of each row: the flat variables, and the profile with the own plan."""
        owns = self._own_plans(batch).tolist()
        inputs = [_listed(batch, column) for column in self._inputs.values()]
        rows = zip(*inputs, strict=True) if inputs else iter([()] * len(owns))
        for row, own in zip(rows, owns, strict=True):
            yield self._customer(row, own)

    def _own_plans(self, batch: Batch) -> NDArray[np.int64]:
        """The place of the own plan in the catalog, one beyond its end where there is none such."""
        offers = self._config.catalog.offers
        field = self._config.features.profile.get("plan")
        column = SchemaColumn("x.plan", "category", None if field is None else field.default)
        known = pa.array([offer.id for offer in offers], pa.large_string())
        places = pc.index_in(batch.words(column), value_set=known)
        return pc.fill_null(places, len(offers)).to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]

    def _customer(self, row: Sequence[Value], own: int) -> tuple[Values, dict[str, Value]]:
        given: dict[str, dict[str, Value]] = {"features": {}, "profile": {}, "context": {}}
        for (scope, name), value in zip(self._inputs, row, strict=True):
            given[scope][name] = value
        plan = self._config.catalog.offers[own] if own < len(self._config.catalog.offers) else None
        features = {name: float(value) for name, value in given["features"].items() if isinstance(value, float)}
        values = rule_values(features, given["profile"], given["context"], plan, self._names)
        return values, {} if plan is None else {"plan": plan.id}

    @cached_property
    def _table(self) -> NDArray[np.float64]:
        """(own plans and none, offers, money columns) for a catalog without formulas."""
        plans: list[Value] = [*(offer.id for offer in self._config.catalog.offers), None]
        profiles: list[dict[str, Value]] = [{"plan": plan} for plan in plans]
        rows = [[money_values(c) for c in make_candidates(self._rules, Values({}), profile)] for profile in profiles]
        return np.array(rows, dtype=np.float64)


def _filled(logged: NDArray[np.float64] | None, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return otherwise if logged is None else np.where(np.isnan(logged), otherwise, logged)


def pair_place(name: str) -> int:
    """Where a pair column stands among all of them."""
    return PAIR_NAMES.index(name)


def _formulas(rules: CatalogRules) -> list[Rule]:
    return [rule for offer in rules.offers for rule in (offer.cost, offer.covers) if rule is not None]


def _formula_inputs(config: Config, rules: CatalogRules) -> dict[Reading, Column]:
    """What the formulas of cost and cover read, with the typed column that holds it; text fields are not in the log."""
    read = sorted({reading for rule in _formulas(rules) for reading in rule.reads})
    columns = {column.name: column for column in config.features.columns}
    scopes = {
        "features": {feature.name for feature in config.features.features},
        "profile": set(config.features.profile),
        "context": set(config.features.context),
    }
    found = [(s, n) for s, n in read if n in scopes.get(s, ()) and n in columns]
    return {(s, n): Column(f"x.{n}", columns[n].dtype, columns[n].default) for s, n in found}


def _listed(batch: Batch, column: Column) -> list[Value]:
    """A column as Python values, as rules see them: float, bool or str, None or NaN where missing."""
    typed = SchemaColumn(column.name, column.dtype, column.default)
    if column.dtype == "category":
        return batch.words(typed).to_pylist()  # type: ignore[no-any-return]
    numbers = batch.numbers(typed).tolist()
    if column.dtype == "boolean":
        return [None if number != number else bool(number) for number in numbers]
    return numbers  # type: ignore[no-any-return]
