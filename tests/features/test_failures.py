"""A Redis that is full, read-only, slow or gone in the middle: a clear error, nothing half-written, and back by itself."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import threading
from contextlib import suppress

import pytest
from redis.exceptions import NoPermissionError

from features.embedded import EmbeddedRedis, find_binary
from features.keys import customer_keys
from features.store import Store
from features.store_errors import store_error
from kits.activity import NOW_MS, make_event
from kits.waiting import wait_until
from nba.domain import Contact, StatedIntent
from nba.errors import StoreError


@pytest.fixture
def embedded(tmp_path):
    redis = EmbeddedRedis(tmp_path)
    yield redis
    redis.stop()


@pytest.fixture
def lone(embedded, run, spec):
    """A store on a Redis that no other test uses."""
    store = run(Store.open(embedded.start(), spec, timeout_s=5.0))
    yield store
    run(store.close())


def words_of(name: str) -> list:
    """An event that is written to the log and to the thread."""
    return [make_event("e", NOW_MS, "complaint", customer_id=name, text="x" * 500)]


@pytest.mark.parametrize(
    ("broken", "mended", "says"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "maxmemory"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "primary"),
    ],
)
def test_a_full_or_read_only_redis_refuses_everything_and_keeps_what_it_had(lone, run, broken, mended, says):
    """Log and thread change together or not at all; reading goes on; afterwards writing does too."""
    run(lone.append(words_of("old")))
    run(lone._client.execute_command(*broken))
    for call in (
        lone.append(words_of("new")),
        lone.put_profile("new", {}, NOW_MS),
        lone.append(words_of("old")),
    ):
        with pytest.raises(StoreError, match=says):
            run(call)
    assert run(lone._client.exists(*customer_keys("new"))) == 0
    assert len(run(lone.read("old", NOW_MS)).open_issues) == 1
    run(lone._client.execute_command(*mended))
    run(lone.append(words_of("new")))
    assert len(run(lone.read("new", NOW_MS)).thread) == 1


def test_a_redis_that_comes_back_is_used_again(embedded, lone, run):
    """Nobody has to restart the engine; what was acknowledged is still there."""
    run(lone.append(words_of("c")))
    embedded.stop()
    with pytest.raises(StoreError):
        run(lone.read("c", NOW_MS))
    embedded.start()
    assert len(run(lone.read("c", NOW_MS)).open_issues) == 1


def test_a_redis_that_does_not_answer_is_given_up_in_time(spec, run):
    """A server that accepts and says nothing: an error after timeout_s, not a hanging call."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = run(Store.open(f"redis://127.0.0.1:{silent.getsockname()[1]}", spec, timeout_s=0.05))
        with pytest.raises(StoreError, match="in time"):
            run(asyncio.wait_for(store.read("c", NOW_MS), 5.0))
        run(store.close())


def test_a_connection_that_dies_in_the_middle_of_a_batch_leaves_nothing_that_a_repeat_does_not_mend(lone, run, spec):
    """Between the engine and Redis the line is cut after every number of bytes; then the batch is sent again."""
    url = lone._url.removeprefix("unix://")
    names = [f"cut-{i}" for i in range(4)]
    batch = [event for name in names for event in words_of(name)]
    for bytes_through in range(200, 4000, 475):
        with Cut(url, bytes_through) as port:
            store = run(Store.open(f"redis://127.0.0.1:{port}", spec, timeout_s=2.0))
            try:
                run(store.append(batch))
            except StoreError:
                run(lone.append(batch))
            run(store.close())
        found = [run(lone.read(name, NOW_MS)) for name in names]
        assert [(len(c.open_issues), len(c.thread), c.degraded) for c in found] == [(1, 1, ())] * 4
        for name in names:
            assert run(lone._client.ttl(customer_keys(name).log)) > 0
            run(lone.forget(name))


class Cut:
    """A line to a Redis that lets so many bytes through, over all connections, and then nothing."""

    def __init__(self, path: str, allowed: int) -> None:
        self._path, self._left = path, allowed
        self._open: list[socket.socket] = []

    def __enter__(self) -> int:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return int(self._server.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                near = self._server.accept()[0]
            except OSError:
                return
            with near, socket.socket(socket.AF_UNIX) as far, suppress(OSError):  # either end may hang up first
                far.connect(self._path)
                back = threading.Thread(target=self._pass_back, args=(far, near))
                back.start()
                while self._left > 0 and (data := near.recv(64)):
                    far.sendall(data[: self._left])
                    self._left -= len(data)
                far.shutdown(socket.SHUT_WR)
                near.shutdown(socket.SHUT_RD)
                back.join()

    def _pass_back(self, far: socket.socket, near: socket.socket) -> None:
        try:
            while data := far.recv(4096):
                near.sendall(data)
            near.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_connection_that_ends_while_it_is_written_to_is_an_error_of_the_store(run, spec):
    """uvloop calls it a RuntimeError; every call of the store says it as one of its own, so that a rung catches it."""
    store = run(Store.open("redis://127.0.0.1:1", spec, timeout_s=0.1))
    with pytest.raises(StoreError, match="closed the connection: see whether it is being restarted"), store._guard():
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
    run(store.close())


def test_what_a_redis_says_of_a_command_does_not_name_the_customer(tmp_path, run, spec):
    """One that does not know a command repeats it, key and all; errors go into logs, which name nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [find_binary(), "--port", str(port), "--dir", str(tmp_path), "--save", "", "--rename-command", "GET", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(port))
        store = run(Store.open(f"redis://127.0.0.1:{port}", spec, timeout_s=5.0))
        with pytest.raises(StoreError, match="unknown command") as refused:
            run(store.log("c-unmistakable"))
        run(store.close())
    finally:
        process.kill()
        process.wait()
    assert "unmistakable" not in str(refused.value)


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_the_commands_that_a_denied_user_is_told_to_ask_for_are_all_it_takes(lone, run, spec):
    """Whoever grants these and no others has a store in which nothing is denied any more, scripts and pins included."""
    told = str(store_error(NoPermissionError("NOPERM"), "redis://r")).partition("allow the user ")[2].partition(" (")[0]
    granted = [f"+{word.lower()}" for word in re.findall("[A-Z]+", told)]
    run(lone._client.execute_command("ACL", "SETUSER", "narrow", "on", ">word", "~nba:*", "-@all", *granted))
    store = run(Store.open(lone._url.replace("unix://", "unix://narrow:word@"), spec, timeout_s=5.0))
    contact = Contact(NOW_MS, "o", "shown", "call", "d", "i")
    for call in (
        store.ping(),
        store.append(words_of("c")),
        store.put_profile("c", {}, NOW_MS),
        store.append_contacts("c", [contact]),
        store.append_intent("c", StatedIntent(NOW_MS, "i", "outage")),
        store.pin("c", "i", "tone/kind"),
        store.set_ingest_mark("f", b"1"),
        store.ingest_mark("f"),
        store.set_ingest_mark("f", None),
    ):
        run(call)
    log = run(store.log("c"))
    assert run(store._replace(customer_keys("c").log, log, log))
    found = run(store.read("c", NOW_MS))
    assert (len(found.open_issues), found.contacts, found.degraded) == (1, (contact,), ())
    assert run(store.forget("c")) == 5
    run(store.close())
