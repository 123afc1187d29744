"""One line of the decision log: what was asked, known, scored and answered; and the way back from it.

The columns of the vector stand under `x` as they were served, so the features need no place of their own: they are
columns. JSON has no NaN: it is written as null and read back as NaN where a number belongs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from nba.answer import THREAD_SHOWN
from nba.config import Config
from nba.decide import Case, Decision, Request
from nba.domain import Contact, Customer, OpenIssue, Scores, StatedIntent, ThreadEntry
from nba.past import Past

_CUSTOMER_MOMENTS = (
    "profile_at_ms",
    "closed_ms",
    "closed_in",
    "bad_experience_ms",
    "bad_experience_in",
    "activity_at_ms",
)


def column_types(config: Config) -> orjson.Fragment:
    """The columns that are not numbers, by name, ready to be written into every record."""
    return orjson.Fragment(orjson.dumps({c.name: c.dtype for c in config.features.columns if c.dtype != "number"}))


def to_line(
    case: Case,
    decision: Decision,
    scores: Scores | None,
    answer: bytes,
    *,
    types: orjson.Fragment,
    missing: Sequence[str],
    versions: Mapping[str, str | None],
    backtest: bool,
    explain: bool,
    made_ms: int,
) -> bytes:
    """The record of a decision as one JSON line. `missing`: what serving itself had to do without; `answer`: as sent."""
    customer = case.customer
    record = {
        "decision_id": case.request.decision_id,
        "customer_id": case.request.customer_id,
        "at_ms": case.request.now_ms,
        "made_ms": made_ms,
        "backtest": backtest,
        "explain": explain,
        "request": case.request,
        "customer": {
            "profile": customer.profile,
            "contacts": customer.contacts,
            "thread": customer.thread[-THREAD_SHOWN:],  # what an answer can show
            "open_issues": customer.open_issues,
            "intents": [said for said in customer.intents if said.interaction_id == case.request.interaction_id],
            "degraded": customer.degraded,
            **{name: getattr(customer, name) for name in _CUSTOMER_MOMENTS},
        },
        "x": case.columns,
        "types": types,
        "missing": missing,
        "scores": scores,
        "shown": [
            {
                "offer_id": s.offer_id,
                "cost_month": s.cost_month,
                "saving_month": s.saving_month,
                "margin_delta_month": s.margin_delta_month,
                "covers": s.covers,
                "accepted_before": s.past.accepted_before,
                "declined_before": s.past.declined_before,
                "heard_30d": s.past.heard_30d,
            }
            for s in decision.suggestions
        ],
        "withheld": [(w.offer_id, w.stage, w.rule) for w in decision.withheld],
        **versions,
        "answer": orjson.Fragment(answer),
    }
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def request_of(record: Mapping[str, Any]) -> Request:
    """The request of a record."""
    return Request(**record["request"])


def customer_of(record: Mapping[str, Any], config: Config) -> Customer:
    """The customer as the store gave it for this decision; `config`: the one that the decision was made with."""
    known, x = record["customer"], record["x"]
    unread = "features" in known["degraded"]
    return Customer(
        customer_id=record["customer_id"],
        features={} if unread else {f.name: _number(x[f.name]) for f in config.features.features},
        profile=known["profile"],
        contacts=tuple(Contact(**contact) for contact in known["contacts"]),
        thread=tuple(ThreadEntry(**entry) for entry in known["thread"]),
        open_issues=tuple(OpenIssue(**issue) for issue in known["open_issues"]),
        # Records that are older than the memory for intents have none.
        intents=tuple(StatedIntent(**said) for said in known.get("intents", ())),
        degraded=tuple(known["degraded"]),
        **{name: known[name] for name in _CUSTOMER_MOMENTS},
    )


def scores_of(record: Mapping[str, Any]) -> Scores | None:
    """The scores of a record; None when no model was asked."""
    scores = record["scores"]
    if scores is None:
        return None
    stay = [
        None if scores.get(name) is None else _array(scores[name])
        for name in ("stay_if_accepted", "stay_if_not", "base")
    ]
    return Scores(_array(scores["accept"]), *stay)


def past_of(shown: Mapping[str, Any]) -> Past:
    """What was known of an offer's past when it was shown; unknown in the records of older versions."""
    return Past(*(_number(shown.get(name)) for name in Past._fields))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _array(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([_number(value) for value in values], dtype=np.float64)
