"""A decision in the words of the contract: the JSON of POST /v1/recommend."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from nba.clock import format_at
from nba.config import Config
from nba.decide import Case, Decision, Suggestion
from nba.domain import ThreadEntry
from nba.rules import Value
from nba.wording import clean

THREAD_SHOWN = 10


def answer(
    config: Config,
    case: Case,
    decision: Decision,
    *,
    model: str | None,
    experiment: Mapping[str, str] | None = None,
    explain: bool = False,
) -> dict[str, Any]:
    """The body of the answer; `withheld` and `features` only when `explain`. NaN becomes null."""
    request, customer = case.request, case.customer
    body: dict[str, Any] = {
        "decision_id": request.decision_id,
        "customer_id": request.customer_id,
        "at": format_at(request.now_ms),
        "source": decision.source,
        "degraded": list(decision.degraded),
        "model": model,
        "heads": list(decision.heads),
        "policy": config.fingerprint,
        "experiment": experiment,
        "own": _own(case),
        "freshness": {
            "activity_s": _age_s(request.now_ms, customer.activity_at_ms),
            "profile_s": _age_s(request.now_ms, customer.profile_at_ms),
        },
        "funnel": {
            "catalog": len(case.candidates),
            "eligible": decision.eligible,
            "passed": decision.passed,
            "suggested": len(decision.suggestions),
        },
        "nothing_because": decision.nothing_because,
        "suggestions": [_suggestion(s) for s in decision.suggestions],
        "thread": [thread_line(config, entry, case.locale) for entry in customer.thread[-THREAD_SHOWN:]],
    }
    if explain:
        body["withheld"] = [{"offer_id": w.offer_id, "stage": w.stage, "rule": w.rule} for w in decision.withheld]
        body["features"] = plain_numbers(case.customer.features)
    return body


def thread_line(config: Config, entry: ThreadEntry, locale: str) -> dict[str, Any]:
    """One line of the story so far: the words of the activity type, else what the event said of itself."""
    kind = config.features.activities.get(entry.activity)
    words = kind.text.get(locale) or next(iter(kind.text.values()), None) if kind else None
    if not words:
        text = entry.text or f"{entry.activity.replace('_', ' ')} {entry.subject or ''}"
    else:
        text = "".join(_filled(part, entry) for part in _parts(words))
    return {"at": format_at(entry.at_ms), "channel": entry.channel, "activity": entry.activity, "text": clean(text)}


@lru_cache(maxsize=1024)
def _parts(words: str) -> tuple[str, ...]:
    """The words of an activity type, split at what an event fills in."""
    return tuple(part for part in re.split(r"(\{subject\}|\{text\})", words) if part)


def _filled(part: str, entry: ThreadEntry) -> str:
    if part == "{subject}":
        return entry.subject or ""
    return entry.text or "" if part == "{text}" else part


def plain_numbers(features: Mapping[str, Value]) -> dict[str, Value]:
    """Features as JSON can carry them: NaN and infinity as null."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in features.items()}


def _own(case: Case) -> dict[str, Any] | None:
    if case.own is None:
        return None
    cost = case.values.get("own_cost_month")
    return {"offer_id": case.own.id, "title": case.own.title_in(case.locale), "cost_month": cost}


def _age_s(now_ms: int, at_ms: int | None) -> int | None:
    return None if at_ms is None or at_ms > now_ms else (now_ms - at_ms) // 1000


def _suggestion(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "rank": suggestion.rank,
        "offer_id": suggestion.offer_id,
        "kind": suggestion.kind,
        "title": suggestion.title,
        "say": suggestion.say,
        "because": [
            {"feature": r.feature, "value": r.value, "text": r.text, **({"window": r.window} if r.window else {})}
            for r in suggestion.because
        ],
        "accept_probability": suggestion.accept_probability,
        "expected_value": suggestion.expected_value,
        "cost_month": suggestion.cost_month,
        "saving_month": suggestion.saving_month,
        "propensity": suggestion.propensity,
        "explored": suggestion.explored,
        **({"skill": suggestion.skill} if suggestion.skill else {}),
    }
