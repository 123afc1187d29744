"""A model of the registry, loaded for serving: all candidates of a call in one run of ONNX Runtime.

The only file that imports onnxruntime; it imports neither lightgbm nor pandas.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.registry import verified
from models.schema import Schema, as_float32
from nba.candidates import PAIR_COLUMNS, Candidate, offer_columns, pair_values
from nba.config import Catalog
from nba.domain import Column, Scores
from nba.errors import ModelError
from nba.rules import Value

# Its builds report each use of a model to their maker and keep a device id in the home folder, unless told so before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

_ENOUGH_ROWS = 50
_INPUT = "columns"
_HEADS = (["accept"], ["accept", "stay_if_accepted", "stay_if_not"])
_PAIR_NAMES = [column.name for column in PAIR_COLUMNS]


class Scorer:
    """One loaded model. Not for several threads at once: one a worker."""

    def __init__(
        self, version: str, schema: Schema, model: bytes, catalog: Catalog, base: Mapping[str, float] | None = None
    ) -> None:
        self.version = version
        self.schema = schema
        self._session = _session(model)
        self._outputs = _checked_outputs(self._session, schema)
        x = [(i, column) for i, column in enumerate(schema.columns) if column.scope == "x"]
        self._words = [(i, column) for i, column in x if column.dtype == "category"]
        numbers = [(i, column) for i, column in x if column.dtype != "category"]
        self._number_places = [i for i, _ in numbers]
        self._number_keys = [column.key for _, column in numbers]
        self._number_defaults = np.array([column.encode(None) for _, column in numbers], dtype=np.float64)
        self._offer_places, self._pair_places = schema.places("offer"), schema.places("pair")
        self._pair_take = [_PAIR_NAMES.index(schema.names[i]) for i in self._pair_places]
        self._row_of = {offer.id: row for row, offer in enumerate(catalog.offers)}
        self._all = list(self._row_of)
        self._rows = np.full((len(catalog.offers), len(schema.columns)), np.nan, dtype=np.float32)
        self._rows[:, self._offer_places] = schema.offer_table(catalog)
        self._base = np.array([(base or {}).get(offer.id, np.nan) for offer in catalog.offers])

    @classmethod
    def load(cls, folder: Path, catalog: Catalog, columns: Sequence[Column] | None = None) -> Scorer:
        """Load a version's folder for this catalog. `columns`: what the config can give (`config.features.columns`).

        Raises ModelError: files missing, altered or foreign, or a column that the model needs and the config lacks.
        """
        files = verified(folder)
        schema = Schema.from_json(files["schema.json"])
        _check_known(schema, catalog, columns)
        return cls(folder.name, schema, files["model.onnx"], catalog, _base_rates(files.get("metrics.json")))

    @property
    def has_stay(self) -> bool:
        """Whether the model has the second head."""
        return len(self._outputs) > 1

    def score(
        self, x: Mapping[str, Value], candidates: Sequence[Candidate], asked: Sequence[int] | None = None
    ) -> Scores:
        """Probabilities of every candidate. `x`: customer and context values by column name; missing ones may be absent.

        `asked`: the places of those that matter; the others get NaN and cost nothing. All, where it is not given.
        Raises ModelError when a value has the wrong type, or a candidate's offer was not in the catalog at load.
        """
        rows = self._places(candidates)
        if asked is None:
            found = self.run(self._matrix(x, candidates, rows))
            return Scores(found.accept, found.stay_if_accepted, found.stay_if_not, self._base[rows])
        heads = np.full((len(self._outputs), len(rows)), np.nan)
        if asked:
            few = [candidates[place] for place in asked]
            answers = self._run(self._matrix(x, few, [rows[place] for place in asked]))
            for head, answer in zip(heads, answers, strict=True):
                head[asked] = answer
        accept, yes, no = (*heads, None, None)[:3]
        return Scores(accept, yes, no, self._base[rows])

    def _places(self, candidates: Sequence[Candidate]) -> Sequence[int]:
        ids = [candidate.offer.id for candidate in candidates]
        if ids == self._all:
            return range(len(ids))
        try:
            return [self._row_of[offer_id] for offer_id in ids]
        except KeyError as error:
            raise ModelError(f"offer {error} is newer than the loaded model: reload the engine") from error

    def run(self, matrix: NDArray[np.float32]) -> Scores:
        """Probabilities of encoded rows, float32 (n, columns of the schema)."""
        return Scores(*self._run(matrix))

    def _run(self, matrix: NDArray[np.float32]) -> list[NDArray[np.float64]]:
        try:
            return [output.ravel() for output in self._session.run(self._outputs, {_INPUT: matrix})]
        except Exception as error:  # the runtime has its own tree of errors, which does not start at one class
            raise ModelError(f"{self.version}: the model does not run ({error}): roll back, or train again") from error

    def _matrix(
        self, x: Mapping[str, Value], candidates: Sequence[Candidate], rows: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        matrix = self._rows[self._places(candidates) if rows is None else rows]
        matrix[:, self._number_places] = self._numbers(x)
        for place, column in self._words:
            matrix[:, place] = column.encode(x.get(column.key))
        if self._pair_places:
            pairs = np.array([pair_values(candidate) for candidate in candidates], dtype=np.float64)
            matrix[:, self._pair_places] = as_float32(pairs.reshape(-1, len(_PAIR_NAMES))[:, self._pair_take])
        return matrix

    def _numbers(self, x: Mapping[str, Value]) -> NDArray[np.float32]:
        try:
            values = np.array(_read(x, self._number_keys), dtype=np.float64)  # None becomes NaN
        except (TypeError, ValueError) as error:
            wrong = next(k for k in self._number_keys if isinstance(x.get(k), str))
            raise ModelError(f"x.{wrong}: the model takes a number, text came: mend features.yaml") from error
        return as_float32(np.where(np.isnan(values), self._number_defaults, values))


def check_runs(files: Mapping[str, bytes]) -> None:
    """Load a version's ONNX file and ask it once. Raises ModelError: foreign, or its answer is no probability."""
    schema, session = Schema.from_json(files["schema.json"]), _session(files["model.onnx"])
    outputs = _checked_outputs(session, schema)
    nobody = np.full((1, len(schema.columns)), np.nan, dtype=np.float32)
    try:
        answers = np.concatenate([np.ravel(output) for output in session.run(outputs, {_INPUT: nobody})])
    except Exception as error:  # the runtime has its own tree of errors, which does not start at one class
        raise ModelError(f"the model does not run ({_first_line(error)}): roll back, or train again") from error
    if not ((answers >= 0.0) & (answers <= 1.0)).all():
        raise ModelError("the model's answers are no probabilities: roll back, or train again")


def _read(x: Mapping[str, Value], keys: Sequence[str]) -> list[Value]:
    try:
        return list(map(x.__getitem__, keys))
    except KeyError:
        return list(map(x.get, keys))


def _base_rates(metrics: bytes | None) -> dict[str, float]:
    """The share accepted of each offer on the judged rows, where there were enough of them to say."""
    if metrics is None:
        return {}
    try:
        groups = json.loads(metrics)["by_offer"]
        return {str(g["name"]): float(g["accepted"]) for g in groups if g["rows"] >= _ENOUGH_ROWS}
    except (ValueError, KeyError, TypeError):
        return {}


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has its own tree of errors, which does not start at one class
        raise ModelError(
            f"not an ONNX model that runs here ({_first_line(error)}): roll back, or train again"
        ) from error


def _checked_outputs(session: ort.InferenceSession, schema: Schema) -> list[str]:
    inputs = [(node.name, node.type, node.shape[-1:]) for node in session.get_inputs()]
    outputs = [node.name for node in session.get_outputs()]
    if inputs != [(_INPUT, "tensor(float)", [len(schema.columns)])] or outputs not in _HEADS:
        raise ModelError("a foreign ONNX file: its inputs and outputs are not those of `nba train`: train again")
    return outputs


def _check_known(schema: Schema, catalog: Catalog, columns: Sequence[Column] | None) -> None:
    known = {column.name: column.dtype for column in (*offer_columns(catalog), *PAIR_COLUMNS)}
    for column in schema.columns:
        if column.scope == "x" and columns is None:
            continue
        if columns is not None:
            known |= {f"x.{c.name}": c.dtype for c in columns}
        if known.get(column.name) != column.dtype:
            raise ModelError(
                f"the model needs column {column.name} ({column.dtype}) and the config has "
                f"{known.get(column.name, 'none of that name')}: declare it again, or run `nba train`"
            )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
