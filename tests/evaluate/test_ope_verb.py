"""`nba evaluate ope` on a journal as the service writes it, and on foreign logs that lack something."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.scorer import Scorer
from nba.cli.logged import Options, learnt_rows, read_question
from nba.cli.target import Target
from nba.clock import format_at, system_now_ms
from nba.evaluate.ope import Question
from nba.load import find_config, load_config
from nba.settings import Settings

pytestmark = pytest.mark.xdist_group("journal")  # one worker makes the journal


def changed(journal: Any, folder: Path, source: str = "history.parquet", **columns: Any) -> Path:
    """Logged rows as a file elsewhere (so without records), some columns replaced or (None) removed."""
    table = pq.read_table(journal.state / source, partitioning=None)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        kept = table.remove_column(place) if place >= 0 else table
        old = table[name if place >= 0 else "offer_id"].to_pylist()
        table = kept if values is None else kept.append_column(name, pa.array(values(old)))
    pq.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def calibrated_until(journal: Any) -> int:
    """The moment at which the rows that judged the model start."""
    metrics = json.loads((journal.state / "models" / journal.model / "metrics.json").read_text())
    return metrics["counts"]["starts_ms"][2]


def test_the_policy_that_logged_is_worth_what_it_earned(journal: Any) -> None:
    """From whole records the same model and config give every logged propensity back: all weights are exactly 1."""
    found = journal.nba("ope", "--decisions", journal.state / "decisions", "--model", "champion")
    assert found["cases"] == {"recorded": found["overlap"]["rows"], "rebuilt": 0}
    assert found["overlap"]["mean_weight"] == pytest.approx(1.0, abs=1e-12)
    assert found["overlap"]["heaviest"] == pytest.approx(1.0, abs=1e-9)
    assert found["estimates"]["ips"]["value"] == pytest.approx(found["logged"]["value"], abs=1e-9)
    assert found["rows"]["left out: ranks below the first"] > 0


def test_a_foreign_log_is_rebuilt_and_said_to_be(journal: Any) -> None:
    """Without records the cases come from the x columns; money instead of acceptance on request."""
    found = journal.nba(
        "ope", "--decisions", journal.state / "history.parquet", "--model", journal.model, "--reward", "saving"
    )
    assert found["cases"]["recorded"] == 0 and found["cases"]["rebuilt"] == found["overlap"]["rows"] > 800
    assert found["reward"].startswith("saving a month")
    assert set(found["estimates"]) == {"ips", "snips", "dm", "dr", "switch-dr"}


def test_a_journal_without_its_records_is_refused(journal: Any, tmp_path: Path) -> None:
    """Open issues and the thread decided what was said; without them few rows speak for the target, and that is said."""
    path = changed(journal, tmp_path, "decisions")
    said = journal.nba("ope", "--decisions", path, "--model", "champion", status=1)
    assert re.search("never tried in the log|effective rows of [0-9,]+ speak for this policy", said["problems"][0])


@pytest.mark.parametrize(
    ("columns", "status", "says"),
    [
        ({"propensity": None}, 2, "'propensity' is missing"),
        ({"propensity": lambda v: [1.0] * len(v)}, 1, "every propensity is 1"),
        ({"propensity": lambda v: [p / 2 for p in v]}, 1, "propensities cannot be right"),
        ({"outcome": lambda v: [None] * len(v)}, 1, "no decision is settled|have no outcome"),
        (
            {"outcome": lambda v: [{"accepted": "declined", "declined": "accepted"}.get(o, o) for o in v]},
            1,
            "exchanged",
        ),
        ({"decision_id": lambda v: ["d-1"] * len(v)}, 2, "'decision_id': 'd-1' is another customer's decision"),
        (
            {"decision_id": lambda v: ["d-1"] * len(v), "customer_id": lambda v: ["c-1"] * len(v)},
            2,
            "two different offers at the first rank",
        ),
        ({"rank": lambda v: [0] * len(v)}, 2, "row 1: column 'rank': 0 is below 1"),
        ({"reward": lambda v: [0.5] * 3 + [float("inf")] + [0.5] * (len(v) - 4)}, 2, "row 4: column 'reward': inf"),
        ({"x.plan_views_7d": lambda v: [*v[:3], float("inf"), *v[4:]]}, 2, r"row 4: column 'x\.plan_views_7d': inf"),
        ({"at": lambda v: [v[0].replace(year=2090), *v[1:]]}, 2, "in the future"),
    ],
)
def test_what_is_wrong_is_named(journal: Any, tmp_path: Path, columns: dict, status: int, says: str) -> None:
    """Planted defects of a log: each is refused in its own words, with exit status 2 for input and 1 for a no."""
    path = changed(journal, tmp_path, **columns)
    said = journal.nba("ope", "--decisions", path, "--model", "champion", status=status)
    assert any(re.search(says, problem) for problem in said["problems"]), said


def test_repeated_rows_and_a_clock_that_ran_back_are_counted(journal: Any, tmp_path: Path) -> None:
    """Rows told twice are used once, rows out of order are sorted; the answer is that of the clean log."""
    path = changed(journal, tmp_path)
    clean = journal.nba("ope", "--decisions", path, "--model", "champion")
    table = pq.read_table(path)
    order = np.r_[np.arange(table.num_rows)[::-1], np.arange(200)]
    pq.write_table(table.take(order), path)
    found = journal.nba("ope", "--decisions", path, "--model", "champion")
    assert found["rows"]["left out: repeated"] == 200
    assert found["rows"]["rows after which the clock ran backwards (sorted by time)"] > 50
    assert found["estimates"]["ips"]["value"] == pytest.approx(clean["estimates"]["ips"]["value"])


def champion_asked(journal: Any) -> Question:
    """The simulated history as a question about the champion's policy."""
    config = load_config(find_config("telco"))
    scorer = Scorer.load(journal.state / "models" / journal.model, config.catalog, config.features.columns)
    settings, target = Settings(state_dir=journal.state), Target(config, scorer)
    log = journal.state / "history.parquet"
    return read_question(settings, log, target, system_now_ms(), Options(), lambda share: None).question


def test_what_agents_skip_is_no_reversed_label(journal: Any, tmp_path: Path) -> None:
    """Agents skip what the model finds likely: that earned nothing, but no customer has said no to it."""
    path, asked = journal.state / "history.parquet", champion_asked(journal)
    likely = asked.foretold > np.quantile(asked.foretold, 0.3)
    place = np.argsort(np.argsort(pq.read_table(path)["at"].to_numpy(), kind="stable"), kind="stable")
    log = changed(
        journal, tmp_path,
        outcome=lambda old: ["skipped" if likely[k] else word for k, word in zip(place, old, strict=True)],
    )  # fmt: skip
    found = journal.nba("ope", "--decisions", log, "--model", "champion")
    assert found["rows"]["skipped by the agent, earned nothing"] == likely.sum()
    assert found["logged"]["value"] == pytest.approx(asked.reward[~likely].sum() / len(likely))


def test_a_model_that_is_not_there_is_refused_with_those_that_are(journal: Any) -> None:
    """A version that is not there ends with the way out."""
    said = journal.nba("ope", "--decisions", journal.state / "decisions", "--model", "20200101T000000-aaaaaa", status=2)
    assert f"there are {journal.model}" in said["problems"][0]


def test_judging_by_what_was_learnt_is_said(journal: Any) -> None:
    """Planted: the rows that the model was trained on. It is warned of, and --since takes them away; later rows are clean."""
    history = ("ope", "--decisions", journal.state / "history.parquet", "--model", "champion")
    found = journal.nba(*history)
    said = next(w for w in found["warnings"] if "may have learnt" in w)
    since, until = said.rsplit(" ", 1)[1], calibrated_until(journal)
    assert since == format_at(until), "calibrating is learning too"
    folder, moments = journal.state / "models" / journal.model, found["overlap"]["rows"] * [until]
    assert learnt_rows(folder, np.array(moments)) == [] and learnt_rows(folder, np.array([until - 1])) != []
    few = journal.nba(*history, "--since", since, status=1)
    assert "effective rows of" in few["problems"][0], "what is left of this small history is too little"
    clean = journal.nba("ope", "--decisions", journal.state / "decisions", "--model", "champion")
    assert not any("learnt" in warning for warning in clean["warnings"])


def test_a_log_that_never_explored_is_refused_before_its_cases_are_rebuilt(journal: Any, tmp_path: Path) -> None:
    """Without x columns nothing could be rebuilt, and the refusal still speaks of the propensities."""
    names = pq.read_schema(journal.state / "history.parquet").names
    gone = {name: None for name in names if name.startswith("x.")}
    path = changed(journal, tmp_path, **gone, propensity=lambda v: [1.0] * len(v))
    said = journal.nba("ope", "--decisions", path, "--model", "champion", status=1)
    assert "every propensity is 1" in said["problems"][0]


def test_a_policy_that_says_nothing_is_called_that(journal: Any, tmp_path: Path) -> None:
    """A log without what the sentences are made of: the stage that silences the policy is named, not more exploration."""
    names = pq.read_schema(journal.state / "history.parquet").names
    gone = {name: None for name in names if name.startswith("x.")} | {"x.tenure_months": lambda v: [1.0] * len(v)}
    path = changed(journal, tmp_path, **gone)
    said = journal.nba("ope", "--decisions", path, "--model", "champion", status=1)
    assert re.search(r"says nothing in ([\d,]+) of \1 cases, stage \w+", said["problems"][0])
    assert "explore more" not in said["problems"][0]


def weights_by_offer(journal: Any) -> dict[str, list[float]]:
    """Of each row of the log, by offer: how much more likely the champion's policy says it than the log did."""
    question = champion_asked(journal)
    weight = question.target[np.arange(len(question.offer)), question.offer] / question.propensity
    found: dict[str, list[float]] = {}
    for offer, one in zip(question.offer.tolist(), weight.tolist(), strict=True):
        found.setdefault(question.offers[offer], []).append(one)
    return found


def losing(journal: Any, folder: Path, some: Collection[str]) -> Path:
    """The log without most outcomes of these offers."""
    offers = pq.read_table(journal.state / "history.parquet")["offer_id"].to_pylist()
    lost = [offer in some and k % 8 > 0 for k, offer in enumerate(offers)]
    words = {"outcome": lambda v: [None if gone else w for gone, w in zip(lost, v, strict=True)]}
    return changed(journal, folder, **words)


def test_outcomes_that_are_missing_by_offer_are_warned_of(journal: Any, tmp_path: Path) -> None:
    """Most outcomes of a rare offer lost: an answer, with the warning that it leans; with all of them no warning."""
    offers = pq.read_table(journal.state / "history.parquet")["offer_id"].to_pylist()
    one = next(o for o, n in Counter(offers).most_common() if n < 0.06 * len(offers))
    path = losing(journal, tmp_path, [one])
    found = journal.nba("ope", "--decisions", path, "--model", "champion")
    assert any("outcomes are missing by offer" in w and one in w for w in found["warnings"]), found["warnings"]
    clean = journal.nba("ope", "--decisions", journal.state / "history.parquet", "--model", "champion")
    assert not any("missing by" in warning for warning in clean["warnings"])


def test_weights_that_do_not_add_up_for_missing_outcomes_are_no_wrong_propensities(
    journal: Any, tmp_path: Path
) -> None:
    """Outcomes of what the policy wants more than the log are lost: refused for that, not for propensities that are right."""
    wanted = weights_by_offer(journal)
    most: list[str] = []
    for offer in sorted(wanted, key=lambda name: -sum(wanted[name]) / len(wanted[name])):
        if sum(len(wanted[name]) for name in (*most, offer)) < 0.18 * sum(map(len, wanted.values())):
            most.append(offer)
    path = losing(journal, tmp_path, most)
    [said] = journal.nba("ope", "--decisions", path, "--model", "champion", status=1)["problems"]
    assert "has to be 1: outcomes are missing by offer" in said and any(offer in said for offer in most)
    assert "propensities" not in said


@pytest.mark.parametrize(("option", "value"), [("--window-days", "inf"), ("--clip", "inf"), ("--reward", "gold")])
def test_options_that_are_no_numbers_are_refused(journal: Any, option: str, value: str) -> None:
    """Named with exit status 2, before anything is read."""
    where = ("ope", "--decisions", journal.state / "decisions", "--model", "champion")
    assert option in journal.nba(*where, option, value, status=2)["problems"][0]


def test_records_that_are_no_parquet_are_named(journal: Any, tmp_path: Path) -> None:
    """Junk beside the decisions, in records or in outcomes: the file is named, with exit status 2."""
    for name in ("decisions", "records", "outcomes"):
        (tmp_path / name).mkdir()
    changed(journal, tmp_path / "decisions", "decisions")
    (tmp_path / "records" / "part-0.parquet").write_bytes(b"PAR1 junk")
    where = ("--decisions", tmp_path / "decisions")
    for verb in (("ope", "--model", "champion"), ("ab", "--experiment", "tone")):
        assert "records/part-0.parquet" in journal.nba(*verb, *where, status=2)["problems"][0]
    (tmp_path / "records" / "part-0.parquet").unlink()
    pq.write_table(pa.table({"decision_id": ["d-1"], "record": ["{"]}), tmp_path / "records" / "part-0.parquet")
    assert "d-1 is no JSON" in journal.nba("ab", "--experiment", "tone", *where, status=2)["problems"][0]
    (tmp_path / "records" / "part-0.parquet").unlink()
    pq.write_table(pa.table({"other": [1]}), tmp_path / "outcomes" / "part-0.parquet")
    assert "'outcome_id' is missing" in journal.nba("report", *where, "--out", tmp_path / "r", status=2)["problems"][0]


def test_the_table_says_what_the_interval_of_dm_leaves_out(journal: Any) -> None:
    """The reward model's own error is in no interval of dm, and whoever reads the table is told."""
    said = journal.says("ope", "--decisions", journal.state / "history.parquet", "--model", "champion")
    assert "know nothing of the model's own error" in said
