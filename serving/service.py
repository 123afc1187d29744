"""The running service: everything that is open between start and stop, and the work it does beside the calls."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from features.embedded import EmbeddedRedis
from features.store import Store
from nba.errors import JournalError, NbaError, StoreError
from nba.settings import Settings
from serving.engine import Engine, Parts, load_parts, open_engine
from serving.journal import Folders, Journal
from serving.metrics import Metrics
from serving.outcomes import Outcomes
from serving.questions import Questions
from serving.recommend import Recommender
from serving.rewriting import DueRewrite
from serving.segment import alone, segments
from serving.spool import Spool
from serving.stream import Listeners
from serving.workers import Workers

log = logging.getLogger("nba.serving")
_TICK_S = 1.0
_FOLLOW_S = 0.1
_RELOAD_S = 20.0
# A request that took the old version at its start has ended long before.
_DRAIN_S = 30.0
# Three seconds of a processor for 64 MB: with the least urgency a call on the same core goes first, and it may take longer.
_LEAST_URGENT = 19
_ROLL_S = 600.0
# Writes are not part of a call's answer: they get longer than a read before the spool takes over.
_WRITE_BUDGETS = 10


@dataclass(frozen=True)
class Service:
    """What the routes work with."""

    settings: Settings
    clock: Callable[[], int]
    redis_url: str
    metrics: Metrics
    journal: Journal
    spool: Spool
    recommender: Recommender
    outcomes: Outcomes
    workers: Workers
    listeners: Listeners
    questions: Questions
    rewriting: DueRewrite
    own_redis: bool
    retired: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def write_timeout_s(self) -> float:
        """How long Redis may take for a write before the spool takes it."""
        return _write_timeout_s(self.settings)

    async def dependencies(self) -> dict[str, str]:
        """Each by name: `ok`, or what is wrong."""
        engine = self.recommender.engine
        found = {"redis": "ok", "journal": "ok", "model": "ok"}
        try:
            async with asyncio.timeout(self.write_timeout_s):
                await engine.store.ping()
        except (StoreError, TimeoutError) as error:
            found["redis"] = str(error) or "did not answer in time"
        try:
            await asyncio.to_thread(self.journal.probe)
        except JournalError as error:
            found["journal"] = str(error)
        if engine.scorer is None:
            found["model"] = "none promoted: base rates stand in; run `nba train` and `nba models promote`"
        return found

    async def rewrite_file(self, store: Store) -> None:
        """Have the engine's own Redis rewrite its append-only file, beside the calls. It is noted when this returns."""
        self._beside(self.rewriting.carry_out(store, await asyncio.to_thread(self.rewriting.ask)))

    def finish_rewrite(self) -> None:
        """Do what an erasure asked for just before the last stop."""
        if word := self.rewriting.standing:
            self._beside(self.rewriting.carry_out(self.recommender.engine.store, word))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.retired.add(task)
        task.add_done_callback(self.retired.discard)

    async def reload(self) -> dict[str, object]:
        """Load, check and warm what is promoted and configured now, switch between two requests, here and in all workers.

        One after the other: of two at once the later one's order hid the earlier one's, and a worker may have kept what it had.
        Raises ConfigError, ModelError and JournalError: then everything stays as it was, everywhere.
        """
        async with alone(self.workers.reload_lock):
            return await self._reload()

    async def _reload(self) -> dict[str, object]:
        name = self.workers.prepare_reload()
        try:
            await self.switch()
        except BaseException:
            self.workers.drop_reload(name)
            raise
        self.workers.order_reload(name)
        self.workers.say(name)
        late = await self._others_until(name)
        engine = self.recommender.engine
        answer = {"model": engine.model, "policy": engine.config.fingerprint, "workers": len(self.workers.living())}
        return {**answer, "not_yet": late}

    async def switch(self) -> None:
        """Reload in this worker. Raises ConfigError and ModelError."""
        try:
            parts = await asyncio.to_thread(load_parts, self.settings.config, self.settings.state_dir, strict=True)
            engine = await _engine(parts, self.redis_url, self.settings, self.clock())
        except NbaError:
            self.metrics.reloads.labels("refused").inc()
            raise
        old, self.recommender.engine = self.recommender.engine, engine
        self.metrics.reloads.labels("done").inc()
        self.metrics.version(engine.model, engine.config.fingerprint)
        self._beside(_retire(old.store))

    async def _others_until(self, name: str) -> list[int]:
        """Wait for the other workers; the process ids of those that have not reloaded in time."""
        deadline = time.monotonic() + _RELOAD_S
        while True:
            late = [worker["pid"] for worker in self.workers.living() if worker["generation"] != name]
            if not late or time.monotonic() > deadline:
                return late
            await asyncio.sleep(_FOLLOW_S)


async def _retire(store: Store) -> None:
    """Close a store that is not served from any more: when its last requests have ended, or when the service stops."""
    try:
        await asyncio.sleep(_DRAIN_S)
    finally:
        await store.close()


@asynccontextmanager
async def running(settings: Settings, metrics: Metrics, clock: Callable[[], int]) -> AsyncIterator[Service]:
    """Open everything, in order; close it in reverse. Raises ConfigError and UnavailableError when it cannot start."""
    async with AsyncExitStack() as stack:
        redis_url = settings.redis_url or await _own_redis(settings, stack)
        parts = await asyncio.to_thread(load_parts, settings.config, settings.state_dir)
        engine = await _engine(parts, redis_url, settings, clock())
        journal = Journal(settings.state_dir, clock())
        stack.push_async_callback(_roll, settings, metrics)
        stack.callback(journal.close)
        spool = Spool(Folders(settings.state_dir).spool, clock())
        stack.callback(spool.close)
        recommender = Recommender(engine, journal, spool, metrics, budget_s=settings.budget_ms / 1000, clock=clock)
        stack.push_async_callback(_close_store, recommender)
        timeout_s = _write_timeout_s(settings)
        outcomes = Outcomes(journal, spool, metrics, clock=clock, timeout_s=timeout_s)
        listeners = Listeners(redis_url, timeout_s=timeout_s)
        stack.push_async_callback(listeners.news.close)
        stack.push_async_callback(_stop, asyncio.create_task(listeners.news.run()))
        own = await asyncio.to_thread(_is_own, redis_url, settings)
        workers = Workers(settings.state_dir / "workers", clock(), own_redis=own)
        stack.callback(workers.close)
        service = Service(
            settings, clock, redis_url, metrics, journal, spool, recommender, outcomes, workers, listeners,
            Questions(journal.folders.live, journal.folders), DueRewrite(settings.state_dir), own,
        )  # fmt: skip
        stack.push_async_callback(_stop_all, service.retired)
        if own:
            service.finish_rewrite()
        metrics.version(engine.model, engine.config.fingerprint)
        stack.push_async_callback(_stop, asyncio.create_task(_keep_house(service)))
        stack.push_async_callback(_stop, asyncio.create_task(_follow(service)))
        stack.callback(_end_streams_on_signals(listeners))
        _quiet_collector()
        log.info("serving", extra={"model": engine.model, "policy": engine.config.fingerprint})
        yield service


def _quiet_collector() -> None:
    """What is loaded stays loaded: the cycle collector need not look at it again, nor run after every few calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _write_timeout_s(settings: Settings) -> float:
    return settings.budget_ms * _WRITE_BUDGETS / 1000


async def _engine(parts: Parts, redis_url: str, settings: Settings, now_ms: int) -> Engine:
    return await open_engine(parts, redis_url, timeout_s=_write_timeout_s(settings), now_ms=now_ms)


def _end_streams_on_signals(listeners: Listeners) -> Callable[[], None]:
    """The server waits for open answers before it stops, and a stream never ends by itself. Gives what undoes it."""
    if threading.current_thread() is not threading.main_thread():
        return listeners.close
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ending(number: int, frame: FrameType | None) -> None:
        listeners.close()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, ending)

    def undo() -> None:
        listeners.close()
        for number, handler in before.items():
            signal.signal(number, handler)

    return undo


async def _own_redis(settings: Settings, stack: AsyncExitStack) -> str:
    embedded = EmbeddedRedis(settings.state_dir)
    url: str = await asyncio.to_thread(embedded.start)
    embedded.guard()
    stack.push_async_callback(asyncio.to_thread, embedded.stop)
    log.info("using the embedded Redis: set NBA_REDIS_URL for one of your own")
    return url


def _is_own(redis_url: str, settings: Settings) -> bool:
    """Whether it is the state folder's own; of several workers each is given its URL by the process that started it."""
    return settings.redis_url is None or EmbeddedRedis(settings.state_dir).is_at(redis_url)


async def _close_store(recommender: Recommender) -> None:
    await recommender.engine.store.close()


async def _follow(service: Service) -> None:
    """Reload when another worker was told to."""
    refused = ""
    while True:
        await asyncio.sleep(_FOLLOW_S)
        name = refused
        try:
            service.workers.say_again()
            name = service.workers.generation()
            if name not in (service.workers.done, refused):
                await service.switch()
                service.workers.say(name)
        except NbaError as error:
            refused = name
            log.error("a reload that another worker did was refused here", extra={"error": str(error)})
        except Exception:  # a defect of ours too: this worker would never reload again
            if name != refused:
                log.exception("a reload that another worker did failed here")
            refused = name


async def _stop(task: asyncio.Task[None]) -> None:
    await _stop_all({task})


async def _stop_all(tasks: set[asyncio.Task[None]]) -> None:
    """Ends when they have. Redis's client may take a cancellation for a time-out of its own, so it is said until it is heard."""
    left = tasks
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_TICK_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_house(service: Service) -> None:
    """Once a second: force decisions to the disk, roll what is full, deliver what waits. Failures are said and tried again."""
    for step in chain((_roll_leftovers,), repeat(_tick)):
        try:
            await step(service)
        except JournalError as error:
            log.error("the disk does not take the log", extra={"error": str(error)})
        except StoreError:
            log.warning("Redis is still away: the spool waits", extra={"bytes": len(service.spool)})
        except Exception:  # a defect of ours too: nobody would notice that decisions are no longer rolled and delivered
            log.exception("housekeeping failed and is tried again")
        await asyncio.sleep(_TICK_S)


async def _tick(service: Service) -> None:
    journal, now_ms = service.journal, service.clock()
    await asyncio.to_thread(journal.decisions.sync)
    if journal.due(now_ms):
        await journal.rotate_full(now_ms)
        await _roll(service.settings, service.metrics)
    service.metrics.spooled.set(len(service.spool))
    await asyncio.to_thread(service.spool.look_around)
    await service.spool.deliver(service.recommender.engine.store)


async def _roll_leftovers(service: Service) -> None:
    folder, own = service.journal.folders.live, {service.journal.decisions.path, service.journal.outcomes.segment.path}
    if {*segments(folder, "d"), *segments(folder, "o")} - own:
        await _roll(service.settings, service.metrics)


async def _roll(settings: Settings, metrics: Metrics) -> None:
    """Roll in a process of its own, so that no call waits for it. One that fails is done again at the next roll."""
    folder = Folders(settings.state_dir).live
    if not segments(folder, "d") and not segments(folder, "o"):
        return
    # A thread that waits, not asyncio's own child watching: that misses ends when several loops run in one process.
    failed, said = await asyncio.to_thread(_roll_process, settings.state_dir.absolute())
    metrics.rolls.labels("failed" if failed else "done").inc()
    if failed:
        log.error("rolling the decision log failed; it is tried again", extra={"status": failed})
    elif lines := orjson.loads(said)["quarantined"]:
        metrics.quarantined.inc(lines)
        log.error("lines of the decision log were no rows and are set aside: see quarantine/ in the state folder",
                  extra={"set_aside": lines})  # fmt: skip


def _roll_process(state_dir: Path) -> tuple[int, bytes]:
    """Its exit status, and what it said on stdout."""
    # -P: the folder where the service was started may hold names of ours.
    command = [sys.executable, "-P", "-m", "serving.roll", os.fspath(state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:  # noqa: S603
        with suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, child.pid, _LEAST_URGENT)
        try:
            said, _ = child.communicate(timeout=_ROLL_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return -1, b""
        return child.returncode, said
