"""Further columns of a decision log: whole, by row, and the x columns of some rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.dataset import Decisions
from models.sources import Source, cast_column
from nba.domain import Column
from nba.errors import InputError
from nba.evaluate.rows import check_finite
from nba.rules import Value


def word_column(decisions: Decisions, name: str) -> NDArray[np.object_] | None:
    """A column of text (rows,) with None where empty; None where no file has it."""
    return _column(decisions, name, pa.large_string(), None)


def number_column(decisions: Decisions, name: str, *, listed: bool = False) -> Any:
    """A numeric column (rows,), NaN where empty. `listed`: None where no file has it, else InputError."""
    found = _column(decisions, name, pa.float64(), np.nan)
    if found is None and not listed:
        raise InputError(f"the decisions have no column {name!r}: log it, or leave it out")
    if found is None:
        return None
    values = found.astype(np.float64)
    check_finite(name, values, decisions.place)
    return values


def _column(decisions: Decisions, name: str, wanted: pa.DataType, empty: Any) -> NDArray[np.object_] | None:
    if not any(name in source.schema.names for source in decisions.sources):
        return None
    found = np.full(len(decisions), empty, dtype=object)
    for source in decisions.sources:
        if name in source.schema.names:
            column = pa.Table.from_batches(source.batches([name]))[name]
            if pa.types.is_boolean(column.type) and pa.types.is_floating(wanted):
                column = pc.cast(column, pa.int8())
            values = cast_column(source, name, column, wanted).to_pylist()
            found[source.first : source.first + source.rows] = [empty if v is None else v for v in values]
    return found


def ids_of(decisions: Decisions, wanted: set[int]) -> dict[int, str]:
    """Decision ids of the wanted rows, by row."""
    found = {}
    for source in decisions.sources:
        row = source.first
        for batch in source.batches(["decision_id"]):
            found.update({row + k: str(v) for k, v in enumerate(batch.column(0).to_pylist()) if row + k in wanted})
            row += batch.num_rows
    return found


def number_or_nan(value: Value) -> float:
    """NaN for what is missing and for a word."""
    return float("nan") if value is None or isinstance(value, str) else float(value)


def x_rows(
    decisions: Decisions, wanted: Collection[int], columns: tuple[Column, ...]
) -> Iterator[tuple[int, dict[str, Value]]]:
    """(row, x values by name) of the wanted rows, in the types that the config declares, read as training reads them.

    Raises DataError for a column of a wrong type.
    """
    types = {f"x.{column.name}": column for column in columns}
    for source in decisions.sources:
        first = source.first
        for batch in source.batches(list(types)):
            here = [offset for offset in range(batch.num_rows) if first + offset in wanted]
            some = batch.take(pa.array(here, pa.int64()))  # Python values of the others would take most of the time
            table = {name: _cast(source, types[name], some.column(name)) for name in batch.schema.names}
            for place, offset in enumerate(here):
                yield first + offset, {name[2:]: _typed(types[name], values[place]) for name, values in table.items()}
            first += batch.num_rows


def _cast(source: Source, column: Column, values: pa.Array) -> list[Any]:
    wanted = pa.large_string() if column.dtype == "category" else pa.float64()
    boolean = column.dtype == "boolean"
    found: list[Any] = cast_column(source, f"x.{column.name}", values, wanted, boolean=boolean).to_pylist()
    return found


def _typed(column: Column, value: Any) -> Value:
    if value is None or value != value:
        return None
    if column.dtype == "category":
        return str(value)
    return bool(value) if column.dtype == "boolean" else float(value)
