"""The small world of tests/kits, and a registry for what is learnt of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kits.decisions import make_config
from models.registry import Registry
from nba.config import Config


@pytest.fixture(scope="module")
def config() -> Config:
    return make_config()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty registry of models."""
    return Registry(tmp_path / "models")
