"""`nba serve`: the HTTP service, in this process or in several."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from nba.cli.output import ConfigName, Json, RedisUrl, StateDir, err, print_json, settings_epilog, settings_of
from nba.errors import InputError
from nba.folders import make_private
from nba.load import find_config, load_config
from nba.settings import Settings

Host = Annotated[str, typer.Option(help="Address to listen on; anything but loopback needs NBA_API_KEYS.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(epilog="Example: nba serve --config telco --port 8000\n\n" + settings_epilog())(serve)


def serve(
    config: ConfigName = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer.")] = 1,
    redis_url: RedisUrl = None,
    state_dir: StateDir = None,
    budget_ms: Annotated[
        float | None, typer.Option(help="An answer within this time, whatever breaks [NBA_BUDGET_MS].")
    ] = None,
    log: Annotated[str | None, typer.Option(help="Lines on stderr: text or json [NBA_LOG].")] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="Certificate (and chain) as PEM, for TLS.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="Its private key as PEM.")] = None,
    as_json: Json = False,
) -> None:
    """Run the HTTP service. SIGTERM drains it: what has come is answered, nothing new is taken."""
    from serving.logs import log_to_stderr

    settings = settings_of(config=config, redis_url=redis_url, state_dir=state_dir, budget_ms=budget_ms, log=log)
    log_to_stderr(settings.log)
    run(settings, host, port, workers, as_json, ssl_certfile=ssl_certfile, ssl_keyfile=ssl_keyfile)


def run(settings: Settings, host: str, port: int, workers: int = 1, as_json: bool = False, **tls: Any) -> None:
    """Check what can be checked before anything listens, then serve until stopped."""
    from serving import server

    _check_secrets(settings, host)
    load_config(find_config(settings.config))
    _check_reachable(settings)
    given = {name: value for name, value in tls.items() if value is not None}
    _check_tls(**given)

    def listening(taken: int) -> None:
        place = f"[{host}]" if ":" in host else host
        _tell(settings.config, f"http{'s' if given else ''}://{place}:{taken}", workers, as_json)

    shared: dict[str, Any] = {"listening": listening, "host": host, "port": port, **given}
    if workers == 1:
        from serving.app import create_app

        _ended_well(lambda: server.serve(create_app(settings), **shared))
        return
    with ExitStack() as stack:
        # The workers' counts meet in files, so that /metrics is about all of them.
        counts = stack.enter_context(tempfile.TemporaryDirectory(prefix="nba-metrics-", dir=_memory()))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
        os.environ.update(_environment(_with_redis(settings, stack)))
        _ended_well(lambda: server.serve("nba.cli.serve:worker", workers=workers, **shared))


def _check_secrets(settings: Settings, host: str) -> None:
    """Keys and the secret of tokens; a key that might be guessed is said, and taken."""
    from serving.auth import SHORTEST_KEY, Keys, check_binding
    from serving.tokens import Tokens

    keys = settings.api_keys.get_secret_value() if settings.api_keys else None
    check_binding(host, keys)
    if short := Keys(keys).short:
        logging.getLogger("nba.serving").warning(
            "%d of the keys in NBA_API_KEYS might be guessed, with fewer than %d characters: make new ones with `nba key`",
            short, SHORTEST_KEY,
        )  # fmt: skip
    if settings.token_secret is not None:
        Tokens(settings.token_secret.get_secret_value().encode())


def _memory() -> str | None:
    """A folder on no disk, where there is one: the counts are mapped, so a disk that is full would end every worker (SIGBUS)."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108


def _tell(config: str, url: str, workers: int, as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "config": config, "workers": workers, "pid": os.getpid()})
        sys.stdout.flush()  # it is read while the service runs
    err.print(f"serving {config} on {url}  (docs: /docs, desktop: /desktop)", style="dim")


def _check_reachable(settings: Settings) -> None:
    """What would only fail once the service starts: no Redis at all, a URL that is none, a state folder that cannot be one."""
    from features.address import check_address
    from features.embedded import find_binary

    if settings.redis_url is None:
        find_binary()
    else:
        check_address(settings.redis_url)
    try:
        make_private(settings.state_dir)
    except OSError as error:
        raise InputError(
            f"NBA_STATE_DIR {settings.state_dir}: {error.strerror}: give a folder that can be written"
        ) from error


def _check_tls(ssl_certfile: Path | None = None, ssl_keyfile: Path | None = None) -> None:
    """Certificate and key are there, can be read and belong together."""
    if ssl_certfile is None and ssl_keyfile is None:
        return
    if ssl_certfile is None:
        raise InputError("--ssl-keyfile alone is no TLS: give --ssl-certfile too")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(ssl_certfile, ssl_keyfile)
    except OSError as error:
        raise InputError(
            f"TLS with {ssl_certfile} and {ssl_keyfile or 'no key file'}: {error}: give the PEM files of one certificate"
        ) from error


def _ended_well(serve: Callable[[], None]) -> None:
    """uvicorn says itself why it could not start (a port that is taken, say) and leaves with a status of its own."""
    try:
        serve()
    except SystemExit as left:
        if left.code:
            raise InputError(
                "the service did not start: the line above says why; another --port is often the cure"
            ) from left


def worker() -> Any:
    """What each process of `--workers N` serves; its settings come by the environment."""
    from serving.app import create_app
    from serving.logs import log_to_stderr

    settings = Settings()
    log_to_stderr(settings.log)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return create_app(settings)


def _end_with_parent() -> None:
    """A worker whose parent was killed would serve on, unseen, on a port that nobody can take any more: it drains and ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _with_redis(settings: Settings, stack: ExitStack) -> Settings:
    """The engine's own Redis is started once, before the processes that share it."""
    if settings.redis_url is not None:
        return settings
    from features.embedded import EmbeddedRedis

    embedded = EmbeddedRedis(settings.state_dir)
    url = embedded.start()
    embedded.guard()
    stack.callback(embedded.stop)
    logging.getLogger("nba.serving").info("using the embedded Redis: set NBA_REDIS_URL for one of your own")
    return settings.model_copy(update={"redis_url": url})


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as the environment of a child process."""
    given = {**dict(settings), "state_dir": settings.state_dir.absolute()}
    plain = {n: v.get_secret_value() if isinstance(v, SecretStr) else v for n, v in given.items()}
    return {f"NBA_{name.upper()}": str(value) for name, value in plain.items() if value is not None}
