"""`nba train`: rows to a version in the registry, promoted only through the gates. The only file that imports lightgbm."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from models.calibrate import fit_calibration
from models.challenge import Challenge, challenge
from models.dataset import DEFAULT_WINDOW_MS, Decisions, Rows, Settled, read_decisions, settle
from models.export import Head, to_onnx
from models.forest import parse_forest
from models.judge import figures
from models.metrics import Array
from models.parity import Certificate, Pair, certify
from models.prepare import Prepared, importance_weights, prepare
from models.registry import Registry
from models.scorer import Scorer
from models.slices import Slices
from models.summary import Counts, HeadSummary, TrainReport, kept_json
from nba.config import Config
from nba.errors import DataError

Matrix = NDArray[np.float32]
Progress = Callable[[float, str], None]
PARITY_ROWS = 2_000
MAX_ROUNDS, PATIENCE, CAUTIOUS_ROUNDS, ENOUGH_TO_STOP = 2000, 50, 60, 30


@dataclass(frozen=True, slots=True)
class Options:
    """How to train.

    `valid_share` or `valid_from_ms`: the split in time. `window_ms`: how long a silent outcome may still turn.
    `monotone`: full column name to +1 or -1, such as `pair.saving_month: 1`. `weights`: "propensity" weighs each row
    with 1 / propensity. `threads` 0: all that this process may use (it changes no byte of the result).
    """

    seed: int = 0
    valid_share: float = 0.2
    valid_from_ms: int | None = None
    window_ms: int = DEFAULT_WINDOW_MS
    monotone: Mapping[str, int] = field(default_factory=dict)
    weights: Literal["none", "propensity"] = "none"
    threads: int = 0
    promote: bool = True


@dataclass(frozen=True, slots=True)
class Learned:
    """One trained head: LightGBM's own model and text, and what is exported of it."""

    booster: lgb.Booster
    text: str
    head: Head

    def probability(self, matrix: Matrix) -> Array:
        """What LightGBM says, calibrated: float64 (n,)."""
        return self.head.calibration.apply(raw_scores(self.booster, matrix))


def train(
    rows: Rows | Sequence[Rows] | Decisions,
    config: Config,
    registry: Registry,
    *,
    now_ms: int,
    options: Options = Options(),
    progress: Progress = lambda fraction, text: None,
) -> TrainReport:
    """Read, learn, calibrate, export, prove, keep, and promote when every gate says yes.

    Raises DataError (rows or options that are wrong), RefusedError (nothing can be learnt from them: one class, too few
    rows, no split), UnavailableError (the disk does not take it); the champion is then untouched.
    """
    clock = _Clock(progress)
    clock.step(0.0, "reading decisions")
    decisions = rows if isinstance(rows, Decisions) else read_decisions(rows, config.catalog)
    settled = settle(decisions, now_ms, options.window_ms)
    ready = prepare(decisions, settled, config, options.valid_share, options.valid_from_ms, clock.within(0.05, 0.25))
    clock.step(0.25, "training")
    weight = importance_weights(decisions.propensity[ready.rows]) if options.weights == "propensity" else None
    names, categorical = ready.schema.names, ready.schema.categorical
    accept = learn(ready.matrix, ready.label, weight, ready.slices, categorical, names, options)
    clock.step(0.75, "proving parity")
    files = _files(ready, accept)
    version = _version(now_ms, files)
    scorer = Scorer(version, ready.schema, files["model.onnx"], config.catalog)
    certificate = _certificate(files["model.onnx"], ready, accept, scorer)
    clock.step(0.9, "judging")
    found = challenge(ready, scorer, registry, config, options.seed)
    report = _report(version, registry, settled, found, accept, certificate, options)
    return _kept(report, files, registry, options, clock)


def learn(
    matrix: Matrix,
    label: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    slices: Slices,
    categorical: Sequence[int],
    names: Sequence[str],
    options: Options,
) -> Learned:
    """Grow trees on the training rows, stop and calibrate on the rows after them. Same bytes for the same input."""
    training, later = slices.training, slices.calibration
    few = min(label[later].sum(), len(label[later]) - label[later].sum()) < ENOUGH_TO_STOP
    given = {"categorical_feature": list(categorical), "feature_name": list(names), "free_raw_data": True}
    parameters = _parameters(slices.train, names, options)
    data = lgb.Dataset(matrix[training], label[training], weight=_part(weight, training), params=parameters, **given)
    if few:
        booster = lgb.train(parameters, data, CAUTIOUS_ROUNDS)
    else:
        judge = lgb.Dataset(matrix[later], label[later], weight=_part(weight, later), reference=data, params=parameters)
        stop = lgb.early_stopping(PATIENCE, verbose=False)
        booster = lgb.train(parameters, data, MAX_ROUNDS, valid_sets=[judge], callbacks=[stop])
    text = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", booster.model_to_string(booster.best_iteration or None))
    kept = lgb.Booster(model_str=text)
    raw = raw_scores(kept, matrix[later])
    calibration = fit_calibration(raw, label[later].astype(np.float64), _wide(_part(weight, later)))
    return Learned(kept, text, Head(parse_forest(text), calibration))


def raw_scores(booster: lgb.Booster, matrix: Matrix) -> Array:
    """LightGBM's raw score of each row, float64 (n,)."""
    return np.asarray(booster.predict(matrix, raw_score=True), dtype=np.float64)


def _parameters(rows: int, names: Sequence[str], options: Options) -> dict[str, Any]:
    """Few rows get smaller leaves and groups than LightGBM's defaults, which suppose some thousands."""
    if unknown := sorted(set(options.monotone) - set(names)):
        raise DataError(f"monotone: no column {unknown[0]!r} in this model: there are {', '.join(names)}")
    monotone = [options.monotone.get(name, 0) for name in names]
    return {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": min(max(rows // 100, 5), 20),
        "min_data_per_group": min(max(rows // 100, 5), 100),
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": options.threads or len(os.sched_getaffinity(0)),
        "seed": options.seed,
        "verbosity": -1,
        **({"monotone_constraints": monotone, "monotone_constraints_method": "advanced"} if any(monotone) else {}),
    }


def _files(ready: Prepared, accept: Learned) -> dict[str, bytes]:
    return {
        "model.onnx": to_onnx(len(ready.schema.columns), accept.head, None),
        "schema.json": _json(ready.schema.as_json()),
        "accept.txt": accept.text.encode(),
    }


def _certificate(model: bytes, ready: Prepared, accept: Learned, scorer: Scorer) -> Certificate:
    pairs = [Pair("accept", accept.probability, lambda matrix: scorer.run(matrix).accept, accept.head.forest)]
    return certify(model, ready.schema, pairs, ready.matrix[ready.slices.judging][:PARITY_ROWS])


def _report(
    version: str, registry: Registry, settled: Settled, found: Challenge, accept: Learned, certificate: Certificate,
    options: Options,
) -> TrainReport:  # fmt: skip
    ready = found.ready
    return TrainReport(
        version=version,
        folder=registry.root / version,
        promoted=False,
        champion=None if found.champion is None else found.champion.version,
        counts=_counts(ready, settled),
        accept=_summary(accept, found.p, found.y, found.base_rate, options.seed),
        stay=None,
        stay_says="no churn outcomes were given",
        gates=tuple(found.gates(certificate)),
        certificate=certificate,
        by_offer=tuple(found.by_offer()),
        by_kind=tuple(found.by_kind()),
        drift=(),
        drivers=(),
        notes=(*ready.notes, *([found.why_no_champion] if found.why_no_champion else [])),
        facts=_facts(ready, options),
        seconds={},
    )


def _counts(ready: Prepared, settled: Settled) -> Counts:
    at_ms = ready.assembler.decisions.at_ms[ready.rows]
    s = ready.slices
    starts = (int(at_ms[0]), int(at_ms[s.train]), int(at_ms[s.calibrate]))
    return Counts(
        len(settled.label),
        s.rows,
        settled.left_out,
        s.train,
        s.calibrate - s.train,
        s.rows - s.calibrate,
        starts,
        int(at_ms[-1]),
    )


def _facts(ready: Prepared, options: Options) -> dict[str, Any]:
    """What the version was made of: options, libraries, fingerprints of data, schema and config."""
    digest = hashlib.sha256(ready.label.tobytes())
    for start in range(0, len(ready.matrix), 65_536):
        digest.update(ready.matrix[start : start + 65_536].tobytes())
    versions = {name: metadata.version(name) for name in ("lightgbm", "numpy", "onnx", "onnxruntime", "pyarrow")}
    return {
        "options": {k: v for k, v in asdict(options).items() if k not in ("threads", "promote")},
        "libraries": versions,
        "data_fingerprint": digest.hexdigest()[:16],
        "schema_fingerprint": ready.schema.fingerprint,
        "config_fingerprint": ready.assembler.config.fingerprint,
    }


def _kept(
    report: TrainReport, files: dict[str, bytes], registry: Registry, options: Options, clock: _Clock
) -> TrainReport:
    clock.step(0.95, "writing")
    files["certificate.json"] = _json(report.certificate.as_json())
    files["metrics.json"] = _json(kept_json(report))
    registry.write(report.version, files)
    promoted = options.promote and not report.stopped_by
    if promoted:
        registry.promote(report.version)
    clock.step(1.0, "done")
    return replace(report, promoted=promoted, seconds=clock.seconds)


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=1, sort_keys=True, default=float).encode()


class _Clock:
    """Progress for a person, seconds a stage for the report."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._since = time.perf_counter()
        self._name = ""
        self.seconds: dict[str, float] = {}

    def step(self, fraction: float, name: str) -> None:
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = round(now - self._since, 3)
        self._since, self._name = now, name
        self._progress(fraction, name)

    def within(self, start: float, end: float) -> Callable[[float], None]:
        """Reports a share of the current stage as a fraction of the whole."""
        return lambda share: self._progress(start + (end - start) * share, self._name)


def _summary(learned: Learned, p: Array, y: Array, base_rate: float, seed: int) -> HeadSummary:
    gain = learned.booster.feature_importance("gain")
    shares = (gain / max(gain.sum(), 1e-12)).tolist()
    ranked = sorted(zip(learned.booster.feature_name(), shares, strict=True), key=lambda pair: -pair[1])
    head = learned.head
    return HeadSummary(
        figures(p, y, base_rate, seed),
        len(head.forest.trees),
        head.calibration.slope,
        head.calibration.intercept,
        dict(ranked),
    )


def _version(now_ms: int, files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(b"".join(files[name] for name in ("model.onnx", "schema.json"))).hexdigest()
    return f"{datetime.fromtimestamp(now_ms // 1000, UTC):%Y%m%dT%H%M%S}-{digest[:6]}"


def _part(array: NDArray[np.float32] | None, part: slice) -> NDArray[np.float32] | None:
    return None if array is None else array[part]


def _wide(array: NDArray[np.float32] | None) -> Array | None:
    return None if array is None else array.astype(np.float64)
