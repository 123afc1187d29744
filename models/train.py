"""`nba train`: rows to a version in the registry, promoted only through the gates. The only file that imports lightgbm."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import lightgbm as lgb
import numpy as np

from models.batch import Matrix
from models.calibrate import fit_calibration
from models.challenge import Challenge, challenge
from models.dataset import Decisions, read_decisions, settle
from models.delayed import read_delayed
from models.describe import describe
from models.export import Head, to_onnx
from models.forest import parse_forest
from models.judge import Gate
from models.learned import Learned, Lesson, Options, Stay
from models.metrics import Array, log_losses
from models.parity import Certificate, Pair, certify
from models.prepare import Prepared, importance_weights, prepare
from models.registry import Registry
from models.report import page
from models.schema import candidate_columns
from models.scorer import Scorer
from models.slices import Slices
from models.sources import Rows
from models.stay import ACCEPTED, stay_rows
from models.summary import TrainReport, kept_json
from models.tune import search
from nba.clock import DAY_MS
from nba.config import Config
from nba.errors import DataError, RefusedError

Progress = Callable[[float, str], None]
MAX_ROUNDS, PATIENCE, CAUTIOUS_ROUNDS, ENOUGH_TO_STOP, FEW_ROWS = 2000, 50, 30, 30, 2000
EFFECT_TREES = {"num_leaves": 8, "learning_rate": 0.1}
_DEFAULTS = Options()


def train(
    rows: Rows | Sequence[Rows] | Decisions,
    config: Config,
    registry: Registry,
    *,
    now_ms: int,
    delayed: Rows | Sequence[Rows] | None = None,
    options: Options = _DEFAULTS,
    progress: Progress = lambda fraction, text: None,
) -> TrainReport:
    """Read, learn, calibrate, export, prove, keep, and promote when every gate says yes.

    `delayed`: Parquet of delayed outcomes, for the stay head. Raises DataError (rows or options that are wrong),
    RefusedError (nothing can be learnt from them: one class, too few rows, no split), UnavailableError (the disk does
    not take it), ModelError (the champion's pointer is broken); the champion is then untouched.
    """
    clock = _Clock(progress)
    options.check()
    registry.check()
    clock.step(0.0, "reading decisions")
    decisions = rows if isinstance(rows, Decisions) else read_decisions(rows, config.catalog, now_ms)
    settled = settle(decisions, now_ms, options.window_ms)
    ready = prepare(decisions, settled, config, options.split, clock.within(0.05, 0.25))
    options, ready = _with_monotone(options, ready)
    clock.step(0.25, "training")
    weight = importance_weights(decisions.propensity[ready.rows]) if options.weights == "propensity" else None
    lesson = Lesson(ready.matrix, ready.label, weight, ready.slices, ready.schema.names, ready.schema.categorical)
    options = _tuned(lesson, options, clock)
    accept = learn(lesson, options, clock.within(0.25, 0.6))
    clock.step(0.6, "training the stay head")
    stay, why_not = _stay(ready, delayed, options, now_ms)
    clock.step(0.75, "proving parity")
    files = _files(ready, accept, stay)
    scorer = Scorer(_version(now_ms, files), ready.schema, files["model.onnx"], config.catalog)
    certificate = _certificate(files["model.onnx"], ready, accept, stay, scorer)
    clock.step(0.85, "judging")
    found = challenge(ready, scorer, registry, config, options.seed)
    report = describe(registry, settled, found, accept, stay, certificate, options)
    report = replace(report, stay_says=why_not or report.stay_says)
    clock.step(0.95, "writing")
    report = _kept(found, report, files, registry, options.promote)
    clock.step(1.0, "done")
    return replace(report, seconds=clock.seconds)


def learn(lesson: Lesson, options: Options, tick: Callable[[float], None] = lambda share: None) -> Learned:
    """Grow trees on the training rows, stop and calibrate on the rows after them. Same bytes for the same input."""
    parameters = parameters_of(lesson.slices.train, lesson.names, options)
    return _learned(_grow(lesson, parameters, CAUTIOUS_ROUNDS, tick), lesson)


def learn_with_effect(lesson: Lesson, options: Options) -> Learned:
    """The same in two steps: trees that may not read the last column, then small ones that may.

    What the last column (accepted or not) changes is then found on what the rest cannot explain, and only the few small
    trees have to be asked for both of its values: an answer costs a quarter less than with trees that read it anywhere.
    """
    parameters = parameters_of(lesson.slices.train, lesson.names, options)
    without = [1.0] * (len(lesson.names) - 1) + [0.0]
    first = _grow(lesson, {**parameters, "feature_contri": without}, CAUTIOUS_ROUNDS, lambda share: None)
    small = {**parameters, **EFFECT_TREES}
    return _learned(_grow(lesson, small, CAUTIOUS_ROUNDS, lambda share: None, lgb.Booster(model_str=first)), lesson)


def _grow(
    lesson: Lesson,
    parameters: dict[str, Any],
    few_rounds: int,
    tick: Callable[[float], None],
    onto: lgb.Booster | None = None,
) -> str:
    """LightGBM's text. With fewer than 30 rows of a class to stop on, a fixed and cautious number of trees is grown."""
    training, later = lesson.slices.training, lesson.slices.calibration
    data = lgb.Dataset(
        lesson.matrix[training], lesson.label[training], weight=lesson.weight_of(training), params=parameters,
        categorical_feature=list(lesson.categorical), feature_name=list(lesson.names), free_raw_data=onto is None,
    )  # fmt: skip
    yes = lesson.label[later].sum()
    if min(yes, len(lesson.label[later]) - yes) < ENOUGH_TO_STOP:
        booster = lgb.train(parameters, data, few_rounds, init_model=onto)
    else:
        judge = data.create_valid(lesson.matrix[later], lesson.label[later], weight=lesson.weight_of(later))
        callbacks = [lgb.early_stopping(PATIENCE, verbose=False), partial(_ticked, tick)]
        booster = lgb.train(parameters, data, MAX_ROUNDS, valid_sets=[judge], callbacks=callbacks, init_model=onto)
    text: str = booster.model_to_string(num_iteration=booster.best_iteration or None)
    return re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", text)  # it changes no tree


def _ticked(tick: Callable[[float], None], env: Any) -> None:
    tick(1.0 - 1.0 / (1.0 + env.iteration / 100.0))  # nobody knows how many rounds it will take


def _learned(text: str, lesson: Lesson) -> Learned:
    booster = lgb.Booster(model_str=text)
    raw = partial(_asked, booster, raw_score=True)
    later = lesson.slices.calibration
    weight = lesson.weight_of(later)
    weights = None if weight is None else weight.astype(np.float64)
    calibration = fit_calibration(raw(lesson.matrix[later]), lesson.label[later].astype(np.float64), weights)
    head = Head(parse_forest(text), calibration)
    return Learned(text, head, _importance(booster), raw, partial(_asked, booster, pred_contrib=True))


def _asked(booster: lgb.Booster, matrix: Matrix, **how: bool) -> Array:
    return np.asarray(booster.predict(matrix, **how), dtype=np.float64)


def _importance(booster: lgb.Booster) -> dict[str, float]:
    gain = booster.feature_importance("gain")
    shares = zip(booster.feature_name(), (gain / max(gain.sum(), 1e-12)).tolist(), strict=True)
    return dict(sorted(shares, key=lambda pair: -pair[1]))


def parameters_of(rows: int, names: Sequence[str], options: Options) -> dict[str, Any]:
    """Few rows get smaller trees, leaves and groups than LightGBM's defaults, which suppose some thousands.

    Monotone method: of the three, "advanced" (LightGBM 4.7) was seen to let answers fall by 0.005 along a rising column.
    """
    monotone = [options.monotone.get(name, 0) for name in names]
    return {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 31 if rows >= FEW_ROWS else 8,
        "min_data_in_leaf": min(max(rows // 30, 5), 20),
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
        **options.parameters,
        **({"monotone_constraints": monotone, "monotone_constraints_method": "intermediate"} if any(monotone) else {}),
    }


def _with_monotone(options: Options, ready: Prepared) -> tuple[Options, Prepared]:
    """Only the constraints on columns that this model has; one that the config knows and the rows do not is noted.

    Raises DataError for a column that nobody knows, or a category: its words have no order.
    """
    config = ready.assembler.config
    dtypes = {column.name: column.dtype for column in candidate_columns(config.features.columns, config.catalog)}
    for name in sorted(options.monotone):
        if name not in dtypes:
            raise DataError(f"monotone: no column {name!r} in this config: there are {', '.join(dtypes)}")
        if dtypes[name] == "category":
            raise DataError(f"monotone: {name!r} is a category, its words have no order: take it out of `monotone`")
    kept = {name: sign for name, sign in options.monotone.items() if name in ready.schema.names}
    absent = sorted(options.monotone.keys() - kept.keys())
    notes = (f"monotone, but constant or in no file, so without effect: {', '.join(absent)}",) if absent else ()
    return replace(options, monotone=kept), replace(ready, notes=(*ready.notes, *notes))


def _stay(
    ready: Prepared, delayed: Rows | Sequence[Rows] | None, options: Options, now_ms: int
) -> tuple[Stay | None, str]:
    """The second head, or why there is none: a first head without it is still worth serving."""
    if delayed is None:
        return None, "no stay head: no churn outcomes were given"
    try:
        rows = stay_rows(ready, read_delayed(delayed, now_ms), options.stay_after_days * DAY_MS, options.split)
    except RefusedError as error:
        return None, f"no stay head: {error}"
    names = (*ready.schema.names, ACCEPTED)
    lesson = Lesson(rows.matrix, rows.label, None, rows.slices, names, ready.schema.categorical)
    return Stay(learn_with_effect(lesson, replace(options, parameters={})), rows), ""


def _tuned(lesson: Lesson, options: Options, clock: _Clock) -> Options:
    """Options with the parameters that a search inside the training rows of the accept head found."""
    if options.tune_minutes <= 0.0:
        return options
    train = lesson.slices.train
    inner = replace(lesson, slices=Slices(int(train * 0.8), train, train))
    later = inner.slices.calibration
    label = lesson.label[later].astype(np.float64)

    def loss(parameters: Mapping[str, Any]) -> float:
        tried = learn(inner, replace(options, parameters=parameters))
        return float(log_losses(tried.probability(lesson.matrix[later]), label).mean())

    return replace(options, parameters=search(loss, options.tune_minutes, options.seed, clock.within(0.25, 0.3)))


def _files(ready: Prepared, accept: Learned, stay: Stay | None) -> dict[str, bytes]:
    model = to_onnx(len(ready.schema.columns), accept.head, None if stay is None else stay.learned.head)
    files = {"model.onnx": model, "schema.json": _json(ready.schema.as_json()), "accept.txt": accept.text.encode()}
    return files if stay is None else {**files, "stay.txt": stay.learned.text.encode()}


def _certificate(model: bytes, ready: Prepared, accept: Learned, stay: Stay | None, scorer: Scorer) -> Certificate:
    pairs = [Pair("accept", accept.probability, partial(_output, scorer, "accept"), accept.head.forest)]
    if stay is not None:
        for name, accepted in (("stay_if_accepted", 1.0), ("stay_if_not", 0.0)):
            pairs.append(Pair(name, stay.answer(accepted), partial(_output, scorer, name), stay.forest(accepted)))
    return certify(model, ready.schema, pairs, ready.matrix[ready.slices.judging])


def _output(scorer: Scorer, name: str, matrix: Matrix) -> Array:
    found: Array = getattr(scorer.run(matrix), name)
    return found


def _kept(
    found: Challenge, report: TrainReport, files: dict[str, bytes], registry: Registry, promote: bool
) -> TrainReport:
    """The report, with what came of the promotion: no gate said anything of a champion that is new since then."""
    files["certificate.json"] = _json(report.certificate.as_json())
    files["metrics.json"] = _json(kept_json(report))
    files["report.html"] = page(report, found).encode()
    registry.write(report.version, files)
    if not promote or report.stopped_by:
        return report
    if registry.promote_over(report.version, found.incumbent.champion):
        return replace(report, promoted=True)
    changed = Gate("champion", False, "the champion changed while this model was judged: run it again")
    return replace(report, champion=registry.champion(), gates=(*report.gates, changed))


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


def _version(now_ms: int, files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(b"".join(files[name] for name in ("model.onnx", "schema.json"))).hexdigest()
    return f"{datetime.fromtimestamp(now_ms // 1000, UTC):%Y%m%dT%H%M%S}-{digest[:6]}"
