"""Decisions as calls: of rows told twice the strongest outcome counts, and nothing that has not happened yet."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba.cli.arms import first_columns
from nba.cli.calls import Calls, leaving, read_calls, read_churn
from nba.clock import DAY_MS
from nba.domain import STRENGTH
from nba.errors import DataError, InputError
from nba.load import find_config, load_config
from nba.settings import Settings

NOW_MS = 1_760_000_000_000
CONFIG = load_config(find_config("telco"))
OFFER = CONFIG.catalog.offers[0].id
DAY = pa.timestamp("ms", tz="UTC")


def calls(folder: Path, ids: list[str], outcomes: list[str | None], **columns: Any) -> Calls:
    """Rows of these decisions, a month old, of one customer a decision, read as `nba evaluate ab` reads them."""
    table = {
        "decision_id": ids,
        "at": pa.array([NOW_MS - 30 * DAY_MS] * len(ids), DAY),
        "customer_id": [f"c-{name}" for name in ids],
        "offer_id": [OFFER] * len(ids),
        "propensity": [0.5] * len(ids),
        "outcome": pa.array(outcomes, pa.string()),
    }
    pq.write_table(pa.table(table | columns), folder / "rows.parquet")
    x_names = [column.name for column in CONFIG.features.columns]
    return read_calls(Settings(state_dir=folder / "state"), folder / "rows.parquet", CONFIG, NOW_MS, x_names=x_names)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("pair", [*pairwise(STRENGTH), (STRENGTH[-1], None)])
def test_of_repeated_rows_the_strongest_outcome_counts(tmp_path: Path, pair: tuple, turn: int) -> None:
    """Whichever row comes last: each outcome against the next weaker one, and against a row that knows nothing."""
    found = calls(tmp_path, ["d", "d", "e"], [*pair[::turn], "shown"])
    assert found.ids == ["d", "e"] and len(found.shown.call) == 2
    assert found.shown.flags[pair[0]][0] == 1
    assert found.counts == {"left out: repeated": 1} and found.unsettled == ()


def test_a_back_test_stands_for_no_call(tmp_path: Path) -> None:
    """A repeat that was made as of another moment is left out, and the call that took place is counted."""
    found = calls(tmp_path, ["d", "d"], ["declined", "accepted"], backtest=[False, True])
    assert found.shown.flags["declined"].tolist() == [1] and found.shown.flags["accepted"].tolist() == [0]


@pytest.mark.parametrize(("experiment", "expected"), [("tone", 1.0), ("other", 2.0)])
def test_what_is_known_from_before_is_of_the_first_call_whatever_came_of_it(
    tmp_path: Path, experiment: str, expected: float
) -> None:
    """The first of six calls has no outcome and is left out; at the second the customer had been treated already."""
    column = next(c.name for c in CONFIG.features.columns if c.dtype == "number")
    more: dict[str, Any] = {
        "customer_id": ["c"] * 6,
        "at": pa.array([NOW_MS - (30 - k) * DAY_MS for k in range(6)], DAY),
        "experiment": [experiment] + ["tone"] * 5,
        "arm": ["new"] * 6,
        f"x.{column}": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }
    found = calls(tmp_path, list("abcdef"), [None, *["declined"] * 5], **more)
    assert found.ids == list("bcdef")
    assert first_columns(found, "tone", np.array([0]))[0][column] == expected
    assert not any(found.x[1:]), "of later calls nothing is held: that would be most of the memory"


def test_an_outcome_of_the_future_is_refused(tmp_path: Path) -> None:
    """An acceptance that is dated two days from now has not happened: named by row and column."""
    at = pa.array([None, NOW_MS + 2 * DAY_MS], DAY)
    with pytest.raises(DataError, match=r"row 2: column 'outcome_at' is in the future \(1 rows\)"):
        calls(tmp_path, ["d", "e"], ["shown", "accepted"], outcome_at=at)


def delayed(folder: Path, *rows: tuple[str, float, str]) -> Path:
    """Delayed outcomes (customer, days from now, word) as a file."""
    names, days, words = zip(*rows, strict=True)
    at = pa.array([NOW_MS + int(day * DAY_MS) for day in days], DAY)
    pq.write_table(pa.table({"customer_id": names, "at": at, "outcome": words}), folder / "delayed.parquet")
    return folder / "delayed.parquet"


def test_a_delayed_outcome_of_the_future_is_refused(tmp_path: Path) -> None:
    """Who is to leave next year has not left: named by row, whether it says churned or stayed."""
    for word in ("churned", "stayed"):
        path = delayed(tmp_path, ("c-d", -1, "stayed"), ("c-e", 365, word))
        with pytest.raises(DataError, match=r"row 2: column 'at' is in the future \(1 rows\)"):
            read_churn(path, path, NOW_MS)


@pytest.mark.parametrize("at_us", [-(2**61), 0, 1_759_000_000])
def test_a_moment_before_2000_is_refused(tmp_path: Path, at_us: int) -> None:
    """Before all calendars, at the beginning of the epoch, or seconds taken for microseconds: by row and column."""
    at = pa.array([(NOW_MS - 30 * DAY_MS) * 1000, at_us], pa.timestamp("us", tz="UTC"))
    with pytest.raises(
        DataError, match=r"row 2: column 'at' lies before 2000 \(1 rows\): check the clock and the unit"
    ):
        calls(tmp_path, ["d", "e"], ["shown", "shown"], at=at)
    table = pa.table({"customer_id": ["c", "d"], "at": at, "outcome": ["stayed", "churned"]})
    pq.write_table(table, tmp_path / "delayed.parquet")
    with pytest.raises(DataError, match="row 2: column 'at' lies before 2000"):
        read_churn(tmp_path, tmp_path / "delayed.parquet", NOW_MS)


def test_delayed_outcomes_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    """Those that were named: a guardrail that cannot be read must not look like one that nobody set. None beside is none."""
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.parquet")
    for name in ("empty", "pipe.parquet"):
        with pytest.raises(InputError, match="holds no Parquet: give the Parquet of delayed outcomes"):
            read_churn(tmp_path, tmp_path / name, NOW_MS)
    assert read_churn(tmp_path / "decisions", None, NOW_MS) is None


def test_nothing_is_known_after_now(tmp_path: Path) -> None:
    """A clock that is some hours fast settles no horizon that is not over yet, and nobody leaves ahead of time."""
    found = calls(tmp_path, ["d", "e"], ["shown", "shown"])
    path = delayed(tmp_path, ("c-d", 0.4, "churned"), ("c-e", 0.5, "stayed"))
    churn = read_churn(path, path, NOW_MS)
    assert churn is not None and churn.known_until_ms == NOW_MS
    customers, code = ["c-d", "c-e"], found.shown.call
    left, known = leaving(found.at_ms, churn, customers, code, int(30.45 * DAY_MS))
    assert known.tolist() == [0, 0] and (left * known).sum() == 0
    assert leaving(found.at_ms, churn, customers, code, 30 * DAY_MS)[1].tolist() == [1, 1]
