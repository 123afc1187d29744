"""A real Redis, alone and as a cluster, and stores on it."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as ConnectionError_

from features.embedded import EmbeddedRedis, find_binary
from features.ingest import ingest
from features.spec import FeatureSpec
from features.store import Store
from kits.activity import NOW_MS, make_config
from kits.ports import free_ports
from kits.waiting import wait_until
from nba.errors import UnavailableError

T = TypeVar("T")


@pytest.fixture(scope="session")
def spec() -> FeatureSpec:
    return FeatureSpec(make_config())


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


@pytest.fixture
def load(store, run, spec, tmp_path):
    """Ingest files of activity, or of another kind."""

    def go(*files, kind="activity", **more):
        return run(ingest(files, kind, store, spec, now_ms=NOW_MS, rejected_file=tmp_path / "rejected.jsonl", **more))

    return go
