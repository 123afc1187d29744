"""`nba simulate` as a program: a table for people, one document for machines, a page with charts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nba.cli import build

SMALL = ["simulate", "--customers", "25", "--days", "120", "--rounds", "2", "--policies", "random,engine,oracle"]


def test_one_document_for_machines_says_that_it_is_simulated() -> None:
    """Every policy with its figures; the same seed gives the same document."""
    first, second = (CliRunner().invoke(build(), [*SMALL, "--seed", "5", "--json"]) for _ in range(2))
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert found["simulated"] is True
    assert [row["policy"] for row in found["policies"]] == ["random", "engine", "oracle"]
    assert all(row["violations"] == 0 for row in found["policies"] if row["policy"] != "random")
    assert len(found["training"]["engine"]) == 1
    assert first.stdout == second.stdout


def test_people_get_a_table_and_a_page_with_charts(tmp_path: Path) -> None:
    """The page carries its charts in itself and fetches nothing."""
    page = tmp_path / "page.html"
    done = CliRunner().invoke(build(), [*SMALL, "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "of oracle" in done.stdout
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "src=" not in text
    assert len(text) < 200_000


def test_a_short_run_is_told_in_whole_sentences() -> None:
    """One customer is one, a learner that had no second round says so, and amounts have their unit."""
    done = CliRunner().invoke(build(), ["simulate", "--customers", "1", "--rounds", "1", "--policies", "engine"])
    assert done.exit_code == 0, done.output
    assert "seed 1: 1 customer, 365 days" in done.stdout
    assert "engine trained: never, it takes more than one round" in done.stdout
    assert "engine missed most (said > oracle, euros over the run): " in done.stdout


def test_an_unknown_policy_is_refused_with_the_names_there_are() -> None:
    """Bad input, exit status 2 through the main entry."""
    done = CliRunner().invoke(build(), ["simulate", "--policies", "luck"])
    assert done.exit_code != 0
    assert "choose from nothing, random" in str(done.exception)


def test_vowpal_wabbit_lives_in_the_same_world() -> None:
    """As a peer, under the same rules."""
    pytest.importorskip("vowpalwabbit", reason="the extra `peers` is not installed")
    done = CliRunner().invoke(build(), ["simulate", "--customers", "25", "--policies", "random", "--vw", "--json"])
    assert done.exit_code == 0, done.output
    rows = {row["policy"]: row for row in json.loads(done.stdout)["policies"]}
    assert rows["vw"]["violations"] == 0
    assert rows["vw"]["share_of_catalog"] > 0.2
