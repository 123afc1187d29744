"""The pages that people read later: self-contained HTML text in one style, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_CSS = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2733;background:#fff;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d6dde4}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.6rem 0}
th,td{padding:.25rem .8rem .25rem 0;text-align:right;border-bottom:1px solid #eef1f4}
th:first-child,td:first-child,td.text,th.text{text-align:left}
.yes{color:#12703c;font-weight:600}.no{color:#b3261e;font-weight:600}.soft{color:#5c6975}
.big{display:flex;flex-wrap:wrap;gap:2rem;margin:1rem 0}.big div{min-width:9rem}.big b{display:block;font-size:1.6rem}
.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts figcaption{max-width:28rem}
figure{margin:0}figcaption{color:#5c6975;font-size:.9rem}svg{max-width:100%;height:auto}
.wide{overflow-x:auto}.warn{border-left:.3rem solid #a33;padding-left:.8rem}
"""


def sheet(title: str, parts: Iterable[str]) -> str:
    """The whole page as HTML text. `title`: plain; `parts`: HTML, empty ones are left out."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_CSS}</style></head><body>\n{body}\n</body></html>\n'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = ()) -> str:
    """A table that scrolls where it is too wide. `heads`: plain; `rows`: HTML; `text`: columns that are no figures."""

    def cell(tag: str, place: int, content: str) -> str:
        return f"<{tag} class=text>{content}</{tag}>" if place in text else f"<{tag}>{content}</{tag}>"

    first = "".join(cell("th", place, escape(head)) for place, head in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(cell("td", place, value) for place, value in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="wide" tabindex="0"><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'


def captioned(svg: str, caption: str) -> str:
    """A chart with what it shows under it; `caption`: plain."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
