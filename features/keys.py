"""Every key of the store. The braces are Redis Cluster's hash tag: all keys of a customer live on one node.

TTL: `retention_days` after the last write for a customer's keys, a week for the marks of an ingestion,
a day for the pins of an experiment.
"""

from __future__ import annotations

from typing import NamedTuple

NEWS = "nba:news"  # a channel, not a key: always subscribed, so that the line of news is never without one
INGEST_TTL_S = 7 * 86_400
PINS_TTL_S = 86_400


class CustomerKeys(NamedTuple):
    """The keys of one customer, in the order in which a read asks for them."""

    log: str
    profile: str
    contacts: str
    thread: str


def customer_keys(customer_id: str) -> CustomerKeys:
    """`nba:{c-1}:log` and its three companions."""
    stem = f"nba:{{{customer_id}}}:"
    return CustomerKeys(stem + "log", stem + "profile", stem + "contacts", stem + "thread")


def pins_key(customer_id: str) -> str:
    """In which arm of an experiment each running interaction of a customer is."""
    return f"nba:{{{customer_id}}}:pins"


def ingest_key(fingerprint: str) -> str:
    """How far the ingestion of one file has come."""
    return f"nba:ingest:{fingerprint}"
