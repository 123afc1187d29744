"""`nba train` and `nba models`: what an unattended night job calls."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

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
)
from nba.clock import day_of, parse_day, system_now_ms
from nba.errors import InputError, ModelError, NotFoundError
from nba.load import find_config, load_config
from nba.settings import Settings

if TYPE_CHECKING:
    from models.registry import Registry
    from models.summary import TrainReport

models = typer.Typer(
    help="The registry of models: list, show, promote, rollback.",
    epilog="Example: nba models list",
    no_args_is_help=True,
)
Version = Annotated[str, typer.Argument(help="A version, as `nba models list` names it.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command(epilog="Example: nba train --decisions .nba/decisions --config telco")(train)
    app.add_typer(models, name="models")


def train(
    decisions: Decisions,
    delayed: Delayed = None,
    config: ConfigName = None,
    state_dir: StateDir = None,
    valid_share: Annotated[
        float | None,
        typer.Option(help="The latest share of the rows, kept for calibration and judging (default: 0.2)."),
    ] = None,
    valid_from: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="Keep everything from this day on, instead (accept head only: the stay head's rows end a horizon earlier).",
        ),
    ] = None,
    window_days: WindowDays = 7,
    weights: Annotated[str, typer.Option(help="none, or propensity: weigh each row with 1 / propensity.")] = "none",
    monotone: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=±1", help="Never the other way, e.g. pair.saving_month=1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same data and seed: same bytes.")] = 0,
    promote: Annotated[bool, typer.Option(help="Promote when every gate says yes.")] = True,
    tune: Annotated[
        float,
        typer.Option(min=0, metavar="MINUTES", help="Search parameters of the accept head this long (extra: tune)."),
    ] = 0.0,
    stay_after_days: Annotated[int, typer.Option(min=1, help="Horizon of the stay head.")] = 90,
    as_json: Json = False,
) -> None:
    """Train, calibrate, export to ONNX, prove parity, write a version to the registry, promote it through the gates.

    Exit status 1 when a gate said no, also with --no-promote: the version is kept, the champion stays.
    """
    window_ms = milliseconds(window_days, "--window-days")
    split = _split(valid_share, valid_from)
    settings = settings_of(config=config, state_dir=state_dir)
    report = run_training(
        settings, decisions, delayed, **split, seed=seed, promote=promote,
        weights=_one_of(weights, "weights", ("none", "propensity")), monotone=_monotone(monotone or []),
        window_ms=window_ms, tune_minutes=tune, stay_after_days=stay_after_days,
    )  # fmt: skip
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report)
    if report.stopped_by:
        raise typer.Exit(1)


def run_training(settings: Settings, decisions: Path, delayed: Path | None = None, **options: Any) -> TrainReport:
    """Train on a path; where it is the engine's own decision log, with the rows that have not been rolled yet."""
    from models.learned import Options
    from models.registry import Registry
    from models.train import train as learn

    folder = find_config(settings.config)
    sound = load_config(folder)
    rows = decision_rows(settings, decisions)
    options["monotone"] = {**sound.policy.monotone, **options.get("monotone", {})}
    with progress("train") as (bar, task):
        return learn(
            rows, sound, Registry(settings.state_dir / "models"), now_ms=system_now_ms(), options=Options(**options),
            delayed=delayed_of(decisions, delayed),
            progress=lambda fraction, text: bar.update(task, total=1.0, completed=fraction, note=text),
        )  # fmt: skip


def delayed_of(decisions: Path, given: Path | None) -> Path | None:
    """The delayed outcomes that belong to these decisions: those given, else the folder that the engine keeps beside them.

    None where there is none beside. Raises InputError: those given hold nothing, which must not look as if none were given.
    """
    from models.sources import parquet_files

    place = given or decisions.resolve().parent / "outcomes_delayed"
    if place.is_file() or (place.is_dir() and parquet_files(place)):
        return place
    if given is not None:
        what = "holds no Parquet" if given.exists() else "not there"
        raise InputError(f"{given}: {what}: give the Parquet of delayed outcomes, or leave --delayed out")
    return None


def decision_rows(settings: Settings, decisions: Path) -> list[Any]:
    """What a path of decisions means: the path itself, and what the running service has not rolled into it yet."""
    from nba.cli.records import is_own

    own = settings.state_dir / "decisions"
    if not is_own(settings, decisions):
        if not decisions.exists():
            raise InputError(f"{decisions}: not there: give a Parquet file or folder, such as {own}")
        return [decisions]
    from models.sources import parquet_files
    from serving.roll import pending_table, roll

    done = roll(settings.state_dir)  # what nobody writes any more becomes Parquet, and outcomes settle into their rows
    if done["quarantined"]:
        err.print(
            f"{done['quarantined']} lines of the log were no rows: see {settings.state_dir / 'quarantine'}",
            style="yellow",
        )
    pending = pending_table(settings.state_dir)
    rows = [*([own] if own.is_dir() and parquet_files(own) else []), *([pending] if pending.num_rows else [])]
    if not rows:
        raise InputError(f"{own}: holds no decisions yet: let the service answer some calls first")
    return rows


def print_report(report: TrainReport) -> None:
    """The report as a person reads it."""
    counts, figures = report.counts, report.accept.figures
    out.print(f"{report.version}: {counts.used:,} of {counts.read:,} rows used, {report.accept.trees} trees")
    for reason, count in counts.left_out.items():
        if count:
            out.print(f"  left out: {count:,} {reason}")
    trained, calibrated, judged, last = (day_of(ms) for ms in (*counts.starts_ms, counts.last_ms))
    out.print(
        f"  trained on {counts.training:,} from {trained}, calibrated on {counts.calibration:,} from {calibrated}, "
        f"judged on {counts.judging:,} from {judged} to {last}"
    )
    out.print(f"  on the judged rows: {figures_line(figures)}")
    out.print(f"  leans on: {', '.join(list(report.accept.importance)[:5])}")
    if moved := [shift.column for shift in report.drift if not shift.says.startswith("stable")]:
        out.print(f"  moved since the training rows: {_listed(moved)}")
    out.print(f"  stay head: {report.stay_says}" if report.stay else f"  {report.stay_says}")
    for gate in report.gates:
        out.print(f"  {'passed' if gate.passed else 'STOPPED'}  {gate.name}: {gate.says}")
    for note in report.notes:
        err.print(f"  note: {note}", style="yellow")
    out.print(f"  report: {report.folder / 'report.html'}")
    state = (
        "promoted; a running service takes it at POST /v1/admin/reload"
        if report.promoted
        else f"not promoted; the champion is {report.champion or 'none'}"
    )
    out.print(f"{report.version} {state}")


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def figures_line(figures: Any) -> str:
    """Log loss, AUC and calibration in one line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}" for name, value in asdict(figures).items() if isinstance(value, float)
    )


@models.command("list", epilog="Example: nba models list --json")
def list_models(state_dir: StateDir = None, as_json: Json = False) -> None:
    """Every version, the champion marked; also where the champion is broken, for that is when one looks."""
    registry = _registry(state_dir)
    champion, problem = _champion(registry)
    versions = [{"version": v, "champion": v == champion, **_figures(registry.root / v)} for v in registry.versions()]
    if problem:
        err.print(problem, style="yellow")
    if as_json:
        print_json({"champion": champion, "versions": versions, **({"problem": problem} if problem else {})})
        return
    whole = Column("version", no_wrap=True, min_width=22)  # where there is little room: it is what one copies
    table = Table(whole, "champion", "rows", "log loss", "base rate's", "AUC", "stopped by")
    for row in versions:
        table.add_row(str(row["version"]), "yes" if row["champion"] else "", *_cells(row))
    out.print(table if versions else f"no models in {registry.root}: run `nba train`")


def _figures(folder: Path) -> dict[str, Any]:
    """What the list tells of a version, as it was judged on its own latest rows; None where that cannot be read."""
    try:
        kept = json.loads((folder / "metrics.json").read_bytes())
        found = kept["accept"]["figures"]
        told = (kept["counts"]["used"], found["log_loss"], found["base_log_loss"], found["auc"], kept["stopped_by"])
    except (OSError, ValueError, KeyError, TypeError):
        told = (None,) * 5
    return dict(zip(("rows", "log_loss", "base_log_loss", "auc", "stopped_by"), told, strict=True))


def _cells(row: dict[str, Any]) -> list[str]:
    numbers = [row[name] for name in ("log_loss", "base_log_loss", "auc")]
    rows = "?" if row["rows"] is None else f"{row['rows']:,}"
    return [rows, *("?" if n is None else f"{n:.4f}" for n in numbers), ", ".join(row["stopped_by"] or ())]


def _champion(registry: Registry) -> tuple[str | None, str]:
    """The champion, and what is wrong with it."""
    try:
        champion = registry.champion()
    except ModelError as error:
        return None, str(error)
    if champion is None or champion in registry.versions():
        return champion, ""
    return champion, f"the champion {champion} is not there: `nba models rollback`, or promote another"


@models.command("show", epilog="Example: nba models show 20261123T101500-ab12cd")
def show(version: Version, state_dir: StateDir = None, as_json: Json = False) -> None:
    """What is kept of a version: figures, gates, certificate, data and library versions."""
    from models.registry import verified

    files = verified(_known(_registry(state_dir), version))
    documents = {name.removesuffix(".json"): json.loads(raw) for name, raw in files.items() if name.endswith(".json")}
    if as_json:
        print_json({"version": version, "files": sorted(files), **documents})
        return
    out.print(f"{version}: {', '.join(sorted(files))}")
    out.print_json(data=documents)


@models.command("promote", epilog="Example: nba models promote 20261123T101500-ab12cd")
def promote(version: Version, state_dir: StateDir = None, as_json: Json = False) -> None:
    """Make a version the champion; a running service takes it at POST /v1/admin/reload."""
    from models.scorer import check_runs

    registry = _registry(state_dir)
    _known(registry, version)
    registry.promote(version, check_runs)
    _tell_champion(registry, as_json)


@models.command("rollback", epilog="Example: nba models rollback")
def rollback(state_dir: StateDir = None, as_json: Json = False) -> None:
    """Go back to the champion before this one, past those that are deleted or broken."""
    registry = _registry(state_dir)
    _, passed_over = registry.rollback()
    for why in passed_over:
        err.print(f"passed over: {why}", style="yellow")
    _tell_champion(registry, as_json, passed_over=passed_over)


def _tell_champion(registry: Registry, as_json: bool, **more: Any) -> None:
    if as_json:
        print_json({"champion": registry.champion(), **more})
    else:
        out.print(f"champion: {registry.champion()}")


def _known(registry: Registry, version: str) -> Path:
    """The folder of a version that somebody typed."""
    try:
        return registry.path(version)
    except NotFoundError as error:
        raise InputError(str(error)) from error


def _registry(state_dir: Path | None) -> Registry:
    from models.registry import Registry

    return Registry(settings_of(state_dir=state_dir).state_dir / "models")


def _split(share: float | None, day: str | None) -> dict[str, float]:
    """Where to split in time, as the options of a training name it; empty: as usual. Raises InputError: said twice."""
    if share is not None and day is not None:
        raise InputError(f"--valid-share {share:g} and --valid-from {day} both say where to split: give one of the two")
    if day is not None:
        return {"valid_from_ms": parse_day(day, "--valid-from")}
    return {} if share is None else {"valid_share": share}


def _one_of(value: str, name: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InputError(f"--{name} {value}: use one of {', '.join(known)}")
    return value


def _monotone(given: list[str]) -> dict[str, int]:
    found = {}
    for text in given:
        column, _, sign = text.rpartition("=")
        if not column or sign not in ("1", "+1", "-1"):
            raise InputError(f"--monotone {text}: write COLUMN=1 or COLUMN=-1")
        found[column] = int(sign)
    return found
