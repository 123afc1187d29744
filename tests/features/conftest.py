"""A real Redis, a config that uses every `take`, and customers nobody has used before."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import shlex
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as ConnectionError_

from features.embedded import EmbeddedRedis, find_binary
from features.ingest import ingest
from features.spec import FeatureSpec
from features.store import Store
from kits.waiting import wait_until
from nba.clock import format_at
from nba.config import FeaturesConfig
from nba.domain import Activity
from nba.errors import UnavailableError

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
        where = {
            "spent": {"subject": "a"},
            "both": {"subject": ["a", "b"], "channel": "web"},
            "app": {"channel": "app"},
        }
        for name, narrowed in where.items():
            features.append({"name": f"{name}_{take}", "of": "spent", "take": take, "window": "30d", "where": narrowed})
    return features


CONFIG: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "activities": {
        "spent": {"unit": "cent"},
        "seen": {"thread": False},
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


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real cluster of three nodes."""
    try:
        binary = find_binary()
    except UnavailableError as error:
        pytest.skip(f"no Redis to make a cluster of: {error}")
    ports = free_ports(3)
    with ExitStack() as nodes:
        for port in ports:
            folder = tmp_path_factory.mktemp(f"node-{port}")
            settings = f"--port {port} --bind 127.0.0.1 --cluster-enabled yes --save '' --dir {folder} --logfile log"
            process = subprocess.Popen([binary, *shlex.split(settings)], stdout=subprocess.DEVNULL)
            nodes.callback(process.wait)
            nodes.callback(process.terminate)
        clients = [Redis(port=port) for port in ports]
        for number, client in enumerate(clients):
            nodes.callback(client.close)
            wait_until(lambda client=client: answers(client))
            client.execute_command("CLUSTER ADDSLOTS", *range(16384 * number // 3, 16384 * (number + 1) // 3))
            client.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
        wait_until(lambda: all(c.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for c in clients))
        wait_until(lambda: all(len(c.execute_command("CLUSTER NODES")) == 3 for c in clients))
        yield f"redis+cluster://127.0.0.1:{ports[1]}"


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on; a node of a cluster also takes the port 10,000 above, so they stay below 50,000."""
    found: list[int] = []
    candidates = iter(random.Random(os.getpid()).sample(range(20_000, 50_000), 200))
    while len(found) < count:
        port = next(candidates)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


def answers(client: Redis) -> bool:
    """Whether a Redis is up."""
    try:
        return bool(client.ping())
    except ConnectionError_:
        return False


@pytest.fixture(params=["single", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of each kind of Redis."""
    name = {"single": "redis_url", "cluster": "cluster_url"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture
def opened(url: str, spec: FeatureSpec, run: Callable[..., Any]) -> Iterator[Callable[..., Store]]:
    """Opens stores on an emptied Redis. Afterwards every key has to have a time to live: what has none stays for ever."""
    stores: list[Store] = []

    def opened_store(spec: FeatureSpec = spec, timeout_s: float = 10.0) -> Store:
        stores.append(run(Store.open(url, spec, timeout_s=timeout_s)))
        return stores[-1]

    admin = opened_store()._client
    nodes = {"target_nodes": "primaries"} if "cluster" in url else {}
    run(admin.flushall(**nodes))
    yield opened_store
    leaked = [key for key in run(admin.keys("*", **nodes)) if run(admin.ttl(key)) < 0]
    for one in stores:
        run(one.close())
    assert not leaked, f"keys without a time to live: {leaked}"


@pytest.fixture
def store(opened: Callable[..., Store]) -> Store:
    """A store on an empty Redis."""
    return opened()


@pytest.fixture(scope="session")
def kit() -> Any:
    """The functions and constants of this file, for tests that are imported without a package around them."""
    return sys.modules[__name__]


def rows_of(kit, count: int, customers: int = 7) -> list[dict]:
    """Events of some customers with all that an event may carry."""
    return [
        {
            "event_id": f"e{i}",
            "customer_id": f"c{i % customers}",
            "at": format_at(kit.NOW_MS - i * 60_000),
            "channel": ("web", "app", "kiosk")[i % 3],
            "type": ("spent", "seen", "told", "complaint")[i % 4],
            "value": None if i % 5 == 0 else i - 50,
            "subject": (None, "a", "b")[i % 3],
            "text": "so said" if i % 11 == 0 else None,
            "interaction_id": "call-1" if i % 13 == 0 else None,
        }
        for i in range(count)
    ]


def write(rows: list[dict], file: Path, **casts: pa.DataType) -> Path:
    """The rows in the format that the file's name asks for."""
    if ".jsonl" in file.name:
        text = "".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows).encode()
        file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
        return file
    table = pa.Table.from_pylist(rows)
    for name, kind in casts.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    (pa_csv.write_csv if file.suffix == ".csv" else pq.write_table)(table, file)
    return file


def refused(report) -> list[tuple[int, str]]:
    """Line and reason of each refused row."""
    told = (json.loads(line) for line in report.rejected_file.read_text().splitlines())
    return [(row["line"], row["reason"]) for row in told]


@pytest.fixture
def load(store, run, spec, kit, tmp_path):
    """Ingest files of activity, or of another kind."""

    def go(*files, kind="activity", **more):
        return run(
            ingest(files, kind, store, spec, now_ms=kit.NOW_MS, rejected_file=tmp_path / "rejected.jsonl", **more)
        )

    return go
