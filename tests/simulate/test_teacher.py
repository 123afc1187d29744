"""The engine's own training inside the simulation: it helps, and labels that are wrong show up as lost value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.spec import FeatureSpec
from nba.cli.memory import LocalMemory
from nba.cli.teacher import Trainer
from nba.config import Config
from nba.decide import Case, Decider
from nba.domain import Scores
from nba.simulate.judge import Judge
from nba.simulate.policies import Choice, Engine, Policy, RandomEligible, Situation, Teacher
from nba.simulate.population import World
from nba.simulate.value import market_of
from nba.simulate.world import run

START_MS = 1_763_856_000_000
LABELS = {"accepted": "declined", "declined": "accepted"}


class Reversed(Trainer):
    """The planted defect: who accepted is logged as having declined, and the other way."""

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        super().learn([{**row, "outcome": LABELS[row["outcome"]]} for row in rows], left)


class Silent:
    """Never has a model."""

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """Nothing."""

    def score(self, case: Case) -> Scores | None:
        return None


class Panel(RandomEligible):
    """Lives by chance, hands on its log, and has the judges look at what each engine would have said in the same call.

    All of them then meet the same customers in the same state, so what differs is the model and nothing else.
    """

    def __init__(self, config: Config, teachers: dict[str, Teacher]) -> None:
        greedy = config.policy.exploration.model_copy(update={"gamma": None})
        config = config.model_copy(update={"policy": config.policy.model_copy(update={"exploration": greedy})})
        market = market_of(config.catalog)
        self.engines = {name: Engine(Decider(config), teacher) for name, teacher in teachers.items()}
        self.judges = {name: Judge(config, market, World()) for name in teachers}
        self.teachers = teachers

    def choose(self, situation: Situation) -> Choice | None:
        for name, engine in self.engines.items():
            self.judges[name].look(situation, engine.choose(situation))
        return super().choose(situation)

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        for teacher in self.teachers.values():
            teacher.learn(rows, left)


def live(config: Config, policy: Policy, customers: int, seed: int, days: int, rounds: int) -> None:
    memory = LocalMemory(FeatureSpec(config.features))
    run(config, policy, memory, customers=customers, seed=seed, start_ms=START_MS, days=days, rounds=rounds)


@pytest.fixture(scope="module")
def taught(telco: Config, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    teachers: dict[str, Teacher] = {
        "trained": Trainer(telco, tmp_path_factory.mktemp("trained")),
        "reversed": Reversed(telco, tmp_path_factory.mktemp("reversed")),
        "silent": Silent(),
    }
    live(telco, Panel(telco, teachers), customers=250, seed=9, days=540, rounds=2)
    panel = Panel(telco, teachers)
    live(telco, panel, customers=250, seed=10, days=240, rounds=1)
    return panel


def share(panel: Panel, name: str) -> float:
    """How well it does what the policy declares, 0 as chance and 1 as who knows everybody's mind."""
    return panel.judges[name].declared[-1].share


def test_the_engine_does_better_after_training_than_by_base_rates(taught: Panel) -> None:
    """In the same calls, with customers it has never met."""
    trainer = taught.teachers["trained"]
    assert isinstance(trainer, Trainer)
    assert trainer.says[0].endswith("promoted")
    assert share(taught, "trained") > share(taught, "silent") + 0.02


def test_reversed_labels_show_up_as_lost_value(taught: Panel) -> None:
    """The planted defect costs more than having no model at all."""
    assert share(taught, "reversed") < share(taught, "silent") - 0.02
    assert share(taught, "reversed") < share(taught, "trained") - 0.1


def test_a_log_too_small_to_learn_from_is_said_not_raised(telco: Config, tmp_path: Path) -> None:
    """No rows, no model, and the engine goes on by base rates."""
    trainer = Trainer(telco, tmp_path)
    trainer.learn([], [])
    assert trainer.says == ["no rows yet"]
