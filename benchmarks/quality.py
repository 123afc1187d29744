"""How good the trained models are on public data, each through `train` from Parquet to a certified version.

    .venv/bin/python benchmarks/quality.py [--quick] [--json] [--data FOLDER]

bank-full            45,211 bank calls, `duration` included: AUC in 10 folds, as the AutoML benchmark does it.
bank-additional      41,188 bank calls in order of date, without `duration`: 5 shuffled folds, and retrained each month.
open_bandit          10,000 logged random choices among 80 items: the model's policy, by self-normalised weights.
starbucks_offers     offers sent at random: features replayed from the events, AUC of completion, value of the policy.

A data set that is not there is left out and named as absent.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from results import goal, keep

from features.replay import read_logs, replay
from features.spec import FeatureSpec
from models.challenge import accept_on
from models.dataset import read_decisions, settle
from models.learned import Options
from models.matrix import Assembler
from models.metrics import log_losses
from models.offpolicy import FEWEST_EFFECTIVE, best_offers, explored_log, value_of
from models.prepare import in_time
from models.registry import Registry
from models.scorer import Scorer
from models.slices import split_in_time
from models.summary import TrainReport
from models.train import train
from nba.config import Catalog, Config, FeaturesConfig, Policy
from nba.stats import auc

DATA = Path(__file__).parents[2] / "shared" / "data"
START_MS, HOUR_MS, MINUTE_MS = 1_500_000_000_000, 3_600_000, 60_000
NOW_MS = START_MS + 20_000 * 24 * HOUR_MS
Column = Sequence[Any] | np.ndarray


@dataclass(frozen=True)
class Judged:
    """What a version says of the rows it was judged on: p and y float64 (n,), and where they come from."""

    report: TrainReport
    scorer: Scorer
    assembler: Assembler
    rows: np.ndarray
    p: np.ndarray
    y: np.ndarray


def made_config(
    fields: Mapping[str, str], offers: list[dict[str, Any]], features: dict[str, Any] | None = None
) -> Config:
    """A config whose profile has these typed fields."""
    given: dict[str, Any] = {"activities": {"event": {}}, "profile": dict(fields), **(features or {})}
    return Config(
        folder=Path("generated"), features=FeaturesConfig.model_validate(given),
        catalog=Catalog.model_validate({"offers": offers}), policy=Policy(opening={"en": "{title}"}), fingerprint="0" * 16,
    )  # fmt: skip


def trained(columns: Mapping[str, Column], config: Config, options: Options) -> Judged:
    """Write the rows as Parquet, train from the file, ask the version that was kept."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "decisions.parquet"
        pq.write_table(pa.table(dict(columns)), file)
        report = train(file, config, Registry(Path(folder) / "models"), now_ms=NOW_MS, options=options)
        scorer = Scorer.load(report.folder, config.catalog, config.features.columns)
        decisions = read_decisions(pq.read_table(file), config.catalog)
    label = settle(decisions, NOW_MS).label
    rows = in_time(decisions, label)
    rows = rows[split_in_time(decisions.at_ms[rows], options.split).judging]
    assembler = Assembler(decisions, config)
    return Judged(report, scorer, assembler, rows, accept_on(scorer, assembler, rows), label[rows].astype(np.float64))


def moments(at_ms: np.ndarray) -> pa.Array:
    return pa.array(at_ms, pa.timestamp("ms", tz="UTC"))


# Bank calls -----------------------------------------------------------------------------------------------------------


def read_bank(file: Path, without: Sequence[str] = ()) -> tuple[dict[str, list[Any]], dict[str, str], np.ndarray]:
    """Columns by name, their types, and whether the customer subscribed (n,)."""
    with gzip.open(file, "rt") as opened:
        rows = list(csv.DictReader(opened, delimiter=";"))
    names = [name for name in rows[0] if name not in ("y", *without)]
    columns: dict[str, list[Any]] = {}
    types = {}
    for name in names:
        texts = [row[name] for row in rows]
        safe = name.replace(".", "_")
        try:
            columns[safe], types[safe] = [float(text) for text in texts], "number"
        except ValueError:
            columns[safe], types[safe] = texts, "category"
    return columns, types, np.array([row["y"] == "yes" for row in rows])


def bank_rows(columns: Mapping[str, list[Any]], yes: np.ndarray, order: np.ndarray) -> dict[str, Column]:
    """Decision rows in this order, a minute apart; one offer."""
    n = len(order)
    fixed: dict[str, Column] = {
        "decision_id": [f"d{i}" for i in order], "at": moments(START_MS + np.arange(n) * MINUTE_MS),
        "customer_id": [f"c{i}" for i in order], "offer_id": ["deposit"] * n, "propensity": np.ones(n),
        "outcome": np.where(yes[order], "accepted", "declined"),
    }  # fmt: skip
    return fixed | {f"x.{name}": [values[i] for i in order] for name, values in columns.items()}


def bank_config(types: Mapping[str, str]) -> Config:
    return made_config(types, [{"id": "deposit", "kind": "cross_sell", "title": "Term deposit"}])


def in_folds(file: Path, folds: int, run: int, without: Sequence[str] = ()) -> list[float]:
    """AUC of each fold: the fold is the judged slice, 6 % of the rest stops and calibrates, the remainder trains."""
    columns, types, yes = read_bank(file, without)
    shuffled = np.random.default_rng(0).permutation(len(yes))
    found = []
    for fold in range(run):
        held = shuffled[fold::folds]
        order = np.concatenate([np.setdiff1d(shuffled, held, assume_unique=True), held])
        calibrate = round(0.06 * len(yes))
        later = len(held) + calibrate
        options = Options(threads=1, valid_share=later / len(yes), calibrate_share=calibrate / later)
        judged = trained(bank_rows(columns, yes, order), bank_config(types), options)
        found.append(float(auc(judged.p, judged.y) or 0.0))
    return found


def each_month(file: Path, every: int) -> dict[str, Any]:
    """Retrained before each month on the rows before it, asked about that month; pooled over the months."""
    columns, types, yes = read_bank(file, ("duration",))
    starts = [i for i in range(1, len(yes)) if columns["month"][i] != columns["month"][i - 1]]
    ends = [*starts[1:], len(yes)]
    p, y, base = [], [], []
    for start, end in list(zip(starts, ends, strict=True))[::every]:
        calibrate = max(start // 10, 50)
        if end - start < 20 or start < 2000:
            continue
        later = end - start + calibrate
        options = Options(threads=1, valid_share=later / end, calibrate_share=calibrate / later)
        judged = trained(bank_rows(columns, yes, np.arange(end)), bank_config(types), options)
        p.append(judged.p)
        y.append(judged.y)
        base.append(np.full(len(judged.p), yes[:start].mean()))
    pairs, sizes = zip(p, y, strict=True), [len(month) for month in p]
    within = float(np.average([auc(a, b) or 0.5 for a, b in pairs], weights=sizes))
    answers, labels, rates = np.concatenate(p), np.concatenate(y), np.concatenate(base)
    return {
        "months": len(p), "rows": len(answers), "auc": auc(answers, labels),
        "log_loss": float(log_losses(answers, labels).mean()), "base_log_loss": float(log_losses(rates, labels).mean()),
        "auc_within_months": within,
    }  # fmt: skip


# Open Bandit ----------------------------------------------------------------------------------------------------------


def open_bandit(folder: Path, run: int) -> dict[str, Any]:
    """Five parts in time: the policy is learnt on four and valued on the fifth; pooled."""
    offers, types, columns, click = read_bandit(folder)
    config = made_config(types, offers)
    n, part = len(click), len(click) // 5
    logs, picks = [], []
    for held in range(5)[:run]:
        order = np.roll(np.arange(n), -(held + 1) * part)
        rows = {name: [values[i] for i in order] for name, values in columns.items()}
        rows["at"] = moments(START_MS + np.arange(n) * MINUTE_MS)
        judged = trained(rows, config, Options(threads=1, valid_share=0.3, calibrate_share=1 / 3))
        log = explored_log(judged.assembler, judged.rows, judged.y)
        if log is not None:
            logs.append(log)
            picks.append(best_offers(log, judged.scorer))
    parts = ("offer", "propensity", "reward", "customer", "pairs")
    joined = replace(logs[0], **{name: np.concatenate([getattr(log, name) for log in logs]) for name in parts})
    value = value_of(joined, np.concatenate(picks), 0)
    return {
        "policy": value.mean, "low": value.low, "high": value.high, "effective_rows": value.effective,
        "uniform": float(click.mean()), "bts_on_policy": bts_value(folder),
        "judged": "too few rows agree with the policy" if value.effective < FEWEST_EFFECTIVE else "as it is",
    }  # fmt: skip


def read_bandit(folder: Path) -> tuple[list[dict[str, Any]], dict[str, str], dict[str, list[Any]], np.ndarray]:
    with (folder / "random_all_item_context.csv").open() as opened:
        items = list(csv.DictReader(opened))
    offers = [
        {"id": f"item-{row['item_id']}", "kind": "cross_sell", "title": "item",
         "attributes": {"f0": float(row["item_feature_0"]), **{f"f{k}": row[f"item_feature_{k}"] for k in (1, 2, 3)}}}
        for row in items
    ]  # fmt: skip
    with gzip.open(folder / "random_all.csv.gz", "rt") as opened:
        rows = list(csv.DictReader(opened))
    click = np.array([row["click"] == "1" for row in rows])
    columns: dict[str, list[Any]] = {
        "decision_id": [f"d{i}" for i in range(len(rows))],
        "customer_id": [f"c{i}" for i in range(len(rows))],
        "offer_id": [f"item-{row['item_id']}" for row in rows],
        "propensity": [float(row["propensity_score"]) for row in rows],
        "outcome": ["accepted" if hit else "declined" for hit in click],
        "x.position": [row["position"] for row in rows],
    }
    columns |= {f"x.user_{k}": [row[f"user_feature_{k}"] for row in rows] for k in range(4)}
    types = {"position": "category", **{f"user_{k}": "category" for k in range(4)}}
    return offers, types, columns, click


def bts_value(folder: Path) -> float:
    with gzip.open(folder / "bts_all.csv.gz", "rt") as opened:
        return float(np.mean([row["click"] == "1" for row in csv.DictReader(opened)]))


# Starbucks ------------------------------------------------------------------------------------------------------------

WAVES = (0, 168, 336, 408, 504)  # hours; the one at 576 ends before its offers do
EVENTS = {
    "offer received": "received",
    "offer viewed": "viewed",
    "offer completed": "completed",
    "transaction": "spent",
}


def starbucks_features() -> dict[str, Any]:
    windows = [
        {"name": f"{take}_{of}_{window}", "of": of, "take": take, "window": window}
        for window in ("3d", "7d", "14d", "30d")
        for of, take in (
            ("spent", "sum"),
            ("spent", "count"),
            ("spent", "max"),
            ("viewed", "count"),
            ("completed", "count"),
        )
    ]
    since = [{"name": f"since_{of}", "of": of, "take": "hours_since"} for of in EVENTS.values()]
    trend = [{"name": "trend_spent", "of": "spent", "take": "trend", "window": "7d"}]
    return {"activities": {of: {} for of in EVENTS.values()}, "features": [*windows, *since, *trend]}


def starbucks(folder: Path) -> dict[str, Any]:
    """Trained on the waves up to 336 h, calibrated at 408 h, judged at 504 h."""
    portfolio, profiles = (json_lines(folder / f"{name}.json") for name in ("portfolio", "profile"))
    offers = [
        {"id": o["id"], "kind": "cross_sell", "title": o["offer_type"], "attributes": {
            "type": o["offer_type"], "reward": o["reward"], "difficulty": o["difficulty"], "days": o["duration"],
            **{channel: float(channel in o["channels"]) for channel in ("web", "email", "mobile", "social")}}}
        for o in portfolio
    ]  # fmt: skip
    types = {"gender": "category", "age": "number", "income": "number", "member_days": "number"}
    config = made_config(types, offers, starbucks_features())
    sent = [
        row for row in pq.read_table(folder / "decisions_with_propensity.parquet").to_pylist()
        if row["action"] != "none" and row["time"] in WAVES
    ]  # fmt: skip
    events = pq.read_table(folder / "events.parquet").to_pylist()
    done = completed(sent, events, {o["id"]: o["duration"] * 24 for o in portfolio})
    columns = starbucks_rows(sent, done, {p["id"]: p for p in profiles}, replayed(sent, events, config), config)
    early = np.mean([row["time"] < 408 for row in sent])
    at_408 = np.mean([row["time"] == 408 for row in sent])
    judged = trained(columns, config, Options(threads=1, valid_share=1 - early, calibrate_share=at_408 / (1 - early)))
    log = explored_log(judged.assembler, judged.rows, judged.y)
    if log is None:
        sys.exit("starbucks: the log has no exploration")
    value = value_of(log, best_offers(log, judged.scorer), 0)
    return {
        "rows": len(judged.y), "auc": auc(judged.p, judged.y), "log_loss": judged.report.accept.figures.log_loss,
        "base_log_loss": judged.report.accept.figures.base_log_loss, "policy": value.mean, "low": value.low,
        "high": value.high, "effective_rows": value.effective, "logged": float(log.reward.mean()),
        "passed": not judged.report.stopped_by,
    }  # fmt: skip


def completed(sent: list[dict[str, Any]], events: list[dict[str, Any]], hours: Mapping[str, float]) -> np.ndarray:
    """Whether each sent offer was completed before it ended, (n,)."""
    when: dict[tuple[str, str], list[int]] = {}
    for event in events:
        if event["event"] == "offer completed":
            when.setdefault((event["person"], event["offer_id"]), []).append(event["time"])
    return np.array([
        any(row["time"] <= at <= row["time"] + hours[row["action"]] for at in when.get((row["person"], row["action"]), ()))
        for row in sent
    ])  # fmt: skip


def just_before(row: Mapping[str, Any]) -> int:
    return int(START_MS + row["time"] * HOUR_MS - 1)  # what happens in the hour of sending comes after it


def replayed(sent: list[dict[str, Any]], events: list[dict[str, Any]], config: Config) -> np.ndarray:
    """The features of each sent row, float64 (n, features), as the engine would have served them."""
    table = pa.table({
        "event_id": [f"e{i}" for i in range(len(events))],
        "customer_id": [event["person"] for event in events],
        "at": moments(np.array([START_MS + event["time"] * HOUR_MS for event in events])),
        "channel": ["app"] * len(events),
        "type": [EVENTS[event["event"]] for event in events],
        "value": pa.array([None if e["amount"] is None else round(e["amount"] * 100) for e in events], pa.int64()),
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.parquet"
        pq.write_table(table, file)
        logs = read_logs([file], FeatureSpec(config.features), NOW_MS)
    return replay(logs, [(row["person"], just_before(row)) for row in sent], config.features)


def starbucks_rows(
    sent: list[dict[str, Any]], done: np.ndarray, profiles: Mapping[str, Any], vectors: np.ndarray, config: Config
) -> dict[str, Column]:
    people = [profiles[row["person"]] for row in sent]
    joined = [datetime.strptime(str(p["became_member_on"]), "%Y%m%d").toordinal() for p in people]
    newest = max(joined)
    fixed: dict[str, Column] = {
        "decision_id": [f"d{i}" for i in range(len(sent))],
        "at": moments(np.array([just_before(row) for row in sent])),
        "customer_id": [row["person"] for row in sent],
        "offer_id": [row["action"] for row in sent],
        "propensity": [row["propensity"] for row in sent],
        "outcome": np.where(done, "accepted", "declined"),
        "x.gender": [p["gender"] for p in people],
        "x.age": [None if p["age"] == 118 else p["age"] for p in people],
        "x.income": [p["income"] for p in people],
        "x.member_days": [newest - day for day in joined],
    }
    return fixed | {f"x.{f.name}": vectors[:, i] for i, f in enumerate(config.features.features)}


def json_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


# All ------------------------------------------------------------------------------------------------------------------


def found_in(data: Path, quick: bool) -> Iterator[tuple[str, Any]]:
    bank = data / "bank_marketing"
    if bank.is_dir():
        if not quick:  # one fold would say little of ten
            yield "bank_full_auc_folds", in_folds(bank / "bank-full.csv.gz", 10, 10)
        file = bank / "bank-additional-full.csv.gz"
        yield "bank_additional_shuffled_auc_folds", in_folds(file, 5, 1 if quick else 5, ("duration",))
        yield "bank_additional_each_month", each_month(file, 12 if quick else 1)
    if (data / "open_bandit").is_dir():
        yield "open_bandit", open_bandit(data / "open_bandit", 1 if quick else 5)
    if (data / "starbucks_offers").is_dir():
        yield "starbucks_offers", starbucks(data / "starbucks_offers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer folds and months")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the public data sets")
    given = parser.parse_args()
    found = dict(found_in(given.data, given.quick))
    absent = [n for n in ("bank_marketing", "open_bandit", "starbucks_offers") if not (given.data / n).is_dir()]
    goals: list[dict[str, Any]] = []
    for name, wanted in (("bank_full_auc", ">= 0.937"), ("bank_additional_shuffled_auc", ">= 0.80")):
        if f"{name}_folds" in found:
            goals.append(goal(name, round(float(np.mean(found[f"{name}_folds"])), 4), wanted))
    if "bank_additional_each_month" in found:
        goals.append(
            goal("bank_additional_rolling_auc", round(found["bank_additional_each_month"]["auc"], 4), ">= 0.62")
        )
    if "starbucks_offers" in found:
        gained = found["starbucks_offers"]["low"] - found["starbucks_offers"]["logged"]
        goals.append(goal("starbucks_low_end_over_logged", round(gained, 4), "> 0.0"))
    return keep("quality", goals, as_json=given.json, quick=given.quick, absent=absent, found=found)


if __name__ == "__main__":
    sys.exit(main())
