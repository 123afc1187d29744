"""What the agent desktop shows around the suggestions: who is calling, their plan beside the others, what they may ask next.

Nothing here is journalled: it shows, it does not decide.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from features.series import SeriesBook, as_answer
from nba.answer import plain_numbers, thread_line
from nba.candidates import Candidate
from nba.clock import format_at
from nba.comparisons import asked_intents
from nba.config import Config
from nba.decide import Case, Decision, Request
from nba.domain import Customer
from nba.errors import NotFoundError
from nba.funnel import sales_wait
from serving.engine import Engine
from serving.view import is_known, issue_lines

CALLERS_FILE = "callers.json"
_ALL = 1_000


def setup(config: Config, state_dir: Path) -> dict[str, Any]:
    """What the page has to know of this config, and in the demo who may call."""
    policy = config.policy
    authority = policy.authority
    groups = {name: limits.discount_month for name, limits in authority.groups.items()}
    return {
        "currency": config.catalog.currency,
        "locales": list(policy.locales),
        "timezone": config.features.timezone,
        "intent": {
            "field": policy.service_first.intent_field,
            "known": known_intents(config),
            "service": list(policy.service_first.service_intents),
        },
        "authority": {"default": authority.default.discount_month, "groups": groups},
        "offers": {offer.id: {"kind": offer.kind, "title": offer.title} for offer in config.catalog.offers},
        "callers": _callers(state_dir),
    }


def _callers(state_dir: Path) -> list[dict[str, Any]]:
    """The people of `nba demo`, which writes them into its own state folder; elsewhere nobody."""
    try:
        found: list[dict[str, Any]] = orjson.loads((state_dir / CALLERS_FILE).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return []
    return found


def known_intents(config: Config) -> list[str]:
    """Every reason for a call that this config lists or that a rule of it asks for, the default first."""
    field = config.policy.service_first.intent_field
    declared = config.features.context.get(field)
    first = [str(declared.default)] if declared and declared.default is not None else []
    listed = declared.values if declared else ()
    named = {intent for intent, _, _ in asked_intents(config)}
    return list(dict.fromkeys([*first, *listed, *sorted({*named, *config.policy.service_first.service_intents})]))


def view(engine: Engine, customer: Customer, request: Request, left_s: float, now_s: float) -> dict[str, Any]:
    """Customer, plans, next question and authority for one call. `left_s`: what scoring may take; `now_s`: monotonic."""
    case = engine.decider.case(customer, replace(request, limit=_ALL))
    scores, _ = engine.score(case, left_s, now_s)
    decision = engine.decider.decide(case, scores)
    policy = engine.config.policy
    limits = policy.authority.groups.get(request.agent_group or "", policy.authority.default)
    return {
        "customer": _customer(engine.config, case),
        "plans": plans(case),
        "next_question": _next_question(decision),
        "sales_wait": sales_wait(policy, customer, case.call),
        "authority": {"group": request.agent_group, "discount_month": limits.discount_month},
    }


def plans(case: Case) -> list[dict[str, Any]]:
    """The own plan, then every other one from the cheapest to the dearest for what this customer uses."""
    found = [c for c in case.candidates if c.offer.is_plan]
    own = case.own.id if case.own else None
    found.sort(key=lambda c: (c.offer.id != own, c.cost_month is None, c.cost_month or 0.0, c.offer.id))
    return [_plan(c, case) for c in found]


def _plan(candidate: Candidate, case: Case) -> dict[str, Any]:
    offer, saving = candidate.offer, candidate.saving_month
    return {
        "offer_id": offer.id,
        "title": offer.title_in(case.locale),
        "kind": offer.kind,
        "own": case.own is not None and offer.id == case.own.id,
        "price_month": offer.price_month,
        "cost_month": candidate.cost_month,
        "saving_month": saving,
        "difference_year": None if saving is None else round(-saving * 12, 2) + 0.0,
        "covers": candidate.covers,
        "attributes": offer.attributes,
    }


def _next_question(decision: Decision) -> dict[str, Any] | None:
    """What this customer is likeliest to ask: the best thing that they will want to know."""
    best = next((s for s in decision.suggestions if s.kind == "inform"), None)
    return None if best is None else {"offer_id": best.offer_id, "title": best.title, "say": best.say}


def _customer(config: Config, case: Case) -> dict[str, Any]:
    customer = case.customer
    return {
        "customer_id": customer.customer_id,
        "known": is_known(customer),
        "profile": customer.profile,
        "features": plain_numbers(customer.features),
        "thread": [thread_line(config, entry, case.locale) for entry in customer.thread],
        "open_issues": issue_lines(customer),
        "contacts": [
            {"at": format_at(c.at_ms), "offer_id": c.offer_id, "outcome": c.outcome, "interaction_id": c.interaction_id}
            for c in customer.contacts
        ],
        "degraded": list(customer.degraded),
    }


def series(book: SeriesBook, names: list[str], log: bytes, now_ms: int) -> dict[str, Any]:
    """The bars of these features by name; null for one that stands on no activity, or is none."""
    found: dict[str, Any] = {}
    for name in names:
        try:
            bars = book.bars(name, log, now_ms)
        except NotFoundError:
            bars = None
        found[name] = None if bars is None else as_answer(bars, {ms: format_at(ms) for ms in bars.starts_ms})
    return found
