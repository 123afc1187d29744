"""What the verbs print: one JSON document on stdout for machines, words for people, logs and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nba import folders
from nba.clock import DAY_MS
from nba.errors import ConfigError, InputError, NbaError
from nba.settings import Settings


def typed_path(text: str | Path) -> Path:
    """A path that was typed. An empty one is a variable that nobody set, and would mean the folder that one stands in."""
    if not str(text):
        raise typer.BadParameter("it is empty, as a variable is that was not set: give a path")
    return Path(text)


Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
ConfigName = Annotated[
    str | None,
    typer.Option("--config", metavar="DIR", help="Config folder or shipped name (telco, megaline) [NBA_CONFIG]."),
]
RedisUrl = Annotated[
    str | None,
    typer.Option("--redis-url", metavar="URL", help="Redis; unset: the engine starts its own [NBA_REDIS_URL]."),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", metavar="DIR", parser=typed_path, help="Models, decision log, own Redis [NBA_STATE_DIR, ./.nba]."
    ),
]
Decisions = Annotated[
    Path,
    typer.Option(
        metavar="PATH",
        parser=typed_path,
        help="Parquet file or folder of the decision log (docs/decision-log.md).",
    ),
]
Delayed = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        parser=typed_path,
        help="Parquet of delayed outcomes: churned, stayed (default: beside the decisions).",
    ),
]
WindowDays = Annotated[
    float, typer.Option(min=0, help="Days an answer is waited for: younger rows, answered or not, are left out.")
]
MOST_DAYS = 36_500
# Names come from configs and logs: `[x]` in one is no markup.
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def milliseconds(days: float, option: str) -> int:
    """Days of an option as milliseconds. Raises InputError: no number, or longer than a century."""
    if not 0 <= days <= MOST_DAYS:  # also what is no number
        raise InputError(f"{option} {days:g}: give a number of days from 0 to {MOST_DAYS:,}")
    return round(days * DAY_MS)


def settings_of(**given: Any) -> Settings:
    """The settings: options first, then the environment, then the defaults.

    Raises InputError for a value that is wrong; for a `state_dir` that cannot be a folder where the verb has one.
    """
    from pydantic import ValidationError

    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        lines = [f"NBA_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        raise InputError("; ".join(lines) + ": mend the variable or the option") from error
    if "state_dir" in given:
        _check_folder(settings.state_dir)
    return settings


def _check_folder(folder: Path) -> None:
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise InputError(f"{there} is no folder: give another --state-dir (NBA_STATE_DIR), or move it away")


def settings_epilog() -> str:
    """Every setting, for the help of `nba serve`."""
    rows = [
        f"- NBA_{name.upper()}: {field.description} (default: {field.default})"
        for name, field in Settings.model_fields.items()
    ]
    return "Settings, from the environment or as options:\n\n" + "\n".join(rows)


def print_json(document: Any) -> None:
    """One JSON document and a line end on stdout."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(document, option=options, default=str).decode() + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a page or a table so that it is there wholly, or still as it was: last night's is better than half of one.

    Raises InputError: it cannot be written there.
    """
    target = path.resolve()  # a link stays one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folders.write_whole(target, text.encode())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): make room there, or give another place"
        ) from error


def fail(error: NbaError, *, as_json: bool) -> NoReturn:
    """Print the error and leave: 2 for bad input, 1 for everything that ran and could not be done."""
    if as_json:
        problems = error.problems if isinstance(error, ConfigError) else [str(error)]
        print_json({"error": type(error).__name__, "problems": problems})
    err.print(str(error), style="red")
    sys.exit(2 if isinstance(error, InputError) else 1)


@contextmanager
def progress(title: str, total: float | None = None) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on stderr; nothing at all when it is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not sys.stderr.isatty(), transient=True) as bar:
        yield bar, bar.add_task(title, total=total, note="")
