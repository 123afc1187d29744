"""`nba evaluate report`: the page's sums are the journal's, nothing is fetched, and a real browser shows it."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.xdist_group("journal")  # one worker makes the journal


@pytest.fixture(scope="module")
def made(journal: Any, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The report of the journal, with the arm `control` as hold-out."""
    path = tmp_path_factory.mktemp("report") / "calls.html"
    more = ("--experiment", "tone", "--control", "control", "--horizon-days", 15)
    return journal.nba("report", "--decisions", journal.state / "decisions", "--out", path, *more)


def test_the_sums_are_the_journals(journal: Any, made: dict) -> None:
    """Counted again with pyarrow: suggestions, acceptances, margin and saving; every grouping adds up to the total."""
    rows = pq.read_table(journal.state / "decisions", partitioning=None)
    yes = rows.filter(pc.equal(rows["outcome"], "accepted"))
    total = made["total"]
    assert (total["offers"], total["accepted"]) == (rows.num_rows, yes.num_rows)
    assert total["margin_month"] == pytest.approx(pc.sum(yes["pair.margin_delta_month"]).as_py(), abs=0.01)
    assert total["saving_month"] == pytest.approx(pc.sum(yes["pair.saving_month"]).as_py() or 0.0, abs=0.01)
    assert made["calls"] == journal.decisions and made["silent_calls"] > 0
    for group in ("kind", "channel", "agent_group", "offer"):
        lines = [each for each in made["lines"] if each["group"] == group]
        for name in ("offers", "accepted", "declined"):
            assert sum(each[name] for each in lines) == total[name], group


def test_what_was_kept_has_its_interval(made: dict) -> None:
    """Fewer left in the other arm, so value was kept, and the interval says how surely."""
    kept = made["kept"]
    assert kept["low"] < kept["value"] < kept["high"] and kept["low"] > 0
    assert kept["left"]["treatment"] < kept["left"]["control"]
    assert {why for _, why, _ in made["reasons"]} == {"too dear", "no need"}
    assert made["drivers"] and "accepting" in made["drivers_of"]


def test_reasons_are_of_the_calls_on_the_page(journal: Any, tmp_path: Path) -> None:
    """Of a log with every second call reasons are told of those, not of every decline that was ever reported."""
    table = pq.read_table(journal.state / "decisions", partitioning=None)
    kept = [crc32(name.encode()) % 2 == 0 for name in table["decision_id"].to_pylist()]
    (tmp_path / "decisions").mkdir()
    pq.write_table(table.filter(pa.array(kept)), tmp_path / "decisions" / "rows.parquet")
    shutil.copytree(journal.state / "outcomes", tmp_path / "outcomes")
    found = journal.nba("report", "--decisions", tmp_path / "decisions", "--out", tmp_path / "r.html")
    assert 0 < sum(times for *_, times in found["reasons"]) <= found["total"]["declined"]  # the most frequent ones


def test_the_csv_says_the_same(made: dict) -> None:
    """Each line of the page stands in the CSV."""
    with Path(made["csv"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + len(made["lines"])
    assert int(rows[0]["accepted"]) == made["total"]["accepted"]


def test_the_page_is_self_contained(made: dict) -> None:
    """No script and no address of anything to fetch."""
    page = Path(made["html"]).read_text()
    assert "<script" not in page and not re.search(r"(?:src|href)=[\"']?(?!#)", page.replace('xlink:href="#', "#"))
    assert page.count("<svg") >= 3


def test_a_browser_shows_it(made: dict, tmp_path: Path) -> None:
    """Opened in Chromium: the headings and the totals are there."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    done = subprocess.run([*command, f"file://{made['html']}"], capture_output=True, text=True, timeout=180, check=True)
    for words in ("What the service calls earned and kept", "Kept against the hold-out", "too dear", "share accepted"):
        assert words in done.stdout


def test_without_a_hold_out_nothing_is_claimed(journal: Any, tmp_path: Path) -> None:
    """A log without hold-out or delayed outcomes: the page says that it is not measured."""
    found = journal.nba("report", "--decisions", journal.state / "history.parquet", "--out", tmp_path / "r.html")
    assert found["kept"] is None and found["kept_says"].startswith("Not measured")
    assert "Not measured" in (tmp_path / "r.html").read_text()


def told(journal: Any, folder: Path, lost: Callable[[str, int], bool], *more: object) -> dict:
    """The report of the journal without the outcomes of those customers for whom `lost` says so, by arm and number."""
    table = pq.read_table(journal.state / "decisions", partitioning=None)
    rows = table.select(["arm", "customer_id", "outcome"]).to_pylist()
    left = [None if lost(row["arm"], crc32(row["customer_id"].encode())) else row["outcome"] for row in rows]
    pq.write_table(
        table.set_column(table.schema.get_field_index("outcome"), "outcome", pa.array(left)), folder / "rows.parquet"
    )
    where = ("--decisions", folder / "rows.parquet", "--out", folder / "r.html", "--horizon-days", 15)
    return journal.nba("report", *where, "--delayed", journal.state / "outcomes_delayed", *more)


TONE = ("--experiment", "tone", "--control", "control")


@pytest.mark.parametrize("more", [TONE, ()], ids=["the hold-out", "another experiment"])
def test_outcomes_that_one_arm_lacks_are_said(journal: Any, tmp_path: Path, more: tuple) -> None:
    """Planted: every fourth customer of one arm without outcomes. Page and CSV warn, and nothing is claimed to be kept."""
    found = told(journal, tmp_path, lambda arm, n: arm == "kinder" and n % 4 == 0, *more)
    (said,) = found["warnings"]
    assert "'tone': outcomes are missing in one arm more than in another" in said and "kinder 2" in said
    assert found["kept"] is None and found["kept_says"].startswith("Not measured")
    assert "Warning: experiment" in Path(found["html"]).read_text()
    with Path(found["csv"]).open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file) if row["group"] == "warning"] == [said]


@pytest.mark.parametrize(
    ("lost", "more"),
    [
        (lambda arm, n: False, ()),
        (lambda arm, n: n % 8 == 0, ()),
        (lambda arm, n: arm == "kinder" and n % 4 == 0, ("--open-means-no",)),
    ],
    ids=["none is missing", "both arms alike", "silence means no"],
)
def test_outcomes_that_no_arm_lacks_more_are_no_warning(journal: Any, tmp_path: Path, lost: Any, more: tuple) -> None:
    """The same gate lets the sound log pass, one that lacks outcomes alike in both arms, and one whose silence means no."""
    found = told(journal, tmp_path, lost, *TONE, *more)
    assert list(found["warnings"]) == [] and found["kept"] is not None
    assert "Warning" not in Path(found["html"]).read_text() and "warning" not in Path(found["csv"]).read_text()


def test_a_suggestion_that_the_agent_skipped_was_made_to_nobody(journal: Any, tmp_path: Path) -> None:
    """Every third decline turned into a skip: it leaves offers and declines, and the page counts it."""
    table = pq.read_table(journal.state / "decisions", partitioning=None)
    said = table["outcome"].to_pylist()
    declined = [place for place, outcome in enumerate(said) if outcome == "declined"]
    for place in declined[::3]:
        said[place] = "skipped"
    index = table.schema.get_field_index("outcome")
    pq.write_table(table.set_column(index, "outcome", pa.array(said)), tmp_path / "rows.parquet")
    found = journal.nba("report", "--decisions", tmp_path / "rows.parquet", "--out", tmp_path / "r.html")
    skipped = len(declined[::3])
    assert found["total"]["offers"] == table.num_rows - skipped
    assert found["total"]["declined"] == len(declined) - skipped
    assert found["notes"]["suggestions that the agent skipped"] == skipped
    assert "suggestions that the agent skipped" in (tmp_path / "r.html").read_text()
