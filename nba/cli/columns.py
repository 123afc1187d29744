"""Further columns of a decision log, whole: words and numbers by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.dataset import Decisions
from models.sources import cast_column
from nba.errors import InputError
from nba.evaluate.rows import check_finite


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
