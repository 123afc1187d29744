"""What came of an offer before: the same numbers in training and in a call, and a model that learns from them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kits.decisions import NOW_MS, START_MS, make_rows
from models.dataset import Decisions, read_decisions
from models.learned import Options
from models.matrix import Assembler
from models.pairs import PAST_NAMES
from models.past import past_rows
from models.prepare import choose_schema
from models.registry import Registry
from models.scorer import Scorer
from models.train import train
from nba.candidates import CatalogRules, make_candidates
from nba.clock import DAY_MS
from nba.config import Config
from nba.domain import OUTCOMES, Contact
from nba.past import NEVER, Past, pasts
from nba.rules import Values

ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),  # customer
        st.sampled_from(["s", "m", "fix"]),
        st.sampled_from([*OUTCOMES, None]),
        st.integers(0, 70),  # day
        st.sampled_from([None, 0, 1, 40]),  # days until the outcome came in
    ),
    min_size=1,
    max_size=40,
)


def moment(day: int) -> int:
    return START_MS + day * DAY_MS


def table(rows: list[tuple[int, str, str | None, int, int | None]]) -> pa.Table:
    customers, offers, outcomes, days, delays = zip(*rows, strict=True)
    known = [None if delay is None else moment(day + delay) for day, delay in zip(days, delays, strict=True)]
    return pa.table(
        {
            "decision_id": [f"d{n}" for n in range(len(rows))],
            "at": pa.array([moment(day) for day in days], pa.timestamp("ms", tz="UTC")),
            "outcome_at": pa.array(known, pa.timestamp("ms", tz="UTC")),
            "customer_id": [f"c{customer}" for customer in customers],
            "offer_id": list(offers),
            "propensity": [0.5] * len(rows),
            "outcome": pa.array(outcomes, pa.string()),
        }
    )


def past_of(decisions: Decisions, config: Config, row: int, place: int) -> Past:
    offer = np.array([place])
    found = past_rows(decisions, len(config.catalog.offers)).before(
        decisions.customer[[row]].astype(np.int64), offer, decisions.at_ms[[row]]
    )
    return Past(*found[0].tolist())


@given(rows=ROWS)
def test_the_log_tells_of_the_past_what_the_store_tells_a_call(config: Config, rows: list) -> None:
    """For every row and every offer: counted in the log's rows, or served from the contacts that they left, it is the same."""
    decisions = read_decisions(table(rows), config.catalog)
    ids = [offer.id for offer in config.catalog.offers]
    for row in range(len(rows)):
        customer, at_ms = rows[row][0], int(decisions.at_ms[row])
        contacts = [
            Contact(moment(day + (delay or 0)), offer, outcome, "call", f"d{n}")
            for n, (who, offer, outcome, day, delay) in enumerate(rows)
            if who == customer and outcome is not None and moment(day + (delay or 0)) < at_ms
        ]
        served = pasts(sorted(contacts, key=lambda c: c.at_ms), at_ms)
        for place, offer in enumerate(ids):
            assert past_of(decisions, config, row, place) == served.get(offer, NEVER)


def test_back_tests_and_repeated_rows_told_nobody_anything(config: Config) -> None:
    """A decision that is in the log twice was heard once, with its strongest outcome; a back-test was heard by nobody."""
    rows = table(
        [(0, "s", word, day, None) for word, day in [("declined", 1), ("spoken", 1), ("declined", 2), (None, 3)]]
    )
    twice = rows.set_column(0, "decision_id", pa.array(["one", "one", "past", "now"]))
    marked = twice.append_column("backtest", pa.array([False, False, True, False]))
    decisions = read_decisions(marked, config.catalog)
    assert past_of(decisions, config, 3, 0) == Past(0.0, 1.0, 1.0)


def test_an_order_that_is_booked_on_every_call_before_it_is_foretold_by_none_of_them(
    config: Config, registry: Registry
) -> None:
    """Planted: a coin that falls five days after the last of three calls and is logged with each: no call knows it yet."""
    rng = np.random.default_rng(3)
    at = START_MS + rng.integers(0, 25 * DAY_MS, (1000, 1)) + np.array([0, DAY_MS, 2 * DAY_MS])
    known = np.repeat(at[:, 2:] + 5 * DAY_MS, 3, axis=1)
    log = pa.table(
        {
            "decision_id": [f"d{n}" for n in range(3000)],
            "at": pa.array(at.ravel(), pa.timestamp("ms", tz="UTC")),
            "customer_id": [f"c{n // 3}" for n in range(3000)],
            "offer_id": ["m"] * 3000,
            "propensity": np.full(3000, 0.5),
            "outcome": np.repeat(np.where(rng.random(1000) < 0.3, "accepted", "declined"), 3),
            "outcome_at": pa.array(known.ravel(), pa.timestamp("ms", tz="UTC")),
            "x.usage": rng.gamma(2.0, 5.0, 3000),
        }
    )
    found = train(log, config, registry, now_ms=NOW_MS, options=Options(threads=1)).accept.figures.auc
    assert found is not None and found < 0.6


def test_what_was_logged_as_served_wins(config: Config) -> None:
    """The journal's own columns are taken; a log without them is counted."""
    served = {name: np.full(300, 5.0) for name in PAST_NAMES}
    twins = pa.array([f"c{n % 9}" for n in range(300)])
    for logged, expected in ((served, True), ({}, False)):
        decisions = read_decisions(make_rows(300, customer_id=twins, **logged), config.catalog)
        assembler = Assembler(decisions, config)
        schema, _ = choose_schema(assembler, np.arange(300))
        found = assembler.matrix(schema, np.arange(300))[:, [schema.names.index(name) for name in PAST_NAMES]]
        assert bool((found == 5.0).all()) is expected
        assert found.max() > 0.0


def test_an_empty_past_is_counted_as_one_that_no_column_holds(config: Config) -> None:
    """Rows of an older version stand beside newer ones with nulls, in one file or as another file: all know the same."""
    twins = pa.array([f"c{n % 9}" for n in range(300)])
    bare = make_rows(300, customer_id=twins)
    served = {name: pa.array([None] * 200 + [5.0] * 100) for name in PAST_NAMES}
    mixed = make_rows(300, customer_id=twins, **served)
    found = []
    for log in (bare, mixed, [bare.slice(0, 200), mixed.slice(200)]):
        assembler = Assembler(read_decisions(log, config.catalog), config)
        schema, _ = choose_schema(assembler, np.arange(300))
        found.append(assembler.matrix(schema, np.arange(300))[:, [schema.names.index(name) for name in PAST_NAMES]])
    counted, one_file, two_files = found
    np.testing.assert_array_equal(one_file[:200], counted[:200])
    assert (one_file[200:] == 5.0).all()
    np.testing.assert_array_equal(two_files, one_file)


def test_rows_that_are_judged_alone_keep_their_past(config: Config) -> None:
    """The newest rows of a log, taken out of it, know what their customers heard before."""
    twins = pa.array([f"c{n % 9}" for n in range(300)])
    assembler = Assembler(read_decisions(make_rows(300, customer_id=twins), config.catalog), config)
    newest = np.arange(250, 300)
    np.testing.assert_array_equal(assembler.subset(newest).pairs(np.arange(50)), assembler.pairs(newest))
    assert assembler.pairs(newest)[:, :, -1].max() > 0.0


@pytest.fixture(scope="module")
def learnt(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A model of people of whom half never want `m`, which only their answers tell."""
    rng = np.random.default_rng(5)
    wants = rng.random(400) < 0.5
    customer = rng.integers(0, 400, 6000)
    at = np.sort(START_MS + rng.integers(0, 38 * DAY_MS, 6000))
    accepted = rng.random(6000) < np.where(wants[customer], 0.7, 0.05)
    log = pa.table(
        {
            "decision_id": [f"d{n}" for n in range(6000)],
            "at": pa.array(at, pa.timestamp("ms", tz="UTC")),
            "customer_id": [f"c{c}" for c in customer],
            "offer_id": rng.choice(["s", "m"], 6000),
            "propensity": np.full(6000, 0.5),
            "outcome": np.where(accepted, "accepted", "declined"),
            "x.usage": rng.gamma(2.0, 5.0, 6000),
        }
    )
    registry = Registry(tmp_path_factory.mktemp("past"))
    report = train(log, config, registry, now_ms=NOW_MS, options=Options(threads=1))
    assert report.version is not None
    return Scorer.load(registry.path(report.version), config.catalog, config.features.columns)


def test_an_offer_that_was_declined_again_and_again_is_foretold_to_be_declined(learnt: Scorer, config: Config) -> None:
    """The same customer but for what they answered: three times no, never asked, three times yes."""
    candidates = make_candidates(CatalogRules(config.catalog), Values({}), {})
    says = [Past(0.0, 3.0, 1.0), NEVER, Past(3.0, 0.0, 1.0)]
    no, never, yes = (
        float(learnt.score({"usage": 8.0}, [candidates[1]._replace(past=past)]).accept[0]) for past in says
    )
    assert no < 0.2 < never < 0.6 < yes
