"""The charts of the report as inline SVG. Same numbers in, same bytes out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from models.metrics import Array, Bin

_STYLE: Any = {
    "svg.hashsalt": "nba",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_INK, _SOFT = "#1f5fa8", "#9aa4ae"


def reliability_chart(curve: Sequence[Bin]) -> str:
    """Share seen against mean probability, a dot a bin with its 95 % interval, and the diagonal of honesty."""
    figure, axes = _figure(4.6, 4.2)
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
    return _svg(figure)


def gain_chart(asked: Array, caught: Array) -> str:
    """Share of all acceptances reached by asking the most likely first."""
    figure, axes = _figure(4.6, 4.2)
    axes.plot([0, 1], [0, 1], color=_SOFT, linestyle="--", linewidth=1, label="in any order")
    axes.plot(asked, caught, color=_INK, linewidth=2, label="most likely first")
    axes.set(xlabel="share of suggestions made", ylabel="share of acceptances reached", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure)


def importance_chart(importance: Mapping[str, float], most: int = 20) -> str:
    """The gain of each column, the largest on top."""
    top = list(importance.items())[:most][::-1]
    figure, axes = _figure(7.5, 0.8 + 0.26 * len(top))
    axes.barh([name for name, _ in top], [share for _, share in top], color=_INK)
    axes.set(xlabel="share of the total gain")
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]
