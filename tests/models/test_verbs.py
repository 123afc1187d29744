"""`nba train` and `nba models` at the command line: wrong values and broken registries get a sentence and an exit status."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kits.versions import version_files
from models.registry import Registry
from nba.cli import main
from nba.clock import DAY_MS, system_now_ms

NAMES = [f"2026010{i}T000000-00000{i}" for i in range(1, 4)]
Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit status, JSON document and what was said on stderr of one verb."""

    def ask(*arguments: object) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["nba", *map(str, arguments), "--state-dir", str(tmp_path), "--json"])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, json.loads(said.out) if said.out else None, said.err

    return ask


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    for name in NAMES:
        registry.write(name, version_files())
        registry.promote(name)
    return registry


@pytest.mark.parametrize("verb", ["show", "promote"])
def test_an_unknown_version_is_wrong_input(run: Run, registry: Registry, verb: str) -> None:
    """Exit status 2, and which versions there are."""
    status, document, _ = run("models", verb, "20990101T000000-ffffff")
    assert status == 2
    assert NAMES[0] in document["problems"][0]


def test_foreign_bytes_are_not_promoted(run: Run, registry: Registry) -> None:
    """The command loads the file before it switches: a running service would only find out at its reload."""
    status, document, _ = run("models", "promote", NAMES[0])
    assert status == 1
    assert document["error"] == "ModelError"
    assert registry.champion() == NAMES[2]


def test_list_works_without_a_readable_pointer(run: Run, registry: Registry) -> None:
    """The versions are what one needs to mend it."""
    (registry.root / "champion.json").write_text("null")
    status, document, said = run("models", "list")
    assert status == 0
    assert [row["version"] for row in document["versions"]] == NAMES
    assert document["champion"] is None
    assert "cannot be read" in document["problem"]
    assert "cannot be read" in said


def test_list_tells_versions_apart(run: Run, registry: Registry) -> None:
    """Rows, figures and what stopped it; nothing of a version that does not say, and no more than that."""
    figures = {"log_loss": 0.4, "base_log_loss": 0.5, "auc": None}
    metrics = {"counts": {"used": 900}, "accept": {"figures": figures}, "stopped_by": ["log_loss"]}
    registry.write("20260105T000000-000005", {**version_files(), "metrics.json": json.dumps(metrics).encode()})
    _, document, _ = run("models", "list")
    first, *_, last = document["versions"]
    assert last == {
        "version": "20260105T000000-000005",
        "champion": False,
        "rows": 900,
        **figures,
        "stopped_by": ["log_loss"],
    }
    assert (first["rows"], first["auc"], first["stopped_by"]) == (None, None, None)


def test_list_never_cuts_a_version_off(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However little room there is: it is what one copies into the next command."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "argv", ["nba", "models", "list", "--state-dir", str(registry.root.parent)])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)


def test_list_says_that_the_champion_is_gone(run: Run, registry: Registry) -> None:
    """A champion whose folder was deleted is named with the way out."""
    shutil.rmtree(registry.root / NAMES[2])
    status, document, _ = run("models", "list")
    assert status == 0
    assert document["champion"] == NAMES[2]
    assert "nba models rollback" in document["problem"]


def test_rollback_says_what_it_passed_over(run: Run, registry: Registry) -> None:
    """The deleted one is named beside the one that serves now."""
    shutil.rmtree(registry.root / NAMES[1])
    status, document, said = run("models", "rollback")
    assert (status, document["champion"]) == (0, NAMES[0])
    assert NAMES[1] in document["passed_over"][0]
    assert NAMES[1] in said


@pytest.mark.parametrize(
    "option",
    [
        ("--seed", "-1"),
        ("--window-days", "inf"),
        ("--window-days", "nan"),
        ("--window-days", "1e12"),
        ("--stay-after-days", "999999999999"),
    ],
)
def test_wrong_values_end_with_a_sentence(run: Run, tmp_path: Path, option: tuple[str, str]) -> None:
    """Exit status 2 and words, never a traceback."""
    (tmp_path / "rows.parquet").write_bytes(b"")
    status, _, said = run("train", "--decisions", tmp_path / "rows.parquet", "--config", "telco", *option)
    assert status == 2
    assert option[0].lstrip("-").split("-")[0] in said


def stopped_rows(n: int = 600) -> pa.Table:
    """A log that knows the outcome beforehand, as far as the leak gate looks."""
    now = system_now_ms()
    rng = np.random.default_rng(0)
    yes = rng.random(n) < 0.4
    at = np.sort(now - rng.integers(10 * DAY_MS, 40 * DAY_MS, n))
    return pa.table({
        "decision_id": [f"d{k}" for k in range(n)], "at": pa.array(at, pa.timestamp("ms", "UTC")),
        "customer_id": [f"c{k}" for k in range(n)], "offer_id": ["flex-10"] * n, "propensity": [1.0] * n,
        "outcome": np.where(yes, "accepted", "declined"), "x.tenure_months": yes * 10.0,
    })  # fmt: skip


def test_a_gate_that_says_no_is_told_by_the_exit_status(run: Run, tmp_path: Path) -> None:
    """As the help says: also where a person promotes, for the job that trains by night has nothing else to go by."""
    pq.write_table(stopped_rows(), tmp_path / "rows.parquet")
    status, document, _ = run("train", "--decisions", tmp_path / "rows.parquet", "--config", "telco", "--no-promote")
    assert (status, document["stopped_by"], document["promoted"]) == (1, ["leak"], False)


def test_a_split_that_is_said_twice_is_refused(run: Run, tmp_path: Path) -> None:
    """A share and a day: one of the two would count for nothing, so neither does, and both are named."""
    (tmp_path / "rows.parquet").write_bytes(b"")
    split = ("--valid-share", "0.2", "--valid-from", "2026-11-01")
    status, document, _ = run("train", "--decisions", tmp_path / "rows.parquet", "--config", "telco", *split)
    (said,) = document["problems"]
    assert status == 2
    assert said == "--valid-share 0.2 and --valid-from 2026-11-01 both say where to split: give one of the two"
