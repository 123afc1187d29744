"""The pages with charts: what is drawn, what is left out, and who can read it."""

from __future__ import annotations

import re

from models.charts import importance_chart
from nba.evaluate.income import Income, Line
from nba.evaluate.page import page
from nba.simulate.page import COLUMNS
from nba.simulate.page import page as simulated

CHART = re.compile(r'<svg role="img" aria-label="([^"]+)"')


def line(group: str, name: str) -> Line:
    return Line(
        group,
        name,
        offers=10,
        accepted=4,
        declined=6,
        share=0.4,
        low=0.1,
        high=0.7,
        margin_month=-5.0,
        saving_month=1.0,
    )


def report(offers: int) -> str:
    """The page of so many offers, all of which cost the company something."""
    return page(
        Income(
            currency="EUR", months=12, first_ms=0, last_ms=1, calls=10, silent_calls=0, customers=10,
            total=line("all", "all"), lines=[line("offer", f"offer-{k}") for k in range(offers)], reasons=[], kept=None,
            kept_says="Not measured.", drivers=[], drivers_of="None.", notes={}, warnings=[],
        )
    )  # fmt: skip


def test_a_chart_says_what_it_leaves_out() -> None:
    """Of more offers than it can draw; of fewer it says nothing."""
    assert "Share accepted of the 15 of 24 that were made most often, with its 95 % interval." in report(24)
    assert "Share accepted, with its 95 % interval." in report(15)


def test_a_loss_is_not_called_more() -> None:
    """What was added to the margin may be negative."""
    text = report(2)
    assert "<b>-5.00 EUR</b>margin added a month" in text
    assert "more margin" not in text


def test_every_chart_can_be_heard_and_every_table_fits_a_narrow_page() -> None:
    """A chart has its numbers as text, a table scrolls by itself."""
    row = dict.fromkeys(COLUMNS, 0.5) | {"policy": "engine", "kept": 1, "violations": 0}
    world = {"world": "as it is", "engine": 0.5}
    played = simulated([row], {"engine": [0.25, 0.5]}, [world], "Simulated.")
    for text in (report(2), played, importance_chart({"x.tenure": 0.75, "offer.id": 0.25})):
        assert len(CHART.findall(text)) == text.count("<svg") > 0
        assert text.count('<div class="wide" tabindex="0"><table>') == text.count("<table>")
    assert CHART.findall(played) == [
        "share of the gain by round: engine 0.25, 0.50", "share of the gain by world: as it is: engine 0.50",
    ]  # fmt: skip
