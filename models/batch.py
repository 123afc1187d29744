"""A few thousand decision rows of one file, and their columns as the model takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.schema import SchemaColumn, as_float32
from models.sources import Source, cast_column

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of one source: `rows` (b,) are their places among all decisions, `targets` (b,) in the matrix."""

    source: Source
    content: pa.RecordBatch
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]

    def has(self, name: str) -> bool:
        """Whether this source has the column."""
        return name in self.content.schema.names

    def numbers(self, column: SchemaColumn) -> NDArray[np.float64]:
        """A number or boolean column as float64 (n,), its default or NaN where missing. Raises DataError: other values."""
        if not self.has(column.name):
            return np.full(len(self.rows), column.encode(None))
        boolean = column.dtype == "boolean"
        array = cast_column(self.source, column.name, self.content[column.name], pa.float64(), boolean=boolean)
        values: NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
        return values if column.default is None else np.where(np.isnan(values), column.encode(None), values)

    def words(self, column: SchemaColumn) -> pa.Array:
        """A category column as text (n,), its default or null where missing. Raises DataError: other values."""
        if not self.has(column.name):
            return pa.array([column.default] * len(self.rows), pa.large_string())
        array = cast_column(self.source, column.name, self.content[column.name], pa.large_string())
        return array if column.default is None else pc.fill_null(array, str(column.default))

    def encoded(self, column: SchemaColumn) -> Matrix:
        """Any column as the model takes it, float32 (n,): a number, or the place of a word from 1; NaN for none or others."""
        if column.dtype != "category":
            return as_float32(self.numbers(column))
        codes = pc.index_in(self.words(column), value_set=pa.array(column.words, pa.large_string()), skip_nulls=True)
        return as_float32(pc.add(pc.cast(codes, pa.float64()), 1.0).to_numpy(zero_copy_only=False))
