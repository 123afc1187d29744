"""The read line: answers come to those who asked, whether they were waited for awake or asleep."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from features.lane import Lane

SIZES = (0, 1, 31, 4_096, 300_000, 700_000)


@contextmanager
def echoing(delay: threading.Event) -> Iterator[int]:
    """Something that answers each line with its last argument, at once, or only when told to once `delay` is set."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve, args=(listener, delay))
        server.start()
        yield listener.getsockname()[1]
        delay.set()
        listener.shutdown(socket.SHUT_RDWR)
        server.join()


def _serve(listener: socket.socket, late: threading.Event) -> None:
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            with near, suppress(OSError):
                while asked := near.recv(4096):
                    if late.is_set():
                        threading.Event().wait(0.002)  # a Redis that is two milliseconds away
                    near.sendall(b"+here\r\n" * asked.count(b"*"))


def lane_to(url: str) -> Lane:
    async def connect() -> object:
        connection = Redis.from_url(url, protocol=2, socket_timeout=5).connection_pool.make_connection()
        await connection.connect()
        return connection

    return Lane(connect, 5.0, ResponseError)


@pytest.mark.parametrize("awake", [True, False])
def test_each_gets_its_own_answer(redis_url, run, awake):
    """A thousand questions at once and one after the other, small answers and ones of several reads."""
    values = {f"lane-{size}": b"x" * size for size in SIZES}

    async def ask() -> None:
        lane = lane_to(redis_url)
        for name, value in values.items():
            await lane.call("SET", name, value, "EX", 60)
        if not awake:
            lane._patience._asleep = 1_000_000
        names = [name for _ in range(167) for name in values]
        together = await asyncio.gather(*(lane.both(("GET", name), ("STRLEN", name)) for name in names))
        apart = [await lane.both(("GET", name), ("STRLEN", name)) for name in names[:120]]
        for name, (value, length) in zip([*names, *names[:120]], [*together, *apart], strict=True):
            assert (value, length) == (values[name], len(values[name]))
        await lane.call("DEL", *values)
        await lane.close()

    run(ask())


def test_an_error_of_redis_comes_to_who_asked(redis_url, run):
    """And the next one gets an answer again."""

    async def ask() -> None:
        lane = lane_to(redis_url)
        with pytest.raises(ResponseError):
            await lane.call("NOSUCHCOMMAND")
        assert await lane.call("PING") == b"PONG"
        await lane.close()

    run(ask())


def test_a_redis_that_is_far_is_not_waited_for_awake(run):
    """After three late answers in a row a thousand commands are waited for asleep, then it is tried again."""
    late = threading.Event()
    with echoing(late) as port:

        async def ask() -> list[bool]:
            lane = lane_to(f"redis://127.0.0.1:{port}")
            await lane.call("PING")
            late.set()
            for _ in range(3):
                await lane.call("PING")
            paid = [lane._patience.pays() for _ in range(1001)]
            await lane.close()
            return paid

        paid = run(ask())
    assert not any(paid[:990])  # on a busy machine an answer before these was late too
    assert paid[1000]


@contextmanager
def saying(*replies: bytes | None) -> Iterator[int]:
    """What its n-th connection answers to whatever is asked, the last for all that follow; None: nothing, ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_say, args=(listener, [*replies]))
        server.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        server.join()


def _say(listener: socket.socket, replies: list[bytes | None]) -> None:
    talks = []
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            talks.append(threading.Thread(target=_talk, args=(near, replies.pop(0) if replies[1:] else replies[0])))
            talks[-1].start()
    for talk in talks:
        talk.join()


def _talk(near: socket.socket, reply: bytes | None) -> None:
    with near, suppress(OSError):
        while asked := near.recv(4096):
            if b"PING" not in asked:
                near.sendall(b"+OK\r\n" * asked.count(b"CLIENT"))  # the library says who it is
            elif reply is not None:
                near.sendall(reply)


@pytest.mark.parametrize(
    "nonsense", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+here\r\n+too much\r\n", bytes(range(256))]
)
@pytest.mark.parametrize("awake", [True, False])
def test_a_line_that_talks_nonsense_is_left_for_a_new_one(run, nonsense, awake):
    """Whoever waits learns it at once, nobody gets the answer of another, and the next line is as good as any."""
    with saying(nonsense, nonsense, b"+here\r\n") as port:

        async def ask() -> list[bytes]:
            lane, found = lane_to(f"redis://127.0.0.1:{port}"), []
            if not awake:
                lane._patience._asleep = 1_000_000
            while len(found) < 5:
                with suppress(ConnectionError):
                    found.append(await lane.call("PING"))
            await lane.close()
            return found

        assert run(asyncio.wait_for(ask(), 10.0)) == [b"here"] * 5


def test_a_silent_line_is_given_up_also_when_everybody_gives_up_sooner(run):
    """A network that swallows everything says nothing of it: after the time for an answer there is a new line."""
    with saying(None, b"+here\r\n") as port:

        async def ask() -> bytes:
            lane = lane_to(f"redis://127.0.0.1:{port}")
            lane._timeout_s = 0.2
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        found: bytes = await lane.call("PING")
                    break
            await lane.close()
            return found

        assert run(asyncio.wait_for(ask(), 10.0)) == b"here"


def test_a_line_opens_also_when_that_takes_longer_than_anybody_waits(redis_url, run):
    """A distant Redis with TLS and a password is five trips away before the first answer, which is one."""

    async def ask() -> bytes:
        lane = lane_to(redis_url)
        library, lane._connect = lane._connect, None

        async def slowly() -> object:
            connection = await library()
            await asyncio.sleep(0.05)  # the trips
            return connection

        lane._connect = slowly
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    found: bytes = await lane.call("PING")
                break
        await lane.close()
        return found

    assert run(asyncio.wait_for(ask(), 10.0)) == b"PONG"


def test_a_connection_that_ends_during_its_handshake_is_closed_and_no_defect(run):
    """uvloop calls it a RuntimeError; whoever asks hears that the connection was closed, and is answered without it."""

    async def ends() -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    with pytest.raises(ConnectionError, match="the connection was closed"):
        run(Lane(ends, 5.0, ResponseError).call("GET", "key"))
