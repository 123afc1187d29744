"""Where does a policy stop winning? The same comparison in worlds that differ in one setting at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from nba.config import Config, Offer
from nba.simulate.history import PLAIN
from nba.simulate.population import World

GRID: Mapping[str, Sequence[float]] = {
    "sensitivity": (0.3, 2.0),
    "patience": (0.5, 2.0),
    "trust": (0.0, 2.0),
    "seasonality": (0.0, 0.45),
    "faults": (0.3, 3.0),
    "calls_a_year": (2.0, 12.0),
}


def worlds(grid: Mapping[str, Sequence[float]] = GRID, plain: World = PLAIN) -> Iterator[tuple[str, World]]:
    """A name and a world for each value of the grid, the plain one first."""
    yield "as shipped", plain
    for name, values in grid.items():
        for value in values:
            yield f"{name} {value:g}", replace(plain, **{name: value})


def with_prices(config: Config, times: float) -> Config:
    """The same shop with all plan prices and margins changed by a factor: a dear one, a cheap one."""
    offers = tuple(_repriced(offer, times) if offer.is_plan else offer for offer in config.catalog.offers)
    return config.model_copy(update={"catalog": config.catalog.model_copy(update={"offers": offers})})


def _repriced(offer: Offer, times: float) -> Offer:
    price = None if offer.price_month is None else round(offer.price_month * times, 2)
    return offer.model_copy(update={"price_month": price, "margin_month": round(offer.margin_month * times, 2)})
