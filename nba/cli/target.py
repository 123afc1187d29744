"""The target policy of `nba evaluate ope`: what this config and that model would have put first in each logged decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scorer import Scorer
from nba.candidates import pair_values
from nba.cli.cases import Cases
from nba.cli.columns import number_or_nan
from nba.config import Config
from nba.decide import Case
from nba.domain import STAGES, Column, Stage
from nba.evaluate.reward import Pairs
from nba.rules import Value

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
    """The policy of a config with a model. `cases`: what makes the cases that it is asked about."""

    def __init__(self, config: Config, scorer: Scorer) -> None:
        self.cases = Cases(config)
        self.config = config
        self._scorer = scorer
        self._places = {offer.id: place for place, offer in enumerate(config.catalog.offers)}

    def see(self, case: Case, logged: int) -> Seen:
        """What this policy makes of a case in which the offer at that place was said."""
        scores = self._scorer.score(case.columns, case.candidates)
        first = self.cases.decider.first_rank(case, scores)
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
