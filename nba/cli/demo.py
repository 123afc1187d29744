"""`nba demo`: the main job on a fresh machine, in one command, over real HTTP. Its customers are simulated."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.panel import Panel
from rich.text import Text

from nba.cli.output import Json, StateDir, err, out, print_json, progress, settings_of
from nba.clock import system_now_ms
from nba.config import Config
from nba.errors import InputError, UnavailableError
from nba.folders import make_private
from nba.load import find_config, load_config
from nba.settings import Settings

if TYPE_CHECKING:
    from nba.simulate.callers import Caller

SIMULATED_CUSTOMERS = 2000
SEED = 20_260_101
_START_S = 60.0


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(epilog="Example: nba demo --once")(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="Print the three calls and exit.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the desktop page; 0: any free one.")] = 8000,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Three calls with the suggestion for each, then the agent desktop, on simulated customers of a mobile operator."""
    # Everything of the demo stays in a folder of its own, so that nothing simulated mixes with what is real.
    state = settings_of(state_dir=state_dir).state_dir / "demo"
    settings = settings_of(config="telco", state_dir=state, api_keys=None)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    config = load_config(find_config(settings.config))
    trained = _model(settings, config)
    with _own_redis(settings) as connected:
        people = asyncio.run(_bring_in(connected, config))
        _tell_the_desktop(settings.state_dir, people)
        with _service(connected, 0 if once else port) as (base, stopped):
            calls = [{"caller": person, "answer": _recommend(base, person)} for person in people]
            _print(calls, trained, as_json)
            if not once:
                _serve_until_stopped(base, stopped)


def _model(settings: Settings, config: Config) -> str:
    """The promoted model of the demo, trained on simulated calls when there is none; says what it was made from."""
    from models.registry import Registry

    registry = Registry(settings.state_dir / "models")
    if champion := registry.champion():
        return f"model {champion}, trained earlier on simulated calls"
    rows = _simulated_rows(settings, config)
    return _trained(settings, rows)


def _simulated_rows(settings: Settings, config: Config) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from features.spec import FeatureSpec
    from nba.cli.memory import LocalMemory
    from nba.simulate import history

    with progress(f"simulating {SIMULATED_CUSTOMERS:,} customers") as (bar, task):
        made = history(
            config, SIMULATED_CUSTOMERS, SEED, system_now_ms(), LocalMemory(FeatureSpec(config.features)),
            progress=lambda done: bar.update(task, completed=done, total=SIMULATED_CUSTOMERS),
        )  # fmt: skip
    make_private(settings.state_dir)
    path = settings.state_dir / "simulated.parquet"
    pq.write_table(pa.table(made.columns()), path)
    return path


def _trained(settings: Settings, rows: Path) -> str:
    from nba.cli.learn import run_training

    report = run_training(settings, rows)
    if not report.promoted:
        return f"no model ({', '.join(report.stopped_by)} said no), so base rates answer"
    return f"model {report.version}, trained on {report.counts.used:,} simulated calls"


@contextmanager
def _own_redis(settings: Settings) -> Iterator[Settings]:
    if settings.redis_url is not None:
        yield settings
        return
    from features.embedded import EmbeddedRedis

    embedded = EmbeddedRedis(settings.state_dir)
    url = embedded.start()
    try:
        yield settings.model_copy(update={"redis_url": url})
    finally:
        embedded.stop()


async def _bring_in(settings: Settings, config: Config) -> list[Caller]:
    """Three callers as they stand now; what an earlier demo left of them is erased first."""
    from features.spec import FeatureSpec
    from features.store import Store
    from nba.simulate.callers import callers

    now_ms = system_now_ms()
    store = await Store.open(str(settings.redis_url), FeatureSpec(config.features), timeout_s=5.0)
    people = list(callers(now_ms, config.features.zone))
    for person in people:
        await store.forget(person.customer_id)
        await store.put_profile(person.customer_id, person.profile, now_ms)
        await store.append(person.activity)
    await store.close()
    return people


def _tell_the_desktop(state_dir: Path, people: list[Caller]) -> None:
    """Who may call, for the desktop page of this service and of no other."""
    from serving.desk import CALLERS_FILE

    named = ("customer_id", "story", "context", "interaction_id", "next_event")
    shown = [
        {
            "name": " ".join(str(person.profile[key]) for key in ("salutation", "family_name")),
            **{name: getattr(person, name) for name in named},
        }
        for person in people
    ]
    make_private(state_dir)
    (state_dir / CALLERS_FILE).write_text(json.dumps(shown, ensure_ascii=False), encoding="utf-8")


@contextmanager
def _service(settings: Settings, port: int) -> Iterator[tuple[str, Callable[[], bool]]]:
    """The real service in a thread; its address, and whether it has stopped."""
    import uvicorn

    from serving.app import create_app

    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), host="127.0.0.1", port=port, log_level="warning", access_log=False)
    )
    listener = _listener(port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise UnavailableError("the service did not start: see the lines above")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: not thread.is_alive()
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise InputError(f"port {port} is taken: use --port 0 for any free one") from error
    return listener


def _recommend(base: str, person: Caller) -> dict[str, Any]:
    body = {
        "customer_id": person.customer_id, "channel": "call", "interaction_id": person.interaction_id,
        "context": person.context, "locale": "en",
    }  # fmt: skip
    request = urllib.request.Request(  # noqa: S310  # our own loopback service
        f"{base}/v1/recommend", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found


def _print(calls: list[dict[str, Any]], trained: str, as_json: bool) -> None:
    if as_json:
        print_json({
            "simulated": True, "model": trained,
            "calls": [{"story": call["caller"].story["en"], **call["answer"]} for call in calls],
        })  # fmt: skip
        return
    out.print(f"\nSimulated customers of a mobile operator; {trained}.\n")
    for number, call in enumerate(calls, start=1):
        out.print(_panel(number, call["caller"], call["answer"]), soft_wrap=False)


def _panel(number: int, person: Caller, answer: dict[str, Any]) -> Panel:
    name = " ".join(str(person.profile[key]) for key in ("salutation", "family_name"))
    text = Text()
    text.append(f"{name} {person.story['en']}.\n\n", style="dim")
    suggestions = answer["suggestions"]
    if suggestions:
        text.append("The agent reads: ", style="bold")
        text.append(f"“{suggestions[0]['say']}”\n", style="bold green")
        for other in suggestions[1:]:
            text.append(f"  then: {other['title']} ({other['kind'].replace('_', ' ')})\n")
        text.append(f"  because: {'; '.join(reason['text'] for reason in suggestions[0]['because'])}\n", style="dim")
    else:
        text.append(f"No offer now: {answer['nothing_because']}\n", style="bold")
    funnel = answer["funnel"]
    text.append(
        f"  {funnel['catalog']} offers, {funnel['eligible']} eligible, {funnel['passed']} may be said; "
        f"answered by {answer['source']}",
        style="dim",
    )
    return Panel(text, title=f"call {number}", title_align="left", width=min(100, out.width))


def _serve_until_stopped(base: str, stopped: Callable[[], bool]) -> None:
    err.print(f"agent desktop: {base}/desktop   API: {base}/docs   stop with Ctrl-C")
    try:
        while not stopped():
            time.sleep(0.2)
    except KeyboardInterrupt:
        err.print("stopped")
