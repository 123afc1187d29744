"""What a customer is worth ahead follows the same rules as life itself: what ends after a year is counted for a year."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from nba.config import Config
from nba.simulate.life import live
from nba.simulate.population import Life, World, populate
from nba.simulate.truth import Occasion, after_call, leaving_rate
from nba.simulate.value import Market, market_of, worth

DAY = 20_000


@pytest.fixture
def market(telco: Config) -> Market:
    return market_of(telco.catalog)


def lives(market: Market) -> list[Life]:
    return populate(market.plans, 40, 1, DAY)


def test_a_credit_of_twelve_months_is_paid_twelve_times(market: Market) -> None:
    """It costs at most that, for in the years after it nothing is paid; and it keeps some."""
    for life in lives(market):
        with_credit = copy(life)
        with_credit.credit_until = DAY + 365
        assert (
            worth(with_credit, market, World()) - worth(life, market, World()) >= 12 * market.margins["loyalty-credit"]
        )


def test_advice_holds_a_customer_for_the_year_it_is_remembered(market: Market) -> None:
    """Advice that is never forgotten is worth clearly more than advice of one year."""
    year, always = 0.0, 0.0
    for life in lives(market):
        before = worth(life, market, World())
        for until in (DAY + 365, DAY + 10_000):
            advised = copy(life)
            advised.advised_until = until
            gained = worth(advised, market, World()) - before
            year, always = (year + gained, always) if until == DAY + 365 else (year, always + gained)
    assert 0 < year < 0.7 * always


def test_a_paused_pass_comes_back_with_the_next_trip(telco: Config, market: Market) -> None:
    """As the sentence says: "until you travel again"; until then it earns nothing, and nobody pays day fees."""
    life = lives(market)[0]
    life.traits = replace(life.traits, travel=2.0)
    life.world_pass, life.trip_day = True, DAY + 50
    has_it, never = copy(life), copy(life)
    never.world_pass = False
    after_call(life, telco.catalog.by_id["world-pass-pause"], Occasion("general", 0.0), accepted=True)
    life.advised_until = 0
    assert not life.world_pass
    assert worth(never, market, World()) < worth(life, market, World()) < worth(has_it, market, World())
    events = live(life, DAY + 56, market.plans, World())
    assert life.world_pass
    assert [event.value for event in events if event.type == "roaming_day"] == [0] * 5


def test_who_is_gone_is_worth_nothing_and_worth_falls_with_bother(market: Market) -> None:
    """Bother makes people leave, and with them goes their margin."""
    life = lives(market)[0]
    bothered, gone = copy(life), copy(life)
    bothered.bother, gone.gone = 4.0, True
    assert leaving_rate(bothered, 0.0, World()) > leaving_rate(life, 0.0, World())
    assert worth(bothered, market, World()) < worth(life, market, World())
    assert worth(gone, market, World()) == 0.0
