"""A column that knows the outcome is found before a model that learnt from it is promoted, and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kits.decisions import NOW_MS, make_rows
from models.leak import auc_within, leak_gate
from models.registry import Registry
from models.train import Options, train
from nba.config import Config

QUICK = Options(threads=1)


def leaking(rows: pa.Table) -> pa.Table:
    """The same rows with a tenure that was written after the call: of customers who accepted it began anew."""
    accepted = np.array(rows["outcome"].to_pylist()) == "accepted"
    tenure = np.where(accepted, 0.0, rows["x.tenure"].to_numpy() + 1.0)
    return rows.set_column(rows.schema.get_field_index("x.tenure"), "x.tenure", pa.array(tenure))


def test_a_leaked_future_is_not_promoted_and_the_same_rows_without_it_are(tmp_path: Path, config: Config) -> None:
    """The gate names the column; every other gate is delighted with such a model."""
    sound = make_rows(3000)
    stopped = train(leaking(sound), config, Registry(tmp_path / "leaking"), now_ms=NOW_MS, options=QUICK)
    assert (stopped.promoted, stopped.stopped_by) == (False, ("leak",))
    [says] = [gate.says for gate in stopped.gates if gate.name == "leak"]
    assert "x.tenure alone has 1.000" in says
    assert "leave it out of features.yaml" in says
    assert train(sound, config, Registry(tmp_path / "sound"), now_ms=NOW_MS, options=QUICK).promoted


def test_offers_that_are_always_taken_are_no_leak() -> None:
    """An AUC of one over all offers says nothing where it is a half within each of them."""
    offer = np.repeat([0, 1], 500)
    y = np.concatenate([np.zeros(500), np.ones(500)])
    y[::50] = 1.0 - y[::50]
    p = np.where(offer == 1, 0.98, 0.02)
    assert auc_within(p, y, offer) == 0.5
    assert leak_gate(p, y, offer, p[:, None].astype(np.float32), ["x.a"]).passed


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_a_column_that_tells_by_being_small_or_missing_is_named_too(turned: float) -> None:
    """Whatever the direction, and where it is missing only for those who declined."""
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.3).astype(np.float64)
    told = np.where(y == 1, turned * (5 + rng.random(400)), np.nan).astype(np.float32)
    if turned < 0:
        told = np.where(y == 1, told, 0.0).astype(np.float32)
    matrix = np.stack([rng.random(400).astype(np.float32), told], axis=1)
    gate = leak_gate(y * 0.9 + 0.05, y, np.zeros(400, np.int32), matrix, ["x.noise", "x.told"])
    assert (gate.passed, "x.told alone has 1.000" in gate.says) == (False, True)


def test_a_handful_of_rows_proves_no_leak() -> None:
    """Nineteen rows in perfect order are luck."""
    y = np.array([0.0] * 10 + [1.0] * 9)
    assert leak_gate(y, y, np.zeros(19, np.int32), y[:, None].astype(np.float32), ["x.a"]).passed
