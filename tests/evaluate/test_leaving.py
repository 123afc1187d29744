"""How often customers leave, read off a log: known rates come back, and what a log cannot tell is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nba.cli.leaving import read_stretches
from nba.clock import DAY_MS
from nba.config import Config, Worth
from nba.errors import RefusedError
from nba.evaluate.leaving import Stretches, leaving
from nba.lifetime import DAYS_A_MONTH
from nba.load import find_config, load_config
from nba.settings import Settings

pytestmark = pytest.mark.xdist_group("journal")  # one worker makes the journal
START_MS = 1_760_000_000_000
TRUTH = {"leave_month": 0.03, "overpaid_month": 0.06, "bound.times": 0.2}


def lived(n: int, seed: int) -> Stretches:
    """Stretches of up to a year in which customers leave at the rates above."""
    rng = np.random.default_rng(seed)
    bound, overpaid = rng.random(n) < 0.5, rng.gamma(1.0, 6.0, n)
    rate = 0.03 * np.exp(0.06 * overpaid) * np.where(bound, 0.2, 1.0)
    gone, watched = rng.exponential(1 / rate), rng.uniform(0.1, 12.0, n)
    return Stretches(np.minimum(gone, watched), gone <= watched, bound, overpaid)


def test_known_rates_come_back_and_intervals_hold_what_they_say() -> None:
    """Of 200 logs of 1,000 stretches each, the 95 % intervals of each rate hold the truth in 91 to 99 %."""
    hits = dict.fromkeys(TRUTH, 0)
    for seed in range(200):
        for name, rate in leaving(lived(1_000, seed)).rates.items():
            hits[name] += rate.low <= TRUTH[name] <= rate.high
    assert all(182 <= count <= 198 for count in hits.values()), hits


def test_without_differences_the_rate_is_those_who_left_by_the_months() -> None:
    """The maximum of the likelihood by hand: 40 leave in 2,000 months free, 10 in 4,000 bound."""
    left = np.arange(600) % 4 == 0
    left[200:] = np.arange(400) % 40 == 0
    months, bound = np.full(600, 10.0), np.arange(600) >= 200
    left[:200] = np.arange(200) < 40
    found = leaving(Stretches(months, left, bound, np.zeros(600)))
    assert found.left == 50 and found.months == 6_000
    assert found.rates["leave_month"].value == pytest.approx(40 / 2_000, rel=1e-4)
    assert found.rates["bound.times"].value == pytest.approx((10 / 4_000) / (40 / 2_000), rel=1e-4)
    assert found.notes == ("overpaid_month is not told: everybody overpays the same",)


def test_what_the_log_cannot_tell_is_said() -> None:
    """Nobody left while bound: no rate is made up for it. Fewer than thirty left: no rate at all."""
    some = lived(1_000, 0)
    found = leaving(Stretches(some.months, some.left & ~some.bound, some.bound, some.overpaid))
    assert "bound.times" not in found.rates and "0 left while bound" in found.notes[0]
    few = some.left & (np.cumsum(some.left) <= 29)
    with pytest.raises(RefusedError, match=r"29 customers left in [\d,]+ months of the log, and it takes 30"):
        leaving(Stretches(some.months, few, some.bound, some.overpaid))


@pytest.fixture(scope="module")
def telco() -> Config:
    return load_config(find_config("telco"))


def called(folder: Path, *calls: dict[str, Any]) -> Path:
    """A log of these calls: who, on which day, on which plan, bound for how many days, what was offered and what they said."""
    usual = {"who": "ada", "day": 0, "plan": "m-20", "days": 0.0, "offer": "line-check", "outcome": "declined"}
    rows = [{**usual, **call} for call in calls]
    columns = {
        "decision_id": [f"d{k}" for k in range(len(rows))],
        "at": pa.array([START_MS + r["day"] * DAY_MS for r in rows], pa.timestamp("ms", "UTC")),
        "customer_id": [r["who"] for r in rows],
        "offer_id": [r["offer"] for r in rows],
        "propensity": [0.5] * len(rows),
        "outcome": [r["outcome"] for r in rows],
        "x.plan": [r["plan"] for r in rows],
        "x.contract_end_days": [r["days"] for r in rows],
    }
    path = folder / "log.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def stretches(folder: Path, config: Config, path: Path, gone: dict[str, int], until_day: int) -> Stretches:
    words = [*(("churned", who, day) for who, day in gone.items()), ("stayed", "somebody", until_day)]
    columns = {
        "customer_id": [who for _, who, _ in words],
        "at": pa.array([START_MS + day * DAY_MS for _, _, day in words], pa.timestamp("ms", "UTC")),
        "outcome": [word for word, _, _ in words],
    }
    delayed = folder / "delayed.parquet"
    pq.write_table(pa.table(columns), delayed)
    now_ms = START_MS + 900 * DAY_MS
    return read_stretches(Settings(state_dir=folder), path, config, delayed, now_ms, lambda share: None)


def told(of: Stretches) -> list[tuple[float, bool, bool]]:
    """Days, left and bound of each stretch, the longest last."""
    rows = zip((of.months * DAYS_A_MONTH).tolist(), of.left.tolist(), of.bound.tolist(), strict=True)
    return sorted((round(days, 6), left, bound) for days, left, bound in rows)


def test_a_stretch_ends_with_the_next_call_with_leaving_or_with_what_is_known(tmp_path: Path, telco: Config) -> None:
    """Ada calls twice and leaves 40 days after the second; Bob calls once and is still here when the log ends."""
    path = called(tmp_path, {"day": 0}, {"day": 25}, {"who": "bob", "day": 10})
    assert told(stretches(tmp_path, telco, path, {"ada": 65}, 100)) == [
        (25.0, False, False),
        (40.0, True, False),
        (90.0, False, False),
    ]


def test_a_stretch_is_cut_where_the_contract_lets_go(tmp_path: Path, telco: Config) -> None:
    """Bound for 90 days, the last 30 of which hold nobody: 60 days bound, 20 free, at the end of which she left."""
    path = called(tmp_path, {"days": 90.0})
    assert told(stretches(tmp_path, telco, path, {"ada": 80}, 300)) == [(20.0, True, False), (60.0, False, True)]
    assert told(stretches(tmp_path, telco, path, {"ada": 50}, 300)) == [(50.0, True, True)]


def test_what_was_accepted_in_the_call_counts_for_what_follows(tmp_path: Path, telco: Config) -> None:
    """A renewal adds a year to the contract, as the policy says; declined, it adds nothing."""
    rates = {"leave_month": 0.02, "if_accepted": {"kinds": {"retain": {"extends_days": 365}}}}
    worth = Worth.model_validate({"lifetime": rates})
    telco = telco.model_copy(update={"policy": telco.policy.model_copy(update={"worth": worth})})
    for outcome, bound in (("accepted", 335.0), ("declined", 0.0)):
        path = called(tmp_path, {"offer": "renewal-phone", "outcome": outcome})
        found = stretches(tmp_path, telco, path, {}, 400)
        assert sum(days for days, _, is_bound in told(found) if is_bound) == bound


def test_who_is_on_no_plan_of_ours_is_left_out(tmp_path: Path, telco: Config) -> None:
    """What they overpay is not known, so they would count as paying what suits them."""
    path = called(tmp_path, {"plan": "of-another"}, {"who": "bob"})
    assert told(stretches(tmp_path, telco, path, {"ada": 5}, 30)) == [(30.0, False, False)]


def test_a_log_without_plans_of_ours_says_so(tmp_path: Path, telco: Config) -> None:
    """Nothing is known of what they pay."""
    with pytest.raises(RefusedError, match=r"nobody in the log is on a plan of the catalog.*write x\.plan"):
        stretches(tmp_path, telco, called(tmp_path, {"plan": "of-another"}), {"ada": 5}, 30)


def test_the_verb_counts_who_left_once(journal: Any) -> None:
    """On the journal of the service: who was reported as gone and had heard a suggestion before."""
    document = journal.nba("leaving", "--decisions", journal.state / "decisions")
    churned = pq.read_table(journal.state / "outcomes_delayed", filters=[("outcome", "=", "churned")]).to_pylist()
    heard = pq.read_table(journal.state / "decisions", columns=["customer_id", "at"]).to_pylist()
    first = {row["customer_id"]: row["at"] for row in sorted(heard, key=lambda row: row["at"], reverse=True)}
    after = [row for row in churned if row["customer_id"] in first and row["at"] >= first[row["customer_id"]]]
    assert document["left"] == len(after) > 30
    assert document["rates"]["leave_month"]["low"] > 0


def test_the_verb_tells_the_rates_beside_those_declared(journal: Any, telco: Config, tmp_path: Path) -> None:
    """Where a policy declares a lifetime, its rates stand beside those found; else there is nothing to compare with."""
    folder = Path(shutil.copytree(telco.folder, tmp_path / "shop"))
    text = (folder / "policy.yaml").read_text(encoding="utf-8")
    declared = text.replace("  horizon_months: 12\n", "  horizon_months: 12\n  lifetime: {leave_month: 0.0777}\n")
    (folder / "policy.yaml").write_text(declared, encoding="utf-8")
    asked = ("leaving", "--decisions", journal.state / "decisions")
    said = journal.says(*asked, config=folder)
    assert "policy.yaml" in said and "0.0777" in said
    assert "policy.yaml" not in journal.says(*asked)


def test_without_delayed_outcomes_it_says_what_to_report(journal: Any, tmp_path: Path) -> None:
    """A log that has none beside it."""
    path = shutil.copy(journal.state / "history.parquet", tmp_path)
    [said] = journal.nba("leaving", "--decisions", path, status=1)["problems"]
    assert "churned or stayed" in said and "--delayed" in said
