"""`nba replay`: a past decision computed again from its record, held against the answer that was sent, byte for byte.

Needs the config that it was made with (its fingerprint is the record's `policy`) and, to score again, the model's
folder in the registry; where that is gone the recorded scores stand in, and the verdict says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from models.registry import Registry
from models.scorer import Scorer
from nba.answer import answer
from nba.config import Config
from nba.decide import Case, Decider
from nba.domain import Scores
from nba.errors import NotFoundError, RefusedError
from nba.experiments import arm_configs, assignment_of
from serving.record import customer_of, request_of, scores_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a replay. `differences`: (path, sent, computed) of everything that is not the same."""

    decision_id: str
    same: bool
    scored_again: bool
    scores_same: bool
    differences: list[tuple[str, Any, Any]]


def replay(record: dict[str, Any], config: Config, state_dir: Path) -> Verdict:
    """Compute the decision of a record again. Raises RefusedError when `config` is another one than it was made with."""
    if record["policy"] != config.fingerprint:
        raise RefusedError(
            f"this decision was made with config {record['policy']}, this folder is {config.fingerprint}: "
            "check out the folder as it was then, and give it with --config"
        )
    assignment = assignment_of(config.policy, record["experiment"], record["arm"]) if record["experiment"] else None
    changed = dict(arm_configs(config)).get((record["experiment"], record["arm"]), config)
    decider = Decider(changed)
    case = decider.case(customer_of(record, config), request_of(record))
    kept = scores_of(record)
    again = None if kept is None else _scored(record["model"], case, config, state_dir)
    mode = assignment.mode if assignment else "policy"
    decision = decider.decide(case, again or kept, degraded=record["missing"], mode=mode)
    names = {"name": record["experiment"], "arm": record["arm"]} if assignment else None
    body = answer(config, case, decision, model=record["model"], experiment=names, explain=record["explain"])
    sent, computed = orjson.dumps(record["answer"]), orjson.dumps(body)
    differences = list(_differences("", record["answer"], orjson.loads(computed)))
    return Verdict(
        record["decision_id"], sent == computed, again is not None, again is None or _equal(kept, again), differences
    )


def _scored(version: str, case: Case, config: Config, state_dir: Path) -> Scores | None:
    try:
        folder = Registry(state_dir / "models").path(version)
    except NotFoundError:
        return None
    scorer = Scorer.load(folder, config.catalog, config.features.columns)
    return scorer.score(case.columns, case.candidates, case.asked)


def _equal(one: Scores | None, other: Scores) -> bool:
    if one is None:
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("accept", "stay_if_accepted", "stay_if_not")]
    return all(
        (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b, True)) for a, b in pairs
    )


def _differences(path: str, sent: Any, computed: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values part: the path, what was sent there and what was computed."""
    if isinstance(sent, dict) and isinstance(computed, dict):
        for name in {**sent, **computed}:
            yield from _differences(f"{path}/{name}", sent.get(name), computed.get(name))
    elif isinstance(sent, list) and isinstance(computed, list) and len(sent) == len(computed):
        for index, pair in enumerate(zip(sent, computed, strict=True)):
            yield from _differences(f"{path}/{index}", *pair)
    elif sent != computed:
        yield path, sent, computed
