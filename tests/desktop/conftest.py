"""Chromium, driven by Playwright, against a real service with three callers to play with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from pydantic import SecretStr

from kits.activity import as_event
from kits.live import in_a_thread
from kits.ports import free_port
from nba.clock import format_at, system_now_ms
from nba.domain import Activity
from nba.settings import Settings
from nba.simulate.callers import callers
from serving.app import create_app
from serving.desk import CALLERS_FILE

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
_ARGS = [
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_ids = count(1)


@cache
def _chromium() -> str | None:
    """The browser on PATH, else the one that apt-get installs for root, once."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(command, capture_output=True, timeout=300, check=False)
        found = shutil.which("chromium")
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in one worker: there is one browser."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """One for each file: while Playwright runs, no other test of this process could run an event loop of its own."""
    path = _chromium()
    if path is None:
        pytest.skip("no chromium: install it, or run the tests as root where apt-get is")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=_ARGS)
        yield browser
        browser.close()


@dataclass
class Service:
    """A service that answers at `url`, and what is needed to play with it."""

    url: str
    http: httpx.Client
    state_dir: Path

    def cast(self) -> dict[str, str]:
        """The demo's three callers under ids that nobody used before: {kraus, yildiz, novak} -> customer id."""
        people, shown, number = callers(system_now_ms(), ZoneInfo("Europe/Berlin")), [], next(_ids)
        for person in people:
            customer = f"{person.customer_id}-{number}"
            assert self.http.put(f"/v1/customers/{customer}", json=dict(person.profile)).status_code == 200
            events = [_wire(event, customer, number) for event in person.activity]
            for start in range(0, len(events), 500):
                kept = self.http.post("/v1/activity", json={"events": events[start : start + 500]}).json()
                assert not kept["rejected"], kept
            name = f"{person.profile['salutation']} {person.profile['family_name']}"
            told = {"story": person.story, "context": person.context, "next_event": person.next_event}
            interaction = f"{person.interaction_id}-{number}"
            shown.append({"name": name, "customer_id": customer, "interaction_id": interaction, **told})
        (self.state_dir / CALLERS_FILE).write_text(json.dumps(shown), encoding="utf-8")
        return dict(zip(("kraus", "yildiz", "novak"), (c["customer_id"] for c in shown), strict=True))

    def contacts(self, customer_id: str) -> list[tuple[str, str, str | None]]:
        """(offer, outcome, reason) of everything that met this customer."""
        view = self.http.get(f"/v1/customers/{customer_id}").json()
        return [(c["offer_id"], c["outcome"], c["reason"]) for c in view["contacts"]]

    def happens(self, customer_id: str, kind: str, **fields: object) -> None:
        """Send one event of now."""
        event = {"event_id": f"x-{next(_ids)}", "customer_id": customer_id, "channel": "app", "type": kind}
        at = format_at(system_now_ms())
        sent = self.http.post("/v1/activity", json={"events": [event | {"at": at} | fields]})
        assert sent.json()["accepted"] == 1


def _wire(event: Activity, customer_id: str, number: int) -> dict[str, object]:
    """An event of a caller's story, for another customer."""
    return as_event(replace(event, event_id=f"{event.event_id}-{number}", customer_id=customer_id))


@contextmanager
def serving(settings: Settings, key: str | None = None) -> Iterator[Service]:
    """Start a service on a free port, and stop it as an operator would."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with (
        in_a_thread(create_app(settings)) as url,
        httpx.Client(base_url=url, timeout=30, headers=headers) as http,
    ):
        yield Service(url, http, settings.state_dir)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(config="telco", state_dir=tmp_path_factory.mktemp("desk"), budget_ms=2000)
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that wants a key, and lets pages of http://localhost:* (made by `host`) embed the widget."""
    port = free_port()
    settings = Settings(
        config="telco", state_dir=tmp_path_factory.mktemp("keyed-desk"), budget_ms=2000, api_keys=SecretStr("boss"),
        widget_origins=f"http://localhost:{port}",
    )  # fmt: skip
    with serving(settings, "boss") as running:
        running.host_port = port  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def cast(service: Service) -> dict[str, str]:
    return service.cast()


@pytest.fixture
def page_of(browser, service) -> Iterator[Callable]:
    """Opens pages: `page_of(path="/desktop", **context options)`; nothing may be logged as an error unless `loud`."""
    opened = []

    def page(path: str = "/desktop", *, loud: bool = False, ready: str = "button.main", **options: object):
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(30_000)
        fresh = context.new_page()
        wrong: list[str] = []
        fresh.on("pageerror", lambda error: wrong.append(str(error)))
        fresh.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        opened.append((context, [] if loud else wrong))
        fresh.goto(service.url + path)
        fresh.wait_for_selector(ready)
        return fresh

    yield page
    for context, wrong in opened:
        context.close()
        assert not wrong, wrong


@pytest.fixture
def desk(page_of, cast):
    """The desktop, with three callers waiting."""
    page = page_of()
    page.wait_for_selector("#callers button")
    return page
