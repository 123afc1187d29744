"""What came of a suggestion: on the disk before it is acknowledged, then into the customer's contact history."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from features.store import Store
from nba.clock import DAY_MS
from nba.domain import Contact
from nba.errors import InputError, NotFoundError, RefusedError, StoreError
from serving.journal import Folders, Journal, find_live, place_of
from serving.metrics import Metrics
from serving.recommend import moment
from serving.schemas import DelayedOutcomeIn, OfferOutcomeIn
from serving.spool import Spool

_REMEMBERED = 100_000


class Outcomes:
    """Takes outcomes in. A repeated one changes nothing: by `outcome_id`, else by decision, offer and outcome.

    This process remembers the last 100,000; one that is repeated later or to another worker is written again and
    settled as one when the log is rolled and when contacts are read.
    """

    def __init__(
        self, journal: Journal, spool: Spool, metrics: Metrics, *, clock: Callable[[], int], timeout_s: float
    ) -> None:
        self._journal, self._spool, self._metrics = journal, spool, metrics
        self._clock, self._timeout_s = clock, timeout_s
        self._done: OrderedDict[str, str] = OrderedDict()
        self._under_way: dict[str, tuple[str, int]] = {}  # what is being written under an outcome_id, and how often

    async def record(self, body: OfferOutcomeIn, store: Store) -> dict[str, Any]:
        """Keep the outcome of a suggestion.

        Raises NotFoundError (no such decision), InputError (an offer it did not suggest, a bad time), RefusedError (the
        `outcome_id` belongs to another outcome) and JournalError.
        """
        identity = _short(f"{body.decision_id}/{body.offer_id}/{body.outcome}")
        key = body.outcome_id or identity
        if self._is_done(key, identity):
            return {"outcome_id": key, "duplicate": True}
        decision = await self._decision(body.decision_id)
        if body.offer_id not in {shown["offer_id"] for shown in decision["shown"]}:
            raise InputError(
                f"{body.offer_id!r} was not suggested by this decision: give one of its suggestions", "/offer_id"
            )
        row = self._row(key, body, decision)
        with self._writing(key, identity):
            await self._journal.write_outcome(row)
            await self._contact(row, store)
        self._metrics.outcome(body.outcome)
        return {"outcome_id": key, "duplicate": False}

    async def _decision(self, decision_id: str) -> dict[str, Any]:
        try:
            return await find(self._journal.folders, decision_id)
        except NotFoundError as error:
            raise NotFoundError(str(error), "/decision_id") from error

    async def record_delayed(self, body: DelayedOutcomeIn) -> dict[str, Any]:
        """Keep what became of a customer. Raises InputError, RefusedError and JournalError."""
        at_ms = self._happened(body.at)
        mark = "" if body.value is None else f"/{body.value}"  # another mark at the same moment is another answer
        identity = _short(f"{body.customer_id}/{body.outcome}/{at_ms}{mark}")
        key = body.outcome_id or identity
        if self._is_done(key, identity):
            return {"outcome_id": key, "duplicate": True}
        said = {"customer_id": body.customer_id, "outcome": body.outcome, "value": body.value, "reason": body.reason}
        with self._writing(key, identity):
            await self._journal.write_outcome({"outcome_id": key, **said, "at_ms": at_ms, "received_ms": self._clock()})
        self._metrics.outcome(body.outcome)
        return {"outcome_id": key, "duplicate": False}

    def _row(self, key: str, body: OfferOutcomeIn, decision: dict[str, Any]) -> dict[str, Any]:
        now_ms = self._clock()
        silent = decision["at_ms"] if decision["backtest"] else now_ms
        return {
            "outcome_id": key,
            "decision_id": body.decision_id,
            "offer_id": body.offer_id,
            "customer_id": decision["customer_id"],
            "outcome": body.outcome,
            "at_ms": silent if body.at is None else self._happened(body.at, decision["at_ms"]),
            "received_ms": now_ms,
            "reason": body.reason,
            "channel": decision["request"]["channel"],
            "interaction_id": decision["request"]["interaction_id"],
        }

    def _happened(self, at: str, after_ms: int = 0) -> int:
        """When it happened. A clock that is wrong would switch a rest off or on, so it is refused with its place."""
        at_ms = moment(at, "/at")
        if at_ms > self._clock() + DAY_MS:
            raise InputError(f"{at!r} is more than a day ahead: set the clock that sent it", "/at")
        if at_ms < after_ms - DAY_MS:
            raise InputError(f"{at!r} is before the decision it belongs to: set the clock that sent it", "/at")
        return at_ms

    async def _contact(self, row: dict[str, Any], store: Store) -> None:
        """Into the contact history; while Redis is away into the spool. An offer that was skipped met nobody.

        A clock that runs ahead is not believed there: a rest begins when it is reported, not in some hours.
        """
        if row["outcome"] == "skipped":
            return
        names = ("offer_id", "outcome", "channel", "decision_id", "interaction_id", "reason")
        at_ms = min(row["at_ms"], row["received_ms"])
        contact = Contact(at_ms, **{name: row[name] for name in names})
        try:
            async with asyncio.timeout(self._timeout_s):
                await store.append_contacts(row["customer_id"], [contact])
        except (StoreError, TimeoutError):
            await self._spool.add_contacts(row["customer_id"], [contact])

    def _is_done(self, key: str, identity: str) -> bool:
        done, (under_way, _) = self._done.get(key), self._under_way.get(key, (None, 0))
        if any(before not in (None, identity) for before in (done, under_way)):
            raise RefusedError(
                "this outcome_id was used for another outcome: give each outcome an id of its own", "/outcome_id"
            )
        return done is not None

    @contextmanager
    def _writing(self, key: str, identity: str) -> Iterator[None]:
        """While an outcome is being written its id is taken: of two acknowledged under one id a roll would keep one.

        The same outcome may be written beside it: each is acknowledged only when it is on the disk itself.
        """
        self._is_done(key, identity)
        self._under_way[key] = identity, self._under_way.get(key, ("", 0))[1] + 1
        try:
            yield
            self._remember(key, identity)
        finally:
            _, times = self._under_way.pop(key)
            if times > 1:
                self._under_way[key] = identity, times - 1

    def _remember(self, key: str, identity: str) -> None:
        self._done[key] = identity
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)


async def find(folders: Folders, decision_id: str) -> dict[str, Any]:
    """The record of a decision, being written or rolled. Raises NotFoundError."""
    place_of(decision_id)
    record = find_live(folders, decision_id) or await asyncio.to_thread(_find_rolled, folders, decision_id)
    if record is None:
        raise NotFoundError("no such decision: it was never made here, or it was erased")
    return record


def _find_rolled(folders: Folders, decision_id: str) -> dict[str, Any] | None:
    from serving.parts import find_rolled

    return find_rolled(folders, decision_id)


def _short(identity: str) -> str:
    """What is remembered of an outcome: nothing that would outlive the erasure of its customer."""
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
