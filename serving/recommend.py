"""The use case: one question, one journalled answer, inside the budget, whatever breaks. Read top to bottom.

request -> features read (one round trip) -> case -> score all candidates -> decide -> journal -> answer
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import orjson

from nba.answer import THREAD_SHOWN, answer
from nba.clock import YEAR_2000_MS, parse_at
from nba.config import Policy
from nba.decide import Case, Decision, Request
from nba.domain import Customer, StatedIntent
from nba.errors import InputError, JournalError, StoreError
from nba.experiments import assign, assignment_of
from nba.fields import misfits, typed
from nba.rules import Value
from serving.arms import Variant
from serving.engine import Engine
from serving.journal import Journal
from serving.metrics import Metrics
from serving.record import to_line
from serving.schemas import RecommendIn
from serving.spool import Spool

log = logging.getLogger("nba.serving")
# The read may take this share of the budget; what is left is for scoring, deciding and writing.
READ_SHARE = 0.8
LATEST_MS = 4_102_444_800_000  # the year 2100
UNREAD = ("features", "profile", "contacts")


class Breaker:
    """Stops asking a store that failed several times in a row; after a rest one request tries it again."""

    def __init__(self, failures: int = 5, rest_s: float = 0.25) -> None:
        self._limit, self._rest_s = failures, rest_s
        self._failed = 0
        self._again_s = 0.0

    def may_ask(self, now_s: float) -> bool:
        """Whether to ask; a yes after a rest is for one caller only."""
        if self._failed < self._limit:
            return True
        if now_s < self._again_s:
            return False
        self._again_s = now_s + self._rest_s
        return True

    def said(self, well: bool, now_s: float) -> None:
        """Tell it how the store answered."""
        self._failed = 0 if well else self._failed + 1
        self._again_s = now_s + self._rest_s


@dataclass(slots=True)
class Watch:
    """Times of the stages of one decision, in seconds of the monotonic clock."""

    started: float
    read: float = 0.0
    scored: float = 0.0
    decided: float = 0.0
    written: float = 0.0


class Recommender:
    """Answers with the engine of the moment; `engine` is replaced between two requests, never within one."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        spool: Spool,
        metrics: Metrics,
        *,
        budget_s: float,
        clock: Callable[[], int],
    ) -> None:
        self.engine = engine
        self.journal = journal
        self._spool = spool
        self.on_decided: Callable[[str, Watch], None] | None = None  # traces.py
        self._metrics, self._budget_s, self._clock = metrics, budget_s, clock
        self._breaker = Breaker()
        self._misfits: set[str] = set()

    async def recommend(self, asked: RecommendIn) -> bytes:
        """The answer of POST /v1/recommend as JSON, on the disk before it is given.

        Raises InputError (context, at) and JournalError: an answer that cannot be kept is not given.
        """
        engine, watch, made_ms = self.engine, Watch(time.perf_counter()), self._clock()
        context = typed(asked.context, engine.context_types, "/context")
        now_ms = made_ms if asked.at is None else moment(asked.at, "/at")
        until_s = asyncio.get_running_loop().time() + self._budget_s * READ_SHARE
        customer = await self.read(engine, asked.customer_id, now_ms, THREAD_SHOWN)
        if asked.at is not None:  # else what another worker's clock has put a little ahead counts too
            customer = replace(customer, intents=tuple(old for old in customer.intents if old.at_ms <= now_ms))
        variant, missing = await self._variant(engine, asked, customer, until_s)
        said = _new_intent(variant.decider.config.policy, asked, context, customer, now_ms)
        if said is not None:
            with self._counted():
                await self._keep_intent(engine, customer, said, until_s)
        watch.read = time.perf_counter()
        request = Request(
            customer_id=asked.customer_id,
            now_ms=now_ms,
            decision_id=self._next_id(made_ms),
            channel=asked.channel,
            interaction_id=asked.interaction_id,
            context=context,
            limit=asked.limit,
            locale=asked.locale,
            max_cost_month=asked.max_cost_month,
            agent_id=asked.agent.id if asked.agent else None,
            agent_group=asked.agent.group if asked.agent else None,
        )
        # From the id to the line in the journal there is no await: the id is the line's place.
        return self._answer(engine, variant, variant.decider.case(customer, request), asked, watch, made_ms, missing)

    async def _keep_intent(self, engine: Engine, customer: Customer, said: StatedIntent, until_s: float) -> None:
        """Keep a service intent for the rest of its interaction: later questions may come without it, to other workers.

        While Redis takes no writes it waits in the spool, and what waits there sells nothing. Raises JournalError.
        """
        try:
            if _is_unread(customer):  # no second wait for a store that has just not answered
                raise StoreError("the store is away")
            async with asyncio.timeout_at(until_s):
                await engine.store.append_intent(customer.customer_id, said)
        except (StoreError, TimeoutError):
            self._spool.add_intent(customer.customer_id, said)

    async def _variant(
        self, engine: Engine, asked: RecommendIn, customer: Customer, until_s: float
    ) -> tuple[Variant, list[str]]:
        """Who answers: the arm of the customer or of the agent's group, the same to the end of an interaction.

        A group may change within one (a call is handed over), and so may the shares (a reload), so the arm is pinned in the
        store; when that is away, the arm of the moment answers and the answer says so.
        """
        policy = engine.config.policy
        assignment = assign(policy, asked.customer_id, asked.agent.group if asked.agent else None)
        if asked.interaction_id is None or asked.at is not None or not _assigns(policy):  # a back-test leaves no mark
            return engine.arms.variant(assignment), []
        name = "" if assignment is None else f"{assignment.experiment}/{assignment.arm}"
        try:
            if _is_unread(customer):
                raise StoreError("the store is away")
            async with asyncio.timeout_at(until_s):
                standing = await engine.store.pin(asked.customer_id, asked.interaction_id, name)
        except (StoreError, TimeoutError):
            return engine.arms.variant(assignment), ["experiment"]
        experiment, _, arm = standing.partition("/")
        return engine.arms.variant(assignment_of(policy, experiment, arm)), []

    async def read(self, engine: Engine, customer_id: str, now_ms: int, entries: int | None = None) -> Customer:
        """The customer; when the store is slow, away or answers nonsense, one of whom nothing is known, and says so.

        `activity_pending` in `degraded`: something of this customer waits in a spool, so what was read is behind.
        """
        waits = self._spool.holds(customer_id)  # asked first: what is delivered from now on may be in the read or not
        customer = await self._read(engine, customer_id, now_ms, entries)
        if waits or self._spool.holds(customer_id):
            return replace(customer, degraded=(*customer.degraded, "activity_pending"))
        return customer

    async def _read(self, engine: Engine, customer_id: str, now_ms: int, entries: int | None) -> Customer:
        now_s = time.monotonic()
        if not self._breaker.may_ask(now_s):
            return Customer(customer_id, {}, degraded=UNREAD)
        try:
            async with asyncio.timeout(self._budget_s * READ_SHARE):
                customer = await engine.store.read(customer_id, now_ms, entries)
        except (StoreError, TimeoutError) as error:
            self._breaker.said(False, time.monotonic())
            log.warning("the store did not answer", extra={"error": type(error).__name__})
            return Customer(customer_id, {}, degraded=UNREAD)
        self._breaker.said(True, now_s)
        if customer.degraded:
            self._metrics.damaged(customer.degraded)
        wrong = misfits(customer.profile, engine.spec.config.profile_types)
        return self._without(customer, wrong) if wrong else customer

    def _without(self, customer: Customer, wrong: Sequence[str]) -> Customer:
        """Without fields that are of another type by now: rules, model and journal take them for missing, and none fails.

        Each is named once in the log, never with its value.
        """
        for name in set(wrong) - self._misfits:
            self._misfits.add(name)
            log.warning(
                "a profile field was kept with another type than features.yaml declares and counts as missing: "
                "send these profiles again, or declare the former type",
                extra={"field": name},
            )
        return replace(customer, profile={n: v for n, v in customer.profile.items() if n not in wrong})

    def now_ms(self) -> int:
        """This moment, as the service's clock has it."""
        return self._clock()

    def _next_id(self, made_ms: int) -> str:
        with self._counted():
            return self.journal.next_id(made_ms)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Counts what the disk refuses."""
        try:
            yield
        except JournalError:
            self._metrics.refusals.inc()
            raise

    def _answer(
        self,
        engine: Engine,
        variant: Variant,
        case: Case,
        asked: RecommendIn,
        watch: Watch,
        made_ms: int,
        missing: list[str],
    ) -> bytes:
        left_s = self._budget_s - (time.perf_counter() - watch.started)
        scores, unscored = engine.score(case, left_s, time.monotonic(), variant)
        missing += unscored
        watch.scored = time.perf_counter()
        mode = variant.assignment.mode if variant.assignment else "policy"
        decision = variant.decider.decide(case, scores, degraded=missing, mode=mode)
        names = variant.names()
        body = answer(engine.config, case, decision, model=variant.model, experiment=names, explain=asked.explain)
        sent = orjson.dumps(body)
        watch.decided = time.perf_counter()
        versions: dict[str, str | None] = {"model": variant.model, "policy": engine.config.fingerprint}
        versions |= {"experiment": names["name"], "arm": names["arm"]} if names else {"experiment": None, "arm": None}
        self._write(
            to_line(
                case, decision, scores, sent, types=engine.types, missing=missing, versions=versions,
                backtest=asked.at is not None, explain=asked.explain, made_ms=made_ms,
            )
        )  # fmt: skip
        watch.written = time.perf_counter()
        # Counted once the answer has left.
        asyncio.get_running_loop().call_soon(self._measure, case, decision, watch)
        if self.on_decided is not None:
            self.on_decided(case.request.decision_id, watch)
        return sent

    def _write(self, line: bytes) -> None:
        with self._counted():
            self.journal.write(line)
        self._metrics.journal_bytes.inc(len(line))

    def _measure(self, case: Case, decision: Decision, watch: Watch) -> None:
        metrics, stage = self._metrics, self._metrics.stage
        stage["read"].observe(watch.read - watch.started)
        stage["score"].observe(watch.scored - watch.read)
        stage["decide"].observe(watch.decided - watch.scored)
        stage["journal"].observe(watch.written - watch.decided)
        stage["whole"].observe(watch.written - watch.started)
        shown = [(s.offer_id, s.rank) for s in decision.suggestions]
        metrics.decision(decision.source, decision.degraded, shown, [w.stage for w in decision.withheld])
        if not shown:
            metrics.nothing.inc()
        elif decision.suggestions[0].explored:
            metrics.explored.inc()
        if case.customer.activity_at_ms is not None:
            metrics.activity_age.observe(max(0.0, (case.request.now_ms - case.customer.activity_at_ms) / 1000))


def _new_intent(
    policy: Policy, asked: RecommendIn, context: Mapping[str, Value], customer: Customer, now_ms: int
) -> StatedIntent | None:
    """The service intent of this question, where it has to be kept: not for a question about the past (`at`)."""
    rule = policy.service_first
    intent, here = context.get(rule.intent_field), asked.interaction_id
    if asked.at is not None or here is None or not isinstance(intent, str) or intent not in rule.service_intents:
        return None
    if "thread" in customer.degraded:  # what cannot be read is not written either; it sells nothing
        return None
    known = any((old.interaction_id, old.intent) == (here, intent) for old in customer.intents)
    return None if known else StatedIntent(now_ms, here, intent)


def _is_unread(customer: Customer) -> bool:
    return "features" in customer.degraded


def _assigns(policy: Policy) -> bool:
    return bool(policy.experiments) or policy.holdout.random > 0 or policy.holdout.nothing > 0


def moment(text: str, pointer: str) -> int:
    """A time from outside as milliseconds, within the years that activity is kept for. Raises InputError."""
    at_ms = parse_at(text, pointer)
    if not YEAR_2000_MS <= at_ms < LATEST_MS:
        raise InputError(f"{text!r} is not between the years 2000 and 2100: give a time of a real call", pointer)
    return at_ms
