"""A small shop in three YAML texts, and customers for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nba.decide import Case, Decider, Request
from nba.domain import Customer

NOW_MS = 1_790_000_000_000
FEATURES = """
timezone: Europe/Berlin
activities:
  data_used: {unit: megabyte}
  page_viewed: {text: {en: "looked at {subject}", de: "sah {subject} an"}}
  complaint: {opens_issue: true}
  issue_resolved: {closes_issue: true}
features:
  - {name: data_mb_m1, of: data_used, take: sum, window: month-1}
  - {name: data_gb_peak, is: "data_mb_m1 / 1024.0"}
  - {name: plan_views_7d, of: page_viewed, where: {subject: plans}, take: count, window: 7d}
  - {name: since_complaint_h, of: complaint, take: hours_since}
profile: {plan: category, tenure_months: {type: number, default: 0}}
context: {intent: category, sentiment: number}
"""
CATALOG = """
currency: EUR
offers:
  - id: l-40
    kind: up_sell
    title: L 40 GB
    price_month: 41.90
    margin_month: 18.0
    attributes: {data_gb: 40}
    covers: "attributes.data_gb >= features.data_gb_peak"
    eligible: "profile.plan != 'l-40'"
  - id: flex-10
    kind: optimize
    title: Flex 10 GB
    price_month: 29.90
    margin_month: 14.00
    attributes: {data_gb: 10}
    cost_month: "price_month + max(0.0, ceil(features.data_mb_m1 / 1024.0) - attributes.data_gb) * 4.0"
    covers: "attributes.data_gb >= features.data_gb_peak"
    eligible: "profile.plan != 'flex-10'"
    contact: {at_most: 2, per_days: 30, rest_after_decline_days: 90}
    say:
      - when: "features.data_gb_peak < 8.0 && saving_month > 0"
        en: "you used at most {data_gb_peak:up.1f} GB last month; {title} covers that and saves you {saving_month} a month"
        de: "Sie haben im letzten Monat höchstens {data_gb_peak:up.1f} GB genutzt; {title} reicht dafür und spart {saving_month}"
  - {id: music, kind: cross_sell, title: Music, price_month: 5, margin_month: 3}
  - {id: line-check, kind: resolve, title: a line check}
  - {id: person, kind: escalate, title: a person who can help}
"""
POLICY = """
opening:
  en: "{salutation} {family_name}, judging by your recent activity we believe you would benefit from {title}"
  de: "{salutation} {family_name}, nach Ihrer letzten Nutzung glauben wir, dass {title} besser zu Ihnen passt"
opening_for:
  resolve: {en: "{salutation} {family_name}, let us first put this right with {title}"}
worth: {horizon_months: 12, margin: 1.0, saving: 1.0, of_kind: {resolve: 20, escalate: 5}}
base_accept: {optimize: 0.3, cross_sell: 0.1, up_sell: 0.1, resolve: 0.5, escalate: 0.2}
service_first: {service_intents: [outage], rest_after_bad_experience_h: 24}
"""

Shop = Callable[..., Path]


def customer(**changes: Any) -> Customer:
    """Mr. Kraus on L 40 GB, who used 2,150 MB last month."""
    features = {
        "data_mb_m1": 2150.0,
        "data_gb_peak": 2150.0 / 1024,
        "plan_views_7d": 0.0,
        "since_complaint_h": float("nan"),
    }
    profile: Mapping[str, Any] = {"plan": "l-40", "salutation": "Mr.", "family_name": "Kraus", "tenure_months": 30.0}
    known = {"customer_id": "c-1", "features": features, "profile": profile, "activity_at_ms": NOW_MS - 60_000}
    return Customer(**{**known, **changes})


def case_for(decider: Decider, of: Customer | None = None, **request: Any) -> Case:
    """The case of a customer who calls now."""
    asked = Request(
        **{"customer_id": "c-1", "now_ms": NOW_MS, "decision_id": "d-1", "interaction_id": "call-1", **request}
    )
    return decider.case(of or customer(), asked)
