"""The engine's own feature code over a dictionary: what the simulated customers are remembered by in these tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from features import contacts, thread
from features.packing import pack
from features.profile import dump_profile
from features.spec import FeatureSpec
from features.view import customer
from nba.config import Config
from nba.domain import Activity, Contact, Customer
from nba.load import load_config
from nba.rules import Value

CONFIGS = Path(__file__).parents[2] / "nba" / "configs"


class Remembered:
    """A `Memory` without Redis: the same bytes, the same pure functions."""

    def __init__(self, config: Config) -> None:
        self.spec = FeatureSpec(config.features)
        self.logs: dict[str, bytearray] = {}
        self.threads: dict[str, bytearray] = {}
        self.contacts: dict[str, bytearray] = {}
        self.profiles: dict[str, bytes] = {}

    def append(self, customer_id: str, events: Sequence[Activity]) -> None:
        log = self.logs.setdefault(customer_id, bytearray())
        told = self.threads.setdefault(customer_id, bytearray())
        for event in events:
            log += pack(event, self.spec.channels)
            if thread.needs_line(event, self.spec):
                told += thread.line(event)

    def put_profile(self, customer_id: str, profile: Mapping[str, Value], now_ms: int) -> None:
        self.profiles[customer_id] = dump_profile(profile, now_ms)

    def append_contacts(self, customer_id: str, met: Sequence[Contact]) -> None:
        self.contacts.setdefault(customer_id, bytearray()).extend(b"".join(map(contacts.line, met)))

    def read(self, customer_id: str, now_ms: int) -> Customer:
        return customer(
            customer_id,
            bytes(self.logs.get(customer_id, b"")),
            self.profiles.get(customer_id),
            bytes(self.contacts.get(customer_id, b"")),
            bytes(self.threads.get(customer_id, b"")),
            now_ms,
            self.spec,
        )


@pytest.fixture(scope="session")
def telco() -> Config:
    return load_config(CONFIGS / "telco")
