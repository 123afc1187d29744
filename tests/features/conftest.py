"""A real Redis, a config that uses every `take`, and customers nobody has used before."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from features.embedded import EmbeddedRedis
from features.spec import FeatureSpec
from features.store import Store
from nba.config import FeaturesConfig
from nba.domain import Activity

T = TypeVar("T")
NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
TAKES = ("count", "sum", "mean", "min", "max", "last", "distinct", "hours_since", "streak", "trend")
WINDOWS = ("6h", "7d", "30d", "month", "month-1", "month-2")
_ids = count(1)


def every_take() -> list[dict[str, Any]]:
    """Each take over each window it can have, on a type with a unit and on one without, and narrowed ones."""
    features = []
    for take in TAKES:
        for window in (None, *WINDOWS):
            if take == "trend" and (window is None or window.startswith("month")):
                continue
            for kind in ("spent", "seen"):
                name = f"{kind}_{take}_{window}".replace("-", "_").lower()
                features.append({"name": name, "of": kind, "take": take} | ({"window": window} if window else {}))
    for take in ("count", "sum", "last", "max", "distinct"):
        where = {"spent": {"subject": "a"}, "both": {"subject": ["a", "b"], "channel": "web"}, "app": {"channel": "app"}}
        for name, narrowed in where.items():
            features.append({"name": f"{name}_{take}", "of": "spent", "take": take, "window": "30d", "where": narrowed})
    return features


CONFIG: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "activities": {
        "spent": {"unit": "cent"},
        "seen": {},
        "told": {"text": {"en": "did something"}},
        "complaint": {"opens_issue": True},
        "resolved": {"closes_issue": True},
        "failed": {"bad_experience": True},
    },
    "features": [
        *every_take(),
        {"name": "share", "is": "features.spent_sum_7d / features.spent_sum_30d", "default": -1.0},
        {"name": "twice", "is": "2 * double_count"},
        {"name": "double_count", "is": "2 * features.seen_count_30d"},
    ],
    "profile": {"plan": "category", "age": "number", "vip": "boolean"},
}


def config(**changes: Any) -> FeaturesConfig:
    """The config above with some parts changed."""
    return FeaturesConfig.model_validate({**CONFIG, **changes})


def customer_id() -> str:
    """A customer nobody has used before."""
    return f"c-{next(_ids)}"


def event(event_id: str, at_ms: int, kind: str = "spent", value: int | None = 1, **more: Any) -> Activity:
    """An event of customer `c`, over the web if nothing else is said."""
    return Activity(event_id, more.pop("customer_id", "c"), at_ms, more.pop("channel", "web"), kind, value, **more)


def wait_until(predicate: Callable[[], object], seconds: float = 20.0) -> None:
    """Return when it is so; fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError("it did not become so")
        time.sleep(0.005)


@pytest.fixture(scope="session")
def spec() -> FeatureSpec:
    return FeatureSpec(config())


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine's own Redis, one for all tests of a process."""
    redis = EmbeddedRedis(tmp_path_factory.mktemp("state"))
    yield redis.start()
    redis.stop()


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for the tests of a process: clients belong to a loop."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Callable[[Awaitable[T]], T]:
    """Run a coroutine to its end."""
    return loop.run_until_complete


@pytest.fixture
def store(redis_url: str, spec: FeatureSpec, run: Callable[..., Any]) -> Iterator[Store]:
    """A store on an empty Redis. Afterwards every key has to have a time to live: what has none stays for ever."""
    store = run(Store.open(redis_url, spec, timeout_s=10.0))
    run(store._client.flushall())
    yield store
    leaked = [key for key in run(store._client.keys("*")) if run(store._client.ttl(key)) < 0]
    run(store.close())
    assert not leaked, f"keys without a time to live: {leaked}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(scope="session")
def kit() -> Any:
    """The functions and constants of this file, for tests that are imported without a package around them."""
    return sys.modules[__name__]
