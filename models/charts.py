"""The charts of the report as inline SVG. Same numbers in, same bytes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.metrics import Array, Bin
from nba.plots import figure, svg

MOST_COLUMNS = 20
_INK, _SOFT = "#1f5fa8", "#9aa4ae"


def reliability_chart(curve: Sequence[Bin]) -> str:
    """Share seen against mean probability, a dot a bin with its 95 % interval, and the diagonal of honesty."""
    drawn, axes = figure(4.6, 4.2)
    predicted = [b.predicted for b in curve]
    below = [max(b.seen - b.low, 0.0) for b in curve]
    above = [max(b.high - b.seen, 0.0) for b in curve]
    most = max([b.high for b in curve] + predicted) * 1.05
    axes.plot([0, most], [0, most], color=_SOFT, linestyle="--", linewidth=1, label="perfectly honest")
    axes.errorbar(
        predicted, [b.seen for b in curve], [below, above], fmt="o", color=_INK, capsize=3, label="seen, 95 % interval"
    )
    axes.set(xlabel="probability the model said", ylabel="share that came true", xlim=(0, most), ylim=(0, most))
    axes.legend(frameon=False, loc="upper left")
    points = ", ".join(f"{b.predicted:.0%} said, {b.seen:.0%} came true" for b in curve)
    return svg(drawn, f"probability against what came true: {points}")


def gain_chart(asked: Array, caught: Array) -> str:
    """Share of all acceptances reached (`caught`, (n,)) by asking a share of the rows (`asked`, (n,)), the likeliest first."""
    drawn, axes = figure(4.6, 4.2)
    axes.plot([0, 1], [0, 1], color=_SOFT, linestyle="--", linewidth=1, label="in any order")
    axes.plot(asked, caught, color=_INK, linewidth=2, label="most likely first")
    axes.set(xlabel="share of suggestions made", ylabel="share of acceptances reached", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(frameon=False, loc="lower right")
    return svg(drawn, "share of acceptances reached by share of suggestions made, the most likely first")


def importance_chart(importance: Mapping[str, float], most: int = MOST_COLUMNS) -> str:
    """The gain of each column, the largest on top."""
    top = list(importance.items())[:most][::-1]
    drawn, axes = figure(7.5, 0.8 + 0.26 * len(top))
    axes.barh([name for name, _ in top], [share for _, share in top], color=_INK)
    axes.set(xlabel="share of the total gain")
    return svg(drawn, "share of the total gain: " + ", ".join(f"{name} {share:.1%}" for name, share in top[::-1]))
