"""What a config folder may say: features.yaml, catalog.yaml and policy.yaml as frozen types.

`nba.load.load_config(folder)` is the only door to a `Config`; one that came through it is sound.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from nba.config.catalog import Catalog, Offer, Say
from nba.config.features import ActivityType, Feature, FeaturesConfig, FieldType, Window
from nba.config.policy import Change, Experiment, Holdout, Lifetime, Limits, Policy, Worth
from nba.config.shapes import ContactLimit

__all__ = [
    "ActivityType",
    "Catalog",
    "Change",
    "Config",
    "ContactLimit",
    "Experiment",
    "Feature",
    "FeaturesConfig",
    "FieldType",
    "Holdout",
    "Lifetime",
    "Limits",
    "Offer",
    "Policy",
    "Say",
    "Window",
    "Worth",
]


class Config(BaseModel):
    """A sound config folder. `fingerprint`: SHA-256 over the three files, the version of the policy in every answer."""

    model_config = ConfigDict(frozen=True)
    folder: Path
    features: FeaturesConfig
    catalog: Catalog
    policy: Policy
    fingerprint: str
