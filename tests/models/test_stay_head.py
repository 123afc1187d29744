"""The second head: who is still there, what is known of it, and what acceptance keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kits.decisions import START_MS, answers_along, make_rows
from models.dataset import read_decisions
from models.delayed import read_delayed, stay_labels
from models.learned import Options
from models.registry import Registry
from models.scorer import Scorer
from models.train import train
from nba.candidates import CatalogRules, make_candidates
from nba.clock import DAY_MS
from nba.config import Config
from nba.errors import DataError
from nba.rules import Values

NOW_MS = START_MS + 60 * DAY_MS


def delayed(*rows: tuple[str, int, str]) -> pa.Table:
    ids, days, words = zip(*rows, strict=True)
    at = pa.array([START_MS + day * DAY_MS for day in days], pa.timestamp("ms", tz="UTC")).cast(
        pa.timestamp("us", tz="UTC")
    )
    return pa.table({"customer_id": ids, "at": at, "outcome": words, "value": pa.nulls(len(ids), pa.float64())})


def labels(config: Config, days: list[int], customers: list[str], record: pa.Table, horizon: int) -> list[float]:
    at = pa.array([START_MS + day * DAY_MS for day in days], pa.timestamp("ms"))
    decisions = read_decisions(make_rows(len(days), at=at, customer_id=customers), config.catalog)
    return [float(v) for v in stay_labels(decisions, read_delayed(record), horizon * DAY_MS)]


def test_a_row_counts_once_its_horizon_is_known(config: Config) -> None:
    """Left within the horizon 0, left later or never 1, not known yet NaN: also for who has left already."""
    record = delayed(("a", 5, "churned"), ("b", 25, "churned"), ("c", 30, "stayed"), ("d", 29, "churned"))
    found = labels(config, [0, 0, 0, 25, 25], ["a", "b", "c", "d", "c"], record, 10)
    np.testing.assert_array_equal(found, [0.0, 1.0, 1.0, np.nan, np.nan])


def test_a_churn_before_the_call_says_nothing_of_it(config: Config) -> None:
    """Who left, came back and was called again is judged by what came after."""
    record = delayed(("a", 1, "churned"), ("z", 40, "survey"), ("a", 28, "churned"))
    np.testing.assert_array_equal(labels(config, [5, 20], ["a", "a"], record, 10), [1.0, 0.0])


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("outcome", ["gone"], "'gone'|gone"), ("at", ["2026-01-01"], "timestamp"), ("customer_id", [None], "empty")],
)
def test_a_wrong_delayed_row_is_named(column: str, value: list[object], words: str) -> None:
    """Row and column, as for decisions."""
    table = delayed(("a", 1, "churned"))
    typed = pa.array(value, pa.string())
    with pytest.raises(DataError, match=words):
        read_delayed(table.set_column(table.schema.get_field_index(column), column, typed))


def test_churn_of_other_ids_is_told_with_its_own_cure(config: Config, registry: Registry) -> None:
    """Nobody of these calls has left, by the ids of another system: more offers in the log would not help."""
    record = delayed(("crm-1", 20, "churned"), ("crm-2", 59, "stayed"))
    options = Options(threads=1, stay_after_days=10)
    report = train(make_rows(600), config, registry, now_ms=NOW_MS, delayed=record, options=options)
    assert report.stay_says.startswith("no stay head: stay: one class only")
    assert "by the customer_id of the decisions" in report.stay_says


def test_a_churn_that_has_not_come_is_refused() -> None:
    """One wrong clock would make the whole record look known until then: named by row, with the cure."""
    with pytest.raises(DataError, match=r"row 2: column 'at'.*future.*UTC"):
        read_delayed(delayed(("a", 1, "churned"), ("b", 900, "stayed")), now_ms=NOW_MS)


def churn_of(table: pa.Table) -> pa.Table:
    """Those who declined leave within days at 40 %, those who accepted at 5 %; the record reaches to day 60."""
    rng = np.random.default_rng(4)
    accepted = np.array(table["outcome"].to_pylist()) == "accepted"
    leaves = rng.random(len(table)) < np.where(accepted, 0.05, 0.4)
    days = (np.array(table["at"].cast(pa.int64()).to_pylist()) - START_MS) // DAY_MS + rng.integers(1, 9, len(table))
    rows = [
        (c, int(d), "churned")
        for c, d, leave in zip(table["customer_id"].to_pylist(), days, leaves, strict=True)
        if leave
    ]
    return delayed(*rows, ("nobody", 60, "stayed"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, config: Config) -> tuple[object, Scorer]:
    table = make_rows(4000, customer_id=[f"c{i}" for i in range(4000)])
    registry = Registry(tmp_path_factory.mktemp("stay") / "models")
    options = Options(threads=1, stay_after_days=10)
    report = train(table, config, registry, now_ms=NOW_MS, delayed=churn_of(table), options=options)
    return report, Scorer.load(report.folder, config.catalog)


def test_one_run_answers_for_both_ways(kept: tuple[object, Scorer], config: Config) -> None:
    """Where acceptance keeps customers, staying is likelier after it, by about what is true."""
    scorer = kept[1]
    assert scorer.has_stay
    candidates = make_candidates(CatalogRules(config.catalog), Values({}), {"plan": "s"})
    x = {"usage": 10.0, "since": 20.0, "plan": "s", "tenure": 50.0, "vip": False, "city": "city3", "intent": "other"}
    scores = scorer.score(x, candidates)
    assert scores.stay_if_accepted is not None
    assert scores.stay_if_not is not None
    np.testing.assert_allclose(scores.stay_if_accepted, 0.95, atol=0.12)
    np.testing.assert_allclose(scores.stay_if_not, 0.6, atol=0.12)


def test_the_stay_head_has_its_own_certificate_gates_and_figures(kept: tuple[object, Scorer]) -> None:
    """Parity of both answers, log loss and calibration, and drivers in words."""
    report = kept[0]
    assert {"accept", "stay_if_accepted", "stay_if_not"} == set(report.certificate.largest)  # type: ignore[attr-defined]
    assert {"stay_log_loss", "stay_calibration"} <= {gate.name for gate in report.gates}  # type: ignore[attr-defined]
    assert report.stay.figures.log_loss < report.stay.figures.base_log_loss  # type: ignore[attr-defined]
    assert all("likely to stay" in d.says or "matters" in d.says for d in report.drivers)  # type: ignore[attr-defined]
    assert report.promoted  # type: ignore[attr-defined]


def test_without_enough_history_the_head_is_absent_and_says_why(config: Config, tmp_path: Path) -> None:
    """No churn outcomes, a horizon nobody reached, or too few leavers: the first head is trained all the same."""
    table = make_rows(900)
    registry = Registry(tmp_path / "models")
    few = delayed(("c1", 1, "churned"), ("c2", 60, "stayed"))
    for record, days, words in ((None, 10, "no churn outcomes"), (few, 90, "old enough"), (few, 10, "of one class")):
        options = Options(threads=1, stay_after_days=days)
        report = train(table, config, registry, now_ms=NOW_MS, delayed=record, options=options)
        assert report.stay is None
        assert words in report.stay_says
        assert report.accept.trees > 0


def test_what_is_for_the_first_head_alone_is_said(config: Config, tmp_path: Path) -> None:
    """--valid-from and --tune do not reach the stay head: the report says so, and nothing of it without them."""
    pytest.importorskip("optuna", reason="--tune is an optional extra")
    table = make_rows(2000, customer_id=[f"c{i}" for i in range(2000)])
    middle_ms = int(np.quantile(table["at"].cast(pa.int64()).to_numpy(), 0.7))
    said = {}
    for name, more in (("plain", {}), ("both", {"valid_from_ms": middle_ms, "tune_minutes": 0.01})):
        options = Options(threads=1, stay_after_days=10, **more)
        registry = Registry(tmp_path / name)
        report = train(table, config, registry, now_ms=NOW_MS, delayed=churn_of(table), options=options)
        assert report.stay is not None
        said[name] = report.stay_says
    assert said["plain"] == "P(still a customer after 10 days)"
    assert "--valid-from" in said["both"] and "--tune" in said["both"]


def test_a_monotone_column_holds_for_staying_too(config: Config, tmp_path: Path) -> None:
    """What may never fall along a column falls in neither head."""
    table = make_rows(3000, customer_id=[f"c{i}" for i in range(3000)])
    options = Options(threads=1, stay_after_days=10, monotone={"x.usage": 1})
    report = train(table, config, Registry(tmp_path / "m"), now_ms=NOW_MS, delayed=churn_of(table), options=options)
    scorer = Scorer.load(report.folder, config.catalog)
    stays = [np.stack([found.stay_if_accepted, found.stay_if_not]) for found in answers_along(scorer, "x.usage")]
    assert np.diff(np.stack(stays), axis=0).min() >= 0.0
