"""The unified view of one customer, as GET /v1/customers/{id} gives it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nba.answer import plain_numbers, thread_line
from nba.clock import format_at
from nba.config import Config
from nba.domain import Contact, Customer
from nba.errors import NotFoundError


def unified_view(config: Config, customer: Customer, now_ms: int) -> dict[str, Any]:
    """Profile, features, thread, open issues, contact history. Raises NotFoundError for one of whom nothing is known."""
    if not is_known(customer) and not customer.degraded:
        raise NotFoundError("nothing is known of this customer: PUT a profile or POST activity first")
    locale = str(customer.profile.get("locale") or config.policy.locales[0])
    return {
        "customer_id": customer.customer_id,
        "at": format_at(now_ms),
        "profile": customer.profile,
        "profile_at": None if customer.profile_at_ms is None else format_at(customer.profile_at_ms),
        "features": plain_numbers(customer.features),
        "thread": [thread_line(config, entry, locale) for entry in customer.thread],
        "open_issues": issue_lines(customer),
        "contacts": [_contact(contact) for contact in customer.contacts],
        "degraded": list(customer.degraded),
    }


def is_known(customer: Customer) -> bool:
    """Whether the store has a profile, activity or a contact of them."""
    return customer.profile_at_ms is not None or customer.activity_at_ms is not None or bool(customer.contacts)


def issue_lines(customer: Customer) -> list[dict[str, Any]]:
    """The open issues in the words of the API."""
    return [
        {"type": issue.type, "since": format_at(issue.since_ms), "channel": issue.channel, "subject": issue.subject}
        for issue in customer.open_issues
    ]


def _contact(contact: Contact) -> dict[str, Any]:
    row = asdict(contact)
    return {"at": format_at(row.pop("at_ms")), **row}
