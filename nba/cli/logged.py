"""From a path of decisions to a question for nba.evaluate.ope: rows checked, outcomes settled, the target's choices computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset import Decisions, read_decisions, repeated_rows, settle
from models.registry import verified
from models.summary import made_of
from nba.cli.columns import word_column
from nba.cli.learn import decision_rows
from nba.cli.target import Gathered, Seen, Target
from nba.clock import DAY_MS, format_at
from nba.domain import OUTCOMES
from nba.errors import InputError, RefusedError
from nba.evaluate.ope import Question
from nba.evaluate.overlap import NEVER_TRIED
from nba.evaluate.rows import (
    check_finite,
    check_first_ranks,
    check_settled,
    out_of_order,
    uneven,
)
from nba.settings import Settings
from nba.stats import first_reasons

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
REWARDS = ("auto", "accepted", "margin", "saving")
CURE = "see in the `withheld` of an explained answer (/v1/recommend) which rule stops its offers"
CURES = {"evidence": "give its offers a sentence that is true of these customers (templates of the config folder)"}
_SKIPPED, _NONE = OUTCOMES.index("skipped"), -1


@dataclass(frozen=True, slots=True)
class Options:
    """`reward`: one of REWARDS. `limit`: the newest decisions that are used; `since_ms`: none before."""

    reward: str = "auto"
    window_ms: int = 7 * DAY_MS
    open_means_no: bool = False
    limit: int = 50_000
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """A question and what was done to the rows on the way: `counts` by words, `cases` recorded and rebuilt."""

    question: Question
    counts: dict[str, int]
    cases: dict[str, int]
    reward: str
    warnings: tuple[str, ...] = ()


def read_question(
    settings: Settings, path: Path, target: Target, now_ms: int, options: Options, tell: Callable[[float], None]
) -> Read:
    """Read the log and ask the target about every settled decision. `tell` hears the share that is done.

    Raises DataError, InputError and RefusedError: rows that are wrong, or of which none is left.
    """
    catalog = target.config.catalog
    if options.reward not in REWARDS:
        raise InputError(f"--reward {options.reward}: use one of {', '.join(REWARDS)}")
    decisions = read_decisions(decision_rows(settings, path), catalog, now_ms)
    if decisions.reward is not None:
        check_finite("reward", decisions.reward, decisions.place)
    rows, label, counts = settled_rows(decisions, now_ms, options)
    if (decisions.propensity[rows] >= 0.999).all():
        raise RefusedError(f"this log cannot answer for that policy: {NEVER_TRIED}")
    gathered, cases = _gather(settings, path, target, decisions, rows, tell)
    offer = decisions.offer[rows].astype(np.int64)
    lost = missing_outcomes(decisions, now_ms, options, [o.id for o in catalog.offers])
    columns, pairs = gathered.design(offer, len(catalog.offers), target.config.features.columns)
    reward, name = _reward(decisions, rows, label, gathered, options.reward)
    question = Question(
        customer=decisions.customer[rows].astype(np.int64),
        at_ms=decisions.at_ms[rows],
        offer=offer,
        offers=[o.id for o in catalog.offers],
        propensity=decisions.propensity[rows],
        reward=reward,
        target=gathered.target(len(catalog.offers)),
        columns=columns,
        pairs=pairs,
        foretold=np.array([one.foretold for one in gathered.seen]),
        accepted=np.where(decisions.outcome[rows] == _SKIPPED, np.nan, label),  # nobody was asked: no no of a customer
        silent=_silent(gathered, counts),
        lost="; ".join(lost),
    )
    return Read(question, counts, cases, name, tuple(lost))


def _silent(gathered: Gathered, counts: dict[str, int]) -> str:
    """Counts the cases in which the target says nothing; the words for a refusal where they are most of all."""
    stages = Counter(one.silent for one in gathered.seen if one.silent is not None)
    counts |= {f"in which the target policy says nothing, stage {stage}": n for stage, n in stages.most_common()}
    silent, rows = sum(stages.values()), len(gathered.seen)
    if silent <= rows / 2:
        return ""
    stage = stages.most_common(1)[0][0]
    return (
        f"the target policy says nothing in {silent:,} of {rows:,} cases, stage {stage}: {CURES.get(stage, CURE)}, "
        "or keep the records beside the decisions"
    )


def learnt_rows(folder: Path, at_ms: Numbers) -> list[str]:
    """A warning where the model has learnt from the very outcomes that are to judge it; empty where it has not."""
    _, until_ms = made_of(verified(folder).get("metrics.json"))
    learnt = int((at_ms < until_ms).sum())
    if not learnt:
        return []
    seen = f"the model may have learnt from {learnt:,} of these {len(at_ms):,} outcomes"
    why = "they are older than its last training or calibration row, so its value leans high"
    return [f"{seen}: {why}: judge it by later ones, --since {format_at(until_ms)}"]


def settled_rows(decisions: Decisions, now_ms: int, options: Options) -> tuple[Numbers, Array, dict[str, int]]:
    """Rows of the first rank in order of time, their label (0, 1, or NaN where only a reward is known), and what was left out.

    What the agent skipped earned nothing, so it counts as 0: the policy is valued as it is lived. Of repeated rows the one
    with the strongest outcome is valued. A decision younger than the window is left out whatever its outcome: a yes comes
    at once and a no by silence, so the young lean towards yes.
    """
    starts = [source.first for source in decisions.sources]
    counts = out_of_order(decisions.at_ms, starts=starts)
    found = settle(decisions, now_ms, options.window_ms)
    why = {
        "left out: back-test": decisions.backtest,
        "left out: repeated": repeated_rows(decisions),
        "left out: ranks below the first": decisions.rank > 1,
        "before --since, left out": decisions.at_ms < options.since_ms,
        "left out: younger than the window": decisions.at_ms > now_ms - options.window_ms,
    }
    usable = ~np.logical_or.reduce(list(why.values()))
    label, told = _labels(decisions, found.label.astype(np.float64), usable, options, counts)
    counts |= first_reasons(why)
    rows = np.flatnonzero(usable & (told | ~np.isnan(label)))
    if not len(rows):
        raise RefusedError("no decision is settled: report outcomes (POST /v1/outcomes), or wait for --window-days")
    check_first_ranks(
        decisions.decision[rows], decisions.offer[rows].astype(np.int64), lambda k: decisions.place(int(rows[k]))
    )
    rows = rows[np.argsort(decisions.at_ms[rows], kind="stable")]
    if len(rows) > options.limit:
        counts["older than the newest that --limit allows, left out"] = len(rows) - options.limit
        rows = rows[-options.limit :]
    return rows, label[rows], counts


def missing_outcomes(decisions: Decisions, now_ms: int, options: Options, offers: list[str]) -> list[str]:
    """Warnings where what has no outcome, and is left out, depends on the offer or on the arm of an experiment."""
    if options.open_means_no:
        return []
    old = (decisions.at_ms >= options.since_ms) & (decisions.at_ms <= now_ms - options.window_ms)
    rows = np.flatnonzero((decisions.rank == 1) & ~decisions.backtest & ~repeated_rows(decisions) & old)
    missing = decisions.outcome[rows] == _NONE
    if options.reward == "auto" and decisions.reward is not None:
        missing &= np.isnan(decisions.reward[rows])
    said = uneven("offer", offers, decisions.offer[rows].astype(np.int64), missing)
    arms = word_column(decisions, "arm")
    if arms is None:
        return said
    names = sorted({str(arm) for arm in arms[rows] if arm is not None})
    place = {name: k for k, name in enumerate(names)}
    code = np.array([-1 if arm is None else place[str(arm)] for arm in arms[rows]], dtype=np.int64)
    return said + uneven("arm", names, code, missing)


def _labels(
    decisions: Decisions, label: Array, usable: NDArray[np.bool_], options: Options, counts: dict[str, int]
) -> tuple[Array, NDArray[np.bool_]]:
    """Labels with what was skipped at 0, and which rows a logged reward settles; tells `counts` what was made of silence."""
    told = np.zeros(len(label), dtype=bool)
    if options.reward == "auto" and decisions.reward is not None:
        told = ~np.isnan(decisions.reward)
    skipped = usable & (decisions.outcome == _SKIPPED)
    label[skipped] = 0.0
    silent = usable & (decisions.outcome == _NONE) & ~told
    counts |= check_settled(int(silent.sum()), int(usable.sum()), open_means_no=options.open_means_no)
    if options.open_means_no:
        label[silent] = 0.0
    unpaid = int((skipped & ~told).sum())
    counts |= {"skipped by the agent, earned nothing": unpaid} if unpaid else {}
    return label, told


def _gather(
    settings: Settings, path: Path, target: Target, decisions: Decisions, rows: Numbers, tell: Callable[[float], None]
) -> tuple[Gathered, dict[str, int]]:
    seen: dict[int, Seen] = {}
    recorded = 0
    for row, case, whole in target.cases.replayed(settings, path, decisions, rows):
        seen[row] = target.see(case, int(decisions.offer[row]))
        recorded += whole
        tell(len(seen) / len(rows))
    cases = {"recorded": recorded, "rebuilt": len(seen) - recorded}
    return Gathered([seen[row] for row in rows.tolist()]), cases


def _reward(decisions: Decisions, rows: Numbers, label: Array, gathered: Gathered, wanted: str) -> tuple[Array, str]:
    logged = None if decisions.reward is None else decisions.reward[rows]
    if wanted == "auto" and logged is not None and not np.isnan(logged).all():
        return np.where(np.isnan(logged), label, logged), "the reward column, acceptance where it is empty"
    if wanted in ("auto", "accepted"):
        return label, "acceptances of the first suggestion"
    column = 2 if wanted == "margin" else 1
    money = gathered.logged_pairs()[:, column]
    return label * money, f"{wanted} a month of accepted first suggestions"
