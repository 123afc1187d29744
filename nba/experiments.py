"""Who gets which arm. Assignment is a hash of the unit, so it needs no memory and is the same on every worker.

A hold-out comes first: a fixed share of customers hears a random offer among those that may be said, another share hears
none. Who is not held out is in the first experiment of the policy that draws them. Units are customers or agent groups;
an agent group may change within an interaction (a call is handed over), so its assignment is pinned by whoever serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nba.config import Config, Experiment, Policy
from nba.exploration import uniform

Mode = Literal["policy", "random", "nothing"]
HOLDOUT = "holdout"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The arm of one interaction. `model`: a version other than the champion."""

    experiment: str
    arm: str
    mode: Mode = "policy"
    model: str | None = None


def assign(policy: Policy, customer_id: str, agent_group: str | None) -> Assignment | None:
    """The arm for this customer (or their agent's group); None: in no experiment."""
    held = _held_out(policy, customer_id)
    if held is not None:
        return held
    for experiment in policy.experiments:
        unit = customer_id if experiment.unit == "customer" else agent_group
        if unit is None:
            continue
        found = _arm(experiment, uniform(policy.seed, "experiment", experiment.name, unit))
        if found is not None:
            return found
    return None


def assignment_of(policy: Policy, experiment: str, arm: str) -> Assignment | None:
    """A pinned or journaled arm by its names; None when the policy no longer has it."""
    if experiment == HOLDOUT:
        return Assignment(HOLDOUT, arm, mode="random" if arm == "random" else "nothing")
    for known in policy.experiments:
        for item in known.arms:
            if (known.name, item.name) == (experiment, arm):
                return Assignment(known.name, item.name, model=item.model)
    return None


def arm_configs(config: Config) -> Iterator[tuple[tuple[str, str], Config]]:
    """The config of every arm that changes the policy, by (experiment, arm). Raises pydantic's ValidationError.

    Laid over what the policy says, not over its defaults: those depend on what is said beside them.
    """
    for experiment in config.policy.experiments:
        for arm in experiment.arms:
            if arm.policy:
                changed = merged(config.policy.model_dump(by_alias=True, exclude_unset=True), arm.policy)
                yield (experiment.name, arm.name), config.model_copy(update={"policy": Policy.model_validate(changed)})


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it, mappings merged and everything else replaced."""
    result = dict(base)
    for key, value in change.items():
        inner = result.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        result[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def _held_out(policy: Policy, customer_id: str) -> Assignment | None:
    point = uniform(policy.seed, HOLDOUT, customer_id)
    if point < policy.holdout.random:
        return Assignment(HOLDOUT, "random", mode="random")
    if point < policy.holdout.random + policy.holdout.nothing:
        return Assignment(HOLDOUT, "nothing", mode="nothing")
    return None


def _arm(experiment: Experiment, point: float) -> Assignment | None:
    for arm in experiment.arms:
        point -= arm.share
        if point < 0:
            return Assignment(experiment.name, arm.name, model=arm.model)
    return None
