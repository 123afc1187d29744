"""Decision rows to what a learner takes: a schema, one float32 matrix in order of time, labels, weights, slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.dataset import Decisions, Settled
from models.matrix import Assembler, Tick
from models.schema import LARGEST_VOCABULARY, Schema, SchemaColumn, candidate_columns
from models.slices import Slices, Split, check_classes, split_in_time
from nba.candidates import CatalogRules
from nba.config import Config
from nba.errors import DataError, RefusedError

LARGEST_WEIGHT = 20.0
_CURES = {
    "back-test": "log calls that took place",
    "repeated": "give every call an id of its own",
    "skipped": "report what became of the offers that were said",
    "no outcome": "report outcomes",
    "too young": "wait until they are older than --window-days, or give fewer days",
}


@dataclass(frozen=True)
class Prepared:
    """`rows` (n,): which decision rows, in order of time; `matrix` float32 (n, columns); `label`, `weight` float32 (n,)."""

    assembler: Assembler
    schema: Schema
    matrix: Matrix
    rows: NDArray[np.int64]
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    slices: Slices
    notes: tuple[str, ...]


def prepare(decisions: Decisions, settled: Settled, config: Config, split: Split, tick: Tick) -> Prepared:
    """Order, split, choose columns, fill the matrix. Raises DataError and RefusedError, see `split_in_time` and others."""
    rows = in_time(decisions, settled.label)
    if not len(rows):
        raise RefusedError(f"no row has a usable outcome ({_reasons(settled)}): {_cure(settled)}, then train")
    label = settled.label[rows]
    slices = _sliced(decisions.at_ms[rows], label, settled, split)
    assembler = Assembler(decisions, config, rules=CatalogRules(config.catalog))
    schema, notes = choose_schema(assembler, rows[slices.training])
    matrix = assembler.matrix(schema, rows, tick)
    matrix, schema, constant = _without_constants(matrix, schema, slices)
    if not schema.columns:
        raise RefusedError("every column is constant: log what differs between customers, or offer more than one offer")
    notes += [f"constant in training and left out: {', '.join(constant)}"] if constant else []
    notes += _infinite(matrix, schema)
    return Prepared(assembler, schema, matrix, rows, label, None, slices, tuple(notes))


def _sliced(at_ms: NDArray[np.int64], label: NDArray[np.float32], settled: Settled, split: Split) -> Slices:
    """The slices, each good enough. Where they are not, it matters what was left out of the rows: that is said before."""
    try:
        slices = split_in_time(at_ms, split)
        check_classes(label, slices, "accept")
    except RefusedError as error:
        if not settled.left_out:
            raise
        raise RefusedError(f"{len(settled.label):,} rows, left out {_reasons(settled)}; {error}") from error
    return slices


def in_time(decisions: Decisions, label: NDArray[np.float32]) -> NDArray[np.int64]:
    """The places of rows whose `label` (n,) is known, in order of time; rows of one moment in the order of the log."""
    usable = np.flatnonzero(~np.isnan(label))
    return usable[np.argsort(decisions.at_ms[usable], kind="stable")]


def importance_weights(propensity: NDArray[np.float64]) -> NDArray[np.float32]:
    """1 / propensity, at most 20 times the median so that no row rules alone, scaled to mean 1; float32 (n,)."""
    weight = 1.0 / propensity
    weight = np.minimum(weight, LARGEST_WEIGHT * np.median(weight))
    scaled: NDArray[np.float32] = (weight / weight.mean()).astype(np.float32)
    return scaled


def choose_schema(assembler: Assembler, rows: NDArray[np.int64]) -> tuple[Schema, list[str]]:
    """The columns of the config that the rows hold, vocabularies from these rows only; and what there is to say of it.

    Raises DataError when the config declares customer columns and the log holds none of them.
    """
    decisions, config = assembler.decisions, assembler.config
    declared = {column.name for column in config.features.columns}
    logged = set(decisions.x_columns)
    notes = []
    if declared and not declared & logged:
        raise DataError(
            f"no column x.NAME of the config is in the log (x.{min(declared)} for one): write the customer's features as served"
        )
    if missing := sorted(declared - logged):
        notes.append(f"declared in features.yaml but in no file, so unknown to this model: {', '.join(missing)}")
    if extra := sorted(logged - declared):
        notes.append(f"in the files but not declared in features.yaml, so not used: {', '.join(extra)}")
    columns = [
        column
        for column in candidate_columns(config.features.columns, config.catalog)
        if column.scope != "x" or column.key in logged
    ]
    counts = assembler.words(columns, rows)
    notes += [
        f"{name}: {len(found)} words, the {LARGEST_VOCABULARY} most frequent are told apart"
        for name, found in counts.items()
        if len(found) > LARGEST_VOCABULARY
    ]
    return Schema(tuple(_with_words(column, counts) for column in columns)), notes


def _with_words(column: SchemaColumn, counts: Mapping[str, Counter[str]]) -> SchemaColumn:
    if column.name not in counts:
        return column
    ranked = sorted(counts[column.name].items(), key=lambda found: (-found[1], found[0]))
    return replace(column, words=tuple(word for word, _ in ranked[:LARGEST_VOCABULARY]))


def _without_constants(matrix: Matrix, schema: Schema, slices: Slices) -> tuple[Matrix, Schema, list[str]]:
    """Drop the columns that have one value, or none, in all training rows."""
    training = matrix[slices.training]
    keep = [i for i in range(matrix.shape[1]) if _varies(training[:, i])]
    dropped = [name for i, name in enumerate(schema.names) if i not in set(keep)]
    return (_packed(matrix, keep) if dropped else matrix), schema.keep(keep), dropped


def _infinite(matrix: Matrix, schema: Schema) -> list[str]:
    """A note where numbers are infinite: a division by zero upstream, mostly. Trees take them, `nba evaluate ope` does not."""
    counts = {name: int(np.isinf(matrix[:, place]).sum()) for place, name in enumerate(schema.names)}
    found = ", ".join(f"{name} in {count:,} rows" for name, count in counts.items() if count)
    return [f"infinite: {found}: log what was measured, or leave it empty"] if found else []


def _varies(column: NDArray[np.float32]) -> bool:
    first = column[0]
    same = np.isnan(column) if np.isnan(first) else column == first
    return not bool(same.all())


def _packed(matrix: Matrix, keep: list[int]) -> Matrix:
    """The kept columns moved together inside the same memory: a second matrix would double what training needs."""
    rows = len(matrix)
    flat = matrix.reshape(-1)
    for start in range(0, rows, 8192):
        part = matrix[start : start + 8192][:, keep]
        flat[start * len(keep) : start * len(keep) + part.size] = part.reshape(-1)
    return flat[: rows * len(keep)].reshape(rows, len(keep))


def _cure(settled: Settled) -> str:
    return _CURES[max(settled.left_out, key=lambda reason: settled.left_out[reason])]


def _reasons(settled: Settled) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in settled.left_out.items()) or "no rows"
