"""The page a person looks at: one self-contained HTML file a version, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from models.challenge import Challenge
from models.charts import MOST_COLUMNS, gain_chart, importance_chart, reliability_chart
from models.judge import Figures, Group
from models.metrics import Array, calibration_error, gain_curve, log_losses
from models.summary import TrainReport
from nba.clock import format_at
from nba.sheet import captioned, sheet, table
from nba.stats import auc


def page(report: TrainReport, found: Challenge) -> str:
    """The whole page as HTML text."""
    parts = [
        _heading(report),
        _gates(report),
        _head("Acceptance", report.accept.figures, gain_curve(found.p, found.y)),
        _stay(report),
        _against_champion(found),
        _importance(report),
        _drivers(report),
        _groups("By offer", report.by_offer),
        _groups("By kind", report.by_kind),
        _drift(report),
        _facts(report),
    ]
    return sheet(f"Model {report.version}", parts)


def _heading(report: TrainReport) -> str:
    c = report.counts
    verdict = "passed every gate" if not report.stopped_by else f"stopped by {', '.join(report.stopped_by)}"
    cls = "yes" if not report.stopped_by else "no"
    trained, calibrated, judged, last = (format_at(ms)[:16].replace("T", " ") for ms in (*c.starts_ms, c.last_ms))
    left = "; left out: " + ", ".join(f"{n:,} {reason}" for reason, n in c.left_out.items()) if c.left_out else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return (
        f'<h1>Model {escape(report.version)}</h1><p class="{cls}">{escape(verdict)}</p>'
        f"<p>{c.used:,} of {c.read:,} rows{escape(left)}. Trained on {c.training:,} from {trained}, calibrated on "
        f"{c.calibration:,} from {calibrated}, judged on {c.judging:,} from {judged} to {last} (UTC): always later.</p>"
        f"<ul class=soft>{notes}</ul>"
    )


def _gates(report: TrainReport) -> str:
    word = {True: '<span class="yes">passed</span>', False: '<span class="no">stopped</span>'}
    rows = [(gate.name, word[gate.passed], escape(gate.says)) for gate in report.gates]
    return "<h2>Gates</h2>" + table(("gate", "", "what was found"), rows, text=(1, 2))


def _head(title: str, f: Figures, gain: tuple[Array, Array] | None) -> str:
    rows = [
        ("log loss", f"{f.log_loss:.4f}", f"{f.base_log_loss:.4f}"),
        ("AUC", _number(f.auc), "0.500"),
        ("calibration error", f"{f.calibration.value:.4f} ({f.calibration.low:.4f} to {f.calibration.high:.4f})", "–"),
        ("share of yes", f"{f.rate:.4f}", f"{f.base_rate:.4f} before"),
    ]
    charts = captioned(reliability_chart(f.curve), f"Honesty: of the calls where the model said 30 %, about 30 % should say yes. "
                     f"Noise alone makes an error of up to {f.calibration.noise:.4f} on {f.rows:,} rows.")  # fmt: skip
    if gain is not None:
        charts += captioned(
            gain_chart(*gain), "Order: how many acceptances are reached when the most likely are asked first."
        )
    figures = table(("", "model", "base rate"), rows)
    return f'<h2>{title}</h2>{figures}<div class="charts">{charts}</div>'


def _stay(report: TrainReport) -> str:
    says = f'<p class="soft">{escape(report.stay_says)}</p>'
    return f"<h2>Staying</h2>{says}" if report.stay is None else _head("Staying", report.stay.figures, None) + says


def _against_champion(found: Challenge) -> str:
    champion = found.incumbent
    if champion.scorer is None or champion.p is None:
        return "<h2>Against the champion</h2><p>There is none to compare with.</p>"
    new, old, y = found.p, champion.p, found.y
    rows = [
        ("log loss", f"{log_losses(new, y).mean():.5f}", f"{log_losses(old, y).mean():.5f}"),
        ("AUC", _number(auc(new, y)), _number(auc(old, y))),
        ("calibration error", f"{calibration_error(new, y):.4f}", f"{calibration_error(old, y):.4f}"),
        ("mean probability", f"{new.mean():.4f}", f"{old.mean():.4f}"),
    ]
    now, then = set(found.scorer.schema.names), set(champion.scorer.schema.names)
    changes = [f"new columns: {', '.join(sorted(now - then))}"] if now - then else []
    changes += [f"columns gone: {', '.join(sorted(then - now))}"] if then - now else []
    moved = abs(new - old).mean()
    text = "; ".join([*changes, f"probabilities moved by {moved:.4f} on average"])
    figures = table(("", "this", "champion"), rows)
    return f"<h2>Against the champion {escape(champion.scorer.version)}</h2>{figures}<p>{escape(text)}</p>"


def _importance(report: TrainReport) -> str:
    every = report.accept.importance
    caption = f"The {min(MOST_COLUMNS, len(every))} columns with the largest gain, of {len(every)}."
    return "<h2>What matters</h2>" + captioned(importance_chart(every), caption)


def _drivers(report: TrainReport) -> str:
    verb = "staying" if report.stay is not None else "accepting"
    items = "".join(f"<li>{escape(driver.says)}</li>" for driver in report.drivers)
    note = "What the model leans on, from a sample of the rows; a likeness, not a promise of what a change would do."
    return f'<h2>What drives {verb}</h2><p class="soft">{note}</p><ol>{items}</ol>'


def _groups(title: str, groups: Sequence[Group]) -> str:
    rows = [
        (escape(g.name), f"{g.rows:,}", f"{g.accepted:.3f} ({g.low:.3f} to {g.high:.3f})", f"{g.predicted:.3f}",
         f"{g.log_loss:.4f}", f"{g.base_log_loss:.4f}", _number(g.auc))
        for g in groups
    ]  # fmt: skip
    heads = ("", "rows", "accepted (95 %)", "predicted", "log loss", "its base rate's", "AUC")
    return f"<h2>{title}</h2>{table(heads, rows)}"


def _drift(report: TrainReport) -> str:
    rows = [(escape(shift.column), f"{shift.psi:.3f}", shift.says) for shift in report.drift[:30]]
    note = "From the training to the judged rows, population stability index; the 30 furthest moved."
    return f'<h2>What moved</h2><p class="soft">{note}</p>{table(("column", "PSI", ""), rows, text=(2,))}'


def _facts(report: TrainReport) -> str:
    rows = [(escape(name), escape(str(value))) for name, value in report.facts.items()]
    a = report.accept
    rows += [("trees", f"{a.trees}"), ("slope, intercept", f"{a.slope:.4f}, {a.intercept:.4f}")]
    return "<h2>Made of</h2>" + table(("", ""), rows, text=(1,))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
