"""How far does somebody get who sees what the engine sees? A contender that is told the truth of every offer afterwards.

After each call it hears the true gain of every offer that could have been said, without noise, and learns that gain from
the engine's own columns. No company can know this. What it still misses lies in needs that leave no trace in the columns,
in too few calls to learn from, or in how it learns: it is no upper bound. What the parts are worth: docs/adr/0003.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from nba.candidates import Candidate, pair_values
from nba.config import Catalog
from nba.simulate.policies import Choice, Oracle, RandomPassed, Situation
from nba.simulate.population import World
from nba.simulate.value import market_of

_PARAMETERS = {"objective": "regression", "learning_rate": 0.03, "min_data_in_leaf": 30, "verbosity": -1, "num_threads": 1,
               "deterministic": True, "force_row_wise": True, "seed": 0}  # fmt: skip
_TREES = 400


class Told(RandomPassed):
    """Greedy on the gain it has learnt; by chance until it has learnt anything."""

    name = "told the truth"

    def __init__(self, catalog: Catalog, world: World) -> None:
        self._oracle = Oracle(market_of(catalog), world)
        self._codes: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._rows: list[list[float]] = []
        self._gains: list[float] = []
        self._model: lgb.Booster | None = None

    def choose(self, situation: Situation) -> Choice | None:
        """Hears the truth after it has chosen."""
        if not situation.sayable:
            return None
        rows = [self._row(situation, candidate) for candidate in situation.sayable]
        self._rows += rows
        self._gains += self._oracle.gains(situation)
        if self._model is None:
            return super().choose(situation)
        found: NDArray[np.float64] = np.asarray(self._model.predict(np.array(rows)))
        best = int(found.argmax())
        return Choice(situation.sayable[best], 1.0) if found[best] > 0 else None

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """From everything it was ever told."""
        data = lgb.Dataset(np.array(self._rows), np.array(self._gains))
        self._model = lgb.train(_PARAMETERS, data, _TREES)

    def _row(self, situation: Situation, candidate: Candidate) -> list[float]:
        own, offer = situation.case.own, candidate.offer
        of_offer = {"offer": offer.id, "kind": offer.kind, "own margin": own.margin_month if own else 0.0}
        given = {**situation.case.columns, **of_offer}
        return [*(self._number(name, value) for name, value in given.items()), *pair_values(candidate)]

    def _number(self, name: str, value: Any) -> float:
        if value is None:
            return float("nan")
        if isinstance(value, str):
            return self._codes[name].setdefault(value, float(len(self._codes[name])))
        return float(value)
