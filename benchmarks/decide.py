"""What a decision costs without I/O: funnel, arbitration, sampling and phrase.

    .venv/bin/python benchmarks/decide.py [--quick] [--json]

The shipped telco catalog (24 offers), and the same rules under 300 ids. Each of 200 simulated customers is decided for
again and again; features, costs and savings of every offer are at hand before the clock starts, what these costs take is
reported beside. Answers are checked first: the 300-offer catalog accounts for every offer.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from results import goal, keep

from features.spec import FeatureSpec
from nba.cli.memory import LocalMemory
from nba.config import Config
from nba.decide import Decider, Decision, Priced, Request
from nba.domain import Customer, Scores
from nba.load import find_config, load_config
from nba.simulate import history

T = TypeVar("T")
NOW_MS = 1_795_430_000_000
INTENTS = ("billing", "technical", "plan", "general")


def widened(config: Config, offers: int) -> Config:
    """The same catalog under more ids: each copy keeps its rules and sentences."""
    first = config.catalog.offers
    copies = [
        first[n % len(first)].model_copy(update={"id": f"{first[n % len(first)].id}-{n // len(first)}"})
        for n in range(offers)
    ]
    own = [offer if n >= len(first) else first[n] for n, offer in enumerate(copies)]
    return config.model_copy(update={"catalog": config.catalog.model_copy(update={"offers": tuple(own)})})


def customers(config: Config, count: int) -> list[Customer]:
    """Simulated customers as the store would give them."""
    memory = LocalMemory(FeatureSpec(config.features))
    made = history(config, count, 1, NOW_MS, memory)
    return [memory.read(name, NOW_MS) for name in made.profiles]


def timed(config: Config, people: list[Customer], rounds: int) -> dict[str, float]:
    """Median and 99th percentile in microseconds of the decision, and the median of pricing every offer."""
    decider, draw = Decider(config), np.random.default_rng(0)
    scores = Scores(draw.uniform(0.05, 0.4, len(config.catalog.offers)))
    priced_us, decide_us = [], []
    for turn in range(rounds + 1):
        for number, person in enumerate(people):
            intent = INTENTS[number % len(INTENTS)]
            request = Request(
                person.customer_id, NOW_MS, f"d-{turn}", interaction_id=f"i-{turn}", context={"intent": intent}
            )
            priced, cost = _clock(partial(decider.priced, person, request))
            decision, spent = _clock(partial(_decided, decider, priced, scores))
            if turn == 0:
                accounted = len(decision.withheld) + len(decision.suggestions)
                if accounted != len(config.catalog.offers):
                    raise SystemExit(
                        f"{accounted} of {len(config.catalog.offers)} offers accounted for: not worth timing"
                    )
                continue  # the first round warms up
            priced_us.append(cost)
            decide_us.append(spent)
    return {
        "decide_us_p50": round(statistics.median(decide_us), 1),
        "decide_us_p99": round(float(np.percentile(decide_us, 99)), 1),
        "priced_us_p50": round(statistics.median(priced_us), 1),
    }


def _decided(decider: Decider, priced: Priced, scores: Scores) -> Decision:
    return decider.decide(decider.shortlist(priced), scores)


def _clock(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter_ns()
    result = work()
    return result, (time.perf_counter_ns() - started) / 1000


def main() -> int:
    """Read the arguments, run, say and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    telco = load_config(find_config("telco"))
    people = customers(telco, 200)
    rounds = 5 if arguments.quick else 30
    found = {f"offers_{n}": timed(widened(telco, n), people, rounds) for n in (24, 300)}
    goals = [
        goal("decide_24_offers_us", found["offers_24"]["decide_us_p50"], "<= 100"),
        goal("decide_300_offers_us", found["offers_300"]["decide_us_p50"], "<= 600"),
    ]
    if not arguments.json:
        print(found)
    return keep("decide", goals, as_json=arguments.json, quick=arguments.quick, **found)


if __name__ == "__main__":
    raise SystemExit(main())
