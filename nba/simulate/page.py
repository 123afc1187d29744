"""What a simulation found, as one self-contained HTML page: a table and two charts, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nba.plots import figure, svg
from nba.sheet import sheet, table

COLUMNS = {
    "policy": "policy",
    "value_each": "value",
    "share_of_oracle": "of oracle",
    "regret_each": "regret",
    "kept": "kept",
    "saved_each": "saved",
    "share_of_catalog": "catalog",
    "violations": "violations",
}
LEGEND = (
    "value, regret, saved: euros a customer; of oracle: share of the oracle's lead in value over a random eligible offer; "
    "kept: customers still there; catalog: share of the offers that were said; violations: of the rules."
)
_SHARES = ("share_of_oracle", "share_of_catalog")
_INKS = {
    "engine": "#1f5fa8", "random": "#c3cad1", "random-passed": "#9aa4ae", "margin": "#d1731c", "acceptance": "#3a8a4d",
    "oracle": "#8a6d3b", "vw": "#9a4fa0", "told": "#b03a48",
}  # fmt: skip
_OTHER_INK = "#2f8f98"


def page(rows: Sequence[Mapping[str, Any]], rounds: Mapping[str, Sequence[float]], grid: Grid, says: str) -> str:
    """The page as HTML text. `rows`: one a policy with the keys of COLUMNS; `rounds` and `grid`: see the charts."""
    cells = [[escape(cell(key, row[key])) for key in COLUMNS] for row in rows]
    parts = [
        "<h1>Simulated customers, policy by policy</h1>",
        f"<p>{escape(says)}</p>",
        table(list(COLUMNS.values()), cells),
        f"<p>{escape(LEGEND)}</p>",
        "<h2>Choice against the truth, round by round</h2>" + rounds_chart(rounds) if rounds else "",
        "<h2>Other worlds</h2>" + grid_chart(grid) if grid else "",
    ]
    return sheet("Simulation", parts)


Grid = Sequence[Mapping[str, Any]]


def cell(key: str, value: Any) -> str:
    """One figure of the table as people read it; a dash where there is none."""
    if value is None:
        return "-"
    if key in _SHARES:
        return f"{value:.0%}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def rounds_chart(rounds: Mapping[str, Sequence[float]]) -> str:
    """How good the choices of each policy were in each round, in the same calls: 0 a random passed one, 1 the oracle's."""
    drawn, axes = figure(7.5, 4.0)
    last = max(map(len, rounds.values()))
    for name, shares in rounds.items():
        ink = _INKS.get(name, _OTHER_INK)
        if len(shares) < last:  # learns nothing, and lived one round only
            axes.axhline(shares[0], color=ink, label=name, linewidth=1.4, linestyle="--")
        else:
            axes.plot(range(1, last + 1), shares, marker="o", color=ink, label=name, linewidth=1.8)
    axes.axhline(0, color="#9aa4ae", linewidth=0.8)
    axes.set(xlabel="round (learners retrain between rounds)", ylabel="share of the gain, 0 random passed, 1 oracle")
    axes.set_xticks(range(1, last + 1))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    lines = "; ".join(f"{name} {', '.join(f'{share:.2f}' for share in shares)}" for name, shares in rounds.items())
    return svg(drawn, f"share of the gain by round: {lines}")


def grid_chart(grid: Grid) -> str:
    """How good the choices of each policy are in each world, 0 to 1 as above. `grid`: `world`, then a share a policy."""
    drawn, axes = figure(7.5, 1.0 + 0.32 * len(grid))
    places = range(len(grid))
    names = [name for name in grid[0] if name != "world"]
    for name in names:
        axes.plot([row[name] for row in grid], places, "o", color=_INKS.get(name, _OTHER_INK), label=name)
    axes.axvline(0, color="#9aa4ae", linewidth=0.8)
    axes.set_yticks(list(places), [str(row["world"]) for row in grid])
    axes.invert_yaxis()
    axes.set(xlabel="share of the gain in the same calls, 0 random passed, 1 oracle")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    lines = "; ".join(f"{row['world']}: {', '.join(f'{name} {row[name]:.2f}' for name in names)}" for row in grid)
    return svg(drawn, f"share of the gain by world: {lines}")
