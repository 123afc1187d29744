"""How to train, and what training gives: heads that can be asked, whoever grew them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.dataset import DEFAULT_WINDOW_MS
from models.export import Head
from models.forest import Forest, with_fixed
from models.metrics import Array
from models.slices import Slices, Split
from models.stay import StayRows
from nba.clock import DAY_MS
from nba.errors import DataError

LARGEST_SEED = 2**31 - 1  # LightGBM's seed is a 32-bit number
MOST_DAYS = 36_500
MOST_MINUTES = 10_080
Ask = Callable[[Matrix], Array]


@dataclass(frozen=True, slots=True)
class Options:
    """How to train.

    `valid_share` or `valid_from_ms`: the split in time; `calibrate_share` of the later rows calibrate, the rest judges.
    `window_ms`: how long an outcome may still turn; younger rows wait. `monotone`: full column name to +1 or -1, such as
    `pair.saving_month: 1`. `weights`: "propensity" weighs each row with 1 / propensity. `stay_after_days`: the horizon
    of the stay head. `tune_minutes`: search parameters first. `parameters`: of LightGBM, over the defaults. `threads`
    0: all that this process may use (it changes no byte of the result). `valid_from_ms`, `tune_minutes` and `parameters`
    are for the accept head alone: the rows of the stay head end a horizon earlier.
    """

    seed: int = 0
    valid_share: float = 0.2
    valid_from_ms: int | None = None
    calibrate_share: float = 0.5
    window_ms: int = DEFAULT_WINDOW_MS
    monotone: Mapping[str, int] = field(default_factory=dict)
    weights: Literal["none", "propensity"] = "none"
    stay_after_days: int = 90
    tune_minutes: float = 0.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 0
    promote: bool = True

    def check(self) -> None:
        """Raises DataError for a value outside its range, by the name that the command line has for it."""
        ranges = {
            "seed": (self.seed, 0, LARGEST_SEED),
            "window-days": (self.window_ms / DAY_MS, 0, MOST_DAYS),
            "stay-after-days": (self.stay_after_days, 1, MOST_DAYS),
            "tune": (self.tune_minutes, 0, MOST_MINUTES),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise DataError(f"--{name} {value:g} is outside {low} to {high}: leave it out for a usual one")

    @property
    def split(self) -> Split:
        """Where to split in time."""
        return Split(self.valid_share, self.valid_from_ms, self.calibrate_share)


@dataclass(frozen=True)
class Lesson:
    """What a head is learnt from: rows in order of time, `matrix` float32 (n, columns), `label` and `weight` (n,)."""

    matrix: Matrix
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    slices: Slices
    names: tuple[str, ...]
    categorical: tuple[int, ...]

    def weight_of(self, part: slice) -> NDArray[np.float32] | None:
        """The weights of some rows, None where all weigh the same."""
        return None if self.weight is None else self.weight[part]


@dataclass(frozen=True, slots=True)
class Learned:
    """One trained head: LightGBM's text, what is exported of it, the gain of each column (sums to 1).

    `raw` gives LightGBM's raw scores (n,), `pushes` its SHAP values (n, columns + 1), of float32 rows.
    """

    text: str
    head: Head
    importance: Mapping[str, float]
    raw: Ask
    pushes: Ask

    def probability(self, matrix: Matrix) -> Array:
        """What LightGBM says, calibrated: float64 (n,)."""
        return self.head.calibration.apply(self.raw(matrix))


@dataclass(frozen=True)
class Stay:
    """The second head with the rows it was learnt from."""

    learned: Learned
    rows: StayRows

    def answer(self, accepted: float) -> Callable[[Matrix], Array]:
        """What LightGBM says of rows without the last column, had they accepted (1.0) or not (0.0)."""

        def ask(matrix: Matrix) -> Array:
            given = np.full((len(matrix), 1), accepted, dtype=np.float32)
            return self.learned.probability(np.hstack([matrix, given]))

        return ask

    def forest(self, accepted: float) -> Forest:
        """Its trees with that decided."""
        forest = self.learned.head.forest
        last = len(forest.features) - 1
        return Forest(forest.features[:-1], tuple(with_fixed(tree, last, accepted) for tree in forest.trees))
