"""Who decides in which arm of an experiment: a decider for each arm that changes the policy, a model for each that names one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.registry import Registry
from models.scorer import Scorer
from nba.config import Config
from nba.decide import Decider
from nba.errors import NbaError
from nba.experiments import Assignment, arm_configs

log = logging.getLogger("nba.serving")


@dataclass(frozen=True, slots=True)
class Variant:
    """What answers one request: the decider and the model of its arm, or those of everybody."""

    decider: Decider
    scorer: Scorer | None
    assignment: Assignment | None = None

    @property
    def model(self) -> str | None:
        """The version of the model; None when there is none."""
        return None if self.scorer is None else self.scorer.version

    def names(self) -> dict[str, str] | None:
        """The experiment as the answer names it."""
        if self.assignment is None:
            return None
        return {"name": self.assignment.experiment, "arm": self.assignment.arm}


@dataclass(frozen=True)
class Arms:
    """Every arm of a config, compiled and loaded."""

    usual: Variant
    deciders: Mapping[tuple[str, str], Decider]
    scorers: Mapping[str, Scorer | None]

    def variant(self, assignment: Assignment | None) -> Variant:
        """Who answers in this arm. A hold-out, and an arm that changes nothing, are answered by the usual ones."""
        if assignment is None:
            return self.usual
        decider = self.deciders.get((assignment.experiment, assignment.arm), self.usual.decider)
        scorer = self.usual.scorer if assignment.model is None else self.scorers[assignment.model]
        return Variant(decider, scorer, assignment)


def load_arms(config: Config, decider: Decider, champion: Scorer | None, state_dir: Path) -> Arms:
    """Compile and load every arm. A model that cannot be used leaves its arm to base rates, with a line in the log."""
    deciders = {name: Decider(changed) for name, changed in arm_configs(config)}
    named = {arm.model for experiment in config.policy.experiments for arm in experiment.arms if arm.model}
    scorers = {version: _scorer(version, config, state_dir) for version in sorted(named)}
    return Arms(Variant(decider, champion), deciders, scorers)


def _scorer(version: str, config: Config, state_dir: Path) -> Scorer | None:
    try:
        folder = Registry(state_dir / "models").path(version)
        return Scorer.load(folder, config.catalog, config.features.columns)
    except (NbaError, OSError) as error:
        log.error("the model of an arm cannot be used: base rates stand in", extra={"error": str(error)})
        return None
