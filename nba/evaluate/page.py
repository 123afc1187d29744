"""The profit-centre report: one self-contained HTML file, no script, nothing fetched, and the same lines as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from html import escape

from nba.clock import day_of
from nba.evaluate.income import Income, Kept, Line
from nba.plots import figure, svg
from nba.sheet import captioned, sheet, table

GROUPS = {"kind": "By kind", "channel": "By channel", "agent_group": "By agent group", "offer": "By offer"}
_DRAWN = 15  # lines of a chart


def page(found: Income) -> str:
    """The whole page as HTML text."""
    days = f"{day_of(found.first_ms)} to {day_of(found.last_ms)}"
    parts = [
        f"<h1>What the service calls earned and kept</h1><p class=soft>{days} (UTC), {found.customers:,} customers</p>",
        _warnings(found),
        _totals(found),
        _kept(found),
        *(_group(found, group, title) for group, title in GROUPS.items()),
        _reasons(found),
        _drivers(found),
        _notes(found),
    ]
    return sheet("Service calls", parts)


def as_csv(found: Income) -> str:
    """Every line of the page's tables: group, name, counts, share with interval, money a month; then warnings by name."""
    out = io.StringIO()
    names = [field.name for field in fields(Line)]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in (found.total, *found.lines))
    writer.writerows({"group": "warning", "name": words} for words in found.warnings)
    return out.getvalue()


def _warnings(found: Income) -> str:
    return "".join(f'<p class="warn" role="alert">Warning: {escape(words)}</p>' for words in found.warnings)


def _totals(found: Income) -> str:
    t = found.total
    figures = [
        (f"{found.calls:,}", f"calls, {found.silent_calls:,} of them without a suggestion"),
        (f"{t.offers:,}", "suggestions made"),
        (f"{t.accepted:,}", f"accepted: {t.share:.1%} ({t.low:.1%} to {t.high:.1%})"),
        (
            _money(found, t.margin_month),
            f"margin added a month; {_money(found, t.margin_month * found.months)} {_over(found)}",
        ),
        (
            _money(found, t.saving_month),
            f"a month saved for customers; {_money(found, t.saving_month * found.months)} {_over(found)}",
        ),
    ]
    boxes = "".join(f"<div><b>{escape(big)}</b>{escape(small)}</div>" for big, small in figures)
    soft = "As the journal says it of accepted suggestions; part of it would have come anyway: see the hold-out below."
    return f'<div class="big">{boxes}</div><p class="soft">{soft}</p>'


def _kept(found: Income) -> str:
    if found.kept is None:
        return f"<h2>Kept against the hold-out</h2><p>{escape(found.kept_says)}</p>"
    k = found.kept
    rows = [
        ("value kept by customer", *_sides(k, money=True, found=found)),
        ("left", *_sides(k, money=False, found=found)),
    ]
    says = (
        f"{_money(found, k.value)} kept {_over(found)} ({_money(found, k.low)} to {_money(found, k.high)}, 95 %) by "
        f"{k.customers:,} customers, against {k.control!r}. {found.kept_says}"
    )
    heads = ("by customer", k.control, k.effect.arm, "difference (95 %)")
    soft = "Value: margin a month of the plan at the first call, times the months, of those who had not left at the horizon."
    return f'<h2>Kept against the hold-out</h2><p>{escape(says)}</p>{table(heads, rows)}<p class="soft">{soft}</p>'


def _sides(k: Kept, *, money: bool, found: Income) -> tuple[str, str, str]:
    e = k.effect if money else k.left

    def write(value: float) -> str:
        return _money(found, value) if money else f"{value:.1%}"

    return write(e.control), write(e.treatment), f"{write(e.difference)} ({write(e.low)} to {write(e.high)})"


def _group(found: Income, group: str, title: str) -> str:
    lines = [each for each in found.lines if each.group == group]
    if not lines:
        return ""
    rows = [
        (escape(x.name), f"{x.offers:,}", f"{x.accepted:,}", f"{x.share:.1%} ({x.low:.1%} to {x.high:.1%})", f"{x.declined:,}",
         _money(found, x.margin_month), _money(found, x.saving_month))
        for x in lines
    ]  # fmt: skip
    heads = ("", "made", "accepted", "share (95 %)", "declined", "margin a month", "saved a month")
    chart = captioned(_shares(lines[:_DRAWN]), _caption(len(lines)))
    return f"<h2>{title}</h2>{table(heads, rows)}{chart if len(lines) > 1 else ''}"


def _reasons(found: Income) -> str:
    if not found.reasons:
        return "<h2>What was declined and why</h2><p>No reasons were reported with the declines.</p>"
    rows = [(escape(what), escape(why), f"{count:,}") for what, why, count in found.reasons]
    return f"<h2>What was declined and why</h2>{table(('offer', 'reason', 'times'), rows, text=(1,))}"


def _drivers(found: Income) -> str:
    if not found.drivers:
        return f"<h2>What drives customers</h2><p>{escape(found.drivers_of)}</p>"
    items = "".join(f"<li>{escape(says)}</li>" for says in found.drivers)
    note = f"{found.drivers_of} What the model leans on; not a promise of what a change would do."
    return f'<h2>What drives customers</h2><p class="soft">{escape(note)}</p><ol>{items}</ol>'


def _notes(found: Income) -> str:
    items = "".join(f"<li>{count:,} {escape(words)}</li>" for words, count in found.notes.items())
    return f"<h2>Rows left out or repaired</h2><ul class=soft>{items}</ul>" if items else ""


def _caption(lines: int) -> str:
    which = f" of the {_DRAWN} of {lines} that were made most often" if lines > _DRAWN else ""
    return f"Share accepted{which}, with its 95 % interval."


def _shares(lines: Sequence[Line]) -> str:
    """Shares accepted as dots with their intervals, as inline SVG."""
    shown = lines[::-1]
    drawn, axes = figure(7.0, 0.9 + 0.28 * len(shown))
    ends = [[max(x.share - x.low, 0.0) for x in shown], [max(x.high - x.share, 0.0) for x in shown]]
    axes.errorbar([x.share for x in shown], [x.name for x in shown], xerr=ends, fmt="o", color="#1f5fa8", capsize=3)
    axes.set(xlabel="share accepted", xlim=(0.0, max([x.high for x in shown] + [0.01]) * 1.05))
    return svg(drawn, "share accepted: " + ", ".join(f"{x.name} {x.share:.1%}" for x in lines))


def _money(found: Income, value: float) -> str:
    return f"{value:,.2f} {found.currency}"


def _over(found: Income) -> str:
    return f"over {found.months:g} months"
