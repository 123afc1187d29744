"""What is served: one config and one model, loaded, checked and warmed together, and replaced only together."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import orjson

from features.spec import FeatureSpec
from features.store import Store
from features.view import customer
from models.registry import Registry
from models.scorer import Scorer
from nba.answer import answer
from nba.config import Config, FieldType
from nba.decide import Case, Decider, Request
from nba.domain import Scores
from nba.errors import ModelError, NbaError, StoreError
from nba.load import find_config, keep_config, load_config
from serving.arms import Arms, Variant, load_arms
from serving.record import column_types

log = logging.getLogger("nba.serving")
_REST_S = 30.0
_WARM_PLANS = 6


class Pace:
    """Whether a model keeps up. One that needs more than is left rests, and one call tries it again after 30 s.

    What it needs is the fastest of its last five runs, so that one slow run among them changes nothing.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=5)
        self._tried_s = -math.inf

    def took(self, seconds: float, now_s: float) -> None:
        """Remember how long one scoring took, and that it was tried at `now_s`."""
        self._last.append(seconds)
        self._tried_s = now_s

    def fits(self, left_s: float, now_s: float) -> bool:
        """Whether a scoring is likely to end within `left_s`, or whether it is time to try again."""
        if len(self._last) < (self._last.maxlen or 0) or min(self._last) <= left_s:
            return True
        if now_s - self._tried_s < _REST_S:
            return False
        self._tried_s = now_s
        return True


@dataclass(frozen=True)
class Engine:
    """One version of everything that decides. A request takes one at its start and stays with it."""

    config: Config
    spec: FeatureSpec
    store: Store
    decider: Decider
    scorer: Scorer | None
    context_types: Mapping[str, FieldType]
    types: orjson.Fragment
    paces: defaultdict[str, Pace]
    arms: Arms

    @property
    def model(self) -> str | None:
        """The version of the model; None when there is none."""
        return None if self.scorer is None else self.scorer.version

    def score(
        self, case: Case, left_s: float, now_s: float, variant: Variant | None = None
    ) -> tuple[Scores | None, list[str]]:
        """The model's word, or None and what is missing. A broken model is a missing one: base rates stand in.

        `variant`: whose model is asked; the champion where none is given.
        """
        scorer = self.scorer if variant is None else variant.scorer
        if scorer is None:
            return None, []
        pace = self.paces[scorer.version]
        if case.asked and not pace.fits(left_s, now_s):
            return None, ["model_slow"]
        started = time.perf_counter()
        try:
            return scorer.score(case.columns, case.candidates, case.asked), []
        except ModelError as error:
            log.warning("the model did not score", extra={"error": str(error)})
            return None, ["model"]
        finally:
            if case.asked:  # where nothing was, the time says nothing of the model
                pace.took(time.perf_counter() - started, now_s)

    def warm(self, now_ms: int) -> None:
        """Decide for invented customers: what is made on first use is made, and a slow model is known to be slow."""
        empty = customer("nobody", b"", None, b"", b"", now_ms, self.spec)
        plans: list[str | None] = [None, *(offer.id for offer in self.config.catalog.offers if offer.is_plan)]
        for plan, locale in product(plans[:_WARM_PLANS], self.config.policy.locales):
            somebody = replace(empty, profile={"plan": plan}, profile_at_ms=now_ms, activity_at_ms=now_ms)
            case = self.decider.case(somebody, Request("nobody", now_ms, "warm", locale=locale))
            scores, _ = self.score(case if case.asked else _asking_all(case), math.inf, time.monotonic())
            answer(self.config, case, self.decider.decide(case, scores), model=self.model)


def _asking_all(case: Case) -> Case:
    return replace(case, asked=list(range(len(case.candidates))))


@dataclass(frozen=True)
class Parts:
    """What a version is made of, read and checked but not connected."""

    config: Config
    spec: FeatureSpec
    decider: Decider
    scorer: Scorer | None
    arms: Arms


def load_parts(config_name: str, state_dir: Path, *, strict: bool = False) -> Parts:
    """Read the config folder and the promoted model. Raises ConfigError.

    A model that cannot be used is left out with a line in the log, or raises ModelError when `strict`: a service that
    starts has to answer, one that runs keeps the version it has.
    """
    config = load_config(find_config(config_name))
    try:
        keep_config(config, state_dir)
    except OSError as error:
        log.error("the config could not be kept for replays", extra={"error": str(error)})
    decider, champion = Decider(config), _champion(state_dir, config, strict)
    return Parts(
        config, FeatureSpec(config.features), decider, champion, load_arms(config, decider, champion, state_dir)
    )


def _champion(state_dir: Path, config: Config, strict: bool) -> Scorer | None:
    registry = Registry(state_dir / "models")
    try:
        version = registry.champion()
        if version is None:
            log.warning(
                "no promoted model in %s: base rates stand in; run `nba train` and `nba models promote`", registry.root
            )
            return None
        return Scorer.load(registry.path(version), config.catalog, config.features.columns)
    except (NbaError, OSError) as error:
        if strict:
            raise ModelError(f"the promoted model cannot be used: {error}") from error
        log.error("the promoted model cannot be used: base rates stand in", extra={"error": str(error)})
        return None


async def open_engine(parts: Parts, redis_url: str, *, timeout_s: float, now_ms: int) -> Engine:
    """Connect and warm. Raises nothing when Redis is away: the store connects again by itself."""
    store = await Store.open(redis_url, parts.spec, timeout_s=timeout_s)
    context_types = {name: declared.type for name, declared in parts.config.features.context.items()}
    types = column_types(parts.config)
    engine = Engine(
        parts.config,
        parts.spec,
        store,
        parts.decider,
        parts.scorer,
        context_types,
        types,
        defaultdict(Pace),
        parts.arms,
    )
    await asyncio.to_thread(engine.warm, now_ms)
    with suppress(StoreError):
        await store.ping()
    return engine
