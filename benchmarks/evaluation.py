"""Are the answers of `nba evaluate` right? Published figures, coverage where the truth is known, and 1,000 experiments in
which nothing differs, looked at every day.

    .venv/bin/python benchmarks/evaluation.py [--quick] [--json] [--open-bandit FOLDER]

Published figures: Open Bandit Pipeline 0.5, quickstart on the small data (random to Bernoulli TS, campaign all): inverse
propensity 0.004553, direct 0.003545, doubly robust 0.004727; on policy 0.0042. `--quick` draws fewer worlds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from results import goal, keep

from nba.errors import RefusedError
from nba.evaluate.ab import Metric, compare
from nba.evaluate.estimators import Logged, all_values, direct, doubly_robust, ips
from nba.evaluate.interval import estimates
from nba.evaluate.ope import answer
from nba.evaluate.open_bandit import Impressions, published_q, question, read_impressions, thompson

PUBLISHED = {"ips": 0.004553, "dm": 0.003545, "dr": 0.004727}
OPEN_BANDIT = Path(__file__).parents[2] / "shared" / "data" / "open_bandit"
HONEST = ("ips", "snips", "dr", "switch-dr")
# P(accept | need, offer), what the log did, what the target does; needs are uniform, so the value is a mean of products.
ACCEPT = np.array([[0.05, 0.1, 0.2, 0.3, 0.1], [0.3, 0.1, 0.05, 0.1, 0.2], [0.1, 0.4, 0.1, 0.05, 0.05]])
LOGGING = np.array([[0.4, 0.3, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.1, 0.2, 0.3, 0.3]])
TARGET = np.array([[0.05, 0.05, 0.2, 0.6, 0.1], [0.7, 0.1, 0.05, 0.05, 0.1], [0.05, 0.8, 0.05, 0.05, 0.05]])
TRUTH = float((TARGET * ACCEPT).sum(axis=1).mean())


def published(folder: Path) -> dict[str, Any]:
    """Our figures for the published question, our own way of answering it, and whether the bts logs are refused."""
    log = read_impressions(folder, "random", "all")
    asked = question(log, thompson(folder, "all"))
    weight = asked.target[np.arange(len(asked.reward)), asked.offer] / asked.propensity
    seen = Logged(weight, asked.reward, *published_q(log, asked))
    figures = {"ips": ips(seen), "dm": direct(seen), "dr": doubly_robust(seen)}
    bts = {campaign: read_impressions(folder, "bts", campaign) for campaign in ("all", "men", "women")}
    return {
        "published": PUBLISHED,
        "ours": {name: float(values.mean()) for name, values in figures.items()},
        "our_way": answer(asked).as_json(),
        "on_policy": float(bts["all"].click.mean()),
        "bts_refused": {campaign: refusal(log) for campaign, log in bts.items()},
    }


def refusal(log: Impressions) -> str | None:
    """What is said of a bts log that is asked for the random policy; None: it was answered."""
    try:
        answer(question(log, np.full((log.items, 3), 1.0 / log.items)))
    except RefusedError as error:
        return str(error)
    return None


def coverage(worlds: int, rows: int = 1000) -> dict[str, Any]:
    """Mean in standard errors from the truth, and how often the 95 % intervals hold it, over many logs of one world."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    held: defaultdict[str, int] = defaultdict(int)
    for seed in range(worlds):
        rng = np.random.default_rng([seed, 17])
        need, customer = rng.integers(0, 3, rows), rng.integers(0, rows // 2, rows)
        offer = (LOGGING[need].cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
        reward = (rng.random(rows) < ACCEPT[need, offer]).astype(float)
        q = 0.7 * ACCEPT + 0.05  # wrong on purpose
        log = Logged(TARGET[need, offer] / LOGGING[need, offer], reward, q[need, offer], (TARGET * q).sum(axis=1)[need])
        for name, e in estimates(all_values(log), customer, seed=seed, draws=400).items():
            found[name].append(e.value)
            held[name] += e.low <= TRUTH <= e.high
        tell("coverage", seed + 1, worlds)
    return {
        name: {
            "bias_in_standard_errors": float((np.mean(found[name]) - TRUTH) / (np.std(found[name]) / worlds**0.5)),
            "coverage": held[name] / worlds,
        }
        for name in found
    }


def same_arms(experiments: int, customers: int = 1500, days: int = 20) -> dict[str, float]:
    """Experiments in which nothing differs, customers who come back, looked at daily: shares that ever were sure."""
    rng, sure, naive, guard = np.random.default_rng(8), 0, 0, 0
    for number in range(experiments):
        arm, rate = rng.integers(0, 2, customers), rng.beta(1.0, 4.0, customers)
        calls, accepted = np.zeros(customers), np.zeros(customers)
        hits = [False, False, False]
        for day in range(days):
            calling = (np.arange(customers) < customers / days * (day + 1)) & (rng.random(customers) < 0.3)
            calls += calling
            accepted += calling & (rng.random(customers) < rate)
            e = compare(Metric("m", accepted, calls, harm=True), arm, ("control", "new"), planned=customers)[0]
            hits = [hits[0] | (e.always_p < 0.05), hits[1] | (e.p < 0.05), hits[2] | e.says.startswith("STOP")]
        sure, naive, guard = sure + hits[0], naive + hits[1], guard + hits[2]
        tell("experiments without a difference", number + 1, experiments)
    return {"sure": sure / experiments, "naive_daily_t_test": naive / experiments, "false_stops": guard / experiments}


def tell(what: str, done: int, of: int) -> None:
    """A progress line on a terminal."""
    if sys.stderr.isatty() and (done % 50 == 0 or done == of):
        print(f"\r{what}: {done} of {of} ", end="\n" if done == of else "", file=sys.stderr, flush=True)


def goals_of(found: dict[str, Any], worlds: dict[str, Any], same: dict[str, float]) -> list[dict[str, Any]]:
    """The goals: published figures to the last digit, broken logs refused, honest estimators, no false alarms."""
    ours = found.get("ours", {})
    off = {name: round(abs(round(ours[name], 6) - PUBLISHED[name]), 6) if ours else None for name in PUBLISHED}
    refused = sum(said is not None for said in found["bts_refused"].values()) if ours else None
    bias = max(abs(worlds[name]["bias_in_standard_errors"]) for name in HONEST)
    covered = [worlds[name]["coverage"] for name in HONEST]
    return [
        *(goal(f"open_bandit_{name}_difference", value, "<= 0.0") for name, value in off.items()),
        goal("bts_logs_refused_of_3", refused, ">= 3"),
        goal("bias_in_standard_errors", round(bias, 3), "<= 3.0"),
        goal("least_coverage_of_95", min(covered), ">= 0.93"),
        goal("most_coverage_of_95", max(covered), "<= 0.97"),
        goal("daily_looks_false_alarms", same["sure"], "<= 0.05"),
    ]


def main() -> int:
    """Run, keep, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer worlds, within 50 seconds")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument(
        "--open-bandit", type=Path, default=OPEN_BANDIT, help="folder with random_all.csv.gz and the rest"
    )
    given = parser.parse_args()
    started = time.perf_counter()
    there = (given.open_bandit / "random_all.csv.gz").is_file()
    found = published(given.open_bandit) if there else {"absent": f"no Open Bandit data in {given.open_bandit}"}
    worlds = coverage(400 if given.quick else 1000)
    same = same_arms(300 if given.quick else 1000)
    return keep(
        "evaluation", goals_of(found, worlds, same), as_json=given.json, quick=given.quick, open_bandit=found, worlds=worlds,
        same_arms=same, seconds=round(time.perf_counter() - started, 1),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
