"""Simulated customers: the same for the same seed, believable, and their activity passes the engine's own door."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from features.activity import parse_event
from features.spec import FeatureSpec
from kits.activity import as_event
from nba.clock import DAY_MS
from nba.config import Config
from nba.domain import Activity
from nba.fields import typed
from nba.simulate.life import live
from nba.simulate.population import Life, World, populate, profile_of, tariffs
from nba.simulate.truth import overpays

START = 20_500  # a day in February 2026
UNTIL = START + 200


@pytest.fixture(scope="module")
def lived(telco: Config) -> list[tuple[Life, list[Activity]]]:
    plans = tariffs(telco.catalog)
    return [(life, live(life, UNTIL, plans, World())) for life in populate(plans, 250, 7, START)]


def test_every_event_passes_the_door(telco: Config, lived: list[tuple[Life, list[Activity]]]) -> None:
    """In the form of POST /v1/activity each event is accepted and comes back as it was."""
    spec = FeatureSpec(telco.features)
    for _, events in lived[:40]:
        assert [parse_event(as_event(event), spec, UNTIL * DAY_MS + DAY_MS) for event in events] == events


def test_event_ids_are_unique_and_times_in_order(lived: list[tuple[Life, list[Activity]]]) -> None:
    """Nothing a customer does would be taken for a repetition."""
    for _, events in lived:
        assert len({event.event_id for event in events}) == len(events)
        assert all(a.at_ms <= b.at_ms for a, b in pairwise(events))


def test_a_profile_is_one_the_service_takes(telco: Config, lived: list[tuple[Life, list[Activity]]]) -> None:
    """Every field is declared, with the right type."""
    plans = tariffs(telco.catalog)
    for life, _ in lived:
        assert typed(profile_of(life, plans), telco.features.profile_types, "/profile")


def test_every_activity_type_that_a_customer_can_cause_happens(
    telco: Config, lived: list[tuple[Life, list[Activity]]]
) -> None:
    """Only what agents write (tickets, fixes tried) does not come from living alone."""
    seen = {event.type for _, events in lived for event in events}
    assert set(telco.features.activities) - seen == {"ticket_opened", "fix_tried"}


def test_the_same_seed_is_the_same_life(telco: Config) -> None:
    """Byte for byte, in a small population as in a large one, lived in one go or in two."""
    plans = tariffs(telco.catalog)
    whole = populate(plans, 20, 3, START)[11]
    halves = populate(plans, 12, 3, START)[11]
    first = live(whole, UNTIL, plans, World())
    assert first == live(halves, START + 77, plans, World()) + live(halves, UNTIL, plans, World())
    assert live(populate(plans, 12, 4, START)[11], UNTIL, plans, World()) != first


def test_use_is_what_the_hidden_need_says(lived: list[tuple[Life, list[Activity]]]) -> None:
    """Recorded gigabytes a month stay near the hidden ones: within 15 % over the population."""
    ratios = []
    for life, events in lived:
        used = sum(e.value or 0 for e in events if e.type == "data_used") / 1024 / (200 / 30.4)
        ratios.append(used / life.traits.data_gb)
    assert np.median(ratios) == pytest.approx(1.05, abs=0.15)


def test_some_overpay_and_some_do_not(telco: Config, lived: list[tuple[Life, list[Activity]]]) -> None:
    """A population in which honest advice has something to do, for between a quarter and three quarters."""
    plans = tariffs(telco.catalog)
    assert 0.25 < np.mean([overpays(life, plans) > 1.0 for life, _ in lived]) < 0.75


def test_bills_are_the_tariff_and_what_went_beyond(telco: Config) -> None:
    """Without faults and add-ons a bill is the price plus the extra gigabytes charged in that month."""
    plans = tariffs(telco.catalog)
    life = next(
        life for life in populate(plans, 200, 5, START)
        if life.plan == "flex-10" and not life.world_pass and life.lines == 1 and life.traits.travel == 0
    )  # fmt: skip
    events = live(life, UNTIL, plans, World(faults=0.0))
    bills = [e for e in events if e.type == "bill_issued"]
    assert len(bills) > 6
    for before, bill in pairwise(bills):
        charged = sum(e.value or 0 for e in events if e.type == "top_up" and before.at_ms <= e.at_ms < bill.at_ms)
        assert bill.value == pytest.approx(2990 + charged, abs=400)  # one may fall on the day of the bill itself
