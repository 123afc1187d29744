"""Read a config folder, check it, and give it out only when it is sound."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from nba.cautions import warnings
from nba.check import check_config
from nba.complaints import complaints
from nba.config import Catalog, Config, FeaturesConfig, Policy
from nba.errors import ConfigError
from nba.folders import make_private
from nba.lines import Document, read_document

_FILES: dict[str, type[BaseModel]] = {"features": FeaturesConfig, "catalog": Catalog, "policy": Policy}


def load_config(folder: Path) -> Config:
    """Read and check a config folder.

    Raises ConfigError with every problem found, each as `file:line: place: what is wrong: how to mend it`.
    """
    return _read(folder)[0]


def check_folder(folder: Path) -> tuple[Config, list[str]]:
    """A config folder as `load_config` reads it, and what it is cautioned about, in the same form. Raises ConfigError."""
    config, documents = _read(folder)
    return config, warnings(config, documents)


def _read(folder: Path) -> tuple[Config, dict[str, Document]]:
    problems: list[str] = []
    documents: dict[str, Document] = {}
    parts: dict[str, Any] = {}
    for part, model in _FILES.items():
        try:
            documents[part] = read_document(folder / f"{part}.yaml")
            parts[part] = _validated(model, documents[part])
        except ConfigError as error:
            problems += error.problems
    if not problems:
        config = Config(folder=folder, fingerprint=_fingerprint(folder), **parts)
        problems = check_config(config, documents)
    if problems:
        raise ConfigError(problems)
    return config, documents


def find_config(name: str) -> Path:
    """A folder by path, or one of those the engine ships by name (`telco`, `megaline`). Raises ConfigError."""
    shipped = Path(__file__).parent / "configs"
    if Path(name).is_dir():
        return Path(name)
    if re.fullmatch(r"[a-z0-9_-]+", name) and (shipped / name).is_dir():
        return shipped / name
    names = ", ".join(sorted(p.name for p in shipped.iterdir() if p.is_dir()))
    raise ConfigError(
        [f"{name}: no such config folder: give a path, a shipped one ({names}), or run `nba init {name}`"]
    )


def keep_config(config: Config, state_dir: Path) -> Path:
    """Keep a copy of a served config by its version, so that its decisions can be replayed after it has changed.

    Written to a folder of its own and renamed, so a copy is whole or not there. Raises OSError.
    """
    kept = kept_config(config.fingerprint, state_dir)
    if not kept.is_dir():
        staging = kept.with_name(f".{config.fingerprint}.{os.getpid()}")
        make_private(staging)
        for part in _FILES:
            shutil.copyfile(config.folder / f"{part}.yaml", staging / f"{part}.yaml")
        try:
            staging.rename(kept)
        except OSError:  # another worker was first: its copy is the same
            shutil.rmtree(staging, ignore_errors=True)
            if not kept.is_dir():
                raise
    return kept


def kept_config(fingerprint: str, state_dir: Path) -> Path:
    """Where the copy of a version is kept."""
    return state_dir / "configs" / fingerprint


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for part in _FILES:
        content = (folder / f"{part}.yaml").read_bytes()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


def _validated(model: type[BaseModel], document: Document) -> BaseModel:
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = complaints(error, model)
        raise ConfigError([f"{document.place(p)}: {'.'.join(map(str, p))}: {words}" for p, words in found]) from error
