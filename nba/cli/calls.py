"""Decisions as calls: one entry a decision with what came of it, those in which nothing was said included.

What was said comes from the decision rows; silent decisions, agents and their groups from the records beside them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset import Decisions, read_decisions, repeated_rows
from models.delayed import Churn, read_delayed
from nba.cli.columns import ids_of, number_column, number_or_nan, word_column, x_rows
from nba.cli.learn import decision_rows, delayed_of
from nba.cli.records import read_records
from nba.config import Config
from nba.domain import OUTCOMES, Column
from nba.evaluate.rows import check_settled, out_of_order
from nba.rules import Value
from nba.settings import Settings
from nba.stats import first_reasons

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
WORDS = ("customer_id", "experiment", "arm", "channel", "agent_id", "agent_group")
Head = dict[str, Any]  # what is known of a decision beside what was suggested: `at_ms`, the WORDS and `x`
_MISSING: Head = dict.fromkeys(WORDS)
_NOT_READ: Mapping[str, Value] = MappingProxyType({})


class Measured(Mapping[str, Value]):
    """Numbers of one call by column, None where unknown: a tenth of what a dict of them takes.

    `place`: of each column in `values`, shared by all calls; `values`: NaN where unknown.
    """

    __slots__ = ("_place", "_values")

    def __init__(self, place: Mapping[str, int], values: array[float]) -> None:
        self._place, self._values = place, values

    def __getitem__(self, name: str) -> Value:
        value = self._values[self._place[name]]
        return None if value != value else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


@dataclass(frozen=True)
class Shown:
    """Suggestions, m of them: `call` and `offer` int64 (places in the calls and in the catalog), flags 0 or 1, money a month."""

    call: Numbers
    offer: Numbers
    rank: Numbers
    flags: dict[str, Array]
    margin: Array
    saving: Array

    def only(self, hit: NDArray[np.bool_]) -> Shown:
        """Those that `hit` (m,) picks."""
        flags = {name: flag[hit] for name, flag in self.flags.items()}
        return Shown(self.call[hit], self.offer[hit], self.rank[hit], flags, self.margin[hit], self.saving[hit])


@dataclass(frozen=True)
class Calls:
    """n decisions in order of time. `words`: customer_id, experiment, arm, channel, agent_id, agent_group, each (n,) of
    text or None. `x`: columns as served at each customer's first call, empty elsewhere. `numbers`: columns asked for, (n,).
    `unsettled`: moment, words and x of decisions that are left out, for nobody knows what came of them.
    """

    ids: list[str]
    at_ms: Numbers
    words: dict[str, NDArray[np.object_]]
    x: list[Mapping[str, Value]]
    shown: Shown
    numbers: dict[str, Array]
    counts: dict[str, int]
    recorded: int
    unsettled: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def sums(self) -> dict[str, Array]:
        """By call (n,): `accepted` and `declined` 0 or 1, `margin` and `saving` a month of what was accepted."""
        yes, n = self.shown.flags["accepted"], len(self)
        found = {name: np.bincount(self.shown.call, self.shown.flags[name], n) for name in ("accepted", "declined")}
        money = {
            name: np.bincount(self.shown.call, yes * getattr(self.shown, name), n) for name in ("margin", "saving")
        }
        return {name: np.minimum(value, 1.0) for name, value in found.items()} | money


def read_calls(
    settings: Settings,
    path: Path,
    config: Config,
    now_ms: int,
    *,
    window_ms: int = 0,
    open_means_no: bool = False,
    numbers: tuple[str, ...] = (),
    x_names: Collection[str] = (),
    x_among: Callable[[Head], bool] = lambda head: True,
    tell: Callable[[int], None] = lambda done: None,
) -> Calls:
    """Read rows and records. `numbers`: further numeric columns of the rows. `x_names`: x columns to read, of each customer's
    first call among those for which `x_among` is true: of all calls they would be most of the memory. `tell` hears how many
    records are read.

    Raises DataError, InputError and RefusedError as the checks of nba.evaluate.rows say.
    """
    decisions = read_decisions(decision_rows(settings, path), config.catalog, now_ms)
    counts = out_of_order(decisions.at_ms, starts=[s.first for s in decisions.sources])
    rows, silent = _usable_rows(decisions, now_ms, window_ms, counts, open_means_no=open_means_no)
    columns = tuple(column for column in config.features.columns if column.name in x_names)
    pack = _packer(columns)
    (heads, row_of), (unsettled, row_of_unsettled) = _heads(decisions, rows), _heads(decisions, silent)
    recorded = _add_records(heads, unsettled, settings, path, now_ms - window_ms, pack, tell)
    order = sorted(heads, key=lambda key: (heads[key]["at_ms"], key))
    first = _firsts(heads, order, x_among)
    for identifier in heads.keys() - first:
        heads[identifier]["x"] = _NOT_READ
    _add_x(heads, {row_of[key]: key for key in first if key in row_of}, decisions, columns, pack)
    _add_x(unsettled, {row: key for key, row in row_of_unsettled.items()}, decisions, columns, pack)
    place = {identifier: k for k, identifier in enumerate(order)}
    ids = ids_of(decisions, set(rows.tolist()))
    call = np.array([place[ids[row]] for row in rows.tolist()], dtype=np.int64)
    return Calls(
        ids=order,
        at_ms=np.array([heads[key]["at_ms"] for key in order], dtype=np.int64),
        words={name: np.array([heads[key][name] for key in order], dtype=object) for name in WORDS},
        x=[heads[key]["x"] for key in order],
        shown=_shown(decisions, rows, call, config),
        numbers={name: _by_call(number_column(decisions, name)[rows], call, len(order)) for name in numbers},
        counts=counts,
        recorded=recorded,
        unsettled=tuple(unsettled.values()),
    )


def _usable_rows(
    decisions: Decisions, now_ms: int, window_ms: int, counts: dict[str, int], *, open_means_no: bool
) -> tuple[Numbers, Numbers]:
    """Rows that are used, and first ranks that are left out because they have no outcome at all."""
    repeated = repeated_rows(decisions)
    young = decisions.at_ms > now_ms - window_ms
    used = ~repeated & ~decisions.backtest & ~young
    first = used & (decisions.rank == 1)
    silent = first & (decisions.outcome == -1)
    counts |= check_settled(int(silent.sum()), int(first.sum()), open_means_no=open_means_no)
    left_out = {"back-test": decisions.backtest, "repeated": repeated, "younger than the window": young}
    counts |= {f"left out: {why}": count for why, count in first_reasons(left_out).items()}
    if open_means_no:
        silent &= False
    # The whole decision is left out: nobody knows what happened in that call.
    used &= ~np.isin(decisions.decision, decisions.decision[silent])
    return np.flatnonzero(used), np.flatnonzero(silent)


def _heads(decisions: Decisions, rows: Numbers) -> tuple[dict[str, Head], dict[str, int]]:
    """What is known of each decision from its first row, without x; and which row that is."""
    _, at = np.unique(decisions.decision[rows], return_index=True)
    first = rows[at]
    ids = ids_of(decisions, set(first.tolist()))
    words = {name: word_column(decisions, name) for name in WORDS if name != "customer_id"}
    heads: dict[str, Head] = {}
    for row in first.tolist():
        known = {name: None if column is None else column[row] for name, column in words.items()}
        customer = str(decisions.customer_ids[int(decisions.customer[row])])
        heads[ids[row]] = {"at_ms": int(decisions.at_ms[row]), "customer_id": customer, "x": _NOT_READ, **known}
    return heads, {identifier: row for row, identifier in ids.items()}


def _firsts(heads: Mapping[str, Head], order: Iterable[str], among: Callable[[Head], bool]) -> set[str]:
    """Each customer's first call of those that count; `order`: ids in order of time."""
    first: dict[str, str] = {}
    for identifier in order:
        if among(heads[identifier]):
            first.setdefault(heads[identifier]["customer_id"], identifier)
    return set(first.values())


def _add_x(
    heads: Mapping[str, Head],
    ids: Mapping[int, str],
    decisions: Decisions,
    columns: tuple[Column, ...],
    pack: Callable[[Mapping[str, Value]], Mapping[str, Value]],
) -> None:
    """The x columns of the rows in `ids`."""
    for row, x in x_rows(decisions, ids.keys(), columns) if columns else ():
        heads[ids[row]]["x"] = pack(x)


def _packer(columns: tuple[Column, ...]) -> Callable[[Mapping[str, Value]], Mapping[str, Value]]:
    """Those columns of a call, packed where all of them are numbers."""
    place = {column.name: k for k, column in enumerate(columns)}
    if any(column.dtype == "category" for column in columns):
        return lambda x: {name: x.get(name) for name in place}
    return lambda x: Measured(place, array("d", [number_or_nan(x.get(name)) for name in place]))


def _add_records(
    heads: dict[str, Head],
    unsettled: dict[str, Head],
    settings: Settings,
    path: Path,
    until_ms: int,
    pack: Callable[[Mapping[str, Value]], Mapping[str, Value]],
    tell: Callable[[int], None],
) -> int:
    """Agents of the known decisions, and the decisions in which nothing was said; how many records there were."""
    count = 0
    for count, record in enumerate(read_records(settings, path), start=1):
        tell(count)
        request, said = record["request"], record["answer"]["suggestions"]
        agent = {"agent_id": request["agent_id"], "agent_group": request["agent_group"]}
        head = heads.get(record["decision_id"], unsettled.get(record["decision_id"]))
        if head is not None:
            head |= agent
        elif not said and not record["backtest"] and record["at_ms"] <= until_ms:
            known = {name: record[name] for name in ("at_ms", "customer_id", "experiment", "arm")}
            more = {"channel": request["channel"], "x": pack(record["x"])}
            heads[record["decision_id"]] = _MISSING | known | agent | more
    return count


def _shown(decisions: Decisions, rows: Numbers, call: Numbers, config: Config) -> Shown:
    words = np.array([*OUTCOMES, "none"])[decisions.outcome[rows]]
    offer = decisions.offer[rows].astype(np.int64)
    listed = np.array([o.margin_month for o in config.catalog.offers])[offer]
    margin, saving = (
        number_column(decisions, f"pair.{name}_month", listed=True) for name in ("margin_delta", "saving")
    )
    return Shown(
        call=call,
        offer=offer,
        rank=decisions.rank[rows].astype(np.int64),
        flags={word: (words == word).astype(np.float64) for word in (*OUTCOMES, "none")},
        margin=listed if margin is None else np.where(np.isnan(margin[rows]), listed, margin[rows]),
        saving=np.zeros(len(rows)) if saving is None else np.nan_to_num(saving[rows]),
    )


def _by_call(values: Array, call: Numbers, n: int) -> Array:
    """The first known value of each call (n,), NaN where there is none: such columns say the same in every row."""
    found = np.full(n, np.nan)
    known = ~np.isnan(values)
    found[call[known][::-1]] = values[known][::-1]
    return found


def read_churn(path: Path, given: Path | None, now_ms: int) -> Churn | None:
    """The delayed outcomes given, else those beside the decisions; None where there are none. Nothing is known after `now_ms`.

    Raises DataError naming row and column, also for moments a day after `now_ms`: a guardrail that cannot be read must not
    look like one that was never set.
    """
    place = delayed_of(path, given)
    if place is None:
        return None
    found = read_delayed(place, now_ms)
    return replace(found, known_until_ms=min(found.known_until_ms, now_ms))


def customers_of(calls: Calls, inside: Numbers) -> tuple[list[str], Numbers]:
    """The customers of those calls by name, and of each call its customer's place among them (calls,)."""
    names, code = np.unique(calls.words["customer_id"][inside].astype(str), return_inverse=True)
    return names.tolist(), code.astype(np.int64)


def leaving(at_ms: Numbers, churn: Churn, customers: list[str], code: Numbers, horizon_ms: int) -> tuple[Array, Array]:
    """By customer: left within the horizon after the first call (0 or 1), and whether that is known by now (0 or 1).

    `at_ms`, `code` (calls,): when each call was, and whose, as a place in `customers`.
    """
    first = np.full(len(customers), np.iinfo(np.int64).max // 2)
    np.minimum.at(first, code, at_ms)
    left, place = np.zeros(len(customers)), {name: k for k, name in enumerate(customers)}
    for name, left_ms in zip(churn.customer_ids.to_pylist(), churn.at_ms.tolist(), strict=True):
        k = place.get(name)
        if k is not None and first[k] <= left_ms <= first[k] + horizon_ms:
            left[k] = 1.0
    return left, (first + horizon_ms <= churn.known_until_ms).astype(np.float64)
