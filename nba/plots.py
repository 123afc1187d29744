"""How every page of the project draws: one style, and figures as SVG text that is the same for the same numbers."""

from __future__ import annotations

import html
import io
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_STYLE: Any = {
    "svg.hashsalt": "nba",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes; sizes in inches."""
    with mpl.rc_context(_STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(drawn)
        return drawn, drawn.add_subplot()


def svg(drawn: Figure, says: str) -> str:
    """The figure as an `<svg>` element without a date in it. `says`: what is drawn, for who does not see it."""
    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        drawn.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(says)}" ', 1)
