"""`nba evaluate ope` on a journal as the service writes it, and on foreign logs that lack something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.xdist_group("journal")  # one worker makes the journal


def changed(journal: Any, folder: Path, source: str = "history.parquet", **columns: Any) -> Path:
    """Logged rows as a file elsewhere (so without records), some columns replaced or (None) removed."""
    table = pq.read_table(journal.state / source, partitioning=None)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        kept = table.remove_column(place)
        table = kept if values is None else kept.append_column(name, pa.array(values(table[name].to_pylist())))
    pq.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def test_the_policy_that_logged_is_worth_what_it_earned(journal: Any) -> None:
    """From whole records the same model and config give every logged propensity back: all weights are exactly 1."""
    found = journal.nba("ope", "--decisions", journal.state / "decisions", "--model", "champion")
    assert found["cases"] == {"recorded": found["overlap"]["rows"], "rebuilt": 0}
    assert found["overlap"]["mean_weight"] == pytest.approx(1.0, abs=1e-12)
    assert found["overlap"]["heaviest"] == pytest.approx(1.0, abs=1e-9)
    assert found["estimates"]["ips"]["value"] == pytest.approx(found["logged"]["value"], abs=1e-9)
    assert found["rows"]["left out: ranks below the first"] > 0


def test_a_foreign_log_is_rebuilt_and_said_to_be(journal: Any) -> None:
    """Without records the cases come from the x columns; money instead of acceptance on request."""
    found = journal.nba(
        "ope", "--decisions", journal.state / "history.parquet", "--model", journal.model, "--reward", "saving"
    )
    assert found["cases"]["recorded"] == 0 and found["cases"]["rebuilt"] == found["overlap"]["rows"] > 800
    assert found["reward"].startswith("saving a month")
    assert set(found["estimates"]) == {"ips", "snips", "dm", "dr", "switch-dr"}


def test_a_journal_without_its_records_is_refused(journal: Any, tmp_path: Path) -> None:
    """Contact history decided what was said; without it the target would say what the log could not, and that shows."""
    path = changed(journal, tmp_path, "decisions")
    said = journal.nba("ope", "--decisions", path, "--model", "champion", status=1)
    assert "never tried in the log" in said["problems"][0]


@pytest.mark.parametrize(
    ("columns", "status", "says"),
    [
        ({"propensity": None}, 2, "'propensity' is missing"),
        ({"propensity": lambda v: [1.0] * len(v)}, 1, "every propensity is 1"),
        ({"propensity": lambda v: [p / 2 for p in v]}, 1, "propensities cannot be right"),
        ({"outcome": lambda v: [None] * len(v)}, 1, "no decision is settled|have no outcome"),
        (
            {"outcome": lambda v: [{"accepted": "declined", "declined": "accepted"}.get(o, o) for o in v]},
            1,
            "exchanged",
        ),
        ({"decision_id": lambda v: ["d-1"] * len(v)}, 2, "two different offers at the first rank"),
        ({"at": lambda v: [v[0].replace(year=2090), *v[1:]]}, 2, "in the future"),
    ],
)
def test_what_is_wrong_is_named(journal: Any, tmp_path: Path, columns: dict, status: int, says: str) -> None:
    """Planted defects of a log: each is refused in its own words, with exit status 2 for input and 1 for a no."""
    path = changed(journal, tmp_path, **columns)
    said = journal.nba("ope", "--decisions", path, "--model", "champion", status=status)
    assert any(re.search(says, problem) for problem in said["problems"]), said


def test_repeated_rows_and_a_clock_that_ran_back_are_counted(journal: Any, tmp_path: Path) -> None:
    """Rows told twice are used once, rows out of order are sorted; the answer is that of the clean log."""
    path = changed(journal, tmp_path)
    clean = journal.nba("ope", "--decisions", path, "--model", "champion")
    table = pq.read_table(path)
    order = np.r_[np.arange(table.num_rows)[::-1], np.arange(200)]
    pq.write_table(table.take(order), path)
    found = journal.nba("ope", "--decisions", path, "--model", "champion")
    assert found["rows"]["left out: repeated"] == 200
    assert found["rows"]["rows after which the clock ran backwards (sorted by time)"] > 50
    assert found["estimates"]["ips"]["value"] == pytest.approx(clean["estimates"]["ips"]["value"])


def test_no_such_model(journal: Any) -> None:
    """A version that is not there ends with the way out."""
    said = journal.nba("ope", "--decisions", journal.state / "decisions", "--model", "20200101T000000-aaaaaa", status=1)
    assert f"there are {journal.model}" in said["problems"][0]


def test_judging_by_what_was_learnt_is_said(journal: Any) -> None:
    """Planted: the rows that the model was trained on. It is warned of, and --since takes them away; later rows are clean."""
    history = ("ope", "--decisions", journal.state / "history.parquet", "--model", "champion")
    found = journal.nba(*history)
    said = next(w for w in found["warnings"] if "may have learnt" in w)
    later = journal.nba(*history, "--since", said.rsplit(" ", 1)[1])
    assert later["overlap"]["rows"] < found["overlap"]["rows"] and later["rows"]["before --since, left out"] > 0
    assert not any("learnt" in warning for warning in later["warnings"])
    clean = journal.nba("ope", "--decisions", journal.state / "decisions", "--model", "champion")
    assert not any("learnt" in warning for warning in clean["warnings"])
