"""The engine's real training for a simulation: decision rows and delayed outcomes in, a promoted model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from models.learned import Options
from models.registry import Registry
from models.scorer import Scorer
from models.train import train
from nba.clock import DAY_MS
from nba.config import Config
from nba.decide import Case
from nba.domain import Scores
from nba.errors import RefusedError

STAY_AFTER_DAYS = 30  # a round is two months: with the usual 90 days only every other retraining would know who left


class Trainer:
    """What `nba train` does, between two rounds: all rows so far, its gates, its registry. `says`: what came of each time."""

    def __init__(
        self, config: Config, folder: Path, *, seed: int = 0, threads: int = 1, stay_after_days: int = STAY_AFTER_DAYS
    ) -> None:
        self._config, self._registry = config, Registry(folder)
        self._options = Options(
            seed=seed, threads=threads, stay_after_days=stay_after_days, monotone=config.policy.monotone
        )
        self._rows: list[dict[str, Any]] = []
        self._left: list[dict[str, Any]] = []
        self._scorer: Scorer | None = None
        self.says: list[str] = []

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """Train on everything heard so far; the champion stays where a gate says no or nothing can be learnt."""
        self._rows += rows
        self._left += left
        if not self._rows:
            self.says.append("no rows yet")
            return
        self._rows.sort(key=lambda row: row["at"])
        now_ms = int(max(entry["at"] for entry in (*self._rows, *self._left)).timestamp() * 1000) + DAY_MS
        delayed = pa.Table.from_pylist(self._left) if self._left else None
        try:
            report = train(
                pa.Table.from_pylist(self._rows), self._config, self._registry, now_ms=now_ms, delayed=delayed,
                options=self._options,
            )  # fmt: skip
        except RefusedError as error:
            self.says.append(f"refused: {error}")
            return
        self.says.append(
            f"{report.version}: " + ("promoted" if report.promoted else f"stopped by {', '.join(report.stopped_by)}")
        )
        self._take_champion()

    def score(self, case: Case) -> Scores | None:
        """What the champion says of the offers that may be said; None while there is none."""
        if self._scorer is None:
            return None
        return self._scorer.score(case.columns, case.candidates, case.asked)

    def _take_champion(self) -> None:
        champion = self._registry.champion()
        if champion is not None and (self._scorer is None or self._scorer.version != champion):
            path = self._registry.path(champion)
            self._scorer = Scorer.load(path, self._config.catalog, self._config.features.columns)
