"""Which logged decisions are valued, and with what: nothing young, silence and skipping as they are stated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.dataset import Decisions, read_decisions
from nba.cli.logged import Options, missing_outcomes, settled_rows
from nba.clock import DAY_MS
from nba.errors import DataError, RefusedError
from nba.evaluate.rows import check_finite
from nba.load import find_config, load_config

NOW_MS = 1_760_000_000_000
CATALOG = load_config(find_config("telco")).catalog
OFFER = CATALOG.offers[0].id


def log(outcomes: list[str | None], age_days: Any = 30.0, **columns: Any) -> Decisions:
    """One decision a customer with these outcomes, the oldest first where ages are given."""
    n = len(outcomes)
    at = NOW_MS - (np.broadcast_to(np.asarray(age_days, dtype=float), n) * DAY_MS).astype(np.int64)
    table = {
        "decision_id": [f"d-{k}" for k in range(n)],
        "at": pa.array(at, pa.timestamp("ms", tz="UTC")),
        "customer_id": [f"c-{decision}" for decision in columns.get("decision_id", range(n))],
        "offer_id": [OFFER] * n,
        "propensity": [0.5] * n,
        "outcome": pa.array(outcomes, pa.string()),
    }
    return read_decisions(pa.table({k: v for k, v in (table | columns).items() if v is not None}), CATALOG)


def test_a_live_journal_is_valued_as_it_ends() -> None:
    """A yes of today is told today and a no only by a week of silence: 20 % stay 20 %, for the last week is left out."""
    rng = np.random.default_rng(0)
    yes = np.where(rng.random(4000) < 0.2, "accepted", "shown").tolist()
    rows, label, counts = settled_rows(log(yes, np.linspace(14, 0, 4000)), NOW_MS, Options())
    assert len(rows) == 2000 and counts["left out: younger than the window"] == 2000
    assert label.mean() == pytest.approx(np.mean([word == "accepted" for word in yes[:2000]]))


def test_silence_is_left_out_or_counted_as_no() -> None:
    """One of ten without any outcome: left out with a count, or on request a no."""
    words: list[str | None] = [*["accepted", "declined", "spoken"] * 3, None]
    rows, label, counts = settled_rows(log(words), NOW_MS, Options())
    assert len(rows) == 9 and label.sum() == 3 and counts["without any outcome, left out"] == 1
    rows, label, counts = settled_rows(log(words), NOW_MS, Options(open_means_no=True))
    assert len(rows) == 10 and label.tolist()[-1] == 0 and counts["without any outcome, counted as no"] == 1


def test_what_the_agent_skipped_earned_nothing() -> None:
    """A skipped suggestion stays in with 0: the policy is valued as it is lived; told twice, it counts once."""
    _, label, counts = settled_rows(log(["accepted", "skipped", "declined"]), NOW_MS, Options())
    assert label.tolist() == [1, 0, 0] and counts["skipped by the agent, earned nothing"] == 1
    twice = log(["skipped", "skipped"], decision_id=["d", "d"])
    assert len(settled_rows(twice, NOW_MS, Options())[0]) == 1


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("weaker", ["declined", "later", "spoken", "shown", "skipped", None])
def test_a_repeat_takes_no_acceptance_away(weaker: str | None, order: int) -> None:
    """Told twice, accepted and something weaker in any order: it is one acceptance, neither a skip nor a silence."""
    decisions = log(["accepted", weaker][::order] + ["declined"] * 4, decision_id=["d", "d", *"abce"])
    rows, label, counts = settled_rows(decisions, NOW_MS, Options())
    assert len(rows) == 5 and label.sum() == 1
    assert counts == {"left out: repeated": 1}
    assert missing_outcomes(decisions, NOW_MS, Options(), [offer.id for offer in CATALOG.offers]) == []


def test_a_skip_is_settled_only_as_any_outcome_is() -> None:
    """It is no silence, it waits for the window, a back-test's does not count, and a reward that was logged for it stands."""
    rows, label, counts = settled_rows(log(["accepted"] + ["skipped"] * 3, [30, 30, 30, 0.1]), NOW_MS, Options())
    assert rows.tolist() == [0, 1, 2] and label.tolist() == [1, 0, 0]
    assert counts == {"left out: younger than the window": 1, "skipped by the agent, earned nothing": 2}
    rows, label, _ = settled_rows(log(["skipped", "accepted"], backtest=[True, False]), NOW_MS, Options())
    assert rows.tolist() == [1] and label.tolist() == [1]
    paid = log(["skipped", "accepted"], reward=[2.5, None])
    assert settled_rows(paid, NOW_MS, Options())[2] == {}


def test_the_rows_that_are_left_out_add_up_to_those_that_were_read() -> None:
    """A row that is old, repeated and of a lower rank is counted once, so that nobody misses more rows than there were."""
    rng = np.random.default_rng(4)
    rank, decision = rng.integers(1, 4, 900), rng.integers(0, 400, 900)
    offers = np.array([offer.id for offer in CATALOG.offers])[rank]
    columns = {"rank": rank, "offer_id": offers, "decision_id": decision.astype(str), "backtest": rng.random(900) < 0.1}
    decisions = log(["declined"] * 900, decision / 10, **columns)
    rows, _, counts = settled_rows(decisions, NOW_MS, Options(since_ms=NOW_MS - 30 * DAY_MS))
    assert len(counts) == 6
    assert len(rows) + sum(n for words, n in counts.items() if "left out" in words) == 900


def test_the_limit_takes_the_newest() -> None:
    """Of five decisions in any order, --limit 2 leaves the two latest."""
    decisions = log(["accepted", "declined", "declined", "declined", "accepted"], [20, 50, 10, 40, 30])
    rows, label, counts = settled_rows(decisions, NOW_MS, Options(limit=2))
    assert rows.tolist() == [0, 2] and label.tolist() == [1, 0]
    assert counts["older than the newest that --limit allows, left out"] == 3


def test_more_than_a_fifth_without_outcome_is_refused() -> None:
    """Two of ten are left out, three of ten are too many."""
    settled_rows(log([*["declined"] * 8, None, None]), NOW_MS, Options())
    with pytest.raises(RefusedError, match="3 of 10 suggestions that are old enough have no outcome"):
        settled_rows(log([*["declined"] * 7, None, None, None]), NOW_MS, Options())


def test_a_reward_settles_a_decision_without_an_outcome() -> None:
    """Both columns are optional: a reward alone is enough, and whether it was accepted stays unknown."""
    decisions = log([None] * 3, outcome=None, reward=[0.0, 2.5, None])
    rows, label, _ = settled_rows(decisions, NOW_MS, Options(open_means_no=True))
    assert rows.tolist() == [0, 1, 2] and np.isnan(label[:2]).all() and label[2] == 0
    with pytest.raises(RefusedError, match="have no outcome"):
        settled_rows(decisions, NOW_MS, Options(reward="accepted"))


def test_ranks_below_the_first_of_all_are_refused_by_row() -> None:
    """Counting from 0 would call the second suggestion the first."""
    with pytest.raises(DataError, match=r"row 2: column 'rank': 0 is below 1"):
        settled_rows(log(["accepted"] * 2, rank=[1, 0]), NOW_MS, Options())


def test_an_infinite_number_is_refused_by_row() -> None:
    """One infinite value would be the mean."""
    with pytest.raises(DataError, match=r"row 2: column 'handle_s': inf is no number"):
        check_finite("handle_s", np.array([1.0, np.inf, np.nan]), lambda row: f"row {row + 1}")
