"""`nba evaluate`: what another model would have earned, what an experiment says, how many customers it needs, the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nba.cli.output import ConfigName, Json, StateDir, err, out, print_json, progress, settings_of
from nba.clock import DAY_MS, system_now_ms

if TYPE_CHECKING:
    from nba.cli.logged import Read
    from nba.evaluate.ope import Answer

evaluate = typer.Typer(
    help="Does it help? From logged calls (ope), from an experiment (ab, power), as a report.", no_args_is_help=True
)
Decisions = Annotated[
    Path, typer.Option(help="Parquet file or folder of the decision log (docs: contract, section 5).")
]
Window = Annotated[float, typer.Option(min=0, help="Days after which a shown offer without an answer counts as no.")]
Seed = Annotated[int, typer.Option(help="Same data and seed: same intervals.")]


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
    window_days: Window = 7,
    open_means_no: Annotated[bool, typer.Option(help="Count suggestions without any outcome as not accepted.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Use at most so many of the newest decisions.")] = 50_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """What that model's policy, with funnel and exploration as configured, would have earned a call on logged decisions.

    Only what is said first is valued. Exit status 1 when the log cannot answer: the reason and the cure are said.
    """
    from models.registry import Registry
    from models.scorer import Scorer
    from nba.cli.logged import Options, read_question
    from nba.cli.target import Target
    from nba.evaluate.ope import answer
    from nba.load import find_config, load_config

    settings = settings_of(config=config, state_dir=state_dir)
    sound = load_config(find_config(settings.config))
    registry = Registry(settings.state_dir / "models")
    version = _version(registry.champion() if model == "champion" else model, registry.root)
    target = Target(sound, Scorer.load(registry.path(version), sound.catalog, sound.features.columns))
    options = Options(reward, round(window_days * DAY_MS), open_means_no, limit)
    with progress("ask the model again", total=1.0) as (bar, task):
        read = read_question(
            settings, decisions, target, system_now_ms(), options, lambda share: bar.update(task, completed=share)
        )
        found = answer(read.question, clip=clip, seed=seed)
    if as_json:
        about = {"model": version, "policy": sound.fingerprint, "reward": read.reward, "cases": read.cases}
        print_json(about | {"rows": read.counts} | found.as_json())
    else:
        _tell_ope(version, read, found)


def _version(version: str | None, root: Path) -> str:
    from nba.errors import NotFoundError

    if version is None:
        raise NotFoundError(f"no promoted model in {root}: run `nba train`, or name a version")
    return version


def _tell_ope(version: str, read: Read, found: Answer) -> None:
    shown = found.overlap
    out.print(f"{version} on {shown.rows:,} logged decisions, per call: {read.reward}", markup=False)
    for words, count in read.counts.items():
        out.print(f"  {count:,} {words}", markup=False)
    if read.cases["rebuilt"]:
        err.print(
            f"  {read.cases['rebuilt']:,} cases were rebuilt from x.* columns: without contact history and open issues, so "
            "the funnel withholds less than it would have",
            style="yellow",
        )
    table = Table("estimator", "value", "95 %", "95 % at every look")
    for name, e in {"logged": found.logged, **found.estimates, "dr - logged": found.gain}.items():
        table.add_row(
            name, f"{e.value:.4f}", f"{e.low:.4f} to {e.high:.4f}", f"{e.always_low:.4f} to {e.always_high:.4f}"
        )
    out.print(table)
    out.print(
        f"effective rows {shown.effective:,.0f} of {shown.rows:,}; mean weight {shown.mean_weight:.3f} ± "
        f"{1.96 * shown.mean_weight_error:.3f} (to be 1); largest weight {shown.heaviest:.1f}; the heaviest 1 % of rows carry "
        f"{shown.tail:.0%}; {shown.unused:.0%} of rows unused"
    )
    for warning in found.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False)
    out.print(_verdict(found))


def _verdict(found: Answer) -> str:
    if found.gain.low > 0:
        return "better than what was logged, beyond noise"
    return (
        "worse than what was logged, beyond noise"
        if found.gain.high < 0
        else "no difference from what was logged is shown"
    )


def _plain(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found)
