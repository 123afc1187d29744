"""Who was in which arm of an experiment, and whether what has no outcome spreads over the arms as the units do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nba.cli.calls import Calls
from nba.config import Config
from nba.errors import InputError, RefusedError
from nba.evaluate.experiment import Ratio, ratio, refuse_mismatch, refuse_uneven
from nba.experiments import HOLDOUT
from nba.rules import Value

Numbers = NDArray[np.int64]
POLICY = "policy"
_CUSTOMER = "customer"


def experiment_arms(calls: Calls, experiment: str) -> tuple[Numbers, list[str]]:
    """Calls of the experiment and their arms. Whoever is not held out is the hold-out's other side."""
    in_it = calls.words["experiment"] == experiment
    if not in_it.any():
        known = sorted({str(name) for name in calls.words["experiment"] if name is not None})
        raise InputError(
            f"no call of experiment {experiment!r} in the log: "
            + (f"there are {', '.join(known)}" if known else "its columns experiment and arm are empty or missing")
        )
    if experiment == HOLDOUT:
        return np.arange(len(calls)), [str(a) if i else POLICY for i, a in zip(in_it, calls.words["arm"], strict=True)]
    inside = np.flatnonzero(in_it & (calls.words["arm"] != None))  # noqa: E711 - element by element
    if not len(inside):
        raise InputError(f"no call of experiment {experiment!r} names its arm: fill the column `arm`, as it was served")
    return inside, [str(name) for name in calls.words["arm"][inside]]


def first_columns(calls: Calls, experiment: str, first: Numbers) -> list[Mapping[str, Value]]:
    """The x columns of each customer's first call in the experiment; `first` (customers,): their first settled calls.

    A call without any outcome is left out, and was a call all the same: what was measured after it is not from before.
    """
    found, at_ms = [calls.x[k] for k in first], calls.at_ms[first]
    place = {str(name): number for number, name in enumerate(calls.words["customer_id"][first])}
    for head in calls.unsettled:
        number = place.get(head["customer_id"])
        if number is not None and head["at_ms"] < at_ms[number] and arm_of(head, experiment) is not None:
            found[number], at_ms[number] = head["x"], head["at_ms"]
    return found


def planned_shares(config: Config, experiment: str) -> dict[str, float] | None:
    """Shares of the arms as policy.yaml plans them; None: it does not know the experiment."""
    policy = config.policy
    if experiment == HOLDOUT:
        held = {
            name: share
            for name, share in (("random", policy.holdout.random), ("nothing", policy.holdout.nothing))
            if share
        }
        return held | {POLICY: 1.0 - sum(held.values())} if held else None
    known = next((e for e in policy.experiments if e.name == experiment), None)
    return None if known is None else {arm.name: arm.share for arm in known.arms}


def checked_ratio(counts: dict[str, int], planned: dict[str, float] | None) -> Ratio | None:
    """Units by arm against the planned shares; None where none are known. Raises InputError and RefusedError (mismatch)."""
    if planned is None:
        return None
    if set(planned) != set(counts):
        raise InputError(f"--shares has to name exactly the arms {', '.join(counts)}")
    found = ratio(counts, planned)
    refuse_mismatch(found)
    return found


def assigned_unit(config: Config, experiment: str) -> str:
    """What the experiment assigns, as policy.yaml says it: customer or agent_group."""
    known = next((e for e in config.policy.experiments if e.name == experiment), None)
    return "agent_group" if known is not None and known.unit == "agent_group" else _CUSTOMER


def unit_word(calls: Calls, unit: str, call: int) -> str:
    """The unit that a call belongs to. Raises InputError: no such unit; RefusedError: the call does not name it."""
    name = _column(unit)
    if name not in calls.words:
        raise InputError(f"--unit {unit}: use customer, agent_id or agent_group")
    word = calls.words[name][call]
    if word is None:
        raise RefusedError(
            f"decision {calls.ids[call]} has no {name}: send `agent` with /v1/recommend, and keep the records"
        )
    return str(word)


def check_outcomes(calls: Calls, experiment: str, unit: str) -> None:
    """Raises RefusedError as refuse_uneven says; only calls in which something was said can lack an outcome."""
    lacking = _assigned(calls.unsettled, experiment, unit)
    everyone = lacking | _assigned(_spoken(calls), experiment, unit)
    refuse_uneven(Counter(arm for arm, _ in lacking), Counter(arm for arm, _ in everyone))


def uneven_outcomes(calls: Calls, config: Config, also: str) -> list[str]:
    """What `check_outcomes` says of every experiment in the log and of `also`, such as the hold-out; empty: nothing."""
    heads = chain(_spoken(calls), calls.unsettled)
    said = []
    for experiment in sorted({str(head["experiment"]) for head in heads if head["experiment"] is not None} | {also}):
        try:
            check_outcomes(calls, experiment, told_unit(calls, config, experiment))
        except RefusedError as error:
            said.append(f"experiment {experiment!r}: {error}")
    return said


def told_unit(calls: Calls, config: Config, experiment: str) -> str:
    """The assigned unit, or the customer where the log does not name it in every call in which something was said."""
    unit = assigned_unit(config, experiment)
    heads = chain(_spoken(calls), calls.unsettled)
    return unit if all(h[_column(unit)] is not None for h in heads if h["experiment"] == experiment) else _CUSTOMER


def _spoken(calls: Calls) -> Iterator[Mapping[str, Any]]:
    """The words of every settled call in which something was said."""
    return ({name: words[k] for name, words in calls.words.items()} for k in np.unique(calls.shown.call))


def _assigned(heads: Iterable[Mapping[str, Any]], experiment: str, unit: str) -> set[tuple[str, str]]:
    """Arm and unit of each head that is in the experiment."""
    found = ((arm_of(head, experiment), head[_column(unit)]) for head in heads)
    return {(arm, str(name)) for arm, name in found if arm is not None and name is not None}


def arm_of(head: Mapping[str, Any], experiment: str) -> str | None:
    """The arm of a call in that experiment; None: it is in none."""
    if head["experiment"] == experiment:
        return None if head["arm"] is None else str(head["arm"])
    return POLICY if experiment == HOLDOUT else None


def _column(unit: str) -> str:
    return "customer_id" if unit == _CUSTOMER else unit
