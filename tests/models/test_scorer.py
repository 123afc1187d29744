"""The scorer: what it needs, what it refuses, and that it never brings the trainer's libraries along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kits.versions import version_files
from models import scorer as scorer_module
from models.calibrate import Calibration
from models.export import Head, to_onnx
from models.forest import Forest, Split, Tree
from models.registry import Registry
from models.schema import Schema, SchemaColumn
from models.scorer import Scorer
from nba.candidates import Candidate, CatalogRules, make_candidates
from nba.config import Catalog, Config
from nba.domain import Column
from nba.errors import ModelError
from nba.rules import Values

VERSION = "20260101T000000-abcdef"
COLUMNS = (
    SchemaColumn("x.tenure", "number"),
    SchemaColumn("x.city", "category", None, ("berlin", "bonn")),
    SchemaColumn("x.vip", "boolean", False),
    SchemaColumn("offer.id", "category", None, ("s", "m")),
    SchemaColumn("offer.gb", "number"),
    SchemaColumn("pair.saving_month", "number"),
)
_REPORTS = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
TREE = Tree((Split(0, 5.0, None, "nan", True, ~0, ~1),), (-1.0, 1.0))


def kept(root: Path, columns: tuple[SchemaColumn, ...] = COLUMNS, model: bytes | None = None) -> Path:
    schema = Schema(columns)
    model = model or to_onnx(len(columns), Head(Forest(schema.names, (TREE,)), Calibration()), None)
    return Registry(root).write(VERSION, version_files(model, schema))


def candidates(catalog: Catalog) -> list[Candidate]:
    return make_candidates(CatalogRules(catalog), Values({}), {"plan": "s"})


def test_a_customer_is_scored_with_every_offer(config: Config, tmp_path: Path) -> None:
    """One probability a candidate, in their order; without a stay head there is no word on staying."""
    scorer = Scorer.load(kept(tmp_path), config.catalog, config.features.columns)
    scores = scorer.score({"tenure": 9.0, "city": "bonn"}, candidates(config.catalog))
    np.testing.assert_allclose(scores.accept, [1 / (1 + np.exp(-1.0))] * 3, atol=1e-7)
    assert scores.stay_if_accepted is None
    assert scorer.version == VERSION


def test_values_become_the_columns_they_were_trained_as(config: Config, tmp_path: Path) -> None:
    """Known words are codes, unknown ones and missing values NaN, defaults stand in, offers bring their own columns."""
    scorer = Scorer.load(kept(tmp_path), config.catalog)
    row = scorer._matrix({"tenure": None, "city": "nowhere"}, candidates(config.catalog))
    nan = np.nan
    wanted = [[nan, nan, 0.0, 1.0, 5.0, 0.0], [nan, nan, 0.0, 2.0, 20.0, -10.0], [nan, nan, 0.0, nan, nan, nan]]
    np.testing.assert_array_equal(row, np.array(wanted, dtype=np.float32))


def test_an_offer_the_model_never_saw_is_scored_by_what_it_is(config: Config, tmp_path: Path) -> None:
    """A new offer has no code of its own but its attributes count."""
    offers = [o.model_dump(exclude_defaults=True) for o in config.catalog.offers]
    new = {"id": "xl", "kind": "up_sell", "title": "XL", "price_month": 30.0, "attributes": {"gb": 99.0, "roof": 1.0}}
    catalog = Catalog.model_validate({"offers": [*offers, new]})
    row = Scorer.load(kept(tmp_path), catalog)._matrix({}, candidates(catalog))[-1]
    np.testing.assert_array_equal(row[3:5], [np.nan, 99.0])


@pytest.mark.parametrize(
    ("column", "declared"),
    [("x.shoe_size", None), ("offer.colour", None), ("x.city", [Column("tenure", "number"), Column("city", "number")])],
)
def test_a_column_the_config_lacks_is_named_at_load(
    config: Config, tmp_path: Path, column: str, declared: list[Column] | None
) -> None:
    """The schema gate: a model that needs what cannot be given is not loaded."""
    columns = COLUMNS if column == "x.city" else (SchemaColumn(column, "number"), *COLUMNS)
    with pytest.raises(ModelError, match=column):
        Scorer.load(kept(tmp_path, columns), config.catalog, declared or config.features.columns)


@pytest.mark.parametrize("model", [b"not onnx at all", None], ids=["rubbish", "foreign"])
def test_a_foreign_onnx_file_is_refused(config: Config, tmp_path: Path, model: bytes | None) -> None:
    """Rubbish, and a real ONNX file of another width, are told from a model of this registry."""
    other = to_onnx(2, Head(Forest(("a", "b"), (TREE,)), Calibration()), None)
    with pytest.raises(ModelError):
        Scorer.load(kept(tmp_path, model=model or other), config.catalog)


def test_a_missing_folder_is_a_model_error(config: Config, tmp_path: Path) -> None:
    """Serving can fall back, because the error says that a model is missing."""
    with pytest.raises(ModelError, match="not a whole model"):
        Scorer.load(tmp_path / VERSION, config.catalog)


def test_a_word_where_a_number_belongs_is_named(config: Config, tmp_path: Path) -> None:
    """A profile that changed its type is told by the column's name."""
    scorer = Scorer.load(kept(tmp_path), config.catalog)
    with pytest.raises(ModelError, match=r"x\.tenure"):
        scorer.score({"tenure": "long"}, candidates(config.catalog))


@pytest.mark.parametrize("value", [1e300, -1e300, float("inf"), float("nan")])
def test_numbers_beyond_float32_are_served(config: Config, tmp_path: Path, value: float) -> None:
    """They become infinite, as in training, and get an answer."""
    scorer = Scorer.load(kept(tmp_path), config.catalog)
    assert np.isfinite(scorer.score({"tenure": value}, candidates(config.catalog)).accept).all()


def test_serving_does_not_import_the_trainer() -> None:
    """Loading the scorer brings neither lightgbm, pandas, pyarrow nor onnx into the process."""
    code = (
        "import sys, models.scorer; print([m for m in ('lightgbm', 'pandas', 'pyarrow', 'onnx') if m in sys.modules])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_scorer_gives_each_offers_own_base_rate(config: Config, tmp_path: Path) -> None:
    """What stands in for a missing score: the share of yes on the judged rows, where enough of them were."""
    folder = kept(tmp_path)
    first, second = (offer.id for offer in config.catalog.offers[:2])
    groups = [{"name": first, "rows": 80, "accepted": 0.31}, {"name": second, "rows": 10, "accepted": 0.9}]
    rates = scorer_module._base_rates(json.dumps({"by_offer": groups}).encode())
    schema = Scorer.load(folder, config.catalog).schema
    scorer = Scorer(VERSION, schema, (folder / "model.onnx").read_bytes(), config.catalog, rates)
    base = scorer.score({}, candidates(config.catalog)).base
    assert base is not None and base[0] == 0.31 and np.isnan(base[1])
    assert scorer_module._base_rates(b"not json") == {}


def test_nothing_about_the_use_of_a_model_is_kept_or_told(tmp_path: Path) -> None:
    """ONNX Runtime's own reports are off: no device id and no store of reports to send in the home or the cache folder."""
    home = tmp_path / "home"
    home.mkdir()
    code = "import sys, models.scorer; from pathlib import Path; models.scorer._session(Path(sys.argv[1]).read_bytes())"
    model = kept(tmp_path / "registry") / "model.onnx"
    environment = {name: value for name, value in os.environ.items() if name not in _REPORTS} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code, model], check=True, capture_output=True, env=environment)
    assert (done.stderr, list(home.rglob("*"))) == (b"", [])
