"""Worlds whose truth has a closed form, and where the published data lie."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from features.spec import FeatureSpec
from models.learned import Options
from models.registry import Registry
from models.scorer import Scorer
from models.train import train as learn
from nba.answer import answer
from nba.cli import build
from nba.cli.memory import LocalMemory
from nba.cli.output import fail
from nba.clock import DAY_MS, day_of
from nba.config import Config
from nba.decide import Decider, Request
from nba.errors import NbaError
from nba.evaluate.ope import Question
from nba.evaluate.reward import Pairs
from nba.load import find_config, load_config
from nba.simulate.history import history
from serving.parts import (
    DELAYED,
    OUTCOMES,
    RECORDS,
    decision_rows,
    decision_schema,
    outcome_row,
    record_row,
    table,
    write_part,
)
from serving.record import column_types, to_line

START_MS = 1_760_000_000_000  # the same world on every day that the tests run
OPEN_BANDIT = Path(__file__).parents[3] / "shared" / "data" / "open_bandit"
# P(accept | need, offer), what the log did, what the target does: three needs, five offers.
ACCEPT = np.array([[0.05, 0.1, 0.2, 0.3, 0.1], [0.3, 0.1, 0.05, 0.1, 0.2], [0.1, 0.4, 0.1, 0.05, 0.05]])
LOGGING = np.array([[0.4, 0.3, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.1, 0.2, 0.3, 0.3]])
TARGET = np.array([[0.05, 0.05, 0.2, 0.6, 0.1], [0.7, 0.1, 0.05, 0.05, 0.1], [0.05, 0.8, 0.05, 0.05, 0.05]])
TRUTH = float((TARGET * ACCEPT).sum(axis=1).mean())


def ask(n: int = 4000, seed: int = 0, logging: np.ndarray = LOGGING, target: np.ndarray = TARGET) -> Question:
    """n calls of n / 2 customers whose need is uniform; the target's value is TRUTH."""
    rng = np.random.default_rng(seed)
    need = rng.integers(0, 3, n)
    offer = (logging[need].cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    rows, offers = np.repeat(np.arange(n), 5), np.tile(np.arange(5), n)

    def columns(row: np.ndarray, place: np.ndarray) -> np.ndarray:
        return np.eye(15)[need[row] * 5 + place]

    return Question(
        customer=rng.integers(0, n // 2, n),
        at_ms=np.arange(n) * 60_000,
        offer=offer,
        offers=list("abcde"),
        propensity=logging[need, offer],
        reward=(rng.random(n) < ACCEPT[need, offer]).astype(float),
        target=target[need],
        columns=columns(np.arange(n), offer),
        pairs=Pairs(rows, target[need].ravel(), lambda some: columns(rows[some], offers[some])),
        foretold=ACCEPT[need, offer],
    )


@pytest.fixture
def asked() -> Question:
    return ask()


@pytest.fixture
def world() -> Callable[..., Question]:
    """`world(n, seed, …)`: see `ask`."""
    return ask


@pytest.fixture
def changed(asked: Question) -> Callable[..., Question]:
    """The plain question with some fields replaced."""
    return lambda **fields: replace(asked, **fields)


@pytest.fixture
def open_bandit() -> Path:
    if not (OPEN_BANDIT / "random_all.csv.gz").is_file():
        pytest.skip("the Open Bandit data are not beside the repository")
    return OPEN_BANDIT


@dataclass(frozen=True)
class Journal:
    """A state folder with a model and a decision log as the service writes it, of simulated customers (telco)."""

    state: Path
    model: str
    decisions: int

    def nba(self, *arguments: object, status: int = 0) -> dict:
        """Run `nba evaluate …` with --json on this journal, in this process, and give its document."""
        where = [] if arguments[0] == "power" else ["--config", "telco", "--state-dir", str(self.state)]
        with redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit) as left:
            try:
                verbs()(["evaluate", *map(str, arguments), *where, "--json"])
            except NbaError as error:
                fail(error, as_json=True)
        assert (left.value.code or 0) == status, said.getvalue()
        return json.loads(said.getvalue())

    def says(self, *arguments: object, config: object = "telco") -> str:
        """The same without --json: the lines on stdout as one."""
        with redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit):
            verbs()(["evaluate", *map(str, arguments), "--config", str(config), "--state-dir", str(self.state)])
        return " ".join(said.getvalue().split())


@cache
def verbs() -> typer.Typer:
    """The application; registered once, for it is one for the whole process."""
    return build()


@pytest.fixture(scope="session")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """700 customers who called twice; arm `kinder` accepts more often; two in a hundred hear nothing at all."""
    state = tmp_path_factory.mktemp("state")
    config, now_ms = load_config(find_config("telco")), START_MS
    memory = LocalMemory(FeatureSpec(config.features))
    made = history(config, 700, 11, now_ms, memory)
    pq.write_table(pa.table(made.columns()), state / "history.parquet")
    trained = learn(
        pa.table(made.columns()), config, Registry(state / "models"), now_ms=now_ms, options=Options(promote=True)
    )
    scorer = Scorer.load(trained.folder, config.catalog, config.features.columns)
    decisions = write_journal(state, config, scorer, memory, sorted(made.profiles), now_ms)
    return Journal(state, trained.version, decisions)


def write_journal(
    state: Path, config: Config, scorer: Scorer, memory: LocalMemory, customers: list[str], now_ms: int
) -> int:
    """Two calls a customer over ten days, answered by the engine, recorded and settled as the service does."""
    decider, rng, lines, outcomes, known = Decider(config), np.random.default_rng(5), [], [], {}
    for number, (call, customer_id) in enumerate((c, i) for c in range(2) for i in customers):
        at_ms, digest = now_ms + (call * 5 * 24 * 60 + number) * 60_000, sum(customer_id.encode())
        arm = "kinder" if digest % 2 else "control"
        request = Request(
            customer_id, at_ms, f"d-{number:05d}", "chat" if digest % 5 == 0 else "call", f"i-{number}",
            agent_id=f"a-{digest % 12}", agent_group=("north", "south")[digest // 2 % 2],
        )  # fmt: skip
        case = decider.case(memory.read(customer_id, at_ms), request)
        scores = scorer.score(case.columns, case.candidates)
        decision = decider.decide(case, scores, mode="nothing" if digest % 50 == 0 else "policy")
        body = orjson.dumps(answer(config, case, decision, model=scorer.version))
        line = to_line(
            case, decision, scores, body, types=column_types(config), missing=[], backtest=False, explain=False, made_ms=at_ms,
            versions={"model": scorer.version, "policy": config.fingerprint, "experiment": "tone", "arm": arm},
        )  # fmt: skip
        lines.append(orjson.loads(line))
        for place, suggestion in enumerate(decision.suggestions):
            yes = (
                place == 0 and rng.random() < (0.45 if arm == "kinder" else 0.25) * suggestion.accept_probability / 0.5
            )
            word = "accepted" if yes else ("declined" if place == 0 and rng.random() < 0.5 else "spoken")
            known[request.decision_id, suggestion.offer_id] = word
            reason = str(rng.choice(["too dear", "no need"])) if word == "declined" else None
            outcomes.append(
                {"outcome_id": f"o-{len(outcomes)}", "decision_id": request.decision_id, "offer_id": suggestion.offer_id,
                 "customer_id": customer_id, "outcome": word, "at_ms": at_ms, "received_ms": at_ms, "reason": reason,
                 "channel": request.channel, "interaction_id": request.interaction_id}
            )  # fmt: skip
    rows = [row for record in lines for row in decision_rows(record, known)]
    parts = {
        "decisions": (rows, decision_schema(lines)),
        "records": (map(record_row, lines), RECORDS),
        "outcomes": (map(outcome_row, outcomes), OUTCOMES),
        "outcomes_delayed": (map(outcome_row, _stays(customers, now_ms, rng)), DELAYED),
    }
    for name, (content, schema) in parts.items():
        write_part(state / name / f"day={day_of(now_ms)}" / "part-0.parquet", [table(content, schema)], schema)
    return len(lines)


def _stays(customers: list[str], now_ms: int, rng: np.random.Generator) -> Iterator[dict]:
    """Of the arm `control` 30 % leave, of `kinder` 10 %, within ten days."""
    for customer_id in customers:
        gone = rng.random() < (0.1 if sum(customer_id.encode()) % 2 else 0.3)
        at_ms = now_ms + int(rng.integers(1, 12)) * DAY_MS if gone else now_ms + 18 * DAY_MS
        yield {"outcome_id": f"s-{customer_id}", "customer_id": customer_id, "outcome": "churned" if gone else "stayed",
               "value": None, "at_ms": at_ms, "received_ms": at_ms, "reason": None}  # fmt: skip
