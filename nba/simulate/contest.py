"""All contenders in the same world, one after the other: same customers, same luck, a fresh memory and a fresh teacher each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

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
    Teacher,
)
from nba.simulate.population import World
from nba.simulate.value import market_of
from nba.simulate.world import Result, run

CONTENDERS = ("nothing", "random", "margin", "margin-unruled", "acceptance", "engine", "oracle")


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
    progress: Callable[[str, int], None] = lambda name, done: None,
) -> Iterator[tuple[str, Result]]:
    """One result after the other. `new_teacher` is given the contender's name; `progress` that and the customer-rounds done.

    Raises InputError for a contender that is not one of CONTENDERS.
    """
    for name in contenders:
        policy = _policy(name, config, new_teacher, world)
        yield (
            name,
            run(
                config, policy, new_memory(), customers=customers, seed=seed, start_ms=start_ms, days=days, rounds=rounds,
                world=world, progress=lambda done, name=name: progress(name, done),  # type: ignore[misc]
            ),
        )  # fmt: skip


def share_of_oracle(results: dict[str, Result], name: str = "engine") -> float | None:
    """How much of what the oracle earns above random this contender earns; None when the oracle is not above random."""
    random, oracle = results["random"].value, results["oracle"].value
    return (results[name].value - random) / (oracle - random) if oracle > random else None


def _policy(name: str, config: Config, new_teacher: Callable[[str], Teacher], world: World) -> Policy:
    plain: dict[str, type[Nothing | RandomEligible | HighestMargin]] = {
        "nothing": Nothing, "random": RandomEligible, "margin": HighestMargin, "margin-unruled": HighestMarginUnruled,
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
