"""Vowpal Wabbit's SquareCB as a contender: a contextual bandit that sees the same columns and the same sayable offers.

Source: Vowpal Wabbit, `--cb_explore_adf --squarecb`. Its reward is what the engine's policy declares an acceptance to be
worth without a stay head, so both are asked for the same thing. It learns when the engine does: between two rounds.
"""

from __future__ import annotations

import math
from typing import Any

from nba.arbitration import Worths
from nba.candidates import Candidate
from nba.config import Config
from nba.errors import InputError
from nba.exploration import drawn
from nba.rules import Value
from nba.simulate.policies import Choice, Situation

_SCALE = 100.0  # euros to costs near 1, where SquareCB's own settings expect them
_ARGUMENTS = "--cb_explore_adf --squarecb --gamma_scale 100 --cb_type mtr -q CO --quiet --random_seed {seed}"


class SquareCB:
    """A policy as `nba.simulate.policies.Policy` has it. Raises InputError where Vowpal Wabbit is not installed."""

    name = "Vowpal Wabbit SquareCB"

    def __init__(self, config: Config, seed: int = 0) -> None:
        try:
            from vowpalwabbit import Workspace
        except ImportError as error:
            raise InputError("Vowpal Wabbit is not installed: `pip install vowpalwabbit`, or leave --vw out") from error
        self._worths = Worths(config.policy.worth)
        self._learner = Workspace(_ARGUMENTS.format(seed=seed))
        self._heard: dict[str, tuple[list[str], int, float]] = {}

    def choose(self, situation: Situation) -> Choice | None:
        """Draws from SquareCB's own probabilities over what may be said."""
        sayable = situation.sayable
        if not sayable:
            return None
        lines = [_shared(situation.case.columns), *(_action(candidate) for candidate in sayable)]
        chances = self._learner.predict(lines)
        index = drawn(chances, situation.call.pick)
        case = situation.case
        standing = self._worths.standing(case.candidates, sayable, case.own, case.columns)
        worth = self._worths.of(sayable[index], standing)
        self._heard[situation.case.request.decision_id] = (lines, index, worth)
        return Choice(sayable[index], float(chances[index]))

    def learn(self, rows: list[dict[str, Any]], left: list[dict[str, Any]]) -> None:
        """One pass over the round, each choice with the probability it had."""
        for row in rows:
            lines, index, worth = self._heard.pop(row["decision_id"])
            cost = -worth / _SCALE if row["outcome"] == "accepted" else 0.0
            lines[index + 1] = f"0:{cost:.5f}:{row['propensity']:.6f} {lines[index + 1]}"
            self._learner.learn(lines)


def _shared(columns: dict[str, Value]) -> str:
    return "shared |C " + " ".join(filter(None, (_feature(name, value) for name, value in columns.items())))


def _action(candidate: Candidate) -> str:
    offer = candidate.offer
    saving = _feature("saving", candidate.saving_month) + " " + _feature("margin", candidate.margin_delta_month)
    return f"|O offer={offer.id} kind={offer.kind} {saving}"


def _feature(name: str, value: Value) -> str:
    """Vowpal Wabbit scales numbers itself; what is missing is left out."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return f"{name}={''.join(c if c.isalnum() else '_' for c in value)}"
    return f"{name}:{float(value):.6g}" if value else ""
