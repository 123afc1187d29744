"""ONNX must answer as LightGBM answers: on anything, at every split, in every kind of model we can train."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.calibrate import Calibration
from models.export import Head, to_onnx
from models.forest import ZERO_BAND, Split, parse_forest
from models.parity import TOLERANCE, Pair, certify
from models.schema import Schema, SchemaColumn
from models.scorer import Scorer
from nba.config import Catalog

WIDTH, CATEGORIES, WORDS = 8, 3, 100
CATALOG = Catalog.model_validate({"offers": [{"id": "a", "kind": "resolve", "title": "A"}]})
WORDS_OF = tuple(f"w{i}" for i in range(WORDS))
SCHEMA = Schema(
    tuple(
        SchemaColumn(f"x.c{i}", "category", None, WORDS_OF) if i < CATEGORIES else SchemaColumn(f"x.c{i}", "number")
        for i in range(WIDTH)
    )
)
CALIBRATION = Calibration(1.2, -0.3)


def grown(extra: int = 0, **parameters: object) -> tuple[lgb.Booster, np.ndarray]:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(3000, WIDTH + extra)).astype(np.float32)
    rows[:, :CATEGORIES] = rng.integers(1, WORDS + 1, (3000, CATEGORIES))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[:, CATEGORIES:][rng.random((3000, WIDTH + extra - CATEGORIES)) < 0.1] = 0.0  # codes start at 1
    if extra:
        rows[:, -1] = rng.random(3000) < 0.4
    signal = np.nan_to_num(rows[:, 3]) + (np.nan_to_num(rows[:, 0]) % 3) + np.nan_to_num(rows[:, -1])
    label = signal + rng.normal(size=3000) > 1.0
    given_ = {"objective": "binary", "verbosity": -1, "num_leaves": 31, "min_data_per_group": 5, "num_threads": 1}
    data = lgb.Dataset(rows, label, categorical_feature=list(range(CATEGORIES)))
    return lgb.train({**given_, **parameters}, data, 40), rows


def pair_of(booster: lgb.Booster, calibration: Calibration = CALIBRATION) -> tuple[bytes, Pair]:
    forest = parse_forest(booster.model_to_string())
    model = to_onnx(WIDTH, Head(forest, calibration), None)
    scorer = Scorer("v", SCHEMA, model, CATALOG)

    def reference(matrix: np.ndarray) -> np.ndarray:
        return CALIBRATION.apply(np.asarray(booster.predict(matrix, raw_score=True, num_threads=1)))

    return model, Pair("accept", reference, lambda matrix: scorer.run(matrix).accept, forest)


PLAIN = grown()
MODEL, PAIR = pair_of(PLAIN[0])
ODD = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    -1.0,
    1e-36,
    -1e-36,
    ZERO_BAND,
    -ZERO_BAND,
    3e38,
    -3e38,
    1.0,
    64.0,
    65.0,
    101.0,
]
NUMBERS = st.one_of(st.sampled_from(ODD), st.floats(width=32), st.floats(-3, 3, width=32))
CODES = st.one_of(st.sampled_from(ODD), st.integers(-2, WORDS + 3).map(float))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_row_gets_lightgbms_answer(data: st.DataObject) -> None:
    """NaN, infinities, denormals and categories never seen: the same probability to 1e-6."""
    shape = (data.draw(st.integers(1, 60)), WIDTH)
    rows = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(width=32), fill=NUMBERS))
    rows[:, :CATEGORIES] = data.draw(hnp.arrays(np.float32, (shape[0], CATEGORIES), elements=CODES))
    assert np.abs(PAIR.reference(rows) - PAIR.exported(rows)).max() <= TOLERANCE


@pytest.mark.parametrize(
    "parameters",
    [
        {"use_missing": False},
        {"zero_as_missing": True},
        {"max_cat_to_onehot": 200},
        {"num_leaves": 2},
        {"max_cat_threshold": 90},
    ],
    ids=lambda p: next(iter(p)),
)
def test_every_way_of_missing_and_splitting_is_exact(parameters: dict[str, object]) -> None:
    """The certificate passes for every missing type and kind of categorical split, at each split and beside it."""
    booster, rows = grown(**parameters)
    model, pair = pair_of(booster)
    certificate = certify(model, SCHEMA, [pair], rows[:500])
    assert certificate.passed, certificate.largest


def test_the_certificate_asks_at_every_split() -> None:
    """At least three rows for each numeric split of the model, whatever the validation rows happen to hold."""
    certificate = certify(MODEL, SCHEMA, [PAIR], PLAIN[1][:10])
    assert certificate.passed
    assert certificate.rows["splits"] >= 3 * sum(len(tree.splits) for tree in PAIR.forest.trees)


def test_thresholds_rounded_to_nearest_would_be_caught() -> None:
    """The planted defect of the usual converters, thresholds rounded up to float32, fails the certificate."""

    def above(split: Split) -> Split:
        return replace(split, threshold=float(np.nextafter(np.float32(split.threshold), np.float32(np.inf))))

    up = [replace(tree, splits=tuple(above(split) for split in tree.splits)) for tree in PAIR.forest.trees]
    model = to_onnx(WIDTH, Head(replace(PAIR.forest, trees=tuple(up)), CALIBRATION), None)
    scorer = Scorer("v", SCHEMA, model, CATALOG)
    broken = replace(PAIR, exported=lambda matrix: scorer.run(matrix).accept)
    assert not certify(model, SCHEMA, [broken], PLAIN[1][:50]).passed


def test_a_threshold_inside_lightgbms_zero_band_is_respected() -> None:
    """LightGBM predicts with 0 for every |x| <= 1e-35, and so does the export."""
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((500, WIDTH)) < 0.5, 0.0, -1.0).astype(np.float32)
    booster = lgb.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1}, lgb.Dataset(rows, rows[:, 4] < 0), 3
    )
    _, pair = pair_of(booster)
    asked = np.zeros((4, WIDTH), dtype=np.float32)
    asked[:, 4] = [ZERO_BAND, -ZERO_BAND, np.nextafter(np.float32(-ZERO_BAND), np.float32(-1)), 1e-45]
    assert np.abs(pair.reference(asked) - pair.exported(asked)).max() <= TOLERANCE


def test_both_answers_of_the_stay_head_come_from_one_run() -> None:
    """The graph answers for accepted and not accepted as LightGBM does with the column set to 1 and to 0."""
    accept, rows = PLAIN
    stay, _ = grown(extra=1)
    heads = [Head(parse_forest(b.model_to_string()), CALIBRATION) for b in (accept, stay)]
    found = Scorer("v", SCHEMA, to_onnx(WIDTH, *heads), CATALOG).run(rows[:300])
    for value, answer in ((1.0, found.stay_if_accepted), (0.0, found.stay_if_not)):
        wide = np.hstack([rows[:300], np.full((300, 1), value, np.float32)])
        wanted = CALIBRATION.apply(np.asarray(stay.predict(wide, raw_score=True)))
        assert answer is not None
        assert np.abs(answer - wanted).max() <= TOLERANCE
    assert np.abs(found.accept - PAIR.reference(rows[:300])).max() <= TOLERANCE


def test_the_same_forest_gives_the_same_bytes() -> None:
    """Exporting twice gives one file."""
    assert to_onnx(WIDTH, Head(PAIR.forest, CALIBRATION), None) == MODEL
