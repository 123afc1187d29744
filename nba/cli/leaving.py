"""`nba evaluate leaving` without its printing: logged decisions and who left to stretches of customers' time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset import Decisions, read_decisions, repeated_rows
from models.delayed import Churn, next_churn
from nba.cli.calls import read_churn
from nba.cli.cases import Cases
from nba.cli.learn import decision_rows
from nba.clock import DAY_MS
from nba.config import Config, Lifetime
from nba.domain import OUTCOMES
from nba.errors import RefusedError
from nba.evaluate.leaving import Stretches
from nba.lifetime import DAYS_A_MONTH, Lifetimes
from nba.settings import Settings

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
_ACCEPTED = OUTCOMES.index("accepted")
_ANY = Lifetime(leave_month=0.02)  # where a policy has no lifetime yet; only what it calls bound and a change is asked


def read_stretches(
    settings: Settings, path: Path, config: Config, delayed: Path | None, now_ms: int, tell: Callable[[float], None]
) -> Stretches:
    """From each call to the customer's next one, to their leaving, or to the end of what is known; cut where a contract ends.

    How they stood is as the engine saw it in the call, changed by what they accepted in it as the policy says. Callers whose plan
    is not in the catalog are left out: what they overpay is not known.
    Raises DataError, InputError and RefusedError: rows that are wrong, or of which none is left.
    """
    decisions = read_decisions(decision_rows(settings, path), config.catalog, now_ms)
    churn = read_churn(path, delayed, now_ms)
    if churn is None:
        raise RefusedError(
            "nobody was reported as churned or stayed: report them (POST /v1/outcomes), or give --delayed"
        )
    calls = np.flatnonzero((decisions.rank == 1) & ~decisions.backtest & ~repeated_rows(decisions))
    calls = calls[decisions.at_ms[calls] < churn.known_until_ms]
    if not len(calls):
        raise RefusedError(
            "no call lies before the last delayed outcome: report churned and stayed (POST /v1/outcomes)"
        )
    rates = config.policy.worth.lifetime or _ANY
    cure = "declare `plan: category` in the profile, with an offer's id as its value, and write x.plan"
    overpaid, days = _standing(settings, path, config, rates, decisions, calls, tell)
    if np.isnan(overpaid).all():
        raise RefusedError(
            f"nobody in the log is on a plan of the catalog, so nothing is known of what they pay: {cure}"
        )
    start, end, left = _spans(decisions, calls, churn)
    free_ms = start + (np.nan_to_num(days) - rates.bound.until_days) * DAY_MS
    middle = np.clip(free_ms, start, end)
    month_ms = DAYS_A_MONTH * DAY_MS
    spans = np.concatenate([middle - start, end - middle]) / month_ms
    first = left & (free_ms >= end)  # they left while they were bound
    some = (spans > 0) & ~np.isnan(np.tile(overpaid, 2))
    return Stretches(
        months=spans[some],
        left=np.concatenate([first, left & ~first])[some],
        bound=np.repeat([True, False], len(calls))[some],
        overpaid=np.tile(np.minimum(overpaid, rates.overpaid_at_most), 2)[some],
    )


def _spans(decisions: Decisions, calls: Numbers, churn: Churn) -> tuple[Array, Array, NDArray[np.bool_]]:
    """When each stretch begins and ends, in milliseconds, and whether the customer left at its end."""
    customer, at_ms = decisions.customer[calls], decisions.at_ms[calls]
    order = np.lexsort((at_ms, customer))
    following = np.full(len(calls), np.iinfo(np.int64).max)
    same = customer[order][1:] == customer[order][:-1]
    following[order[:-1][same]] = at_ms[order[1:][same]]
    gone_ms = next_churn(decisions, churn)[calls]
    end = np.minimum(np.minimum(following, gone_ms), churn.known_until_ms)
    return at_ms.astype(np.float64), end.astype(np.float64), (gone_ms == end) & (gone_ms < following)


def _standing(
    settings: Settings,
    path: Path,
    config: Config,
    rates: Lifetime,
    decisions: Decisions,
    calls: Numbers,
    tell: Callable[[float], None],
) -> tuple[Array, Array]:
    """What each caller overpays a month and for how many days they are bound, after what they accepted in the call."""
    lifetimes, cases = Lifetimes(rates), Cases(config)
    accepted: dict[int, list[int]] = {}
    for row in np.flatnonzero(decisions.outcome == _ACCEPTED).tolist():
        accepted.setdefault(int(decisions.decision[row]), []).append(int(decisions.offer[row]))
    place = {row: k for k, row in enumerate(calls.tolist())}
    found = np.full((2, len(calls)), np.nan)
    for done, (row, case, _) in enumerate(cases.replayed(settings, path, decisions, calls), start=1):
        standing = lifetimes.standing(case.candidates, case.sayable, case.own, case.columns)
        for offer in accepted.get(int(decisions.decision[row]), ()):
            overpaid, days = lifetimes.after(case.candidates[offer], standing)
            standing = standing._replace(overpaid=overpaid, contract_days=days)
        if case.own is not None:
            found[:, place[row]] = standing.overpaid, standing.contract_days
        tell(done / len(calls))
    return found[0], found[1]
