"""The target policy of `nba evaluate ope`: what this config and that model would have put first in each logged decision."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.dataset import Decisions
from models.scorer import Scorer
from models.sources import Source, cast_column
from nba.candidates import pair_values
from nba.config import Config
from nba.decide import Case, Decider, Request
from nba.domain import STAGES, Column, Contact, Customer, Stage
from nba.errors import DataError
from nba.evaluate.reward import Pairs
from nba.rules import Value
from serving.record import customer_of, request_of

Array = NDArray[np.float64]
MOST_LEVELS = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """One decision as the target sees it, offers by their place in the catalog.

    `said` (k,): every offer that could come first, `probability` (k,) of that. `pairs` (k + 1, pair columns): of these offers
    and, last, of the logged one; `foretold`: how likely the model finds it that the logged one is accepted.
    """

    said: NDArray[np.int64]
    probability: Array
    pairs: Array
    foretold: float
    x: Mapping[str, Value]
    silent: Stage | None = None


class Target:
    """The policy of a config with a model. `logged`: the place of the offer that was said."""

    def __init__(self, config: Config, scorer: Scorer) -> None:
        self.config = config
        self._decider = Decider(config)
        self._scorer = scorer
        self._places = {offer.id: place for place, offer in enumerate(config.catalog.offers)}

    def of_record(self, record: Mapping[str, Any], logged: int) -> Seen:
        """A recorded decision: the whole case, as it was. Raises DataError when this config lacks what it was made with."""
        try:
            customer = customer_of(record, self.config)
        except KeyError as error:
            raise DataError(
                f"decision {record['decision_id']} was recorded without feature {error}: it was made with another "
                "features.yaml; evaluate with the config that it was made with, or newer decisions only"
            ) from error
        return self._see(self._decider.case(customer, request_of(record)), logged)

    def of_columns(
        self,
        decision_id: str,
        customer_id: str,
        at_ms: int,
        x: Mapping[str, Value],
        logged: int,
        contacts: tuple[Contact, ...] = (),
        interaction_id: str | None = None,
    ) -> Seen:
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
        return self._see(self._decider.case(customer, request), logged)

    def _see(self, case: Case, logged: int) -> Seen:
        scores = self._scorer.score(case.columns, case.candidates)
        first = self._decider.first_rank(case, scores)
        probabilities = {self._places[offer]: p for offer, p in first.items() if p > 0}
        return Seen(
            said=np.array(list(probabilities), dtype=np.int64),
            probability=np.array(list(probabilities.values()), dtype=np.float64),
            pairs=np.array([pair_values(case.candidates[place]) for place in (*probabilities, logged)]),
            foretold=float(scores.accept[logged]),
            x=case.columns,
            silent=None if first else _last_stage(case),
        )


def _last_stage(case: Case) -> Stage:
    stages = {withheld.stage for withheld in case.withheld}
    return "arbitration" if case.sayable else max(stages, key=STAGES.index, default="eligibility")


@dataclass
class Gathered:
    """Decisions seen so far, as lists that become arrays."""

    seen: list[Seen]

    def target(self, offers: int) -> Array:
        """P(offer first) (n, offers)."""
        found = np.zeros((len(self.seen), offers))
        for row, one in enumerate(self.seen):
            found[row, one.said] = one.probability
        return found

    def design(self, offer: NDArray[np.int64], offers: int, columns: tuple[Column, ...]) -> tuple[Array, Pairs]:
        """Columns of the logged offers (n, k), and the pairs that the target may say, for the reward model."""
        x, one_of = encoded([one.x for one in self.seen], columns), np.eye(offers)
        row = np.repeat(np.arange(len(self.seen)), [len(one.said) for one in self.seen])
        said = np.concatenate([one.said for one in self.seen])
        probability = np.concatenate([one.probability for one in self.seen])
        pairs = np.nan_to_num(np.concatenate([one.pairs[:-1] for one in self.seen]))

        def join(rows: NDArray[np.int64], place: NDArray[np.int64], pair: Array) -> Array:
            return np.concatenate([x[rows], one_of[place], pair], axis=1)

        every = np.arange(len(offer))
        return (
            join(every, offer, self.logged_pairs()),
            Pairs(row, probability, lambda some: join(row[some], said[some], pairs[some])),
        )

    def logged_pairs(self) -> Array:
        """The pair columns (n, k) of the logged offers, 0 where unknown."""
        found: Array = np.nan_to_num(np.stack([one.pairs[-1] for one in self.seen]))
        return found


def encoded(rows: list[Mapping[str, Value]], columns: tuple[Column, ...]) -> Array:
    """Numbers with missing ones at their mean and a flag, categories as their most frequent levels, one column each."""
    parts: list[Array] = []
    for column in columns:
        values = [row.get(column.name) for row in rows]
        if column.dtype == "category":
            parts += _levels(values)
            continue
        numbers = np.array([number_or_nan(value) for value in values], dtype=np.float64)
        missing = np.isnan(numbers)
        if missing.all():
            continue
        parts.append(np.where(missing, numbers[~missing].mean(), numbers))
        if missing.any():
            parts.append(missing.astype(np.float64))
    return np.stack(parts, axis=1) if parts else np.zeros((len(rows), 0))


def _levels(values: list[Value]) -> Iterator[Array]:
    words, counts = np.unique(np.array([str(v) for v in values]), return_counts=True)
    for word in words[np.argsort(-counts, kind="stable")][1 : MOST_LEVELS + 1]:
        yield np.array([float(str(v) == word) for v in values])


def number_or_nan(value: Value) -> float:
    """NaN for what is missing and for a word."""
    return float("nan") if value is None or isinstance(value, str) else float(value)


def x_rows(
    decisions: Decisions, wanted: Collection[int], columns: tuple[Column, ...]
) -> Iterator[tuple[int, dict[str, Value]]]:
    """(row, x values by name) of the wanted rows, in the types that the config declares, read as training reads them.

    Raises DataError for a column of a wrong type.
    """
    types = {f"x.{column.name}": column for column in columns}
    for source in decisions.sources:
        first = source.first
        for batch in source.batches(list(types)):
            here = [offset for offset in range(batch.num_rows) if first + offset in wanted]
            some = batch.take(pa.array(here, pa.int64()))  # Python values of the others would take most of the time
            table = {name: _cast(source, types[name], some.column(name)) for name in batch.schema.names}
            for place, offset in enumerate(here):
                yield first + offset, {name[2:]: _typed(types[name], values[place]) for name, values in table.items()}
            first += batch.num_rows


def _cast(source: Source, column: Column, values: pa.Array) -> list[Any]:
    wanted = pa.large_string() if column.dtype == "category" else pa.float64()
    boolean = column.dtype == "boolean"
    found: list[Any] = cast_column(source, f"x.{column.name}", values, wanted, boolean=boolean).to_pylist()
    return found


def _typed(column: Column, value: Any) -> Value:
    if value is None or value != value:
        return None
    if column.dtype == "category":
        return str(value)
    return bool(value) if column.dtype == "boolean" else float(value)
