"""The engine's memory of customers over a dictionary: the same bytes and the same pure functions, without Redis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from features import contacts, thread
from features.packing import pack
from features.profile import dump_profile
from features.spec import FeatureSpec
from features.view import customer
from nba.domain import Activity, Contact, Customer
from nba.rules import Value


class LocalMemory:
    """What a Store keeps, in this process; for simulations, where a round trip a call would be most of the time."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._logs: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._threads: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._contacts: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._profiles: dict[str, bytes] = {}

    def append(self, customer_id: str, events: Sequence[Activity]) -> None:
        """Keep what the customer did."""
        for event in events:
            self._logs[customer_id] += pack(event, self._spec.channels)
            if thread.needs_line(event, self._spec):
                self._threads[customer_id] += thread.line(event)

    def put_profile(self, customer_id: str, profile: Mapping[str, Value], now_ms: int) -> None:
        """Replace the profile."""
        self._profiles[customer_id] = dump_profile(profile, now_ms)

    def append_contacts(self, customer_id: str, met: Sequence[Contact]) -> None:
        """Keep which offers met the customer."""
        for contact in met:
            self._contacts[customer_id] += contacts.line(contact)

    def read(self, customer_id: str, now_ms: int) -> Customer:
        """What is known at this moment."""
        log, met, told = (bytes(part[customer_id]) for part in (self._logs, self._contacts, self._threads))
        return customer(customer_id, log, self._profiles.get(customer_id), met, told, now_ms, self._spec)
