"""The columns of a model's matrix, and how a value becomes a float32 of it; kept with every model as JSON.

A number is itself (NaN when missing), a boolean 0 or 1, a category the place of its word in the vocabulary, counted
from 1 (NaN when missing or never seen). From 1, and the most frequent first, because ONNX Runtime folds a chain of
tests for the codes 1 to 64 into one bit test.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nba.candidates import PAIR_COLUMNS, offer_columns, offer_values
from nba.config import Catalog
from nba.domain import Column
from nba.errors import ModelError
from nba.rules import Value

LARGEST_VOCABULARY = 255
Scope = Literal["x", "offer", "pair"]


@dataclass(frozen=True, slots=True)
class SchemaColumn:
    """One column: its full name (`x.tenure`, `offer.kind`, `pair.saving_month`), type, stand-in, words of a category."""

    name: str
    dtype: Literal["number", "category", "boolean"]
    default: Value = None
    words: tuple[str, ...] = ()

    @property
    def scope(self) -> Scope:
        """Which side it describes: the customer and context (`x`), the offer, or the pair of both."""
        return self.name.split(".", 1)[0]  # type: ignore[return-value]  # made by candidate_columns only

    @property
    def key(self) -> str:
        """The name without its scope."""
        return self.name.split(".", 1)[1]

    def encode(self, value: Value) -> float:
        """The value as a float64; NaN when missing or an unseen category. Raises ModelError for a wrong type."""
        value = self.default if value is None else value
        if value is None:
            return math.nan
        if self.dtype == "category":
            return self._codes.get(str(value), math.nan)
        if isinstance(value, str):
            raise ModelError(f"{self.name}: the model takes a number, text came: mend the type in features.yaml")
        return float(value)

    @property
    def _codes(self) -> dict[str, float]:
        return _codes_of(self.words)


_CODES: dict[tuple[str, ...], dict[str, float]] = {}


def _codes_of(words: tuple[str, ...]) -> dict[str, float]:
    if words not in _CODES:
        _CODES[words] = {word: float(code) for code, word in enumerate(words, start=1)}
    return _CODES[words]


def candidate_columns(x_columns: Sequence[Column], catalog: Catalog) -> tuple[SchemaColumn, ...]:
    """Every column that a model of this config could use, without vocabularies: customer and context, offer, pair."""
    sides = [(f"x.{c.name}", c) for c in x_columns]
    sides += [(c.name, c) for c in (*offer_columns(catalog), *PAIR_COLUMNS)]
    return tuple(SchemaColumn(name, column.dtype, column.default) for name, column in sides)


@dataclass(frozen=True)
class Schema:
    """The ordered columns of the matrix: those of `x` first, then `offer`, then `pair`."""

    columns: tuple[SchemaColumn, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Full names in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def categorical(self) -> tuple[int, ...]:
        """Places of the categories."""
        return tuple(i for i, column in enumerate(self.columns) if column.dtype == "category")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) over names and types, in order."""
        text = "\n".join(f"{column.name}\t{column.dtype}" for column in self.columns)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def places(self, scope: Scope) -> list[int]:
        """Places of the columns of one scope."""
        return [i for i, column in enumerate(self.columns) if column.scope == scope]

    def keep(self, places: Sequence[int]) -> Schema:
        """Only these columns."""
        return Schema(tuple(self.columns[i] for i in places))

    def offer_table(self, catalog: Catalog) -> NDArray[np.float32]:
        """The offer columns of every offer: float32 (offers, offer columns), rows in the catalog's order."""
        known = offer_columns(catalog)
        wanted = [self.columns[i] for i in self.places("offer")]
        rows = []
        for offer in catalog.offers:
            values = dict(zip((c.name for c in known), offer_values(offer, known), strict=True))
            rows.append([column.encode(values.get(column.name)) for column in wanted])
        return as_float32(np.array(rows, dtype=np.float64).reshape(len(catalog.offers), len(wanted)))

    def as_json(self) -> dict[str, Any]:
        """Plain data for `schema.json`."""
        rows = [
            {"name": c.name, "dtype": c.dtype, "default": c.default, **({"words": list(c.words)} if c.words else {})}
            for c in self.columns
        ]
        return {"fingerprint": self.fingerprint, "columns": rows}

    @classmethod
    def from_json(cls, text: bytes) -> Schema:
        """Read `schema.json`. Raises ModelError when it is not one or its fingerprint does not fit."""
        try:
            data: Mapping[str, Any] = json.loads(text)
            columns = tuple(
                SchemaColumn(row["name"], row["dtype"], row["default"], tuple(row.get("words", ())))
                for row in data["columns"]
            )
            schema, fingerprint = cls(columns), data["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"schema.json cannot be read ({error}): train again, or roll back") from error
        if schema.fingerprint != fingerprint:
            raise ModelError("schema.json does not fit its own fingerprint: train again, or roll back")
        return schema


def as_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The one cast on the way to the model, for training and serving: nearest float32, beyond its range infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
