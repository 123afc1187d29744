"""How often customers leave, read off a log: the rates that `worth.lifetime` of policy.yaml asks for.

    leaving = leave_month * exp(overpaid_month * overpaid) * [bound.times while bound]

Fitted to stretches of customers' time by maximum likelihood: a Poisson regression of "left" with the months of each stretch as
its exposure, which is the piecewise exponential survival model (Holford 1980; Laird and Olivier 1981). Intervals from the
observed information: a customer leaves once, so stretches are independent given the rates.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from nba.errors import RefusedError
from nba.stats import Z95

Array = NDArray[np.float64]
FEWEST = 30  # who left: fewer tell three rates within a factor of two at best
_FEWEST_OF_A_KIND = 5  # who left of those bound, and of those free
_TEN = 10.0  # the unit of money in which the search goes, so that both of its steps are of one size


@dataclass(frozen=True)
class Stretches:
    """n stretches of time in which nothing changed, all (n,): `months` > 0, whether they `left` at its end, and how they stood.

    `bound`: by a contract; `overpaid`: money a month above what suits them.
    """

    months: Array
    left: NDArray[np.bool_]
    bound: NDArray[np.bool_]
    overpaid: Array


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Leaving:
    """What was found. `rates`: by the name that policy.yaml has for them; `notes`: what could not be told, and why."""

    months: float
    left: int
    rates: dict[str, Rate]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def leaving(of: Stretches) -> Leaving:
    """The rates of these stretches. Raises RefusedError: too few left to tell any."""
    left = int(of.left.sum())
    if left < FEWEST:
        few = f"{left} customers left in {of.months.sum():,.0f} months of the log, and it takes {FEWEST}"
        raise RefusedError(f"{few} to tell how often they leave: wait for more, or declare the rates by hand")
    columns, notes = {"leave_month": np.ones(len(of.months))}, []
    if of.overpaid.std() > 0:
        columns["overpaid_month"] = of.overpaid / _TEN
    else:
        notes.append("overpaid_month is not told: everybody overpays the same")
    of_bound, of_free = int((of.left & of.bound).sum()), int((of.left & ~of.bound).sum())
    if min(of_bound, of_free) >= _FEWEST_OF_A_KIND:
        columns["bound.times"] = of.bound.astype(np.float64)
    else:
        notes.append(f"bound.times is not told: {of_bound} left while bound and {of_free} while free to go")
    found, error = _fitted(np.stack(list(columns.values()), axis=1), of.months, of.left.astype(np.float64))
    rates = {name: _rate(name, b, e) for name, b, e in zip(columns, found.tolist(), error.tolist(), strict=True)}
    return Leaving(float(of.months.sum()), left, rates, tuple(notes))


def _fitted(x: Array, months: Array, left: Array) -> tuple[Array, Array]:
    """Coefficients of the log rate and their standard errors, both (k,). The likelihood has one peak."""

    def loss(beta: Array) -> tuple[float, Array]:
        with np.errstate(over="ignore"):  # a step too far is infinitely bad, and taken back
            expected = months * np.exp(x @ beta)
        return float(expected.sum() - left @ (x @ beta)), x.T @ (expected - left)

    start = np.zeros(x.shape[1])
    start[0] = math.log(left.sum() / months.sum())
    found = minimize(loss, start, jac=True, method="BFGS")
    information = x.T @ (x * (months * np.exp(x @ found.x))[:, None])
    return found.x, np.sqrt(np.diag(np.linalg.inv(information)))


def _rate(name: str, beta: float, error: float) -> Rate:
    ends = beta, beta - Z95 * error, beta + Z95 * error
    return Rate(*(end / _TEN for end in ends)) if name == "overpaid_month" else Rate(*map(math.exp, ends))
