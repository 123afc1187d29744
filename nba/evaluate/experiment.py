"""Who was in which arm, and whether the assignment can be trusted before anything is compared.

Sample-ratio mismatch: Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments" (KDD 2019). Its
p-value may be looked at every day: Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data" (NeurIPS 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nba.errors import DataError, RefusedError
from nba.stats import chi2_p

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
MOST_IN_TWO_ARMS = 0.01
MISMATCH = 0.001
_CERTAINTY = 100.0
_GROSS = 2.0  # outcomes are lost by a whole arm, not by a hundredth of it


@dataclass(frozen=True, slots=True)
class Assignment:
    """`arms`: names, the control first. `arm` int64 (calls,): place in `arms`; -1: left out, for its unit is in two arms."""

    arms: tuple[str, ...]
    arm: Numbers
    in_two_arms: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """Units by arm against the planned shares. `p`: chi-squared, once; `always_p`: holds at every look."""

    seen: dict[str, int]
    planned: dict[str, float]
    p: float
    always_p: float


def assignment(names: Sequence[str], unit: Numbers, control: str | None, planned: Sequence[str] = ()) -> Assignment:
    """`names` (calls,): arm of each call; `unit` (calls,): what was assigned. `planned`: arms that there have to be.

    Raises DataError for an unknown control and RefusedError: an empty arm, or more than 1 % of the units in two arms.
    """
    arms = sorted({*names, *planned})
    first = control if control is not None else _usual_control(arms)
    if first not in arms:
        raise DataError(f"--control {first}: no such arm: there are {', '.join(arms)}")
    ordered = (first, *(arm for arm in arms if arm != first))
    place = {arm: number for number, arm in enumerate(ordered)}
    arm = np.array([place[name] for name in names], dtype=np.int64)
    empty = [name for name, number in place.items() if not (arm == number).any()]
    if empty or len(ordered) < 2:
        raise RefusedError(
            f"arm {empty[0]!r} is empty: nobody was assigned to it; see its share in policy.yaml and whether it is served"
            if empty
            else f"all calls are in arm {ordered[0]!r}: there is nothing to compare with; start a second arm"
        )
    low, high = np.full(int(unit.max()) + 1, len(ordered)), np.full(int(unit.max()) + 1, -1)
    np.minimum.at(low, unit, arm)
    np.maximum.at(high, unit, arm)
    known = high >= 0
    both = known & (low != high)
    if both.sum() > MOST_IN_TWO_ARMS * known.sum():
        raise RefusedError(
            f"{int(both.sum()):,} of {int(known.sum()):,} units were in two arms: the assignment does not hold; keep seed and "
            "arms unchanged while an experiment runs, or name what is assigned (--unit agent_group)"
        )
    return Assignment(ordered, np.where(both[unit], -1, arm), int(both.sum()))


def _usual_control(arms: Sequence[str]) -> str:
    return next((name for name in ("control", "holdout", "nothing", "random", "off", "old") if name in arms), arms[0])


def ratio(counts: Mapping[str, int], shares: Mapping[str, float] | None, certainty: float = _CERTAINTY) -> Ratio:
    """Units by arm against planned shares (None: equal ones). `certainty`: how near to them a mismatch is thought to be."""
    given = {name: 1.0 if shares is None else float(shares[name]) for name in counts}
    planned = {name: share / sum(given.values()) for name, share in given.items()}
    total = sum(counts.values())
    chi2 = sum((counts[name] - total * planned[name]) ** 2 / (total * planned[name]) for name in counts)
    return Ratio(dict(counts), planned, chi2_p(chi2, len(counts) - 1), _always_p(counts, planned, certainty))


def refuse_mismatch(found: Ratio) -> None:
    """Raises RefusedError when the arms are not as large as planned."""
    if found.always_p < MISMATCH:
        seen = ", ".join(f"{name} {count:,}" for name, count in found.seen.items())
        planned = ", ".join(f"{name} {share:.1%}" for name, share in found.planned.items())
        raise RefusedError(
            f"sample ratio mismatch: units {seen} where {planned} were planned (p {found.always_p:.1g}): some are lost or "
            "doubled in one arm, so the arms are not alike; find where before reading any difference, or give the shares "
            "that were really planned (--shares)"
        )


def refuse_uneven(open_units: Mapping[str, int], units: Mapping[str, int]) -> None:
    """`open_units`: units with a suggestion without any outcome, of all `units` with a suggestion, by arm.

    Raises RefusedError when they do not spread over the arms as the units do: what is left out then differs by arm.
    """
    shares = {name: float(count) for name, count in units.items() if count}
    counts = {name: open_units.get(name, 0) for name in shares}
    if len(counts) < 2 or not sum(counts.values()):
        return
    found = ratio(counts, shares, _GROSS)
    if found.always_p < MISMATCH:
        seen = ", ".join(f"{name} {count / units[name]:.1%}" for name, count in counts.items())
        raise RefusedError(
            f"outcomes are missing in one arm more than in another: units with a suggestion without any outcome: {seen} (p "
            f"{found.always_p:.1g}): what is left out differs, so the arms are not alike; find why and report them (POST "
            "/v1/outcomes), or say that silence means no (--open-means-no)"
        )


def _always_p(counts: Mapping[str, int], planned: Mapping[str, float], certainty: float) -> float:
    """1 / the Bayes factor of a Dirichlet around the planned shares against the planned shares themselves."""
    log_factor = math.lgamma(certainty) - math.lgamma(certainty + sum(counts.values()))
    for name, count in counts.items():
        prior = certainty * planned[name]
        log_factor += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(planned[name])
    return math.exp(-max(log_factor, 0.0))
