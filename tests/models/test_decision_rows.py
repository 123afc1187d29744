"""Decision rows: what is read, what is refused, and what an outcome says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kits.decisions import NOW_MS, make_rows
from models.dataset import read_decisions, settle
from models.matrix import Assembler
from models.schema import Schema, SchemaColumn
from nba.clock import DAY_MS, HOUR_MS
from nba.config import Config
from nba.errors import DataError, UnavailableError


def small(**columns: object) -> pa.Table:
    return make_rows(6, **{"customer_id": ["c"] * 6, **columns})


def test_a_file_a_folder_and_a_day_partition_read_the_same(config: Config, tmp_path: Path) -> None:
    """One history, however it is laid out on disk."""
    table = make_rows(300)
    pq.write_table(table, tmp_path / "all.parquet")
    for day, part in (("2026-02-02", table[:100]), ("2026-02-03", table[100:])):
        (tmp_path / "log" / f"day={day}").mkdir(parents=True)
        pq.write_table(part, tmp_path / "log" / f"day={day}" / "part-0.parquet")
    one, two = (
        read_decisions(tmp_path / "all.parquet", config.catalog),
        read_decisions(tmp_path / "log", config.catalog),
    )
    assert (one.at_ms == two.at_ms).all()
    assert (one.offer == two.offer).all()
    assert (settle(one, NOW_MS).label == settle(two, NOW_MS).label).all()


def test_a_folder_is_read_whole_or_refused(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through links, older days on another disk; without what is being written; and not at all where a day is locked."""
    log, other = tmp_path / "log", tmp_path / "other"
    for folder in (log / "day=1", log / "_temporary" / "0", other):
        folder.mkdir(parents=True)
    pq.write_table(make_rows(5), log / "day=1" / "a.parquet")
    pq.write_table(make_rows(7), other / "b.parquet")
    (log / "day=2").symlink_to(other)
    (log / "day=3").symlink_to(log)  # round in a circle
    (log / "_temporary" / "0" / "c.parquet").write_bytes(b"PAR1")
    (log / "day=1" / "._a.parquet").write_bytes(b"half")
    found = read_decisions(log, config.catalog)
    assert [(source.name, source.rows) for source in found.sources] == [("day=1/a.parquet", 5), ("day=2/b.parquet", 7)]
    listed = os.scandir

    def locked(path: str) -> object:
        if str(path).endswith("day=2"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", locked)  # root, as whom tests may run, is refused nothing
    with pytest.raises(DataError, match="day=2: Permission denied: give this user the right"):
        read_decisions(log, config.catalog)


@pytest.mark.parametrize("end", ["rewritten", "removed"])
def test_a_file_that_changes_between_two_looks_is_refused(config: Config, tmp_path: Path, end: str) -> None:
    """An erasure takes rows out of a part: every row after them would be given the features of another call."""
    table, path = make_rows(50), tmp_path / "rows.parquet"
    pq.write_table(table, path)
    decisions = read_decisions(path, config.catalog)
    if end == "removed":
        path.unlink()
    else:
        pq.write_table(table.slice(1), path)
    schema = Schema((SchemaColumn("x.usage", "number"),))
    with pytest.raises(UnavailableError, match=r"rows.parquet: had 50 rows and has (0|49) now.*run it again"):
        Assembler(decisions, config).matrix(schema, np.arange(50))


def test_rows_not_yet_rolled_join_those_on_disk(config: Config, tmp_path: Path) -> None:
    """Files and tables may be given together."""
    pq.write_table(make_rows(100), tmp_path / "a.parquet")
    assert len(read_decisions([tmp_path, make_rows(50, seed=1)], config.catalog)) == 150


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_a_moment_is_the_same_in_every_unit_and_zone(config: Config, unit: str, zone: str | None) -> None:
    """Timestamps without a zone are UTC; with one they are that moment."""
    at = pa.array([1_770_000_000] * 6).cast(pa.timestamp("s", tz=zone)).cast(pa.timestamp(unit, tz=zone))
    assert set(read_decisions(small(at=at), config.catalog).at_ms) == {1_770_000_000_000}


@pytest.mark.parametrize(
    "wrap", [lambda c: c.cast(pa.large_string()), lambda c: c.dictionary_encode(), lambda c: c.cast(pa.string_view())]
)
def test_text_may_come_in_every_arrow_form(config: Config, wrap: Callable[[pa.Array], pa.Array]) -> None:
    """string, large_string, string_view and dictionary columns are all text."""
    table = make_rows(50)
    for name in ("offer_id", "customer_id", "decision_id", "outcome"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.chunked_array([wrap(table[name].combine_chunks())]))
    assert len(read_decisions(table, config.catalog)) == 50


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"propensity": None}, ["'propensity'", "missing"]),
        ({"propensity": [0.5, 0.5, 0.0, 0.5, 0.5, 0.5]}, ["row 3", "'propensity'", "(0, 1]"]),
        ({"propensity": [0.5, 0.5, 0.5, 0.5, 1.2, 0.5]}, ["row 5", "'propensity'", "1.2"]),
        ({"propensity": [0.5, float("nan"), 0.5, 0.5, 0.5, 0.5]}, ["row 2", "'propensity'"]),
        ({"propensity": ["much"] * 6}, ["'propensity'", "number"]),
        ({"offer_id": ["s", "s", "s", "gone", "s", "s"]}, ["row 4", "'offer_id'", "'gone'"]),
        ({"offer_id": pa.array(["s", None, "s", "s", "s", "s"])}, ["row 2", "'offer_id'", "empty"]),
        ({"outcome": ["accepted"] * 5 + ["bought"]}, ["row 6", "'outcome'", "'bought'"]),
        ({"outcome": ["accepted"] * 5 + [""]}, ["row 6", "'outcome'", "''", "null where it is not known"]),
        ({"at": ["2026-01-01"] * 6}, ["'at'", "timestamp", "pandas.to_datetime(…, utc=True)"]),
        ({"at": [1_770_000_000] * 6}, ["'at'", "int64", "pandas.to_datetime(…, unit='s', utc=True)", "nanoseconds"]),
        ({"customer_id": [1.0] * 6}, ["'customer_id'", "double", "astype('Int64')"]),
        ({"reward": [0.0, float("inf"), 0.0, 0.0, 0.0, 0.0]}, ["row 2", "'reward'", "inf"]),
        ({"rank": [1, 1, 0, 1, 1, 1]}, ["row 3", "'rank'", "0"]),
        ({"outcome_at": pa.array([1] * 6, pa.timestamp("ms"))}, ["row 1", "'outcome_at'", "before its decision"]),
    ],
)
def test_a_wrong_row_is_named(config: Config, columns: dict[str, object], names: list[str]) -> None:
    """Every refusal names row and column."""
    with pytest.raises(DataError) as caught:
        read_decisions(small(**columns), config.catalog)
    assert all(name in str(caught.value) for name in names), str(caught.value)


def test_an_id_that_every_file_counts_anew_is_refused(config: Config, tmp_path: Path) -> None:
    """Calls of other customers would be repeated rows of one: most left out, and of each id only the best outcome kept."""
    for name, customers in (("a", ["c1", "c2", "c3"]), ("b", ["c1", "c9", "c8"])):
        pq.write_table(make_rows(3, decision_id=["1", "2", "3"], customer_id=customers), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError) as caught:
        read_decisions(tmp_path, config.catalog)
    for words in ("b.parquet: row 2", "'decision_id': '2'", "a.parquet: row 2", "2 such rows", "an id of its own"):
        assert words in str(caught.value)


def test_an_optional_column_without_any_value_is_as_none(config: Config) -> None:
    """Writers give such a column no type at all: moments are then as unknown as words and numbers are."""
    empty = {name: pa.nulls(6) for name in ("outcome_at", "outcome", "reward", "rank")}
    found = read_decisions(small(**empty), config.catalog)
    np.testing.assert_array_equal(found.known_ms, found.at_ms)
    with pytest.raises(DataError, match="row 1: column 'at' is empty"):
        read_decisions(small(at=pa.nulls(6)), config.catalog)


def test_a_row_is_named_by_its_own_file(config: Config, tmp_path: Path) -> None:
    """In a folder the row is counted inside the file that holds it."""
    pq.write_table(small(), tmp_path / "a.parquet")
    pq.write_table(small(propensity=[1.0, 1.0, 7.0, 1.0, 1.0, 1.0]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: row 3"):
        read_decisions(tmp_path, config.catalog)


def test_what_is_not_parquet_is_refused(config: Config, tmp_path: Path) -> None:
    """A text file, an empty folder and a path to nowhere each get an answer that says what to give."""
    (tmp_path / "x.parquet").write_text("no")
    for path in (tmp_path / "x.parquet", tmp_path / "nowhere"):
        with pytest.raises(DataError):
            read_decisions(path, config.catalog)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no decision rows"):
        read_decisions(tmp_path / "empty", config.catalog)
    (tmp_path / "log.csv").write_text("decision_id;at\n")
    with pytest.raises(DataError, match=r"log\.csv: is read from Parquet only: convert it, as pandas\.read_csv"):
        read_decisions(tmp_path / "log.csv", config.catalog)


def test_a_column_that_only_a_folder_names_is_told_from_one_that_is_missing(config: Config, tmp_path: Path) -> None:
    """Writers that partition by a column take it out of the files: whoever wrote it is told where it went."""
    (tmp_path / "offer_id=s").mkdir()
    pq.write_table(make_rows(5).drop_columns(["offer_id"]), tmp_path / "offer_id=s" / "a.parquet")
    with pytest.raises(DataError, match="'offer_id' stands in the name of the folder only: write it into the file"):
        read_decisions(tmp_path, config.catalog)


def test_outcomes_settle_by_the_stated_rule(config: Config) -> None:
    """Accepted wins, silence counts once its window has passed, skipped and unknown are no evidence."""
    outcomes = ["accepted", "declined", "shown", "spoken", "later", "skipped", None]
    old, young = NOW_MS - 2 * HOUR_MS, NOW_MS - 60_000
    at = pa.array([old] * 7 + [young] * 7, pa.timestamp("ms"))
    table = make_rows(14, at=at, outcome=pa.array(outcomes * 2))
    settled = settle(read_decisions(table, config.catalog), NOW_MS, HOUR_MS)
    wanted = [1, 0, 0, 0, 0] + [np.nan] * 9
    np.testing.assert_array_equal(settled.label, np.array(wanted, dtype=np.float32))
    assert settled.left_out == {"skipped": 2, "no outcome": 2, "too young": 5}


def test_the_newest_days_are_no_richer_in_acceptances(config: Config) -> None:
    """Acceptances that came at once do not count before the silence of the same days does."""
    young = NOW_MS - HOUR_MS // 2
    words = ["accepted", "shown", "shown", "shown"] * 50
    at = pa.array([NOW_MS - 2 * HOUR_MS] * 100 + [young] * 100, pa.timestamp("ms"))
    label = settle(read_decisions(make_rows(200, at=at, outcome=words), config.catalog), NOW_MS, HOUR_MS).label
    assert np.nanmean(label) == 0.25


def test_back_tests_and_repeated_rows_are_left_out(config: Config) -> None:
    """A row made with `at` teaches nothing; a row that comes twice counts once."""
    ids, offers = ["a", "a", "b", "c", "d", "e"], ["s", "s", "s", "s", "s", "s"]
    outcome = ["declined", "accepted", "accepted", "accepted", "accepted", "accepted"]
    backtest = pa.array([False, False, True, None, False, False])
    table = small(decision_id=ids, offer_id=offers, outcome=outcome, backtest=backtest)
    settled = settle(read_decisions(table, config.catalog), NOW_MS)
    np.testing.assert_array_equal(np.isnan(settled.label), [True, False, True, False, False, False])
    assert settled.left_out == {"back-test": 1, "repeated": 1}


@pytest.mark.parametrize("weaker", ["shown", "later", "declined", "skipped", None])
def test_of_repeated_rows_the_strongest_outcome_stands(config: Config, weaker: str | None) -> None:
    """Accepted wins whichever comes last, and a row without an outcome hides nothing that is known."""
    outcome = pa.array(["accepted", weaker, weaker, "accepted", "declined", None])
    table = small(decision_id=["a", "a", "b", "b", "c", "c"], offer_id=["s"] * 6, outcome=outcome)
    settled = settle(read_decisions(table, config.catalog), NOW_MS)
    nan = np.nan
    np.testing.assert_array_equal(settled.label, np.array([1, nan, nan, 1, 0, nan], dtype=np.float32))
    assert settled.left_out == {"repeated": 3}


def test_a_back_test_hides_no_real_row(config: Config) -> None:
    """A repeat that was made with `at` does not stand for the call that took place."""
    backtest = [False, True, False, False, False, False]
    table = small(decision_id=list("aabcde"), offer_id=["s"] * 6, outcome=["declined"] + ["accepted"] * 5)
    settled = settle(read_decisions(table.append_column("backtest", pa.array(backtest)), config.catalog), NOW_MS)
    assert settled.label[0] == 0.0
    assert settled.left_out == {"back-test": 1}


@pytest.mark.parametrize("column", ["at", "outcome_at"])
def test_a_moment_that_has_not_come_is_refused(config: Config, column: str) -> None:
    """More than a day ahead is a wrong clock, named by row with the cure; a day to the millisecond is not."""
    usual = [NOW_MS - DAY_MS] * 5
    far = pa.array([*usual, NOW_MS + DAY_MS + 1], pa.timestamp("ms"))
    near = pa.array([*usual, NOW_MS + DAY_MS], pa.timestamp("ms"))
    table = {"at": pa.array([NOW_MS - 2 * DAY_MS] * 6, pa.timestamp("ms"))}
    with pytest.raises(DataError, match=rf"row 6: column '{column}'.*future.*UTC"):
        read_decisions(small(**{**table, column: far}), config.catalog, now_ms=NOW_MS)
    assert len(read_decisions(small(**{**table, column: near}), config.catalog, now_ms=NOW_MS)) == 6


def test_a_moment_before_2000_is_refused(config: Config) -> None:
    """Seconds that were written as milliseconds lie in 1970: named by row, with the cure."""
    seconds = pa.array([NOW_MS - DAY_MS] * 5 + [NOW_MS // 1000], pa.timestamp("ms"))
    with pytest.raises(DataError, match=r"row 6: column 'at' lies before 2000 \(1 rows\): .*unit"):
        read_decisions(small(at=seconds), config.catalog, now_ms=NOW_MS)


def test_a_log_without_outcomes_settles_nothing(config: Config) -> None:
    """Nobody knows what was said: no row counts as declined."""
    found = read_decisions(small(outcome=None), config.catalog)
    assert set(found.outcome.tolist()) == {-1}
    assert settle(found, NOW_MS + 9 * DAY_MS).left_out == {"no outcome": 6}
