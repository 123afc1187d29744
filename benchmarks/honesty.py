"""Is anything false ever said, any rule broken, anybody sold a plan when a covering one is cheaper?

    .venv/bin/python benchmarks/honesty.py [--quick] [--json] [--data FOLDER]

Simulated telco customers, each called once, with scores drawn at random (so that no ranking hides a defect), and every
customer-month of Megaline. `nba.audit` checks the rules, `nba.verify` recomputes each claim from the raw events.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from megaline import DATA, true_months
from megaline_convert import convert
from results import goal, keep

from features.spec import FeatureSpec
from nba.audit import violations
from nba.cli.memory import LocalMemory
from nba.clock import system_now_ms
from nba.config import Config
from nba.decide import Case, Decider, Decision, Request
from nba.domain import Activity, Scores
from nba.load import find_config, load_config
from nba.simulate import history
from nba.verify import Claim, Verifier

INTENTS = ("billing", "technical", "plan", "cancel", "general", "complaint", "usage", "travel", "outage")


@dataclass
class Tally:
    """What was found over some decisions."""

    decisions: int = 0
    sentences: int = 0
    false_sentences: int = 0
    rule_violations: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, decision: Decision, broken: list[str], false: list[str]) -> None:
        """Count one decision, its broken rules and its false sentences."""
        self.decisions += 1
        self.sentences += len(decision.suggestions)
        self.false_sentences += len(false)
        self.rule_violations.update(problem.partition(":")[0] for problem in broken)
        self.kinds[decision.suggestions[0].kind if decision.suggestions else "nothing"] += 1
        self.examples += [*broken, *false][: 10 - len(self.examples)]

    def as_json(self) -> dict[str, object]:
        """Counts, and the share of decisions by the kind that was said first."""
        shares = {kind: round(count / max(self.decisions, 1), 4) for kind, count in self.kinds.most_common()}
        return {
            "decisions": self.decisions, "sentences": self.sentences, "false_sentences": self.false_sentences,
            "rule_violations": dict(self.rule_violations), "first_by_kind": shares, "examples": self.examples,
        }  # fmt: skip


def judge(config: Config, asked: Iterator[tuple[Case, Decision, list[Activity]]]) -> Tally:
    """Hold every decision against its events."""
    verifier, decider, tally = Verifier(config), Decider(config), Tally()
    for case, decision, events in asked:
        claims = [
            Claim(s.offer_id, s.say, {r.feature: r.value for r in s.because}, s.saving_month)
            for s in decision.suggestions
        ]
        context = case.request.context or {}
        false = verifier.problems(claims, events, case.customer, context, case.request.now_ms) if claims else []
        tally.add(decision, violations(config, decider.rules, case, decision), false)
        if sys.stderr.isatty() and tally.decisions % 200 == 0:
            print(f"\r{tally.decisions} decisions", end="", file=sys.stderr)
    return tally


def simulated(config: Config, customers: int, seed: int) -> Iterator[tuple[Case, Decision, list[Activity]]]:
    """Customers who lived and called before, each asked once now, in turn in every language and with every intent."""
    memory, now_ms = LocalMemory(FeatureSpec(config.features)), system_now_ms()
    made = history(config, customers, seed, now_ms, memory)
    events = defaultdict(list)
    for event in made.activity:
        events[event.customer_id].append(event)
    decider, draw = Decider(config), np.random.default_rng(seed)
    locales = config.policy.locales
    for number, name in enumerate(made.profiles):
        request = Request(
            name, now_ms, f"d-{number}", interaction_id=f"i-{number}", limit=5, locale=locales[number % len(locales)],
            context={"intent": INTENTS[number % len(INTENTS)], "sentiment": float(draw.uniform(-1, 1))},
        )  # fmt: skip
        case = decider.case(memory.read(name, now_ms), request)
        yield case, decider.decide(case, Scores(draw.uniform(0, 1, len(case.candidates)))), events[name]


def megaline(config: Config, source: Path, every: int) -> Iterator[tuple[Case, Decision, list[Activity]]]:
    """Every `every`-th customer-month with use, asked at the first instant of the next month."""
    memory, decider = LocalMemory(FeatureSpec(config.features)), Decider(config)
    with tempfile.TemporaryDirectory() as folder:
        convert(source, Path(folder))
        activity = pd.read_parquet(Path(folder) / "activity.parquet")
        people = pd.read_parquet(Path(folder) / "customers.parquet").set_index("customer_id")
    events = {
        name: [_event(row) for row in rows.itertuples(index=False)] for name, rows in activity.groupby("customer_id")
    }
    for name, done in events.items():
        memory.append(name, done)
    for row in list(true_months(source).itertuples(index=False))[::every]:
        now_ms = int((row.month + 1).start_time.timestamp() * 1000)
        memory.put_profile(row.user_id, people.loc[row.user_id].dropna().to_dict(), now_ms)
        request = Request(
            row.user_id, now_ms, f"{row.user_id}-{row.month}", interaction_id=f"{row.user_id}-{row.month}"
        )
        case = decider.case(memory.read(row.user_id, now_ms), request)
        yield case, decider.decide(case, None), events[row.user_id]


def _event(row: object) -> Activity:
    value = None if pd.isna(row.value) else int(row.value)
    return Activity(row.event_id, row.customer_id, int(row.at.timestamp() * 1000), row.channel, row.type, value)


def main() -> int:
    """Read the arguments, run, say and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="700 simulated customers, every fifth Megaline month")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the Megaline files")
    arguments = parser.parse_args()
    telco, priced = (load_config(find_config(name)) for name in ("telco", "megaline"))
    tallies = {"simulated": judge(telco, simulated(telco, 700 if arguments.quick else 10_000, seed=3))}
    if (arguments.data / "megaline_users.csv").is_file():
        tallies["megaline"] = judge(priced, megaline(priced, arguments.data, 5 if arguments.quick else 1))
    found = {name: tally.as_json() for name, tally in tallies.items()}
    broken = [problem for tally in tallies.values() for problem in tally.rule_violations.elements()]
    goals = [
        goal("false_sentences", sum(tally.false_sentences for tally in tallies.values()), "<= 0"),
        goal("rule_violations", len(broken), "<= 0"),
        goal("dominated_wins", broken.count("dominated"), "<= 0"),
    ]
    if not arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return keep("honesty", goals, as_json=arguments.json, quick=arguments.quick, **found)


if __name__ == "__main__":
    raise SystemExit(main())
