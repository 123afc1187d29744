"""Planted defects in the log of simulated customers, each caught by its own gate; the same gate lets the sound log pass.

A reversed label is planted in test_ope_verb.py and test_teacher.py; a saving that is none in test_verify.py, a dominated
plan that is sold in test_guarantees.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.xdist_group("journal")  # one worker makes the journal

ORDER_PAGES = 5  # shop, cart, terms, payment, confirmation
VIEWS = "plan_views_7d"
MODEL = ("--model", "champion")
Values = Sequence[Any]


def ope(journal: Any, folder: Path, status: int, **columns: Callable[[pa.Table], Values]) -> dict:
    """Ask for the champion on the simulated log, whose picks were uniform over what could be said, with columns changed."""
    log = with_columns(pq.read_table(journal.state / "history.parquet"), columns)
    pq.write_table(log, folder / "rows.parquet")
    return journal.nba("ope", "--decisions", folder / "rows.parquet", *MODEL, status=status)


def with_columns(log: pa.Table, columns: dict[str, Callable[[pa.Table], Values]]) -> pa.Table:
    """The log with columns computed anew from it."""
    for name, values in columns.items():
        log = log.set_column(log.schema.get_field_index(name), name, pa.array(values(log)))
    return log


def accepted(log: pa.Table) -> np.ndarray:
    return np.array([word == "accepted" for word in log["outcome"].to_pylist()], dtype=float)


def views(log: pa.Table) -> np.ndarray:
    return np.nan_to_num(np.array(log[f"x.{VIEWS}"].to_pylist(), dtype=float))


def test_the_sound_log_passes_every_gate(journal: Any, tmp_path: Path) -> None:
    """Unplanted: an answer, and weights that say that the written propensities are the true ones for what was logged."""
    found = ope(journal, tmp_path, 0)
    assert found["overlap"]["worst_offer"][3] < 4.5 and abs(found["overlap"]["mean_weight"] - 1.0) < 0.1
    assert found["estimates"]["dr"]["low"] < found["estimates"]["ips"]["value"] < found["estimates"]["dr"]["high"]


def test_a_leaked_future_is_refused(journal: Any, tmp_path: Path) -> None:
    """Planted: page views counted a day late, so that the pages of the order itself are in them."""
    leaked = ope(journal, tmp_path, 1, **{f"x.{VIEWS}": lambda log: views(log) + ORDER_PAGES * accepted(log)})
    assert "foretell the outcome with an AUC of 0.9" in leaked["problems"][0]
    assert "written after the call" in leaked["problems"][0]


def test_as_many_views_before_the_call_are_no_leak(journal: Any, tmp_path: Path) -> None:
    """The same jump of the same column for as many customers, whatever they answer: no future in it, and an answer."""

    def eager(log: pa.Table) -> np.ndarray:
        return views(log) + ORDER_PAGES * np.random.default_rng(5).permutation(accepted(log))

    assert ope(journal, tmp_path, 0, **{f"x.{VIEWS}": eager})["estimates"]


WRONG = {
    "one over the whole catalog": (lambda p, offer: np.full(len(p), 1 / 24), "mean weight is"),
    "among the first three only": (lambda p, offer: np.minimum(p * 1.5, 1.0), "or its propensities are too large"),
    "one offer a third of its own": (
        lambda p, offer: np.where(offer == "line-check", p / 3, p),
        "'line-check', which makes up",
    ),
}


@pytest.mark.parametrize("defect", WRONG)
def test_a_wrong_propensity_is_refused(journal: Any, tmp_path: Path, defect: str) -> None:
    """Planted: too small for all, too large for all, or wrong for one offer, which is named; each by its own words."""
    wrong, says = WRONG[defect]
    found = ope(
        journal, tmp_path, 1, propensity=lambda log: wrong(log["propensity"].to_numpy(), np.array(log["offer_id"].to_pylist()))
    )  # fmt: skip
    assert says in found["problems"][0], found


def test_the_engines_own_propensities_are_checked_too(journal: Any, tmp_path: Path) -> None:
    """Planted: the service writes one over four instead of what its exploration drew with. Untouched they are exact."""
    shutil.copytree(journal.state / "records", tmp_path / "records")
    (tmp_path / "decisions").mkdir()
    log = pq.read_table(journal.state / "decisions", partitioning=None)
    for status, planted in ((0, {}), (1, {"propensity": lambda log: np.full(len(log), 0.25)})):
        pq.write_table(with_columns(log, planted), tmp_path / "decisions" / "part-0.parquet")
        found = journal.nba("ope", "--decisions", tmp_path / "decisions", *MODEL, status=status)
        assert status == 0 or "propensities cannot be right: the mean weight is 3.9" in found["problems"][0]


def test_a_leaked_future_stops_an_experiment(journal: Any, tmp_path: Path) -> None:
    """Planted: a column "from before" that counts what the customer took in the experiment itself. Untouched it is used."""
    log = pq.read_table(journal.state / "decisions", partitioning=None)
    yes, customer = accepted(log), log["customer_id"].to_pylist()
    taken = dict.fromkeys(customer, 0.0)
    for name, one in zip(customer, yes, strict=True):
        taken[name] += one
    leaked = with_columns(log, {f"x.{VIEWS}": lambda log: [taken[name] for name in customer]})
    where = ("ab", "--experiment", "tone", "--decisions", tmp_path / "rows.parquet")
    pq.write_table(leaked, tmp_path / "rows.parquet")
    said = journal.nba(*where, status=1)["problems"][0]
    assert f"x.{VIEWS} knows accepted: it was written after the outcome" in said
    assert journal.nba(*where, "--without", VIEWS)["effects"]
    pq.write_table(log, tmp_path / "rows.parquet")
    assert journal.nba(*where)["effects"]
