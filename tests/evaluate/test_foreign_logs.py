"""Logs that companies write themselves, judged with a config folder of their own: no `say`, types as their tools write them."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from models.dataset import read_decisions
from models.registry import Registry
from models.scorer import Scorer
from nba.cli import build
from nba.cli.calls import read_calls
from nba.cli.columns import x_rows
from nba.cli.contacts import LoggedContacts
from nba.cli.target import Gathered, Target
from nba.clock import DAY_MS
from nba.config import Config
from nba.errors import DataError
from nba.load import load_config
from nba.settings import Settings

FEATURES = """
activities: {visit: {}}
profile: {newbie: category, recency: number}
"""
CATALOG = """
currency: USD
offers:
  - {id: mens, kind: cross_sell, title: Shirts, margin_month: 10}
  - {id: womens, kind: cross_sell, title: Skirts, margin_month: 10}
  - {id: none, kind: inform, title: Nothing}
"""
POLICY = """
opening: {en: "{salutation} {family_name}, we believe you would benefit from {title}"}
service_first: {service_intents: []}
"""
START_MS = 1_760_000_000_000
OFFERS = ("mens", "womens", "none")
ROWS = 3000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A config folder without a `say` and without features."""
    for name, text in (("features", FEATURES), ("catalog", CATALOG), ("policy", POLICY)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def config(folder: Path) -> Config:
    return load_config(folder)


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """Writes e-mails at random: newcomers take skirts, the others shirts. Some columns replaced by others."""

    def write(**columns: Any) -> Path:
        rng = np.random.default_rng(3)
        offer, newbie = rng.integers(0, 3, ROWS), rng.random(ROWS) < 0.5
        accepted = rng.random(ROWS) < np.where(offer == newbie, 0.5, 0.1)
        written = {
            "decision_id": np.arange(ROWS).astype(str),
            "at": pa.array(START_MS - DAY_MS * 30 + np.arange(ROWS) * 60_000, pa.timestamp("ms", "UTC")),
            "customer_id": np.arange(ROWS).astype(str),
            "offer_id": np.array(OFFERS)[offer],
            "propensity": np.full(ROWS, 1 / 3),
            "outcome": np.where(accepted, "accepted", "declined"),
            "x.newbie": newbie,
            "x.recency": rng.integers(1, 13, ROWS),
        }
        pq.write_table(pa.table(written | columns), tmp_path / "log.parquet")
        return tmp_path / "log.parquet"

    return write


def asked(folder: Path, *arguments: object) -> Result:
    """One verb on the folder's own config and state."""
    where = ["--config", folder, "--state-dir", folder / "state", "--json"]
    return CliRunner().invoke(build(), [str(word) for word in (*arguments, *where)])


def run(folder: Path, *arguments: object) -> dict[str, Any]:
    """The same, which has to succeed."""
    said = asked(folder, *arguments)
    assert said.exit_code == 0, (said.output, said.exception)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_offers_without_a_sentence_are_said_to_the_customers_of_a_rebuilt_log(
    folder: Path, log: Callable[..., Path]
) -> None:
    """Whom the log has columns of is known, so the policy is valued that sells, not one that never does."""
    path = log()
    run(folder, "train", "--decisions", path)
    found = run(folder, "evaluate", "ope", "--decisions", path, "--model", "champion")
    assert found["estimates"]["ips"]["value"] == pytest.approx(0.5, abs=0.05)


def test_a_rebuilt_case_knows_what_the_customer_was_offered_before(folder: Path, log: Callable[..., Path]) -> None:
    """A policy that rests what was declined in the last two days is valued as one that rests it, whoever wrote the log."""
    path = log(customer_id=np.array([f"c{n % 300}" for n in range(ROWS)]))  # every five hours
    run(folder, "train", "--decisions", path)

    def valued(days: int) -> float:
        limit = f"contact: {{at_most: 1000, per_days: 1, rest_after_decline_days: {days}}}"
        (folder / "catalog.yaml").write_text(CATALOG.replace("margin_month: 10", f"margin_month: 10, {limit}"))
        (folder / "policy.yaml").write_text(f"{POLICY}contact: {{at_most: 1000, per_days: 1}}\n")
        found = run(folder, "evaluate", "ope", "--decisions", path, "--model", "champion")
        return float(found["estimates"]["ips"]["value"])

    assert valued(0) > 0.35  # an accepted one rests for a day
    assert valued(2) < 0.25


def test_the_suggestions_of_a_call_do_not_use_up_the_limits_of_the_same_call(
    folder: Path, log: Callable[..., Path]
) -> None:
    """A list that is refreshed twice in a call is one contact, so a limit of one in 30 days withholds nothing of it."""
    call = np.arange(ROWS) // 3
    path = log(customer_id=np.char.add("c", call.astype(str)), interaction_id=np.char.add("i", call.astype(str)))
    run(folder, "train", "--decisions", path)

    def valued(at_most: int) -> float:
        limit = f"contact: {{at_most: {at_most}, per_days: 30}}"
        (folder / "catalog.yaml").write_text(CATALOG.replace("margin_month: 10", f"margin_month: 10, {limit}"))
        (folder / "policy.yaml").write_text(f"{POLICY}{limit}\n")
        found = run(folder, "evaluate", "ope", "--decisions", path, "--model", "champion")
        return float(found["estimates"]["ips"]["value"])

    assert valued(1) == valued(1000)


def test_a_contact_is_no_more_than_shown_until_its_outcome_came_in(config: Config, log: Callable[..., Path]) -> None:
    """A decline that was logged two minutes later rests nothing before it was said."""
    known = pa.array(START_MS - DAY_MS * 30 + np.arange(ROWS) * 60_000 + 90_000, pa.timestamp("ms", "UTC"))
    path = log(customer_id=["one"] * ROWS, outcome=["declined"] * ROWS, outcome_at=known)
    contacts = LoggedContacts(read_decisions(path, config.catalog), config.catalog).before(3)
    assert [c.outcome for c in contacts] == ["declined", "shown", "declined"]
    assert [c.at_ms - contacts[0].at_ms for c in contacts] == [0, 30_000, 60_000]


def test_the_words_of_a_rebuilt_case_say_what_it_was_rebuilt_from(folder: Path, log: Callable[..., Path]) -> None:
    """The contacts are those of the log, so nobody is told that there were none."""
    path = log()
    run(folder, "train", "--decisions", path)
    asked_for = ["evaluate", "ope", "--decisions", path, "--model", "champion"]
    where = ["--config", folder, "--state-dir", folder / "state"]
    said = " ".join(CliRunner().invoke(build(), [str(word) for word in (*asked_for, *where)]).output.split())
    assert "3,000 cases were rebuilt from x.* columns and the log's earlier rows" in said


def test_a_rebuilt_case_has_the_words_that_the_model_learnt(config: Config, log: Callable[..., Path]) -> None:
    """A truth value under a category is `true` to training, so it is not `True` to the evaluation."""
    decisions = read_decisions(log(), config.catalog)
    found = dict(x_rows(decisions, {0, 1, 2, 3}, config.features.columns))
    assert {x["newbie"] for x in found.values()} <= {"true", "false"}


def test_text_where_a_number_is_declared_is_refused_in_words(config: Config, log: Callable[..., Path]) -> None:
    """A column written as text is named, not a traceback."""
    decisions = read_decisions(log(**{"x.recency": ["12"] * ROWS}), config.catalog)
    with pytest.raises(DataError, match=r"log.parquet: column 'x.recency' is string, it has to be a number"):
        list(x_rows(decisions, {0}, config.features.columns))


def test_text_as_newer_writers_store_it_trains(folder: Path, log: Callable[..., Path]) -> None:
    """A column of text views, which Arrow cannot filter, is text like any other."""
    ids = pa.array(np.arange(ROWS).astype(str).tolist(), pa.string_view())
    words = pa.array([["old", "new"][k % 2] for k in range(ROWS)], pa.string_view())
    assert run(folder, "train", "--decisions", log(**{"decision_id": ids, "x.newbie": words}))["counts"]["used"] == ROWS


def test_a_reward_beyond_all_reason_is_refused_in_words(folder: Path, log: Callable[..., Path]) -> None:
    """One reward whose cube is infinite would leave no interval: it is named by row, not by a traceback."""
    run(folder, "train", "--decisions", log())
    path = log(reward=[1e300] + [1.0] * (ROWS - 1))
    with pytest.raises(DataError, match=r"row 1: column 'reward': 1e\+300 is no number to average"):
        raise asked(folder, "evaluate", "ope", "--decisions", path, "--model", "champion").exception or AssertionError


def test_a_wide_log_is_held_as_numbers(folder: Path, log: Callable[..., Path]) -> None:
    """200 numeric columns a call take what their numbers take, not what a dict of Python objects does: that was 15 kB a call."""
    wide = "".join(f"  k{k}: number\n" for k in range(200))
    (folder / "features.yaml").write_text(f"activities: {{visit: {{}}}}\nprofile:\n{wide}", encoding="utf-8")
    measured = {f"x.k{k}": np.where(np.arange(ROWS) % 7 == k, np.nan, float(k)) for k in range(200)}
    path, config = log(**measured), load_config(folder)
    tracemalloc.start()
    names = [column.name for column in config.features.columns]
    calls = read_calls(Settings(state_dir=folder / "state"), path, config, START_MS, x_names=names)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / ROWS < 4000
    assert dict(calls.x[8]) == {f"k{k}": None if k == 1 else float(k) for k in range(200)}


def test_a_case_of_eighty_offers_is_held_as_numbers(folder: Path, log: Callable[..., Path]) -> None:
    """Each of 80 offers may come first: a case takes what their numbers take, not Python objects for each (that was 16 kB)."""
    more = "".join(f"  - {{id: more-{k}, kind: cross_sell, title: More, margin_month: 10}}\n" for k in range(77))
    (folder / "catalog.yaml").write_text(CATALOG + more, encoding="utf-8")
    (folder / "policy.yaml").write_text(f"{POLICY}exploration: {{gamma: 1}}\n", encoding="utf-8")
    path = log()
    run(folder, "train", "--decisions", path)
    config, registry = load_config(folder), Registry(folder / "state" / "models")
    version = registry.path(str(registry.champion()))
    target = Target(config, Scorer.load(version, config.catalog, config.features.columns))
    x = {"newbie": "true", "recency": 3.0}
    target.see(target.cases.of_columns("warm", "c", START_MS, x), 0)
    tracemalloc.start()
    seen = [target.see(target.cases.of_columns(f"d{k}", "c", START_MS, x), 0) for k in range(100)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / len(seen) < 9000
    found = Gathered(seen).target(80)
    assert ((found > 0).sum(axis=1) == 79).all()  # nothing is explored for the offer of the kind inform
    assert found.sum(axis=1) == pytest.approx(1.0)
