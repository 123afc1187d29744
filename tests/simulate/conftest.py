"""The shipped telco config, and the engine's own memory without Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.spec import FeatureSpec
from nba.cli.memory import LocalMemory
from nba.config import Config
from nba.load import load_config

CONFIGS = Path(__file__).parents[2] / "nba" / "configs"


@pytest.fixture(scope="session")
def telco() -> Config:
    return load_config(CONFIGS / "telco")


@pytest.fixture
def memory(telco: Config) -> LocalMemory:
    return LocalMemory(FeatureSpec(telco.features))
