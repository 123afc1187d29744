"""`nba evaluate ab` and `nba evaluate power` on a journal as the service writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba.clock import DAY_MS, system_now_ms

pytestmark = pytest.mark.xdist_group("journal")  # one worker makes the journal

START_MS = 1_760_000_000_000  # as in conftest.py
HALVES = "control=0.5,kinder=0.5"


@pytest.fixture(scope="module")
def found(journal: Any) -> dict:
    """The analysis of the journal's experiment."""
    more = ("--shares", HALVES, "--horizon-days", 15, "--planned-customers", 700)
    return journal.nba("ab", "--decisions", journal.state / "decisions", "--experiment", "tone", *more)


def effect(found: dict, metric: str) -> dict:
    return next(e for e in found["effects"] if e["metric"] == metric)


def test_the_kinder_arm_is_accepted_more(found: dict) -> None:
    """The difference that was built in is found, per call, with calls in which nothing was said counted."""
    accepted = effect(found, "accepted")
    assert accepted["low"] > 0 and accepted["relative"] > 0.2
    assert (
        accepted["always_low"] < accepted["low"] < accepted["difference"] < accepted["high"] < accepted["always_high"]
    )
    assert sum(found["arms"].values()) == 700 and sum(accepted["units"]) == 700
    assert found["ratio"]["always_p"] > 0.05


def test_the_ones_who_stay_are_guarded(found: dict) -> None:
    """Delayed outcomes stand beside the decisions: 30 % of the control left, 10 % of the other arm."""
    left = effect(found, "left")
    assert left["harm"] and left["control"] == pytest.approx(0.30, abs=0.08) and left["treatment"] < left["control"]
    assert left["says"] == "harm beyond what is allowed is excluded"
    assert not found["stop"]


def test_columns_from_before_are_used_and_named(found: dict) -> None:
    """CUPED takes x columns of the first call."""
    assert found["columns"] and all(name.startswith("x.") for name in found["columns"])
    assert effect(found, "accepted")["saved"] >= 0


def test_the_other_way_round_the_guardrail_stops(journal: Any) -> None:
    """With the arms exchanged more customers leave: exit status 1 and the word STOP."""
    found = journal.nba(
        "ab", "--decisions", journal.state / "decisions", "--experiment", "tone", "--control", "kinder", "--horizon-days", 15,
        "--planned-customers", 700, status=1,
    )  # fmt: skip
    assert effect(found, "left")["says"].startswith("STOP: left rose")
    assert any("--shares" in note for note in found["notes"])


def test_agents_are_the_units_on_request(journal: Any) -> None:
    """By agent there are twelve units, and each agent served one arm."""
    found = journal.nba(
        "ab", "--decisions", journal.state / "decisions", "--experiment", "tone", "--unit", "agent_id", "--no-cuped"
    )
    assert found["unit"] == "agent_id" and sum(found["arms"].values()) == 12
    assert any("only 12 units" in note for note in found["notes"])


def rows(journal: Any, folder: Path, keep: Any = None, **columns: Any) -> Path:
    table = pq.read_table(journal.state / "decisions", partitioning=None)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        if place >= 0:
            old = table[name].to_pylist()
            table = table.remove_column(place)
        else:
            old = table["arm"].to_pylist()
        if values is not None:
            table = table.append_column(name, pa.array(values(old)))
    if keep is not None:
        table = table.filter(pa.array([keep(row) for row in table.select(["arm", "customer_id"]).to_pylist()]))
    pq.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


@pytest.mark.parametrize(
    ("change", "more", "status", "says"),
    [
        ({"arm": lambda v: ["control"] * len(v)}, (), 1, "nothing to compare with"),
        ({"arm": lambda v: ["control"] * len(v)}, ("--shares", HALVES), 1, "arm 'kinder' is empty"),
        ({"experiment": None}, (), 2, "no call of experiment"),
        ({"arm": lambda v: ["control", "kinder"] * (len(v) // 2) + v[: len(v) % 2]}, (), 1, "were in two arms"),
        ({"outcome": lambda v: [None] * len(v)}, (), 1, "have no outcome"),
        ({"at": lambda v: [v[0].replace(year=2090), *v[1:]]}, (), 2, "in the future"),
        ({}, ("--guardrail", "handle_s"), 2, "no column 'handle_s'"),
        ({}, ("--unit", "site"), 2, "use customer, agent_id or agent_group"),
        ({}, ("--unit", "agent_id"), 1, "send `agent`"),
        ({}, ("--shares", "control=half"), 2, "write it like"),
        ({}, ("--shares", "control=inf,kinder=0.5"), 2, "finite number above 0"),
        ({}, ("--shares", "control=nan,kinder=0.5"), 2, "finite number above 0"),
        ({}, ("--horizon-days", "inf"), 2, "--horizon-days inf"),
        ({}, ("--window-days", "inf"), 2, "--window-days inf"),
        ({}, ("--tolerance", "inf"), 2, "--tolerance inf"),
        ({"arm": lambda v: [None] * len(v)}, (), 2, "names its arm"),
        ({}, ("--shares", "control=0.8,kinder=0.2"), 1, "sample ratio mismatch"),
        ({"x.data_gb_peak": lambda v: list(range(len(v)))}, (), 0, ""),
        ({"x.data_gb_peak": "by arm"}, (), 1, "measured after the start"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    journal: Any, tmp_path: Path, change: dict, more: tuple, status: int, says: str
) -> None:
    """Each defect of an experiment's log is refused in its own words."""
    if change.get("x.data_gb_peak") == "by arm":
        arms = pq.read_table(journal.state / "decisions", partitioning=None)["arm"].to_pylist()
        change = {"x.data_gb_peak": lambda v: [i % 7 + 5.0 * (arm == "kinder") for i, arm in enumerate(arms)]}
    path = rows(journal, tmp_path, **change)
    found = journal.nba("ab", "--decisions", path, "--experiment", "tone", *more, status=status)
    assert says in " ".join(found.get("problems", [])), found


def test_a_column_of_the_log_guards(journal: Any, tmp_path: Path) -> None:
    """Handle time as a column: fifty seconds more in one arm, and the advice is to stop."""
    path = rows(
        journal, tmp_path, handle_s=lambda arms: [300 + 50 * (a == "kinder") + i % 60 for i, a in enumerate(arms)]
    )
    found = journal.nba("ab", "--decisions", path, "--experiment", "tone", "--guardrail", "handle_s", status=1)
    assert effect(found, "handle_s")["says"].startswith("STOP") and found["stop"]


def test_an_infinite_value_from_before_is_counted_and_named(journal: Any, tmp_path: Path) -> None:
    """Planted: three customers whose best column is infinite. It stays in CUPED with their value not known, and is counted."""
    columns = (
        pq.read_table(journal.state / "decisions", partitioning=None).select(["customer_id", "outcome"]).to_pylist()
    )
    yes = {row["customer_id"] for row in columns if row["outcome"] == "accepted"}
    wild = set(sorted({row["customer_id"] for row in columns})[:3])
    habit = [crc32(row["customer_id"].encode()) % 5 + 2.0 * (row["customer_id"] in yes) for row in columns]
    names = [row["customer_id"] for row in columns]
    where = ("--experiment", "tone", "--decisions")

    def told(values: list[float | None]) -> dict:
        return journal.nba("ab", *where, rows(journal, tmp_path, **{"x.data_gb_peak": lambda old: values}))

    found = told([float("inf") if n in wild else v for n, v in zip(names, habit, strict=True)])
    assert found["counts"]["units at which x.data_gb_peak is infinite, taken as not known"] == 3
    assert "x.data_gb_peak" in found["columns"]
    empty = told([None if n in wild else v for n, v in zip(names, habit, strict=True)])
    assert found["effects"] == empty["effects"] and not any("infinite" in words for words in empty["counts"])


def test_power_tells_what_an_experiment_would_need_and_could_show(journal: Any) -> None:
    """Customers for a lift, days, and what those there are can show."""
    found = journal.nba("power", "--rate", 0.2, "--lift", 0.1, "--a-day", 500, "--once", "--customers", 4000)
    assert found["customers"] == pytest.approx(13_014, abs=5) and found["days"] == 27
    assert found["detectable_lift"] == pytest.approx(0.183, abs=0.001) and 0.2 < found["power"] < 0.5
    assert "--mean with --deviation" in journal.nba("power", "--lift", 0.1, status=2)["problems"][0]


def lacking(journal: Any, lost: Any) -> Any:
    """Outcomes of the journal's rows, None for every customer of those arms for whom `lost` says so."""
    table = pq.read_table(journal.state / "decisions", partitioning=None).select(["arm", "customer_id"]).to_pylist()
    gone = [lost(row["arm"], crc32(row["customer_id"].encode())) for row in table]
    return lambda outcomes: [None if hit else word for hit, word in zip(gone, outcomes, strict=True)]


def test_outcomes_that_one_arm_lacks_are_refused(journal: Any, tmp_path: Path) -> None:
    """Every fourth customer of one arm without outcomes, less than a fifth of all: refused; the same in both arms: counted."""
    one = rows(journal, tmp_path, outcome=lacking(journal, lambda arm, n: arm == "kinder" and n % 4 == 0))
    said = journal.nba("ab", "--decisions", one, "--experiment", "tone", status=1)
    assert "missing in one arm" in said["problems"][0] and "kinder 2" in said["problems"][0]
    journal.nba("ab", "--decisions", one, "--experiment", "tone", "--open-means-no")
    both = rows(journal, tmp_path, outcome=lacking(journal, lambda arm, n: n % 8 == 0))
    found = journal.nba("ab", "--decisions", both, "--experiment", "tone")
    assert found["counts"]["without any outcome, left out"] > 25


def test_a_guardrail_that_cannot_be_read_is_refused(journal: Any, tmp_path: Path) -> None:
    """A misspelt delayed outcome beside the log: named by file and row, not passed over in silence."""
    (tmp_path / "decisions").mkdir()
    path = rows(journal, tmp_path / "decisions")
    delayed = pq.read_table(journal.state / "outcomes_delayed", partitioning=None)
    words = ["churnd", *delayed["outcome"].to_pylist()[1:]]
    wrong = delayed.set_column(delayed.schema.get_field_index("outcome"), "outcome", pa.array(words))
    (tmp_path / "outcomes_delayed").mkdir()
    pq.write_table(wrong, tmp_path / "outcomes_delayed" / "part-0.parquet")
    for verb in (("ab", "--experiment", "tone"), ("report", "--out", tmp_path / "r.html")):
        said = journal.nba(*verb, "--decisions", path.parent, status=2)
        assert "row 1" in said["problems"][0] and "churnd is none of" in said["problems"][0]


def test_an_infinite_handle_time_is_refused(journal: Any, tmp_path: Path) -> None:
    """One infinite value is named by its row; it does not turn the guardrail into "no harm"."""
    path = rows(journal, tmp_path, handle_s=lambda arms: [float("inf") if i == 4 else 300.0 for i in range(len(arms))])
    said = journal.nba("ab", "--decisions", path, "--experiment", "tone", "--guardrail", "handle_s", status=2)
    assert "row 5: column 'handle_s': inf" in said["problems"][0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--rate", 0.2, "--lift", "nan"), "--lift nan"),
        (("--rate", 0.2, "--lift", "inf"), "--lift inf"),
        (("--rate", 0.2, "--lift", 1e-200), "would be needed"),
        (("--rate", 0.2, "--lift", 10), "a share of 220%"),
        (("--mean", "nan", "--deviation", 1, "--lift", 0.1), "--mean nan"),
        (("--mean", 1, "--deviation", "inf", "--lift", 0.1), "--deviation inf"),
        (("--rate", 0.2, "--lift", 0.1, "--a-day", "inf"), "--a-day inf"),
        (("--rate", 0.2, "--lift", 0.1, "--group", "inf", "--icc", 0.1), "--group inf"),
        (("--mean", 1e308, "--deviation", 1, "--lift", 0.1), "--mean 1e+308 is not possible"),
        (("--mean", 1, "--deviation", 1e308, "--lift", 0.1), "--deviation 1e+308 is not possible"),
        (("--rate", 1e-300, "--lift", 0.1), "--rate 1e-300 is not possible"),
        (("--mean", 1, "--deviation", 1, "--lift", 1e200), "--lift 1e+200 is no change"),
        (("--rate", 0.2, "--customers", 10**30), "give 2 to 1,000,000,000,000"),
        (("--rate", 0.2, "--lift", 0.1, "--comparisons", 10**30), "--comparisons 1e+30 is not possible"),
    ],
)
def test_power_of_no_number_is_refused(journal: Any, options: tuple, says: str) -> None:
    """What is no number, no share, or cannot be calculated with ends with exit status 2 and its name."""
    assert says in journal.nba("power", *options, status=2)["problems"][0]


def test_arms_that_are_not_alike_are_said_without_planned_shares(journal: Any, tmp_path: Path) -> None:
    """Three of four of one arm lost and no shares given: equal ones are assumed, and the mismatch is a note."""
    path = rows(
        journal, tmp_path, keep=lambda row: row["arm"] == "control" or crc32(row["customer_id"].encode()) % 4 == 0
    )
    found = journal.nba("ab", "--decisions", path, "--experiment", "tone")
    assert any("if equal ones were planned, this is a sample ratio mismatch" in note for note in found["notes"])
    whole = journal.nba("ab", "--decisions", rows(journal, tmp_path), "--experiment", "tone")
    assert not any("mismatch" in note for note in whole["notes"])


def test_calls_younger_than_the_window_are_left_out(journal: Any) -> None:
    """A window that reaches back between the first and the second calls leaves the first ones only."""
    age_days = (system_now_ms() - START_MS) / DAY_MS
    where = ("ab", "--decisions", journal.state / "decisions", "--experiment", "tone", "--window-days")
    first = journal.nba(*where, age_days - 2)
    assert first["counts"]["left out: younger than the window"] > 100
    whole = journal.nba(*where, 0)
    assert "left out: younger than the window" not in whole["counts"]
    assert sum(effect(first, "accepted")["units"]) == sum(effect(whole, "accepted")["units"]) == 700


def test_where_there_is_no_interval_none_is_printed(journal: Any, tmp_path: Path) -> None:
    """A guardrail that never varies and one that nobody measured: said in words, with no nan and no inf."""
    path = rows(journal, tmp_path, handle_s=lambda old: [300.0] * len(old), hold_s=lambda old: [None] * len(old))
    table = pq.read_table(path)
    place = table.schema.get_field_index("hold_s")
    pq.write_table(table.set_column(place, "hold_s", table["hold_s"].cast(pa.float64())), path)
    more = ("--guardrail", "handle_s", "--guardrail", "hold_s")
    said = journal.says("ab", "--decisions", path, "--experiment", "tone", *more)
    assert "handle_s: 300.0000 -> 300.0000 in kinder (+0.0%)" in said and "no interval yet" in said
    assert "hold_s in kinder: cannot be judged" in said
    assert "nan" not in said.split() and "+nan" not in said and "inf " not in said
