"""`nba ingest` and `nba forget`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nba.cli.output import ConfigName, Json, RedisUrl, StateDir, err, out, print_json, progress, settings_of, typed_path
from nba.clock import system_now_ms
from nba.errors import InputError
from nba.load import find_config, load_config
from nba.settings import Settings

if TYPE_CHECKING:
    from features.spec import FeatureSpec
    from features.store import Store

KINDS = ("activity", "customers", "outcomes")
_TIMEOUT_S = 10.0


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command(epilog="Example: nba ingest activity.parquet --config telco")(ingest)
    app.command(epilog="Example: nba forget c-1001")(forget)


def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", parser=typed_path, help="Parquet, CSV, JSON Lines, or folders of them."),
    ],
    kind: Annotated[str, typer.Option(help="activity, customers or outcomes.")] = "activity",
    config: ConfigName = None,
    redis_url: RedisUrl = None,
    state_dir: StateDir = None,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="PATH", parser=typed_path, help="Where refused rows go (default: in the state folder)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Load files into the store. Killed in the middle, the same command goes on where it stood.

    Refused rows go to a file with line and reason; exit status 1 when there are any.
    """
    if kind not in KINDS:
        raise InputError(f"--kind {kind}: use one of {', '.join(KINDS)}")
    settings = settings_of(config=config, redis_url=redis_url, state_dir=state_dir)
    refused = rejected or settings.state_dir / "rejected" / f"{kind}-{_name_of(files)}.jsonl"
    report = asyncio.run(_ingest(settings, files, kind, refused))
    if as_json:
        print_json(report)
    else:
        _tell(report, kind)
    if report["rejected"]:
        raise typer.Exit(1)


def _name_of(files: list[Path]) -> str:
    """One file of refusals for each set of files: the same call goes on in it, another one leaves it alone."""
    return hashlib.sha256("\0".join(str(file.resolve()) for file in files).encode()).hexdigest()[:8]


def _tell(report: dict[str, Any], kind: str) -> None:
    resumed = f", {report['resumed']:,} of them in an earlier run" if report.get("resumed") else ""
    out.print(f"{report['accepted']:,} rows of {kind} taken from {report['files']} files{resumed}")
    if report["rejected"]:
        err.print(f"{report['rejected']:,} rows refused: see {report['rejected_file']}", style="yellow")


async def _ingest(settings: Settings, files: list[Path], kind: str, refused: Path) -> dict[str, Any]:
    from features.ingest import Progress
    from features.ingest import ingest as load

    with progress(f"ingest {kind}", total=1.0) as (bar, task):

        def show(state: Progress) -> None:
            rate = state.rows / max(bar.tasks[0].elapsed or 0.0, 1e-9)
            bar.update(task, completed=state.share, note=f"{state.rows:,} rows, {rate:,.0f}/s")

        async with connected(settings) as (store, spec):
            if kind == "outcomes":
                return await _ingest_outcomes(settings, files, store, refused)
            report = await load(
                files, "activity" if kind == "activity" else "customers", store, spec,
                now_ms=system_now_ms(), rejected_file=refused, progress=show,
            )  # fmt: skip
            return asdict(report)


async def _ingest_outcomes(settings: Settings, files: list[Path], store: Store, refused: Path) -> dict[str, Any]:
    from serving.bulk import ingest_outcomes

    return await ingest_outcomes(files, settings, store, system_now_ms, refused)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[tuple[Store, FeatureSpec]]:
    """The store of these settings, on the engine's own Redis when none is given.

    Raises InputError: the service of this state folder keeps its customers elsewhere.
    """
    from features.embedded import EmbeddedRedis
    from features.spec import FeatureSpec
    from features.store import Store

    _check_same_redis(settings)
    spec = FeatureSpec(load_config(find_config(settings.config)).features)
    embedded = EmbeddedRedis(settings.state_dir) if settings.redis_url is None else None
    url = embedded.start() if embedded else str(settings.redis_url)
    try:
        store = await Store.open(url, spec, timeout_s=_TIMEOUT_S)
        try:
            yield store, spec
        finally:
            await store.close()
    finally:
        if embedded:
            embedded.stop()


def _check_same_redis(settings: Settings) -> None:
    """A receipt for an erasure in a Redis that nobody asks would be worth nothing, and so would a file loaded into it."""
    from features.embedded import EmbeddedRedis
    from serving.workers import living

    own = settings.redis_url is None or EmbeddedRedis(settings.state_dir).is_at(settings.redis_url)
    if any(worker.get("own_redis", own) != own for worker in living(settings.state_dir / "workers")):
        cure = (
            "give --redis-url or NBA_REDIS_URL as the service has it" if own else "leave NBA_REDIS_URL out, as it does"
        )
        raise InputError(f"the service of {settings.state_dir} keeps its customers in another Redis: {cure}")


def forget(
    customer_id: Annotated[str, typer.Argument(help="Whom to forget.")],
    config: ConfigName = None,
    redis_url: RedisUrl = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Erase a customer from store, logs and training data; prints the receipt."""
    settings = settings_of(config=config, redis_url=redis_url, state_dir=state_dir)
    receipt = asyncio.run(_forget(settings, customer_id))
    if as_json:
        print_json(receipt)
        return
    out.print(f"{customer_id} is forgotten since {receipt['at']}")
    for place, count in receipt["removed"].items():
        out.print(f"  {place}: {count} removed")
    out.print(f"  append-only file of Redis: {receipt['redis_file']}")


async def _forget(settings: Settings, customer_id: str) -> dict[str, Any]:
    from features.activity import identifier
    from serving.forget import forget as erase

    identifier(customer_id, "customer_id")
    async with connected(settings) as (store, _):
        file = "rewritten" if settings.redis_url is None else "not ours"
        return await erase(customer_id, settings.state_dir, store, system_now_ms(), redis_file=file)
