"""The small shop of tests/kits as a config folder."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from kits.shop import CATALOG, FEATURES, POLICY, Shop
from nba.config import Config
from nba.decide import Decider
from nba.load import load_config


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Writes the config folder, each file replaceable by another text."""

    def write(features: str = FEATURES, catalog: str = CATALOG, policy: str = POLICY) -> Path:
        for name, text in {"features": features, "catalog": catalog, "policy": policy}.items():
            (tmp_path / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def config(shop: Shop) -> Config:
    return load_config(shop())


@pytest.fixture
def decider(config: Config) -> Decider:
    return Decider(config)
