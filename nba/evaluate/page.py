"""The profit-centre report: one self-contained HTML file, no script, nothing fetched, and the same lines as CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields

from nba.clock import day_of
from nba.evaluate.income import Income, Kept, Line
from nba.plots import figure, svg

GROUPS = {"kind": "By kind", "channel": "By channel", "agent_group": "By agent group", "offer": "By offer"}
_DRAWN = 15  # lines of a chart
_CSS = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2733;background:#fff;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d6dde4}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.6rem 0}
th,td{padding:.25rem .8rem .25rem 0;text-align:right;border-bottom:1px solid #eef1f4}
th:first-child,td:first-child,td.text,th.text{text-align:left}.soft{color:#5c6975}
.big{display:flex;flex-wrap:wrap;gap:2rem;margin:1rem 0}.big div{min-width:9rem}.big b{display:block;font-size:1.6rem}
.wide{overflow-x:auto}
.warn{border-left:.3rem solid #a33;padding-left:.8rem}
svg{max-width:100%;height:auto}figure{margin:0}figcaption{color:#5c6975;font-size:.9rem}
"""


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
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Service calls</title>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_CSS}</style></head><body>\n{body}\n</body></html>\n'


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
    return "".join(f'<p class="warn" role="alert">Warning: {_e(words)}</p>' for words in found.warnings)


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
    boxes = "".join(f"<div><b>{_e(big)}</b>{_e(small)}</div>" for big, small in figures)
    soft = "As the journal says it of accepted suggestions; part of it would have come anyway: see the hold-out below."
    return f'<div class="big">{boxes}</div><p class="soft">{soft}</p>'


def _kept(found: Income) -> str:
    if found.kept is None:
        return f"<h2>Kept against the hold-out</h2><p>{_e(found.kept_says)}</p>"
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
    return f'<h2>Kept against the hold-out</h2><p>{_e(says)}</p>{_table(heads, rows)}<p class="soft">{soft}</p>'


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
        (_e(x.name), f"{x.offers:,}", f"{x.accepted:,}", f"{x.share:.1%} ({x.low:.1%} to {x.high:.1%})", f"{x.declined:,}",
         _money(found, x.margin_month), _money(found, x.saving_month))
        for x in lines
    ]  # fmt: skip
    heads = ("", "made", "accepted", "share (95 %)", "declined", "margin a month", "saved a month")
    chart = f"<figure>{_shares(lines[:_DRAWN])}<figcaption>{_caption(len(lines))}</figcaption></figure>"
    return f"<h2>{title}</h2>{_table(heads, rows)}{chart if len(lines) > 1 else ''}"


def _reasons(found: Income) -> str:
    if not found.reasons:
        return "<h2>What was declined and why</h2><p>No reasons were reported with the declines.</p>"
    rows = [(_e(what), _e(why), f"{count:,}") for what, why, count in found.reasons]
    return f"<h2>What was declined and why</h2>{_table(('offer', 'reason', 'times'), rows, text=(1,))}"


def _drivers(found: Income) -> str:
    if not found.drivers:
        return f"<h2>What drives customers</h2><p>{_e(found.drivers_of)}</p>"
    items = "".join(f"<li>{_e(says)}</li>" for says in found.drivers)
    note = f"{found.drivers_of} What the model leans on; not a promise of what a change would do."
    return f'<h2>What drives customers</h2><p class="soft">{_e(note)}</p><ol>{items}</ol>'


def _notes(found: Income) -> str:
    items = "".join(f"<li>{count:,} {_e(words)}</li>" for words, count in found.notes.items())
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


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = ()) -> str:
    def cell(tag: str, place: int, content: str) -> str:
        return f"<{tag} class=text>{content}</{tag}>" if place in text else f"<{tag}>{content}</{tag}>"

    first = "".join(cell("th", i, _e(head)) for i, head in enumerate(heads))
    body = "".join("<tr>" + "".join(cell("td", i, value) for i, value in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'


def _money(found: Income, value: float) -> str:
    return f"{value:,.2f} {found.currency}"


def _over(found: Income) -> str:
    return f"over {found.months:g} months"


def _e(text: str) -> str:
    return html.escape(text)
