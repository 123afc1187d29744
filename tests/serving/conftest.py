"""A real service in a thread, on a real socket, with a real Redis of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import pytest
import yaml
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError

from features.embedded import find_binary
from kits.live import in_a_thread
from kits.ports import free_port
from kits.served import NBA, Served, answers
from kits.waiting import wait_until
from nba.clock import format_at, system_now_ms
from nba.load import find_config
from nba.settings import Settings
from serving.app import create_app
from serving.server import ImpatientProtocol

_ids = count(1)


@dataclass
class Running:
    """A service that answers at `url`."""

    url: str
    http: httpx.Client
    state_dir: Path
    app: object

    def customer(self, plan: str = "l-40", **profile: object) -> str:
        """A customer nobody has used before: on a large plan, of which a fifth was used in the last five months."""
        name = f"c-{next(_ids)}"
        fields = {"plan": plan, "family_name": "Kraus", "salutation": "Mr.", "tenure_months": 30, **profile}
        assert self.http.put(f"/v1/customers/{name}", json=fields).status_code == 200
        used = [event(name, "data_used", days=days, value=2700) for days in range(1, 150, 10)]
        assert self.http.post("/v1/activity", json={"events": used}).json()["accepted"] == len(used)
        return name

    def recommend(self, customer_id: str, **asked: object) -> dict:
        """The answer, which has to be one."""
        answer = self.http.post("/v1/recommend", json={"customer_id": customer_id, **asked})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def outcome(self, decision: dict, outcome: str, **more: object) -> httpx.Response:
        """Report an outcome of the first suggestion."""
        first = decision["suggestions"][0]["offer_id"]
        body = {"decision_id": decision["decision_id"], "offer_id": first, "outcome": outcome, **more}
        return self.http.post("/v1/outcomes", json=body)


def event(customer_id: str, kind: str, *, days: float = 0.0, **fields: object) -> dict:
    """An event so many days ago."""
    at = format_at(system_now_ms() - int(days * 86_400_000))
    return {
        "event_id": f"e-{next(_ids)}",
        "customer_id": customer_id,
        "at": at,
        "channel": "app",
        "type": kind,
        **fields,
    }


@contextmanager
def running(settings: Settings, protocol: type = ImpatientProtocol) -> Iterator[Running]:
    """Start, and stop as an operator would."""
    app = create_app(settings)
    with (
        in_a_thread(app, loop="asyncio", lifespan="on", http=protocol, timeout_graceful_shutdown=5) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield Running(url, http, settings.state_dir, app)


@pytest.fixture(scope="session")
def config_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The telco config, a saving made worth so much that tuning of the shipped one changes nothing here."""
    folder = Path(shutil.copytree(find_config("telco"), tmp_path_factory.mktemp("config") / "telco"))
    policy = yaml.safe_load((folder / "policy.yaml").read_text(encoding="utf-8"))
    policy["worth"]["of_kind"]["optimize"] = 5000
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def nba(tmp_path_factory: pytest.TempPathFactory, config_folder: Path) -> Iterator[Running]:
    """One service for every test that leaves it as it was."""
    with running(
        Settings(config=str(config_folder), state_dir=tmp_path_factory.mktemp("state"), budget_ms=1000)
    ) as service:
        yield service


@pytest.fixture
def make_event() -> Callable[..., dict]:
    """See `event`."""
    return event


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory, config_folder: Path) -> Iterator[Running]:
    """A service with keys: reader (recommend), writer (write), boss (admin)."""
    keys = SecretStr("reader=recommend,writer=write,boss=admin")
    state_dir = tmp_path_factory.mktemp("keyed")
    with running(Settings(config=str(config_folder), state_dir=state_dir, api_keys=keys, budget_ms=1000)) as service:
        yield service


@pytest.fixture
def start(tmp_path: Path, config_folder: Path) -> Iterator[Callable[..., Running]]:
    """Starts services on one state folder, `start(budget_ms=…)`; all are stopped at the end."""
    given: dict = {"config": str(config_folder), "state_dir": tmp_path, "budget_ms": 1000}
    with ExitStack() as stack:
        yield lambda protocol=ImpatientProtocol, **more: stack.enter_context(
            running(Settings(**given | more), protocol)
        )


class OwnRedis:
    """A real Redis that a test may stop, pause, restart and fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        settings = ["--port", str(self.port), "--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        self.process = subprocess.Popen([find_binary(), *settings], stdout=subprocess.DEVNULL)
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it is up, with its data read."""
        with suppress(RedisError), Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path) -> Iterator[OwnRedis]:
    (tmp_path / "redis-data").mkdir()
    own = OwnRedis(tmp_path / "redis-data")
    yield own
    own.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts `nba serve` with these arguments and settings: `serve("--workers", 2, NBA_LOG="json")`."""
    with ExitStack() as stack:

        def start(*arguments: object, **settings: str) -> Served:
            port, errors = free_port(), tmp_path / "stderr"
            command = [str(NBA), "serve", "--port", str(port), *map(str, arguments)]
            given = {"NBA_STATE_DIR": str(tmp_path / "state"), "NBA_BUDGET_MS": "1000", **settings}
            said = stack.enter_context(errors.open("w"))
            process = stack.enter_context(subprocess.Popen(command, env={**os.environ, **given}, stderr=said))
            stack.callback(process.kill)
            wait_until(lambda: answers(port, process), 180)
            return Served(port, process, errors)

        yield start
