"""The matrix of training and the row of serving are the same numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from kits.decisions import make_rows
from models.calibrate import Calibration
from models.dataset import read_decisions
from models.export import Head, to_onnx
from models.forest import Forest
from models.matrix import Assembler
from models.offpolicy import best_offers, explored_log
from models.pairs import PAIR_NAMES
from models.prepare import _packed, choose_schema
from models.schema import Schema, as_float32
from models.scorer import Scorer
from nba.candidates import CatalogRules, make_candidates, rule_values
from nba.config import Catalog, Config
from nba.domain import Scores
from nba.errors import DataError

FORMULAS = {"cost_month": "price_month + max(0.0, features.usage - attributes.gb)", "covers": "features.usage < 12.0"}


def with_formulas(config: Config) -> Config:
    offers = [o.model_dump(exclude_defaults=True) for o in config.catalog.offers]
    plans, rest = [offer | FORMULAS for offer in offers[:2]], offers[2:]
    return config.model_copy(update={"catalog": Catalog.model_validate({"offers": [*plans, *rest]})})


def served(scorer: Scorer, config: Config, row: dict[str, Any]) -> np.ndarray:
    """The row as a call encodes it: for the offer that the log says was shown."""
    x = {name[2:]: value for name, value in row.items() if name.startswith("x.")}
    features = {name: x[name] for name in ("usage", "since") if x[name] is not None}
    profile = {name: x[name] for name in ("plan", "tenure", "vip", "city")}
    rules = CatalogRules(config.catalog)
    own = rules.own(profile)
    values = rule_values(features, profile, {"intent": x["intent"]}, None if own is None else own.offer)
    candidates = [c for c in make_candidates(rules, values, profile) if c.offer.id == row["offer_id"]]
    return scorer._matrix(x, candidates)[0]


@pytest.mark.parametrize("formulas", [False, True])
def test_training_sees_what_serving_sees(config: Config, formulas: bool) -> None:
    """Every value of the training matrix equals, bit by bit, what the scorer would make of that row in a call."""
    config = with_formulas(config) if formulas else config
    table = make_rows(200)
    assembler = Assembler(read_decisions(table, config.catalog), config)
    schema, _ = choose_schema(assembler, np.arange(150))
    matrix = assembler.matrix(schema, np.arange(200))
    empty = Head(Forest(schema.names, ()), Calibration())
    scorer = Scorer("v", schema, to_onnx(len(schema.columns), empty, None), config.catalog)
    for place, row in enumerate(table.to_pylist()):
        np.testing.assert_array_equal(matrix[place], served(scorer, config, row))


def test_logged_pair_columns_are_taken_as_served(config: Config) -> None:
    """What the journal logged wins over what would be computed today."""
    logged = {name: np.full(50, 7.5) for name in PAIR_NAMES}
    assembler = Assembler(read_decisions(make_rows(50, **logged), config.catalog), config)
    schema, _ = choose_schema(assembler, np.arange(50))
    assert (assembler.matrix(schema, np.arange(50))[:, schema.places("pair")] == 7.5).all()


@pytest.mark.parametrize("formulas", [False, True])
def test_the_pairs_with_every_offer_are_those_of_each_alone(config: Config, formulas: bool) -> None:
    """Whatever was shown and logged: what an offer would have cost a row is the same as when it had been shown."""
    config = with_formulas(config) if formulas else config
    decisions = read_decisions(make_rows(60), config.catalog)
    schema, _ = choose_schema(Assembler(decisions, config), np.arange(60))
    asked = np.random.default_rng(0).permutation(60)[:40]
    logged = Assembler(read_decisions(make_rows(60, **{"pair.saving_month": np.ones(60)}), config.catalog), config)
    together = logged.pairs(asked)
    assert together.shape == (40, len(config.catalog.offers), len(PAIR_NAMES))
    for place in range(len(config.catalog.offers)):
        shown = replace(decisions, offer=np.full(60, place, dtype=np.int32))
        alone = Assembler(shown, config).matrix(schema, asked)
        for column, name in enumerate(PAIR_NAMES):
            expected = alone[:, schema.names.index(name)]
            np.testing.assert_array_equal(as_float32(together[:, place, column]), expected)


def test_the_off_policy_gate_asks_of_each_offer_as_if_it_had_been_shown(config: Config) -> None:
    """A model that likes the cheapest: for each row the one that costs least there, whatever was shown and logged."""
    config = with_formulas(config)
    decisions = read_decisions(make_rows(80, propensity=np.full(80, 0.5)), config.catalog)
    assembler, every = Assembler(decisions, config), np.arange(80)
    schema, _ = choose_schema(assembler, every)
    cost, shown = schema.names.index("pair.cost_month"), np.unique(decisions.offer)

    class Frugal:
        def __init__(self) -> None:
            self.schema = schema

        def run(self, matrix: np.ndarray) -> Scores:
            return Scores(-np.nan_to_num(matrix[:, cost], nan=1e9))

    log = explored_log(assembler, every, np.zeros(80))
    assert log is not None
    as_if = [Assembler(replace(decisions, offer=np.full(80, place, np.int32)), config) for place in shown]
    costs = [np.nan_to_num(other.matrix(schema, every)[:, cost], nan=1e9) for other in as_if]
    expected = shown[np.argmin(np.stack(costs), axis=0)]
    assert len(set(expected.tolist())) > 1
    first = decisions.rank == 1
    np.testing.assert_array_equal(best_offers(log, Frugal()), expected[first])  # type: ignore[arg-type]


def test_rows_come_in_the_order_asked(config: Config, tmp_path: Path) -> None:
    """Any subset in any order, over several files whose columns differ."""
    pq.write_table(make_rows(40, seed=1), tmp_path / "a.parquet")
    pq.write_table(make_rows(60, seed=2, **{"x.city": None}), tmp_path / "b.parquet")
    assembler = Assembler(read_decisions(tmp_path, config.catalog), config)
    schema, _ = choose_schema(assembler, np.arange(100))
    whole = assembler.matrix(schema, np.arange(100))
    asked = np.random.default_rng(0).permutation(100)[:33]
    np.testing.assert_array_equal(assembler.matrix(schema, asked), whole[asked])
    np.testing.assert_array_equal(assembler.subset(asked).matrix(schema, np.arange(33)), whole[asked])
    assert np.isnan(whole[40:, schema.names.index("x.city")]).all()


def test_vocabularies_know_the_training_rows_only(config: Config) -> None:
    """A word that appears later has no code, so the later slice meets the unknown as serving will."""
    city = ["old"] * 80 + ["new"] * 20
    assembler = Assembler(read_decisions(make_rows(100, **{"x.city": city}), config.catalog), config)
    schema, _ = choose_schema(assembler, np.arange(80))
    place = schema.names.index("x.city")
    assert schema.columns[place].words == ("old",)
    assert np.isnan(assembler.matrix(schema, np.arange(100))[80:, place]).all()


def test_columns_that_differ_from_the_config_are_named(config: Config) -> None:
    """A declared column in no file and a logged column not declared are both said; none at all is refused."""
    assembler = Assembler(
        read_decisions(make_rows(50, **{"x.city": None, "x.shoe": np.ones(50)}), config.catalog), config
    )
    schema, notes = choose_schema(assembler, np.arange(50))
    assert "x.city" not in schema.names
    assert any("city" in note for note in notes)
    assert any("shoe" in note for note in notes)
    bare = make_rows(50).select(["decision_id", "at", "customer_id", "offer_id", "propensity", "outcome"])
    with pytest.raises(DataError, match=r"no column x\.NAME"):
        choose_schema(Assembler(read_decisions(bare, config.catalog), config), np.arange(50))


def test_a_column_of_the_wrong_type_is_named(config: Config) -> None:
    """Words where the config says number are refused by the column's name."""
    assembler = Assembler(read_decisions(make_rows(50, **{"x.tenure": ["long"] * 50}), config.catalog), config)
    schema, _ = choose_schema(assembler, np.arange(50))
    with pytest.raises(DataError, match=r"x\.tenure"):
        assembler.matrix(schema, np.arange(50))


def test_words_for_a_truth_value_are_not_asked_to_be_a_number(config: Config) -> None:
    """Yes and No under a boolean: the message says what features.yaml declares, for who makes a number of it is wrong again."""
    assembler = Assembler(read_decisions(make_rows(50, **{"x.vip": ["Yes"] * 50}), config.catalog), config)
    schema, _ = choose_schema(assembler, np.arange(50))
    with pytest.raises(DataError, match=r"'x\.vip' is string, it has to be true or false.*or declare a category"):
        assembler.matrix(schema, np.arange(50))


def test_dropping_columns_moves_nothing_else() -> None:
    """Packing a matrix in its own memory keeps every other value in its row."""
    matrix = np.random.default_rng(0).normal(size=(20_000, 9)).astype(np.float32)
    wanted = matrix[:, [0, 3, 4, 8]].copy()
    np.testing.assert_array_equal(_packed(matrix, [0, 3, 4, 8]), wanted)


def test_a_schema_survives_its_file(config: Config) -> None:
    """Written and read, columns, words and fingerprint are the same."""
    import json

    assembler = Assembler(read_decisions(make_rows(100), config.catalog), config)
    schema, _ = choose_schema(assembler, np.arange(100))
    assert Schema.from_json(json.dumps(schema.as_json()).encode()) == schema
