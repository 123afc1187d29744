"""What stops a promotion, and who the champion is when something breaks: a worse model never takes a good one's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kits.decisions import NOW_MS, make_rows
from models.challenge import Challenge
from models.export import Head, to_onnx
from models.forest import Split
from models.judge import Gate
from models.learned import Options
from models.registry import Registry
from models.summary import TrainReport
from models.train import train
from nba.config import Config
from nba.errors import ModelError, RefusedError, UnavailableError

QUICK = Options(threads=1)


def noise_rows(n: int) -> pa.Table:
    """A history whose outcomes have been exchanged at random: there is nothing left to learn."""
    table = make_rows(n)
    outcome = table["outcome"].to_numpy(zero_copy_only=False)[np.random.default_rng(5).permutation(n)]
    return table.set_column(table.schema.get_field_index("outcome"), "outcome", pa.array(outcome))


def test_a_worse_challenger_is_stopped(config: Config, registry: Registry) -> None:
    """A model that learnt from spoilt columns is worse on the same later rows: log loss says so, the champion stays."""
    good = make_rows(4000)
    champion = train(good, config, registry, now_ms=NOW_MS, options=QUICK)
    spoilt = {name: good[name].to_numpy(zero_copy_only=False).copy() for name in ("x.usage", "x.intent")}
    for values in spoilt.values():
        values[:3600] = values[np.random.default_rng(2).permutation(3600)]
    worse = train(make_rows(4000, **spoilt), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert "log_loss" in worse.stopped_by
    assert not worse.promoted
    assert registry.champion() == champion.version
    assert worse.version in registry.versions()  # kept, to be looked at


def test_the_report_names_the_champion_before_and_now(config: Config, registry: Registry) -> None:
    """Both plainly, promoted or not: a bare `champion` beside `promoted` is read as the one of now."""
    first = train(make_rows(600), config, registry, now_ms=NOW_MS, options=QUICK).as_json()
    second = train(make_rows(4000), config, registry, now_ms=NOW_MS + 1000, options=QUICK).as_json()
    kept = train(
        make_rows(700), config, registry, now_ms=NOW_MS + 2000, options=replace(QUICK, promote=False)
    ).as_json()
    told = [(r["promoted"], r["champion_before"], r["champion_now"]) for r in (first, second, kept)]
    one, two = first["version"], second["version"]
    assert told == [(True, None, one), (True, one, two), (False, two, two)]
    assert registry.champion() == two
    assert [r["champion"] for r in (first, second, kept)] == [None, one, two]  # the name that programs know


def with_outcomes(table: pa.Table, rows: slice, outcome: list[str]) -> pa.Table:
    words = table["outcome"].to_numpy(zero_copy_only=False).copy()
    words[rows] = outcome
    return table.set_column(table.schema.get_field_index("outcome"), "outcome", pa.array(words))


def test_a_challenger_that_learnt_the_contrary_loses_value(config: Config, registry: Registry) -> None:
    """Trained on exchanged answers it would say the wrong offers: the off-policy gate sees it on the explored log."""
    table = make_rows(6000)
    champion = train(table, config, registry, now_ms=NOW_MS, options=QUICK)
    contrary = ["declined" if word == "accepted" else "accepted" for word in table["outcome"].to_pylist()[:5400]]
    spoilt = with_outcomes(table, slice(0, 5400), contrary)
    worse = train(spoilt, config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert {"log_loss", "off_policy"} <= set(worse.stopped_by)
    assert registry.champion() == champion.version


def test_a_challenger_that_exaggerates_is_stopped_by_calibration(config: Config, registry: Registry) -> None:
    """Calibrated on a slice where everybody accepted, it promises too much."""
    table = make_rows(6000)
    champion = train(table, config, registry, now_ms=NOW_MS, options=QUICK)
    many = np.random.default_rng(0).choice(["accepted", "declined"], 600, p=[0.9, 0.1]).tolist()
    loud = train(with_outcomes(table, slice(4800, 5400), many), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert "calibration" in loud.stopped_by
    assert registry.champion() == champion.version


def test_an_export_that_rounds_thresholds_is_stopped_by_parity(
    config: Config, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defect of the usual converters, planted into the export, never reaches a customer."""

    def rounded(width: int, accept: Head, stay: Head | None) -> bytes:
        up = [replace(tree, splits=tuple(above(split) for split in tree.splits)) for tree in accept.forest.trees]
        return to_onnx(width, Head(replace(accept.forest, trees=tuple(up)), accept.calibration), stay)

    monkeypatch.setattr("models.train.to_onnx", rounded)
    report = train(make_rows(2000), config, registry, now_ms=NOW_MS, options=QUICK)
    assert report.stopped_by == ("parity",)
    with pytest.raises(RefusedError, match="certificate"):
        registry.promote(report.version)
    assert registry.champion() is None


def above(split: Split) -> Split:
    return replace(split, threshold=float(np.nextafter(np.float32(split.threshold), np.float32(np.inf))))


def test_a_small_history_of_noise_still_gives_a_first_model(config: Config, registry: Registry) -> None:
    """Not worse than the base rate beyond noise: let through, with figures that say how little it knows."""
    report = train(noise_rows(500), config, registry, now_ms=NOW_MS, options=QUICK)
    assert report.promoted
    assert abs(report.accept.figures.log_loss - report.accept.figures.base_log_loss) < 0.1


@pytest.mark.parametrize("name", ["parity", "schema", "leak", "log_loss", "calibration", "off_policy"])
def test_every_gate_stops_a_promotion(
    config: Config, registry: Registry, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whichever gate says no, the version is kept, not promoted, and the report names the gate."""
    champion = train(make_rows(600), config, registry, now_ms=NOW_MS, options=QUICK).version
    ask = Challenge.gates

    def refusing(self: Challenge, certificate: Any) -> list[Gate]:
        return [Gate(gate.name, gate.passed and gate.name != name, gate.says) for gate in ask(self, certificate)]

    monkeypatch.setattr(Challenge, "gates", refusing)
    report = train(make_rows(700), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert report.stopped_by == (name,)
    assert not report.promoted
    assert registry.champion() == champion


def test_a_champion_that_cannot_answer_is_replaced(config: Config, registry: Registry) -> None:
    """A corrupt champion is no reason to serve without a model for ever: without a whole one before it, it is said."""
    champion = train(make_rows(600), config, registry, now_ms=NOW_MS, options=QUICK)
    (champion.folder / "model.onnx").write_bytes(b"rot")
    report = train(make_rows(700), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert report.promoted
    assert any("cannot answer" in note and "judged as a first model" in note for note in report.notes)


def spoilt_rows(n: int) -> pa.Table:
    """A history whose training part has its outcomes exchanged at random: the judged rows are as ever."""
    table = make_rows(n)
    outcome = table["outcome"].to_numpy(zero_copy_only=False)[: int(n * 0.9)]
    return with_outcomes(table, slice(0, len(outcome)), np.random.default_rng(5).permutation(outcome).tolist())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_log_that_is_not_whole_dethrones_nobody(config: Config, registry: Registry, seed: int) -> None:
    """Sixty judged rows prove nothing worse: the rows that are gone stop it, and a person may still promote it by name."""
    champion = train(make_rows(8000), config, registry, now_ms=NOW_MS, options=QUICK)
    cut = train(make_rows(600, seed), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    (gate,) = [gate for gate in cut.gates if gate.name == "rows"]
    assert not gate.passed
    assert gate.says.startswith("600 rows used, the champion's model 8,000: less than a quarter")
    assert f"nba models promote {cut.version}" in gate.says
    assert registry.champion() == champion.version
    registry.promote(cut.version)
    again = train(make_rows(650, seed), config, registry, now_ms=NOW_MS + 2000, options=QUICK)
    assert "rows" not in again.stopped_by


def test_a_champion_that_knows_the_judged_rows_is_told(config: Config, registry: Registry) -> None:
    """It was trained with a shorter judged slice: figures against it lean its way, and the note says by how many rows."""
    table = make_rows(2000)
    champion = train(table, config, registry, now_ms=NOW_MS, options=replace(QUICK, valid_share=0.06))
    again = train(table, config, registry, now_ms=NOW_MS + 1000, options=replace(QUICK, valid_share=0.5))
    (said,) = [note for note in again.notes if "may have learnt from" in note]
    assert said.startswith(f"{champion.version} may have learnt from 440 of the 500 judged rows")
    same = train(table, config, registry, now_ms=NOW_MS + 2000, options=replace(QUICK, valid_share=0.06))
    assert not any("may have learnt" in note for note in same.notes)


def test_behind_a_corrupt_champion_the_one_before_it_is_to_beat(config: Config, registry: Registry) -> None:
    """Rot on the disk opens no door: the newest whole champion of the history is compared with."""
    good = train(make_rows(4000), config, registry, now_ms=NOW_MS, options=QUICK)
    newer = train(make_rows(4000), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert registry.history() == [good.version, newer.version]
    (newer.folder / "model.onnx").write_bytes(b"rot")
    worse = train(spoilt_rows(4000), config, registry, now_ms=NOW_MS + 2000, options=QUICK)
    assert "log_loss" in worse.stopped_by
    assert any(f"compared with {good.version}" in note for note in worse.notes)


def test_a_champion_that_came_meanwhile_is_not_overrun(
    config: Config, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worse model judged while there was no champion is not promoted over the good one that came meanwhile."""
    others: list[TrainReport] = []
    write = Registry.write

    def meanwhile(self: Registry, version: str, files: Any) -> Path:
        if not others:
            monkeypatch.setattr(Registry, "write", write)
            others.append(train(make_rows(3000), config, registry, now_ms=NOW_MS, options=QUICK))
        return write(self, version, files)

    monkeypatch.setattr(Registry, "write", meanwhile)
    late = train(make_rows(600), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert not late.promoted
    assert late.stopped_by == ("champion",)
    assert "run it again" in late.gates[-1].says
    assert registry.history() == [others[0].version]
    assert late.version in registry.versions()


def test_a_broken_pointer_stops_before_anything_is_learnt(config: Config, registry: Registry) -> None:
    """Nobody knows what there is to beat, so nothing is promoted and the message says how to mend it."""
    champion = train(make_rows(600), config, registry, now_ms=NOW_MS, options=QUICK).version
    (registry.root / "champion.json").write_text('{"history": 5}')
    with pytest.raises(ModelError, match="nba models promote"):
        train(make_rows(700), config, registry, now_ms=NOW_MS + 1000, options=QUICK)
    assert registry.versions() == [champion]


def test_a_folder_that_takes_no_model_stops_before_anything_is_learnt(tmp_path: Path, config: Config) -> None:
    """Not after hours: before even the rows are looked at, with the way out."""
    (tmp_path / "state").write_text("no folder", encoding="utf-8")
    with pytest.raises(UnavailableError, match=r"cannot be written.*set NBA_STATE_DIR"):
        train(tmp_path / "no rows either", config, Registry(tmp_path / "state" / "models"), now_ms=0)


def test_promotion_may_be_left_to_a_person(config: Config, registry: Registry) -> None:
    """With promote off a version that passes every gate is only kept."""
    report = train(make_rows(600), config, registry, now_ms=NOW_MS, options=Options(threads=1, promote=False))
    assert not report.promoted
    assert registry.champion() is None


@pytest.mark.parametrize(("rare", "words"), [("accepted", "0 yes"), ("declined", "0 no")])
def test_a_judged_slice_of_one_class_proves_nothing(config: Config, registry: Registry, rare: str, words: str) -> None:
    """Without some of each class among the judged rows no gate can tell good from bad: refused with the way out."""
    other = {"accepted": "declined", "declined": "accepted"}[rare]
    table = with_outcomes(make_rows(1000), slice(880, 1000), [other] * 120)
    with pytest.raises(RefusedError, match=rf"judged.*{words}.*valid-share"):
        train(table, config, registry, now_ms=NOW_MS, options=QUICK)
    assert registry.versions() == []


def test_a_handful_of_judged_rows_proves_nothing(config: Config, registry: Registry) -> None:
    """A split that leaves a few rows to judge on lets anything through, so it is refused."""
    with pytest.raises(RefusedError, match=r"judged.*valid-share"):
        train(make_rows(1000), config, registry, now_ms=NOW_MS, options=Options(threads=1, valid_share=0.02))
