"""`nba evaluate report` without its printing: calls, outcomes and the model's drivers to one Income."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from models.delayed import Churn
from models.registry import Registry, verified
from nba.cli.arms import (
    POLICY,
    assigned_unit,
    check_outcomes,
    checked_ratio,
    experiment_arms,
    first_columns,
    planned_shares,
    told_unit,
    uneven_outcomes,
)
from nba.cli.calls import Calls, customers_of, leaving
from nba.cli.records import batches
from nba.config import Config
from nba.errors import InputError, ModelError, NotFoundError, RefusedError
from nba.evaluate.ab import Metric, compare
from nba.evaluate.experiment import assignment
from nba.evaluate.income import Income, Kept, line, lines_by
from nba.experiments import HOLDOUT

MOST_REASONS = 20


@dataclass(frozen=True, slots=True)
class Against:
    """The hold-out: an experiment and its control arm; `horizon_ms`: who leaves within it is not kept."""

    experiment: str = HOLDOUT
    control: str | None = None
    horizon_ms: int = 0


def earned(
    calls: Calls, config: Config, against: Against, churn: Churn | None, reasons: list[tuple[str, str, int]], root: Path
) -> Income:
    """Everything on the page. `root`: of the registry, for the drivers of the champion.

    A suggestion that the agent skipped was made to nobody: it is counted in the notes and in no share.
    """
    made, offers = calls.shown.flags["skipped"] == 0.0, config.catalog.offers
    shown = calls.shown.only(made)
    if not len(calls):
        raise RefusedError(
            "no settled decision in the log: let the service answer some calls, or wait for --window-days"
        )
    names = {
        "kind": [offers[k].kind for k in shown.offer],
        "channel": list(calls.words["channel"][shown.call]),
        "agent_group": list(calls.words["agent_group"][shown.call]),
        "offer": [offers[k].id for k in shown.offer],
    }
    known = {group: words for group, words in names.items() if any(word is not None for word in words)}
    customer = np.unique(calls.words["customer_id"].astype(str), return_inverse=True)[1][shown.call]
    everything = np.ones(len(shown.call), dtype=bool)
    skipped = {} if made.all() else {"suggestions that the agent skipped": int((~made).sum())}
    kept, kept_says = _kept(calls, config, against, churn)
    drivers, drivers_of = _drivers(root)
    return Income(
        currency=config.catalog.currency,
        months=config.policy.worth.horizon_months,
        first_ms=int(calls.at_ms.min()),
        last_ms=int(calls.at_ms.max()),
        calls=len(calls),
        silent_calls=len(calls) - len(np.unique(calls.shown.call)),
        customers=len(set(calls.words["customer_id"])),
        total=line("all", "all", shown.flags, shown.margin, shown.saving, customer, everything),
        lines=[
            each
            for group, words in known.items()
            for each in lines_by(group, words, shown.flags, shown.margin, shown.saving, customer)
        ],
        reasons=reasons,
        kept=kept,
        kept_says=kept_says,
        drivers=drivers,
        drivers_of=drivers_of,
        notes=calls.counts | skipped,
        warnings=uneven_outcomes(calls, config, against.experiment),
    )


def read_reasons(decisions: Path, ids: Collection[str]) -> list[tuple[str, str, int]]:
    """Reasons of declines from the outcomes beside the decisions, most frequent first: (offer, reason, times).

    `ids`: of the decisions that count. What was declined in a back-test or outside the window is no line of the page.
    """
    counts: Counter[tuple[str, str]] = Counter()
    wanted, seen = set(ids), set[tuple[str, str]]()
    for path in sorted((decisions.resolve().parent / "outcomes").rglob("*.parquet")) if decisions.is_dir() else []:
        for batch in batches(path, ["outcome_id", "decision_id", "offer_id", "outcome", "reason"], 65_536):
            for row in batch.to_pylist():
                said = row["outcome_id"], row["decision_id"]
                if row["outcome"] == "declined" and row["decision_id"] in wanted and said not in seen:
                    seen.add(said)
                    counts[row["offer_id"], row["reason"] or "no reason given"] += 1
    return [(offer, reason, times) for (offer, reason), times in counts.most_common(MOST_REASONS)]


def _kept(calls: Calls, config: Config, against: Against, churn: Churn | None) -> tuple[Kept | None, str]:
    if churn is None:
        return None, "Not measured: no delayed outcomes (churned, stayed) were reported."
    try:
        inside, names = experiment_arms(calls, against.experiment)
        check_outcomes(calls, against.experiment, told_unit(calls, config, against.experiment))
        customers, code = customers_of(calls, inside)
        found = assignment(names, code, against.control)
        arm = np.full(len(customers), -1)
        arm[code] = found.arm
        _check_assigned(config, against.experiment, {name: int((arm == k).sum()) for k, name in enumerate(found.arms)})
    except (InputError, RefusedError) as error:
        return None, f"Not measured: {error}"
    left, known = leaving(calls.at_ms[inside], churn, customers, code, against.horizon_ms)
    first = inside[np.unique(code, return_index=True)[1]]  # calls stand in order of time
    margin = _own_margin(calls, config, against.experiment, first)
    value = (1.0 - left) * margin * config.policy.worth.horizon_months
    effects = [
        compare(Metric(name, over * known, known, harm=harm), arm, found.arms)
        for name, over, harm in (("kept", value, False), ("left", left, True))
    ]
    kept, gone = (next((e for e in side if e.arm == POLICY), side[0]) for side in effects)
    if not np.isfinite(kept.low):
        return None, "Not measured: too few customers whose horizon is over in the hold-out."
    treated = int(((arm == found.arms.index(kept.arm)) & (known > 0)).sum())
    total = Kept(found.arms[0], kept, gone, treated, kept.difference * treated, kept.low * treated, kept.high * treated)
    unsure = "The interval holds 0: nothing is shown." if kept.low <= 0 <= kept.high else ""
    return total, unsure


def _check_assigned(config: Config, experiment: str, customers: dict[str, int]) -> None:
    """Raises RefusedError: groups were assigned, so customers are no units; or the arms are not as large as planned."""
    if assigned_unit(config, experiment) != "customer":
        raise RefusedError(
            f"{experiment!r} assigns agent groups, so its customers are not independent: see `nba evaluate ab`"
        )
    planned = planned_shares(config, experiment)
    checked_ratio(customers, planned if planned is not None and set(planned) == set(customers) else None)


def _own_margin(calls: Calls, config: Config, experiment: str, first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Margin a month of the plan that each customer had at the first call; 0 where it is not in the catalog."""
    margins = {offer.id: offer.margin_month for offer in config.catalog.offers}
    return np.array([margins.get(str(x.get("plan")), 0.0) for x in first_columns(calls, experiment, first)])


def _drivers(root: Path) -> tuple[list[str], str]:
    registry = Registry(root)
    try:
        version = registry.champion()
        if version is None:
            return [], "No promoted model, so no drivers."
        known = orjson.loads(verified(registry.path(version))["metrics.json"])
        verb = "staying" if known.get("stay") else "accepting"
        return [driver["says"] for driver in known["drivers"]], f"Drivers of {verb}, from model {version}."
    except (KeyError, ModelError, NotFoundError, OSError) as error:
        return [], f"The promoted model has no report to read drivers from ({error})."
