"""`nba evaluate`: what another model would have earned, what an experiment says, how many customers it needs, the report."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nba.cli.output import (
    ConfigName,
    Decisions,
    Delayed,
    Json,
    StateDir,
    WindowDays,
    err,
    milliseconds,
    out,
    print_json,
    progress,
    settings_of,
    typed_path,
    write_whole,
)
from nba.clock import parse_day, system_now_ms
from nba.errors import InputError, NotFoundError
from nba.load import find_config, load_config

if TYPE_CHECKING:
    from models.registry import Registry
    from nba.cli.logged import Read
    from nba.cli.trial import Trial
    from nba.config import Config, Lifetime
    from nba.evaluate.ab import Effect
    from nba.evaluate.leaving import Leaving
    from nba.evaluate.ope import Answer

evaluate = typer.Typer(
    help="Does it help? From logged calls (ope, leaving), from an experiment (ab, power), as a report.",
    epilog="Example: nba evaluate ope --decisions .nba/decisions --model champion",
    no_args_is_help=True,
)
Seed = Annotated[int, typer.Option(min=0, help="Same data and seed: same intervals.")]


def _numbers(**options: float | None) -> None:
    """Raises InputError for an option that is no finite number; None: not given."""
    for name, value in options.items():
        if value is not None and not math.isfinite(value):
            raise InputError(f"--{name.replace('_', '-')} {value:g} is no number to calculate with: give a finite one")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(evaluate, name="evaluate")


@evaluate.command(epilog="Example: nba evaluate ope --decisions .nba/decisions --model champion --config telco")
def ope(
    decisions: Decisions,
    model: Annotated[str, typer.Option(help="A version as `nba models list` names it, or `champion`.")],
    config: ConfigName = None,
    state_dir: StateDir = None,
    reward: Annotated[
        str, typer.Option(help="auto (the reward column, else accepted), accepted, margin, saving.")
    ] = "auto",
    clip: Annotated[float | None, typer.Option(min=1, help="Cut weights above this, with a warning.")] = None,
    window_days: WindowDays = 7,
    open_means_no: Annotated[bool, typer.Option(help="Count suggestions without any outcome as not accepted.")] = False,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Only decisions from this day on (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Use at most so many of the newest decisions.")] = 50_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """What that model's policy, with funnel and exploration as configured, would have earned a call on logged decisions.

    Only what is said first is valued. Exit status 1 when the log cannot answer: the reason and the cure are said.
    """
    from models.registry import Registry
    from models.scorer import Scorer
    from nba.cli.logged import Options, learnt_rows, read_question
    from nba.cli.target import Target
    from nba.evaluate.ope import answer

    _numbers(clip=clip)
    settings = settings_of(config=config, state_dir=state_dir)
    sound = load_config(find_config(settings.config))
    registry = Registry(settings.state_dir / "models")
    version = _version(registry.champion() if model == "champion" else model, registry.root)
    folder = _folder(registry, version)
    target = Target(sound, Scorer.load(folder, sound.catalog, sound.features.columns))
    since_ms = 0 if since is None else parse_day(since, "--since")
    options = Options(reward, milliseconds(window_days, "--window-days"), open_means_no, limit, since_ms)
    with progress("ask the model again", total=1.0) as (bar, task):
        read = read_question(
            settings, decisions, target, system_now_ms(), options, lambda share: bar.update(task, completed=share)
        )
        found = answer(read.question, clip=clip, seed=seed)
    said = (*read.warnings, *learnt_rows(folder, read.question.at_ms))
    found = replace(found, warnings=(*found.warnings, *said))
    if as_json:
        about = {"model": version, "policy": sound.fingerprint, "reward": read.reward, "cases": read.cases}
        print_json(about | {"rows": read.counts} | found.as_json())
    else:
        _tell_ope(version, read, found)


def _version(version: str | None, root: Path) -> str:
    if version is None:
        raise NotFoundError(f"no promoted model in {root}: run `nba train`, or name a version")
    return version


def _folder(registry: Registry, version: str) -> Path:
    """Raises InputError: no such version, for the name was given."""
    try:
        return registry.path(version)
    except NotFoundError as error:
        raise InputError(f"--model {version}: {error}") from error


def _tell_ope(version: str, read: Read, found: Answer) -> None:
    shown = found.overlap
    out.print(f"{version} on {shown.rows:,} logged decisions, per call: {read.reward}")
    for words, count in read.counts.items():
        out.print(f"  {count:,} {words}")
    if read.cases["rebuilt"]:
        err.print(
            f"  {read.cases['rebuilt']:,} cases were rebuilt from x.* columns and the log's earlier rows: without open issues "
            "and contacts that are not in the log, so the funnel withholds less than it would have",
            style="yellow",
        )
    table = Table("estimator", "value", "95 %", "95 % at every look")
    for name, e in {"logged": found.logged, **found.estimates, "dr - logged": found.gain}.items():
        table.add_row(name, f"{e.value:.4f}", _ends(e.low, e.high, ".4f"), _ends(e.always_low, e.always_high, ".4f"))
    out.print(table)
    out.print(
        "dm takes the reward model as right: its intervals know nothing of the model's own error; trust dr before it"
    )
    out.print(
        f"effective rows {shown.effective:,.0f} of {shown.rows:,}; mean weight {shown.mean_weight:.3f} ± "
        f"{1.96 * shown.mean_weight_error:.3f} (to be 1); largest weight {shown.heaviest:.1f}; the heaviest hundredth of the "
        f"effective rows carries {shown.tail:.0%}; {shown.unused:.0%} of rows unused"
    )
    for warning in found.warnings:
        err.print(f"warning: {warning}", style="yellow")
    out.print(found.verdict)


@evaluate.command(epilog="Example: nba evaluate ab --decisions .nba/decisions --experiment kinder --config telco")
def ab(
    decisions: Decisions,
    experiment: Annotated[
        str, typer.Option(help="As policy.yaml names it, or `holdout`: the policy against the hold-outs.")
    ],
    config: ConfigName = None,
    state_dir: StateDir = None,
    control: Annotated[str | None, typer.Option(help="The arm to compare with (default: control, holdout, …).")] = None,
    unit: Annotated[str | None, typer.Option(help="What was assigned: customer, agent_id or agent_group.")] = None,
    shares: Annotated[
        str | None, typer.Option(metavar="ARM=SHARE,…", help="Planned shares (default: from policy.yaml).")
    ] = None,
    goal: Annotated[list[str] | None, typer.Option(help="A further numeric column of the log, by call.")] = None,
    guardrail: Annotated[
        list[str] | None, typer.Option(help="The same, where more is worse: complaints, handle_s.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Relative harm of a guardrail that is accepted.")] = 0.0,
    cuped: Annotated[bool, typer.Option(help="Take away what x columns from before the first call explain.")] = True,
    without: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="An x column that CUPED leaves out.")
    ] = None,
    delayed: Delayed = None,
    horizon_days: Annotated[
        float, typer.Option(min=0, help="Leaving counts within so many days of the first call.")
    ] = 30,
    window_days: WindowDays = 0,
    open_means_no: Annotated[bool, typer.Option(help="Count suggestions without any outcome as not accepted.")] = False,
    planned_customers: Annotated[int, typer.Option(min=100, help="Planned size, fixed before the start.")] = 5_000,
    as_json: Json = False,
) -> None:
    """A finished or running experiment. The intervals at every look hold whenever you look, and stopping then is allowed.

    Exit status 1 when a guardrail says stop, or when the data do not allow a comparison: the reason and the cure are said.
    """
    from nba.cli.arms import arm_of
    from nba.cli.calls import read_calls, read_churn
    from nba.cli.trial import Ask, analyse

    _numbers(tolerance=tolerance)
    window_ms, horizon_ms = milliseconds(window_days, "--window-days"), milliseconds(horizon_days, "--horizon-days")
    settings = settings_of(config=config, state_dir=state_dir)
    sound = load_config(find_config(settings.config))
    ask = Ask(
        experiment, unit, control, _shares(shares), tuple(guardrail or ()), tuple(goal or ()), _plain(without), cuped,
        horizon_ms, tolerance, planned_customers,
    )  # fmt: skip
    now_ms = system_now_ms()
    with progress("read calls") as (bar, task):
        calls = read_calls(
            settings, decisions, sound, now_ms, window_ms=window_ms, open_means_no=open_means_no,
            numbers=(*ask.goals, *ask.guardrails), x_names=_measured(sound) if cuped else (),
            x_among=lambda head: arm_of(head, experiment) is not None, tell=lambda done: bar.update(task, completed=done),
        )  # fmt: skip
        found = analyse(calls, sound, ask, read_churn(decisions, delayed, now_ms))
    if as_json:
        print_json(found.as_json())
    else:
        _tell_ab(found)
    if found.stop:
        raise typer.Exit(1)


def _measured(config: Config) -> list[str]:
    """The x columns that CUPED may use."""
    return [column.name for column in config.features.columns if column.dtype != "category"]


def _plain(names: list[str] | None) -> tuple[str, ...]:
    return tuple(name.removeprefix("x.") for name in names or ())


def _shares(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        found = {name.strip(): float(share) for name, share in (part.split("=") for part in text.split(","))}
    except ValueError as error:
        raise InputError(f"--shares {text}: write it like control=0.5,new=0.5") from error
    if not all(0 < share < math.inf for share in found.values()):
        raise InputError(f"--shares {text}: every share has to be a finite number above 0")
    return found


def _ends(low: float, high: float, form: str) -> str:
    """Both ends of an interval; in words where there is none."""
    return f"{low:{form}} to {high:{form}}" if math.isfinite(low) and math.isfinite(high) else "no interval yet"


def _verdict(what: str, says: str) -> Text:
    return Text.assemble(f"{what}: ", (says, "bold"))


def _tell_effect(e: Effect) -> None:
    if math.isnan(e.difference):
        out.print(_verdict(f"{e.metric} in {e.arm}", e.says))
        return
    lift = "" if e.relative is None else f" ({e.relative:+.1%})"
    out.print(_verdict(f"{e.metric}: {e.control:.4f} -> {e.treatment:.4f} in {e.arm}{lift}", e.says))
    once, always = _ends(e.low, e.high, "+.4f"), _ends(e.always_low, e.always_high, "+.4f")
    out.print(f"    at the end  {e.difference:+.4f}, 95 % {once}, p {e.p:.3f}, Holm {e.holm:.3f}")
    out.print(f"    at any look 95 % {always}, p {e.always_p:.3f}, Holm {e.always_holm:.3f}")


def _tell_ab(found: Trial) -> None:
    out.print(f"{found.experiment}, by {found.unit}: " + ", ".join(f"{name} {n:,}" for name, n in found.arms.items()))
    if found.ratio is not None:
        out.print(f"  arms as planned: p {found.ratio.p:.3f} (at every look {found.ratio.always_p:.3f})")
    for words, count in found.counts.items():
        out.print(f"  {count:,} {words}")
    for e in found.effects:
        _tell_effect(e)
    if found.columns:
        saved = found.effects[0].saved
        out.print(
            f"CUPED took {saved:.0%} of the variance of {found.effects[0].metric} away with {', '.join(found.columns)}"
        )
    for note in found.notes:
        err.print(f"note: {note}", style="yellow")


@evaluate.command(epilog="Example: nba evaluate power --rate 0.2 --lift 0.05 --a-day 800")
def power(
    rate: Annotated[
        float | None, typer.Option(help="The metric of today as a share, such as 0.2 accepted calls.")
    ] = None,
    mean: Annotated[
        float | None, typer.Option(help="The metric of today as money or minutes; with --deviation.")
    ] = None,
    deviation: Annotated[float | None, typer.Option(help="Its standard deviation by customer.")] = None,
    lift: Annotated[float | None, typer.Option(help="The least relative change that matters, such as 0.05.")] = None,
    customers: Annotated[int | None, typer.Option(help="Those there are: what can they show?")] = None,
    power: Annotated[float, typer.Option(help="P(a true lift of that size is seen).")] = 0.8,
    alpha: Annotated[float, typer.Option(help="P(a lift is seen where there is none).")] = 0.05,
    share: Annotated[float, typer.Option(help="Share of the customers in the treatment.")] = 0.5,
    saved: Annotated[
        float, typer.Option(help="Share of the variance that CUPED takes away (as `ab` reports it).")
    ] = 0.0,
    group: Annotated[float, typer.Option(help="Customers assigned together, by agent or site.")] = 1.0,
    icc: Annotated[float, typer.Option(help="How alike those of a group are (intraclass correlation).")] = 0.0,
    comparisons: Annotated[int, typer.Option(help="Goals times treatments.")] = 1,
    once: Annotated[bool, typer.Option(help="Look once, at the end, instead of every day.")] = False,
    a_day: Annotated[float | None, typer.Option(min=0.001, help="Customers who arrive a day.")] = None,
    as_json: Json = False,
) -> None:
    """How many customers an experiment needs before it starts, and what those there are can show."""
    from nba.evaluate.power import Plan
    from nba.evaluate.power import as_json as answer_of

    _numbers(mean=mean, deviation=deviation, lift=lift, a_day=a_day)
    if (rate is None) == (mean is None) or (mean is not None and deviation is None):
        raise InputError("give --rate, or --mean with --deviation: what the metric is today")
    if lift is None and customers is None:
        raise InputError("give --lift (how many customers?), --customers (what can they show?), or both")
    if rate is not None and not 0 < rate < 1:
        raise InputError(f"--rate {rate:g} is outside (0, 1): give a share, or --mean with --deviation")
    if rate is not None and lift is not None and not 0 <= rate * (1 + lift) <= 1:
        raise InputError(f"--lift {lift:g} of --rate {rate:g} is a share of {rate * (1 + lift):.0%}: lift is relative")
    middle = rate if rate is not None else mean or 0.0
    spread = (middle * (1 - middle)) ** 0.5 if rate is not None else deviation or 0.0
    plan = Plan(middle, spread, power, alpha, share, saved, group, icc, comparisons, not once, rate is not None)
    found = answer_of(plan, lift, customers, a_day)
    print_json(found) if as_json else _tell_power(found)


def _tell_power(found: dict[str, Any]) -> None:
    looking = "looking every day" if found["plan"]["looking"] else "looking once"
    if found["customers"] is not None:
        days = f", {found['days']:,} days" if "days" in found else ""
        known = found.get("planned_customers")
        planned = "" if known is None else f" with `nba evaluate ab --planned-customers {known}`"
        out.print(
            f"a lift of {found['lift']:+.1%} is seen with {found['plan']['power']:.0%} by {found['customers']:,} customers "
            f"({found['treatment']:,} treated, {found['control']:,} control){days}, {looking}{planned}"
        )
    if "given_customers" in found:
        known = f"; {found['lift']:+.1%} with {found['power']:.0%}" if "power" in found else ""
        lift = found["detectable_lift"]
        shown = "no lift, however large: more are needed" if lift is None else f"a lift of {lift:.1%}"
        out.print(f"{found['given_customers']:,} customers show {shown}{known}, {looking}")


@evaluate.command(epilog="Example: nba evaluate leaving --decisions .nba/decisions --config telco")
def leaving(
    decisions: Decisions,
    config: ConfigName = None,
    state_dir: StateDir = None,
    delayed: Delayed = None,
    as_json: Json = False,
) -> None:
    """How often customers leave, free and bound and by what they overpay: the rates for `worth.lifetime` of policy.yaml.

    From the calls in which something was suggested, and from who was reported as churned or stayed. Exit status 1 when too
    few left to tell.
    """
    from nba.cli.leaving import read_stretches
    from nba.evaluate.leaving import leaving as rates_of

    settings = settings_of(config=config, state_dir=state_dir)
    sound, now_ms = load_config(find_config(settings.config)), system_now_ms()
    with progress("read calls", total=1.0) as (bar, task):
        stretches = read_stretches(
            settings, decisions, sound, delayed, now_ms, lambda share: bar.update(task, completed=share)
        )
    found = rates_of(stretches)
    if as_json:
        print_json(found.as_json())
    else:
        _tell_leaving(found, sound.policy.worth.lifetime)


def _tell_leaving(found: Leaving, declared: Lifetime | None) -> None:
    out.print(
        f"{found.left:,} customers left in {found.months:,.0f} months of customers to whom something had been suggested"
    )
    beside: dict[str, float] = {}
    if declared is not None:
        beside = {"leave_month": declared.leave_month, "overpaid_month": declared.overpaid_month}
        beside["bound.times"] = declared.bound.times
    table = Table("rate", "found", "95 %", *(["policy.yaml"] if beside else []))
    for name, rate in found.rates.items():
        said = [f"{beside[name]:g}"] if beside else []
        table.add_row(name, f"{rate.value:.3g}", f"{rate.low:.3g} to {rate.high:.3g}", *said)
    out.print(table)
    for note in found.notes:
        err.print(f"note: {note}", style="yellow")
    out.print("What they overpay is an estimate, which makes overpaid_month look smaller than it is.")


@evaluate.command(epilog="Example: nba evaluate report --decisions .nba/decisions --out report.html --config telco")
def report(
    decisions: Decisions,
    out_path: Annotated[
        Path, typer.Option("--out", metavar="PATH", parser=typed_path, help="The HTML page; the CSV lies beside it.")
    ] = Path("report.html"),
    config: ConfigName = None,
    state_dir: StateDir = None,
    experiment: Annotated[str, typer.Option(help="The experiment that holds the hold-out.")] = "holdout",
    control: Annotated[str | None, typer.Option(help="Its arm that is the hold-out.")] = None,
    delayed: Delayed = None,
    horizon_days: Annotated[float, typer.Option(min=0, help="Who leaves within so many days was not kept.")] = 30,
    window_days: WindowDays = 0,
    open_means_no: Annotated[bool, typer.Option(help="Count suggestions without any outcome as not accepted.")] = False,
    as_json: Json = False,
) -> None:
    """What the service calls earned and kept: one self-contained HTML page, and its lines as CSV beside it."""
    from nba.cli.arms import arm_of
    from nba.cli.calls import read_calls, read_churn
    from nba.cli.earned import Against, earned, read_reasons
    from nba.evaluate.page import as_csv, page

    window_ms, horizon_ms = milliseconds(window_days, "--window-days"), milliseconds(horizon_days, "--horizon-days")
    settings = settings_of(config=config, state_dir=state_dir)
    sound = load_config(find_config(settings.config))
    now_ms = system_now_ms()
    with progress("read calls") as (bar, task):
        calls = read_calls(
            settings, decisions, sound, now_ms, window_ms=window_ms, open_means_no=open_means_no, x_names=("plan",),
            x_among=lambda head: arm_of(head, experiment) is not None, tell=lambda done: bar.update(task, completed=done),
        )  # fmt: skip
        against = Against(experiment, control, horizon_ms)
        churn, reasons = read_churn(decisions, delayed, now_ms), read_reasons(decisions, calls.ids)
        found = earned(calls, sound, against, churn, reasons, settings.state_dir / "models")
    beside = out_path.with_suffix(".csv")
    write_whole(out_path, page(found))
    write_whole(beside, as_csv(found))
    if as_json:
        print_json(asdict(found) | {"html": str(out_path), "csv": str(beside)})
        return
    total = found.total
    out.print(f"{total.offers:,} suggestions in {found.calls:,} calls, {total.accepted:,} accepted ({total.share:.1%})")
    for warning in found.warnings:
        err.print(f"warning: {warning}", style="yellow")
    out.print(f"written: {out_path} and {beside}")
