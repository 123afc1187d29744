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
    assert not any(paid[:999])
    assert paid[1000]
