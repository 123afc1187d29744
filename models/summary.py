"""What a training run found, for the command line, the machine and the HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.judge import Figures, Gate, Group
from models.parity import Certificate


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows: read, used, left out by reason; by slice, with the moments (ms) where a slice starts, and the last row's."""

    read: int
    used: int
    left_out: Mapping[str, int]
    training: int
    calibration: int
    judging: int
    starts_ms: tuple[int, int, int]
    last_ms: int


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """One head: its figures on the judged rows, trees, calibration, and the gain of each column (sums to 1)."""

    figures: Figures
    trees: int
    slope: float
    intercept: float
    importance: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a column moved from the training to the judged rows: PSI, and what that means in words."""

    column: str
    psi: float
    says: str


@dataclass(frozen=True, slots=True)
class Driver:
    """One driver of staying or accepting in words, with the mean size of its contribution in log-odds."""

    column: str
    strength: float
    says: str


@dataclass(frozen=True, slots=True)
class TrainReport:
    """Everything that `nba train` prints. `stopped_by`: the gates that said no; `promoted`: it is the champion now.

    `champion`: the one that it was judged against, or found in its place. In the JSON also `champion_before`, for beside
    `promoted` the bare name reads as if it were the champion of now, which is `champion_now`.
    """

    version: str
    folder: Path
    promoted: bool
    champion: str | None
    counts: Counts
    accept: HeadSummary
    stay: HeadSummary | None
    stay_says: str
    gates: tuple[Gate, ...]
    certificate: Certificate
    by_offer: tuple[Group, ...]
    by_kind: tuple[Group, ...]
    drift: tuple[Shift, ...]
    drivers: tuple[Driver, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]
    seconds: Mapping[str, float]

    @property
    def stopped_by(self) -> tuple[str, ...]:
        """Names of the gates that were not passed."""
        return tuple(gate.name for gate in self.gates if not gate.passed)

    @property
    def champion_now(self) -> str | None:
        """Who answers after this run."""
        return self.version if self.promoted else self.champion

    def as_json(self) -> dict[str, Any]:
        """Plain data, also `metrics.json` of the version (there without what a run adds to it)."""
        told = {"folder": str(self.folder), "stopped_by": list(self.stopped_by)}
        return asdict(self) | told | {"champion_before": self.champion, "champion_now": self.champion_now}


def kept_json(report: TrainReport) -> dict[str, Any]:
    """The part of a report that belongs to the version: the same for the same data and seed, wherever it is trained."""
    left = ("seconds", "folder", "promoted", "version", "champion_before", "champion_now")
    return {name: value for name, value in report.as_json().items() if name not in left}


def made_of(metrics: bytes | None) -> tuple[int | None, int]:
    """From the `metrics.json` of a version: its rows, and the moment (ms) of its first judged one; (None, 0): unsaid.

    What is older than that moment, the version was trained or calibrated on.
    """
    try:
        counts = json.loads(metrics or b"")["counts"]
        return int(counts["used"]), int(counts["starts_ms"][2])
    except (ValueError, KeyError, TypeError, IndexError):
        return None, 0
