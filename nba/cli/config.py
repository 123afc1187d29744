"""`nba init` and `nba check`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from nba.cli.output import ConfigName, Json, err, out, print_json, settings_of, typed_path
from nba.errors import ConfigError, InputError
from nba.load import check_folder, find_config


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command(epilog="Example: nba init shop && nba check --config shop")(init)
    app.command(epilog="Example: nba check --config shop")(check)


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", parser=typed_path, help="Folder to make; must not exist or be empty.")
    ],
    like: Annotated[str, typer.Option("--from", help="Shipped config to start from: telco or megaline.")] = "telco",
    as_json: Json = False,
) -> None:
    """Write a new config folder that works as it stands."""
    files = sorted(find_config(like).glob("*.yaml")) if like else []
    if not files:
        raise InputError(f"--from {like!r}: holds no config: use telco, megaline, or a folder with a features.yaml")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory}: is there already and not empty: choose another folder, or empty this one")
    written = [directory / file.name for file in files]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, copy in zip(files, written, strict=True):
            shutil.copyfile(file, copy)
    except OSError as error:
        for copy in written:
            if directory.is_dir():
                copy.unlink(missing_ok=True)
        raise InputError(f"{directory}: cannot be written ({error.strerror}): choose another folder") from error
    if as_json:
        print_json({"folder": str(directory), "files": [str(file) for file in written]})
        return
    out.print(f"wrote {', '.join(file.name for file in written)} to {directory}")
    out.print(f"next: nba check --config {directory}   then: nba serve --config {directory}")


def check(config: ConfigName = None, as_json: Json = False) -> None:
    """Validate a config folder: file, line, what is wrong, how to mend it. Exit status 1 when something is."""
    from features.spec import FeatureSpec

    folder = find_config(settings_of(config=config).config)
    try:
        sound, notes = check_folder(folder)
        # Refuses names that the log could not tell apart, as the service would at its start.
        FeatureSpec(sound.features)
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "folder": str(folder), "problems": error.problems, "warnings": []})
        for problem in error.problems:
            err.print(problem, style="red")
        raise typer.Exit(1) from error
    features, offers = sound.features, sound.catalog.offers
    if as_json:
        print_json({"ok": True, "folder": str(folder), "problems": [], "warnings": notes, "policy": sound.fingerprint})
        return
    for note in notes:
        err.print(f"note: {note}", style="yellow")
    out.print(
        f"{folder.name}: sound. {len(features.activities)} activities, {len(features.features)} features, "
        f"{len(features.profile)} profile and {len(features.context)} context fields, {len(offers)} offers, "
        f"languages {', '.join(sound.policy.locales)}; version {sound.fingerprint}"
    )
