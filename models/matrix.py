"""Rows to the float32 matrix of a model: each value in its final row, one batch of the files in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.batch import Batch, Matrix
from models.dataset import Decisions
from models.pairs import PAIR_NAMES, Pairs
from models.past import PastRows, past_rows
from models.schema import Schema, SchemaColumn, as_float32
from models.sources import Source
from nba.candidates import CatalogRules
from nba.config import Config

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Assembler:
    """Makes matrices of decision rows for one config.

    `rules`: those of the catalog where they are compiled already: many matrices then share them. `told`: who had heard what,
    where `decisions` are a part of a log, whose earlier rows count too.
    """

    decisions: Decisions
    config: Config
    rules: CatalogRules | None = None
    told: PastRows | None = None

    def matrix(self, schema: Schema, rows: NDArray[np.int64], tick: Tick | None = None, spare: int = 0) -> Matrix:
        """float32 (len(rows), columns + spare), row i for decision `rows[i]`; spare columns are left for the caller.

        Raises DataError for a column of a wrong type.
        """
        out = np.empty((len(rows), len(schema.columns) + spare), dtype=np.float32)
        table = schema.offer_table(self.config.catalog)
        x, of_offer, of_pair = (schema.places(scope) for scope in ("x", "offer", "pair"))
        pairs = Pairs(self.config, [schema.columns[i].name for i in of_pair], self.rules)
        done = 0
        for batch in self._batches(rows, [*(schema.columns[i].name for i in x), *pairs.reads]):
            block = np.empty((len(batch.rows), len(schema.columns)), dtype=np.float32)
            offers = self.decisions.offer[batch.rows]
            for place in x:
                block[:, place] = batch.encoded(schema.columns[place])
            block[:, of_offer] = table[offers]
            if of_pair:
                block[:, of_pair] = as_float32(pairs.values(batch, offers, self._before))
            out[batch.targets, : block.shape[1]] = block
            done += len(batch.rows)
            if tick is not None:
                tick(done / len(rows))
        return out

    def pairs(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The pair columns of each row with every offer, computed: float64 (len(rows), offers, pair columns)."""
        pairs = Pairs(self.config, PAIR_NAMES, self.rules)
        out = np.empty((len(rows), len(self.config.catalog.offers), len(PAIR_NAMES)))
        for batch in self._batches(rows, pairs.reads):
            out[batch.targets] = pairs.of_all(batch, self._before)
        return out

    def words(self, columns: Sequence[SchemaColumn], rows: NDArray[np.int64]) -> dict[str, Counter[str]]:
        """How often each word of each category occurs in these rows, by the column's full name."""
        counts: dict[str, Counter[str]] = {c.name: Counter() for c in columns if c.dtype == "category"}
        of_x = [c for c in columns if c.name in counts and c.scope == "x"]
        for batch in self._batches(rows, [c.name for c in of_x]) if of_x else ():
            for column in of_x:
                found = pc.value_counts(batch.words(column).drop_null())
                counts[column.name].update({row["values"].as_py(): row["counts"].as_py() for row in found})
        shown = np.bincount(self.decisions.offer[rows], minlength=len(self.config.catalog.offers))
        for offer, count in zip(self.config.catalog.offers, shown.tolist(), strict=True):
            known = {"offer.id": offer.id, "offer.kind": offer.kind}
            known |= {f"offer.{name}": value for name, value in offer.attributes.items() if isinstance(value, str)}
            for name in counts.keys() & known.keys() if count else ():
                counts[name][known[name]] += count
        return counts

    def subset(self, rows: NDArray[np.int64]) -> Assembler:
        """The same over these rows only, held in memory, for work that goes over them many times."""
        names = {name for source in self.decisions.sources for name in source.schema.names}
        wanted = sorted(name for name in names if name.startswith(("x.", "pair.")))
        found = [(batch, pa.Table.from_batches([batch.content])) for batch in self._batches(rows, wanted)]
        order = np.argsort(np.concatenate([batch.targets for batch, _ in found]))
        table = pa.concat_tables([t for _, t in found], promote_options="permissive").take(pa.array(order))
        source = Source("decisions", table, table.schema, table.num_rows, 0)
        d = self.decisions
        return replace(self, told=self._past, decisions=replace(
            d, sources=(source,), at_ms=d.at_ms[rows], offer=d.offer[rows], propensity=d.propensity[rows],
            outcome=d.outcome[rows], known_ms=d.known_ms[rows], rank=d.rank[rows], decision=d.decision[rows],
            reward=None if d.reward is None else d.reward[rows], customer=d.customer[rows], backtest=d.backtest[rows],
        ))  # fmt: skip

    def _before(self, rows: NDArray[np.int64], offers: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._past.before(self.decisions.customer[rows].astype(np.int64), offers, self.decisions.at_ms[rows])

    @cached_property
    def _past(self) -> PastRows:
        if self.told is not None:
            return self.told
        return past_rows(self.decisions, len(self.config.catalog.offers))

    def _batches(self, rows: NDArray[np.int64], names: Sequence[str]) -> Iterator[Batch]:
        target_of = np.full(len(self.decisions), -1, dtype=np.int64)
        target_of[rows] = np.arange(len(rows))
        for source in self.decisions.sources:
            start = source.first
            carrier = source.schema.names[0]  # a batch without any column would have lost its number of rows
            for content in source.batches([*dict.fromkeys([carrier, *names])]):
                places = np.arange(start, start + content.num_rows)
                start += content.num_rows
                targets = target_of[places]
                hit = targets >= 0
                if hit.all():
                    yield Batch(source, content, places, targets)
                elif hit.any():
                    yield Batch(source, content.filter(pa.array(hit)), places[hit], targets[hit])
