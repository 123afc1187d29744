"""`nba replay`: a past decision, computed again."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

import typer

from nba.cli.output import ConfigName, Json, StateDir, out, print_json, settings_of
from nba.errors import InputError, NotFoundError
from nba.load import find_config, kept_config, load_config
from nba.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(epilog="Example: nba replay 20261123-d1a207d73ccaa8b6ec7ebe-0000000000")(replay)


def replay(
    decision_id: Annotated[str, typer.Argument(help="As /v1/recommend answered it.")],
    config: ConfigName = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Recompute a past decision from its log record and say if every byte agrees. Exit status 1 when one does not.

    Without --config the copy is taken that the service kept of the config it decided with.
    """
    from serving.replay import replay as again

    settings = settings_of(config=config, state_dir=state_dir)
    record = asyncio.run(_record(settings, decision_id))
    kept = kept_config(record["policy"], settings.state_dir)
    folder = kept if config is None and kept.is_dir() else find_config(settings.config)
    verdict = again(record, load_config(folder), settings.state_dir)
    if as_json:
        print_json(asdict(verdict))
    else:
        _tell(verdict)
    if not verdict.same:
        raise typer.Exit(1)


async def _record(settings: Settings, decision_id: str) -> dict[str, Any]:
    """Raises InputError for an id that names nothing: a 1 would say that a decision did not come out the same."""
    from serving.journal import Folders
    from serving.outcomes import find

    try:
        return await find(Folders(settings.state_dir), decision_id)
    except NotFoundError as error:
        raise InputError(f"{decision_id}: {error}; looked in {settings.state_dir} (--state-dir)") from error


def _tell(verdict: Any) -> None:
    scored = (
        "scored again by its model"
        if verdict.scored_again
        else "with the recorded scores (no model was asked, or it is gone)"
    )
    out.print(f"{verdict.decision_id}: {'the same bytes' if verdict.same else 'NOT the same'}, {scored}")
    for path, sent, computed in verdict.differences:
        out.print(f"  {path}: sent {sent!r}, computed {computed!r}")
