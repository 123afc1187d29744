"""The report of a training run, from its parts."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from models.challenge import Challenge
from models.dataset import Settled
from models.drift import drift
from models.drivers import SAMPLE_ROWS, drivers
from models.judge import figures
from models.learned import Learned, Options, Stay
from models.metrics import Array
from models.parity import Certificate
from models.prepare import Prepared
from models.registry import Registry
from models.stay import stay_answers, stay_gates
from models.summary import Counts, Driver, HeadSummary, TrainReport


def describe(
    registry: Registry, settled: Settled, found: Challenge, accept: Learned, stay: Stay | None, certificate: Certificate,
    options: Options,
) -> TrainReport:  # fmt: skip
    """Figures, gates and tables of a trained version that is not kept yet."""
    ready = found.ready
    gates = found.gates(certificate)
    summary = None
    if stay is not None:
        columns, accepted, y = stay.rows.judged
        p = stay_answers(found.scorer, columns, accepted)
        gates += stay_gates(ready, stay.rows, p, found.incumbent.scorer, options.seed)
        summary = _summary(stay.learned, p, y, stay.rows.base_rate, options.seed)
    return TrainReport(
        version=found.scorer.version,
        folder=registry.root / found.scorer.version,
        promoted=False,
        champion=found.incumbent.champion,
        counts=_counts(ready, settled),
        accept=_summary(accept, found.p, found.y, found.base_rate, options.seed),
        stay=summary,
        stay_says=_stay_says(options),
        gates=tuple(gates),
        certificate=certificate,
        by_offer=tuple(found.by_offer()),
        by_kind=tuple(found.by_kind()),
        drift=tuple(drift(ready.schema, ready.matrix[ready.slices.training], ready.matrix[ready.slices.judging])),
        drivers=tuple(_drivers(ready, accept, stay)),
        notes=(*ready.notes, *filter(None, [found.incumbent.note])),
        facts=_facts(ready, options),
        seconds={},
    )


def _stay_says(options: Options) -> str:
    """What the second head foretells, and which of the options that were given are for the first head alone."""
    days = options.stay_after_days
    says = f"P(still a customer after {days} days)"
    if options.valid_from_ms is not None:
        says += (
            f"; its rows end {days} days earlier, where what became of them is known, so their latest "
            f"{options.valid_share:.0%} calibrate and judge it: --valid-from is for the accept head"
        )
    if options.tune_minutes > 0.0:
        says += "; with the usual parameters: --tune searches for the accept head"
    return says


def _drivers(ready: Prepared, accept: Learned, stay: Stay | None) -> list[Driver]:
    learned, matrix = (accept, ready.matrix) if stay is None else (stay.learned, stay.rows.matrix)
    sample = np.ascontiguousarray(matrix[:: max(len(matrix) // SAMPLE_ROWS, 1)][:SAMPLE_ROWS])
    return drivers(
        ready.schema, sample, learned.pushes(sample), ready.assembler.config, "accept" if stay is None else "stay"
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


def _summary(learned: Learned, p: Array, y: Array, base_rate: float, seed: int) -> HeadSummary:
    head = learned.head
    found = figures(p, y, base_rate, seed)
    return HeadSummary(
        found, len(head.forest.trees), head.calibration.slope, head.calibration.intercept, learned.importance
    )
