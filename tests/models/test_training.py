"""Training, end to end: the same bytes twice, promoted only through the gates, and refusals that leave the champion alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kits.decisions import NOW_MS, answers_along, make_rows
from models.learned import Options
from models.registry import Registry
from models.scorer import Scorer
from models.summary import TrainReport
from models.train import train
from nba.clock import DAY_MS
from nba.config import Config
from nba.errors import DataError, InputError, RefusedError, UnavailableError

QUICK = Options(threads=1)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, rows_once: pa.Table, config: Config) -> TrainReport:
    registry = Registry(tmp_path_factory.mktemp("first") / "models")
    return train(rows_once, config, registry, now_ms=NOW_MS, options=QUICK)


@pytest.fixture(scope="module")
def rows_once() -> pa.Table:
    return make_rows(3000)


def test_a_first_model_is_promoted_and_served(first: TrainReport, config: Config) -> None:
    """An honest journal gives a champion that beats the base rate and loads for serving."""
    assert first.promoted
    assert first.stopped_by == ()
    assert first.accept.figures.log_loss < first.accept.figures.base_log_loss
    assert first.certificate.passed
    scorer = Scorer.load(first.folder, config.catalog, config.features.columns)
    assert scorer.version == first.version == Registry(first.folder.parent).champion()
    assert not scorer.has_stay


def test_the_version_holds_everything_that_explains_it(first: TrainReport) -> None:
    """ONNX, LightGBM's text, schema, figures, certificate, page, fingerprints, seed and library versions."""
    names = {path.name for path in first.folder.iterdir()}
    assert names == {
        "model.onnx", "accept.txt", "schema.json", "metrics.json", "certificate.json", "report.html", "manifest.json",
    }  # fmt: skip
    facts = json.loads((first.folder / "metrics.json").read_text())["facts"]
    assert facts["options"]["seed"] == 0
    assert {"data_fingerprint", "schema_fingerprint", "config_fingerprint", "libraries"} <= facts.keys()


def test_slices_follow_each_other_in_time(first: TrainReport) -> None:
    """Every judged row is later than every calibrating row, and these than every training row."""
    counts = first.counts
    assert counts.training + counts.calibration + counts.judging == counts.used
    assert counts.starts_ms[0] < counts.starts_ms[1] < counts.starts_ms[2] <= counts.last_ms


def test_same_data_same_seed_same_bytes(
    first: TrainReport, rows_once: pa.Table, config: Config, registry: Registry
) -> None:
    """A second training, with another number of threads and another order of rows, writes the very same files."""
    shuffled = rows_once.take(np.random.default_rng(1).permutation(len(rows_once)))
    again = train(shuffled, config, registry, now_ms=NOW_MS, options=Options(threads=2))
    assert again.version == first.version
    for path in first.folder.iterdir():
        assert (again.folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_seed_gives_another_model(
    first: TrainReport, rows_once: pa.Table, config: Config, registry: Registry
) -> None:
    """The seed is what it says."""
    other = train(rows_once, config, registry, now_ms=NOW_MS, options=Options(seed=7, threads=1))
    assert other.version != first.version


def test_progress_reaches_the_end(config: Config, registry: Registry) -> None:
    """Fractions never fall and end at 1, with words for a person."""
    seen: list[tuple[float, str]] = []
    train(
        make_rows(600), config, registry, now_ms=NOW_MS, options=QUICK, progress=lambda f, text: seen.append((f, text))
    )
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {"reading decisions", "training", "proving parity", "judging"} <= {text for _, text in seen}


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        ({"outcome": ["accepted"] * 600}, RefusedError, "one class only"),
        ({"outcome": ["skipped"] * 600}, RefusedError, "no row has a usable outcome"),
        ({"propensity": np.full(600, 1.2)}, DataError, "propensity"),
        ({"at": pa.array([1_770_000_000_000] * 600, pa.timestamp("ms"))}, RefusedError, "split in time"),
        ({"x.tenure": ["long"] * 600}, DataError, "x.tenure"),
        ({"customer_id": None}, DataError, "customer_id"),
    ],
)
def test_bad_input_is_refused_and_the_champion_stays(
    config: Config, registry: Registry, columns: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A clear refusal with the way out; what was promoted before is promoted still."""
    champion = train(make_rows(600), config, registry, now_ms=NOW_MS, options=QUICK).version
    with pytest.raises(error, match=words):
        train(make_rows(600, **columns), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert registry.champion() == champion
    assert registry.versions() == [champion]


@pytest.mark.parametrize(
    ("columns", "days", "words"),
    [
        ({}, 60, "no row has a usable outcome .600 too young.: wait until they are older than --window-days"),
        ({"outcome": pa.nulls(600)}, 7, "no row has a usable outcome .600 no outcome.: report outcomes"),
        (
            {"outcome": pa.array([None] * 540 + ["accepted", "declined"] * 30)},
            7,
            "600 rows, left out 540 no outcome; accept: 60 usable rows: it takes 100",
        ),
    ],
)
def test_a_refusal_says_what_was_left_out(
    config: Config, registry: Registry, columns: dict[str, Any], days: int, words: str
) -> None:
    """Whoever reads that there are too few rows has logged many, and what helps depends on why they do not count."""
    options = Options(threads=1, window_ms=days * DAY_MS)
    with pytest.raises(RefusedError, match=words):
        train(make_rows(600, **columns), config, registry, now_ms=NOW_MS, options=options)


def test_numbers_beyond_all_are_told_and_break_nothing(config: Config, registry: Registry) -> None:
    """Infinite features are noted with their rows; weights that are none stop, and both columns they come from are named."""
    table = make_rows(600)
    usage = table["x.usage"].to_numpy().copy()
    usage[::7], usage[1::11] = np.inf, -np.inf
    propensity = np.where(np.arange(600) % 2, 1e-310, 0.3)
    columns = {"x.usage": usage, "propensity": propensity}
    report = train(make_rows(600, **columns), config, registry, now_ms=NOW_MS, options=QUICK)
    assert (
        f"infinite: x.usage in {np.isinf(usage).sum()} rows: log what was measured, or leave it empty" in report.notes
    )
    assert np.isfinite([shift.psi for shift in report.drift]).all()
    (gate,) = [gate for gate in report.gates if not gate.passed]
    assert "'reward' and 'propensity'" in gate.says


def test_too_few_rows_are_refused(config: Config, registry: Registry) -> None:
    """Fifty calls teach nothing that could be proven."""
    with pytest.raises(RefusedError, match="50 usable rows"):
        train(make_rows(50), config, registry, now_ms=NOW_MS, options=QUICK)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"valid_share": 1.5}, "valid_share"),
        ({"valid_share": float("nan")}, "valid_share"),
        ({"monotone": {"pair.nothing": 1}}, "pair.nothing"),
        ({"monotone": {"x.plan": 1}}, "x.plan.*category"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**40}, "seed"),
        ({"window_ms": -1}, "window"),
        ({"stay_after_days": 10**15}, "stay-after-days"),
        ({"stay_after_days": 0}, "stay-after-days"),
        ({"tune_minutes": float("nan")}, "tune"),
    ],
)
def test_wrong_options_are_refused(config: Config, registry: Registry, given: dict[str, Any], words: str) -> None:
    """Each with its name, before anything is kept."""
    with pytest.raises(InputError, match=words):
        train(make_rows(600), config, registry, now_ms=NOW_MS, options=Options(**{"threads": 1, **given}))
    assert registry.versions() == []


def test_a_monotone_column_that_does_not_vary_is_noted(config: Config, registry: Registry) -> None:
    """What the policy says of a column holds once it varies: until then the model is trained without it."""
    options = Options(threads=1, monotone={"x.tenure": 1, "x.usage": 1})
    report = train(make_rows(600, **{"x.tenure": np.full(600, 3.0)}), config, registry, now_ms=NOW_MS, options=options)
    assert report.promoted
    assert any("monotone" in note and "x.tenure" in note for note in report.notes)
    assert not any("monotone" in note and "x.usage" in note for note in report.notes)


def test_a_column_that_comes_twice_is_refused(config: Config, registry: Registry) -> None:
    """Nobody knows which of the two is meant."""
    table = make_rows(600)
    twice = table.append_column("x.usage", table["x.tenure"])
    with pytest.raises(DataError, match=r"'x.usage'.*twice"):
        train(twice, config, registry, now_ms=NOW_MS, options=QUICK)


def test_parity_is_asked_on_every_judged_row(config: Config, registry: Registry) -> None:
    """None of the rows that the figures are from is left out of the certificate, however many they are."""
    options = Options(threads=1, valid_share=0.9, calibrate_share=0.2)
    report = train(make_rows(3000), config, registry, now_ms=NOW_MS, options=options)
    assert report.counts.judging > 2000
    assert report.certificate.rows["rows"] == report.counts.judging


def test_a_full_disk_keeps_the_champion(config: Config, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the version cannot be written the run fails, nothing is listed and the champion serves on."""
    champion = train(make_rows(600), config, registry, now_ms=NOW_MS, options=QUICK).version

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnavailableError, match="make room"):
        train(make_rows(700), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    monkeypatch.undo()
    assert registry.versions() == [champion] == [registry.champion()]


def test_a_constant_column_is_left_out_and_said(config: Config, registry: Registry) -> None:
    """It cannot teach anything, and the report names it."""
    report = train(make_rows(600, **{"x.tenure": np.ones(600)}), config, registry, now_ms=NOW_MS, options=QUICK)
    assert "x.tenure" not in report.accept.importance
    assert any("x.tenure" in note for note in report.notes)


def test_a_larger_saving_never_lowers_acceptance(config: Config, registry: Registry) -> None:
    """With a monotone constraint the answer rises or stays along the column, for every row asked."""
    options = Options(threads=1, monotone={"x.usage": 1})
    report = train(make_rows(2000), config, registry, now_ms=NOW_MS, options=options)
    scorer = Scorer.load(report.folder, config.catalog)
    accepts = [found.accept for found in answers_along(scorer, "x.usage")]
    assert np.diff(np.stack(accepts), axis=0).min() >= 0.0


def test_importance_weights_change_the_model(config: Config, registry: Registry) -> None:
    """On request a row counts by 1 / propensity."""
    table = make_rows(1500, propensity=np.random.default_rng(0).uniform(0.05, 1.0, 1500))
    plain = train(table, config, registry, now_ms=NOW_MS, options=QUICK)
    weighted = train(table, config, registry, now_ms=NOW_MS, options=Options(threads=1, weights="propensity"))
    assert plain.version != weighted.version


def test_tuning_finds_parameters_and_keeps_them(config: Config, registry: Registry) -> None:
    """A search of a moment leaves its parameters with the version."""
    pytest.importorskip("optuna", reason="--tune is an optional extra")
    options = Options(threads=1, tune_minutes=0.02)
    report = train(make_rows(800), config, registry, now_ms=NOW_MS, options=options)
    assert "num_leaves" in report.facts["options"]["parameters"]
    assert report.certificate.passed


def test_the_report_is_plain_data(first: TrainReport) -> None:
    """What the command line prints as JSON is JSON."""
    found = json.loads(json.dumps(first.as_json()))
    assert found["version"] == first.version
    assert found["stopped_by"] == []
    assert {gate["name"] for gate in found["gates"]} == {
        "parity",
        "schema",
        "leak",
        "log_loss",
        "calibration",
        "off_policy",
    }
