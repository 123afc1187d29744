"""All contenders in the same world, one after the other: same customers, same luck, a fresh memory and a fresh teacher each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from nba.config import Config
from nba.decide import Decider
from nba.errors import InputError
from nba.simulate.calls import Memory
from nba.simulate.history import PLAIN
from nba.simulate.policies import (
    Engine,
    HighestAcceptance,
    HighestMargin,
    HighestMarginUnruled,
    Nothing,
    Oracle,
    Policy,
    RandomEligible,
    RandomPassed,
    Teacher,
)
from nba.simulate.population import World
from nba.simulate.value import market_of
from nba.simulate.world import Result, run
from nba.stats import Z95

RANDOM, RANDOM_PASSED = "random", "random-passed"
CONTENDERS = ("nothing", RANDOM, RANDOM_PASSED, "margin", "margin-unruled", "acceptance", "engine", "oracle")
LEARNERS = ("acceptance", "engine")
_NO_OTHERS: Mapping[str, Callable[[], Policy]] = MappingProxyType({})


def contest(
    config: Config,
    new_memory: Callable[[], Memory],
    new_teacher: Callable[[str], Teacher],
    *,
    customers: int,
    seed: int,
    start_ms: int,
    contenders: Sequence[str] = CONTENDERS,
    days: int = 365,
    rounds: int = 6,
    world: World = PLAIN,
    learn_from: int | None = None,
    others: Mapping[str, Callable[[], Policy]] = _NO_OTHERS,
    progress: Callable[[str, int], None] = lambda name, done: None,
) -> Iterator[tuple[str, Result]]:
    """One result after the other. `new_teacher` is given the contender's name; `progress` that and the customer-rounds done.

    `learn_from`: a second seed. Who learns then first lives a year with that many other customers and learns from it
    `rounds` - 1 times; what counts is the year after, with what was learnt and without learning more. `others`: more
    contenders by name; they learn. Raises InputError for a contender that is nowhere.
    """
    for name in contenders:
        policy = others[name]() if name in others else _policy(name, config, new_teacher, world)

        def year(seed: int, rounds: int, name: str = name, policy: Policy = policy) -> Result:
            return run(
                config, policy, new_memory(), customers=customers, seed=seed, start_ms=start_ms, days=days, rounds=rounds,
                world=world, progress=lambda done: progress(name, done),
            )  # fmt: skip

        learns = name in LEARNERS or name in others
        learning = year(learn_from, rounds) if learns and learn_from is not None else None
        yield name, replace(year(seed, rounds if learn_from is None else 1), learning=learning)


def share_of_oracle(results: Mapping[str, Result], name: str = "engine", base: str = RANDOM) -> float | None:
    """How much of what the oracle earns above `base` this contender earns; None when the oracle is not above it.

    `base`: random among the eligible; or random among what passed the whole funnel, which leaves out what its rules earn.
    """
    random, oracle = results[base].value, results["oracle"].value
    return (results[name].value - random) / (oracle - random) if oracle > random else None


def interval_of_share(
    results: Mapping[str, Result], name: str = "engine", base: str = RANDOM, *, seed: int = 0, draws: int = 2000
) -> tuple[float, float] | None:
    """95 % interval of `share_of_oracle` over the customers drawn anew, each with their value under all three policies.

    None where the oracle's lead over `base` is not sure to be above 0: a share of nothing has no interval.
    """
    random, oracle, found = (np.array(results[key].by_customer) for key in (base, "oracle", name))
    weights = np.random.default_rng(seed).multinomial(len(random), np.full(len(random), 1 / len(random)), draws)
    lead = weights @ (oracle - random)
    if np.quantile(lead, 0.025) <= 0:
        return None
    low, high = np.quantile(weights @ (found - random) / lead, [0.025, 0.975])
    return float(low), float(high)


def lead_of(results: Mapping[str, Result], name: str, over: str) -> tuple[float, float, float]:
    """What a customer is worth more under `name` than under `over`, and its 95 % interval: the same customers, paired.

    Needs two of them. By the central limit theorem: there are thousands, and what cancels in a pair is its own luck.
    """
    gap = np.array(results[name].by_customer) - np.array(results[over].by_customer)
    half = Z95 * float(gap.std(ddof=1)) / math.sqrt(len(gap))
    return float(gap.mean()), float(gap.mean()) - half, float(gap.mean()) + half


def _policy(name: str, config: Config, new_teacher: Callable[[str], Teacher], world: World) -> Policy:
    plain: dict[str, type[Nothing | RandomEligible | RandomPassed | HighestMargin]] = {
        "nothing": Nothing, RANDOM: RandomEligible, RANDOM_PASSED: RandomPassed, "margin": HighestMargin,
        "margin-unruled": HighestMarginUnruled,
    }  # fmt: skip
    if name in plain:
        return plain[name]()
    if name == "acceptance":
        return HighestAcceptance(new_teacher(name), Decider(config))
    if name == "engine":
        return Engine(Decider(config), new_teacher(name))
    if name == "oracle":
        return Oracle(market_of(config.catalog), world)
    raise InputError(f"{name!r} is no contender: choose from {', '.join(CONTENDERS)}")
