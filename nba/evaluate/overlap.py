"""Whether a log can carry the question: how many of its rows speak for the target, and whether its propensities can be right.

Effective rows: Kish (1965), (sum w)^2 / sum w^2. Where the log could have said all that the target says and its
propensities are right, E[w 1(a = b)] = E[pi(b | x)] for every offer b, so E[w] is the share of calls in which the target
says anything: what is off by more than noise is named. Clipping on request is the only way past a tail of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nba.errors import RefusedError

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Worst = tuple[str, float, float, float]
FEWEST_EFFECTIVE = 100.0
# Customers are drawn for the intervals: of one customer they have no width, of two a third misses.
FEWEST_CUSTOMERS = 10
HEAVY_TAIL, FEWEST_WITH_TAIL = 0.05, 1_000.0
HEAVIEST_ROW = 0.05
MISSING_MASS, WARN_MASS = 0.10, 0.02
NEVER_TRIED = (
    "every propensity is 1, so the log never tried anything else: set exploration.gamma in policy.yaml and log for some "
    "weeks, or compare in an experiment (`nba evaluate ab`)"
)
_LOG_THE_TRUTH = "log the probability with which the offer really came first"
SURE, SURE_OF_ONE = 3.0, 4.5  # standard errors: one question; one of many offers


@dataclass(frozen=True, slots=True)
class Overlap:
    """`effective`: rows; `mean_weight`: mean weight by what it has to be, to be 1, with standard error (by customer);
    `heaviest`: the largest weight and its share of all weight; `tail`: share that the heaviest rows carry, as many as 1 % of
    the effective ones (1 % where all weights are alike, whatever part of the log they are);
    `unused`: share of rows with weight 0; `worst_offer`: of the offers that the log claims too often, the one that is
    furthest off: (offer, log's share of weight, target's share, standard errors between them).
    """

    rows: int
    effective: float
    mean_weight: float
    mean_weight_error: float
    heaviest: float
    heaviest_share: float
    tail: float
    unused: float
    explored: bool
    customers: int
    worst_offer: Worst | None = None


def overlap(
    weight: Array, full: Array, propensity: Array, mass: Array, customer: Numbers, worst: Worst | None = None
) -> Overlap:
    """The figures of n rows. `full`: the weights before clipping; `mass` (n,): P(the target says anything)."""
    total = max(float(weight.sum()), 1e-300)
    share = max(float(mass.mean()), 1e-12)
    gap, error = clustered(full - mass, customer)
    effective = total**2 / max(float((weight**2).sum()), 1e-300)
    most = max(1, round(effective / 100.0))
    return Overlap(
        rows=len(weight),
        effective=effective,
        mean_weight=1.0 + gap / share,
        mean_weight_error=error / share,
        heaviest=float(weight.max()),
        heaviest_share=float(weight.max()) / total,
        tail=float(np.partition(weight, -most)[-most:].sum()) / total,
        unused=float((weight == 0.0).mean()),
        explored=bool((propensity < 0.999).any()),
        customers=len(np.unique(customer)),
        worst_offer=worst,
    )


def worst_offer(offer: Numbers, weight: Array, target: Array, customer: Numbers, names: list[str]) -> Worst | None:
    """The offer whose weight in the log is furthest, in standard errors, above what the target gives it.

    `offer` (n,): place of the logged offer in `names`; `target` (n, offers): the target's probabilities.
    """
    found = None
    for place, name in enumerate(names):
        seen, wanted = np.where(offer == place, weight, 0.0), target[:, place]
        gap, error = clustered(seen - wanted, customer)
        z = gap / error if error > 0 else 0.0
        if found is None or z > found[3]:
            found = name, float(seen.mean()), float(wanted.mean()), z
    return found


def clustered(values: Array, customer: Numbers) -> tuple[float, float]:
    """Mean of rows (n,) and its standard error when the rows of a customer belong together (Liang and Zeger 1986)."""
    _, group = np.unique(customer, return_inverse=True)
    mean = float(values.mean())
    pull = np.bincount(group, weights=values - mean)
    groups = len(pull)
    inflate = groups / max(groups - 1, 1)
    return mean, math.sqrt(inflate * float(pull @ pull)) / len(values)


def refusals(found: Overlap, *, clipped: bool = False, silent: str = "", lost: str = "") -> list[str]:
    """Why the log cannot answer, each with the cure; empty when it can. `clipped`: the user asked for clipped weights.

    `silent`: in how many cases the policy says nothing, and how to mend it, where that is why few rows speak for it. `lost`:
    whose outcomes are missing, and how to mend it, where that is why the weights do not add up.
    """
    if not found.explored:
        return [NEVER_TRIED]
    if found.customers < FEWEST_CUSTOMERS:
        few = f"its {found.rows:,} rows are of {found.customers} customers, fewer than {FEWEST_CUSTOMERS}"
        return [
            f"{few}, so nothing tells how another one would have answered: log each customer's own customer_id, or more customers"
        ]
    said = _propensity_refusals(found)
    if said and lost:
        said = [f"the mean weight is {found.mean_weight:.3f} and has to be 1: {lost}"]
    if found.effective < FEWEST_EFFECTIVE:
        said.append(
            f"{found.effective:.0f} effective rows of {found.rows:,} speak for this policy, fewer than "
            f"{FEWEST_EFFECTIVE:.0f}: "
            + (silent or "log more calls, explore more (a smaller exploration.gamma), or compare in an experiment")
        )
    if clipped:
        return said
    if found.heaviest_share > HEAVIEST_ROW:
        said.append(
            f"one row carries {found.heaviest_share:.0%} of all weight (weight {found.heaviest:,.0f}): explore more, or ask "
            "for clipped weights (--clip 20) and read the answer as a lower bound"
        )
    if found.tail > HEAVY_TAIL and found.effective < FEWEST_WITH_TAIL:
        said.append(
            f"a few heavy rows carry too much: as many as 1 % of the {found.effective:.0f} effective ones carry {found.tail:.1%} "
            "of all weight: log more calls, explore more, or ask for clipped weights (--clip 20)"
        )
    return said


def _propensity_refusals(found: Overlap) -> list[str]:
    said = []
    missing = 1.0 - found.mean_weight
    sure = abs(missing) > SURE * found.mean_weight_error
    if sure and missing > MISSING_MASS:
        said.append(
            f"about {missing:.0%} of what this policy says was never tried in the log (mean weight {found.mean_weight:.3f}, "
            "to be 1), or its propensities are too large: let exploration reach those offers (exploration.off_for, gamma), or "
            "compare in an experiment"
        )
    if sure and missing < -MISSING_MASS / 2:
        said.append(
            f"the propensities cannot be right: the mean weight is {found.mean_weight:.3f} and has to be 1"
            f"{_most_of_all(found)}: {_LOG_THE_TRUTH}"
        )
    return said or _offer_refusals(found)


def _most_of_all(found: Overlap) -> str:
    return "".join(f", most of all because of {name!r}, {much}" for name, much in _overweight(found))


def _offer_refusals(found: Overlap) -> list[str]:
    return [
        f"the propensities of {name!r} cannot be right, {much}: {_LOG_THE_TRUTH}" for name, much in _overweight(found)
    ]


def _overweight(found: Overlap) -> list[tuple[str, str]]:
    """The one offer whose weight is surely too large, and how much, in words; empty where none is."""
    if found.worst_offer is None:
        return []
    name, seen, wanted, z = found.worst_offer
    much = f"which makes up {seen:.1%} of the calls as they weight it, while this policy says it in {wanted:.1%}"
    return [(name, much)] if z > SURE_OF_ONE and seen - wanted > MISSING_MASS / 2 else []


def warnings_of(found: Overlap, clip: float | None, clipped_rows: int, lost: float) -> list[str]:
    """What a reader has to know although there is an answer."""
    said = []
    missing = 1.0 - found.mean_weight
    if clip is not None:
        said.append(
            f"weights above {clip:g} were clipped ({clipped_rows:,} rows, {lost:.1%} of all weight): ips and snips lean towards "
            "too little, dr and switch-dr towards the reward model; with rewards of 0 and more ips is a lower bound"
        )
    elif missing > WARN_MASS and missing > SURE * found.mean_weight_error:
        said.append(
            f"about {missing:.0%} of what this policy says was never tried in the log: there the reward model speaks alone"
        )
    return said


def refuse(said: list[str]) -> None:
    """Raises RefusedError with every reason."""
    if said:
        raise RefusedError("this log cannot answer for that policy: " + "; ".join(said))
