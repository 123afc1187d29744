"""Each rung of the ladder broken for real: a slow, lying or stale Redis, a model that is corrupt, slow, or says nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import SecretStr
from redis import Redis

from features.keys import customer_keys
from features.news import News
from features.profile import dump_profile
from kits.answers import assert_safe
from kits.waiting import wait_until
from models.registry import Registry
from models.schema import Schema, candidate_columns
from nba.clock import system_now_ms
from nba.load import load_config
from serving.engine import Pace
from serving.roll import roll

BUDGET_MS = 300
COMMAND = re.compile(rb"\*\d+\r\n\$")


class Between:
    """A server in front of Redis, or in place of it: `handle` gets what a client sent and the line to Redis."""

    def __init__(self, handle: Callable[[bytes, socket.socket | None], bytes | None], port: int | None = None) -> None:
        self._handle, self._port = handle, port
        self._clients, self.third_client = 0, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients += 1
                if self._clients == 3:
                    self.third_client.set()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), closing(client), ExitStack() as stack:
            line = None
            if self._port is not None:
                line = stack.enter_context(socket.create_connection(("127.0.0.1", self._port)))
            while sent := client.recv(1 << 16):
                client.sendall(self._handle(sent, line) or b"")

    def close(self) -> None:
        """No new clients."""
        self._listener.close()


def counted(service, what: str) -> float:
    """What the metric says of a rung."""
    text = service.http.get("/metrics").text
    found = re.search(rf'^nba_degraded_total\{{what="{what}"\}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def assert_safe_and_counted(service, customer: str) -> None:
    """The worst is assumed, said and counted."""
    before = counted(service, "features")
    assert_safe(service.recommend(customer))
    assert counted(service, "features") == before + 1


@pytest.fixture
def slow(redis) -> Iterator[Between]:
    """Redis behind a line on which every answer takes `delay_s`."""

    def pass_on(sent: bytes, line: socket.socket) -> bytes:
        threading.Event().wait(between.delay_s)
        line.sendall(sent)
        return line.recv(1 << 20)

    between = Between(pass_on, redis.port)
    between.delay_s = 0.0
    yield between
    between.close()


def test_a_slow_redis_is_waited_for_within_the_budget_and_no_longer(start, slow):
    """An answer in time is used; a late one is not waited for; and back in time it is used again."""
    service = start(redis_url=slow.url, budget_ms=BUDGET_MS)
    customer = service.customer()
    slow.delay_s = 0.05
    wait_until(lambda: service.recommend(customer)["degraded"] == ["model"])
    slow.delay_s = 3.0
    for _ in range(3):
        assert_safe_and_counted(service, customer)
    assert "did not answer in time" in service.http.get("/readyz").json()["dependencies"]["redis"]
    slow.delay_s = 0.0
    wait_until(lambda: service.recommend(customer)["degraded"] == ["model"])


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\x00\xff\x00\r\n", b":1\r\n", b"+OK\r\n", b"$-1\r\n", b"*0\r\n",
     b"*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n", b"-ERR what\r\n", b""],
    ids=["http", "bytes", "number", "ok", "nothing", "empty", "numbers", "two", "error", "silence"],
)  # fmt: skip
def test_a_redis_that_answers_nonsense_is_a_redis_that_is_away(start, reply, make_event):
    """Whatever comes instead of values: a safe answer, the dependency named, activity kept in the spool.

    (But for the one that answers a write as a Redis would: nobody can tell that it lies.)
    """
    liar = Between(lambda sent, _: reply * len(COMMAND.findall(sent)))
    service = start(redis_url=liar.url, budget_ms=BUDGET_MS)
    for _ in range(3):
        assert_safe_and_counted(service, "c-1")
    ready = service.http.get("/readyz")
    assert (ready.status_code, ready.json()["dependencies"]["redis"] != "ok") == (503, True)
    sent = {"events": [make_event("c-1", "complaint")]}
    assert service.http.post("/v1/activity", json=sent).json()["accepted"] == 1
    assert service.http.get("/v1/customers/c-1").status_code == 503
    believable = reply.startswith(b"*4")
    assert ("activity_pending" in service.recommend("c-1")["degraded"]) is not believable
    liar.close()


@pytest.mark.parametrize("reply", [b":1\r\n", b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n", b"$-1\r\n", b"\xff\r\n"])
def test_nonsense_never_ends_the_waiting_for_news(reply):
    """Streams try again after whatever they are told, so that they hear when Redis is Redis again."""
    told = []

    async def listen() -> None:
        news = News(liar.url, told.append, timeout_s=0.05)
        running = asyncio.create_task(news.run())
        third = asyncio.create_task(asyncio.to_thread(liar.third_client.wait, 20))
        await asyncio.wait({running, third}, return_when=asyncio.FIRST_COMPLETED)
        liar.third_client.set()
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await news.close()

    liar = Between(lambda sent, _: reply * len(COMMAND.findall(sent)))
    asyncio.run(listen())
    liar.close()
    assert told == []


@pytest.fixture
def replica(redis, tmp_path) -> Iterator:
    """A replica of `redis`, in step with it when it is given."""
    (tmp_path / "replica-data").mkdir()
    own = type(redis)(tmp_path / "replica-data")
    with Redis.from_url(own.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", redis.port)
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")
    yield own
    own.stop()


def test_a_stale_replica_says_how_old_its_news_is_and_what_waits(start, redis, replica, make_event):
    """Cut off from its primary it is read on: the age of what it knows is told, and what came since is named as waiting."""
    writing = start(redis_url=redis.url, budget_ms=BUDGET_MS)
    customer = writing.customer()
    with Redis.from_url(replica.url) as client, Redis.from_url(redis.url) as primary:
        wait_until(lambda: client.dbsize() == primary.dbsize())
    reading = start(redis_url=replica.url, budget_ms=BUDGET_MS, state_dir=writing.state_dir / "reading")
    redis.stop()
    answer = reading.recommend(customer)
    assert (answer["degraded"], answer["freshness"]["activity_s"] >= 86_400) == (["model"], True)
    assert "nba_activity_age_seconds_count 1.0" in reading.http.get("/metrics").text
    sent = {"events": [make_event(customer, "complaint")]}
    assert reading.http.post("/v1/activity", json=sent).json()["accepted"] == 1
    assert reading.recommend(customer)["degraded"] == ["activity_pending", "model"]
    assert counted(reading, "activity_pending") == 1


def test_a_replica_that_refuses_to_be_stale_is_a_redis_that_is_away(start, redis, replica):
    """With `replica-serve-stale-data no` the operator has chosen: no old features, the safe answer."""
    with Redis.from_url(replica.url) as client:
        client.config_set("replica-serve-stale-data", "no")
    service = start(redis_url=replica.url, budget_ms=BUDGET_MS)
    assert service.recommend("c-1")["degraded"] == ["model"]
    redis.stop()
    wait_until(lambda: "features" in service.recommend("c-1")["degraded"])
    assert_safe_and_counted(service, "c-1")


def graph(kind: str, width: int) -> bytes:
    """A model that is slow (two products of large matrices), says NaN, fails when it runs, or finds everything certain."""
    big = helper.make_tensor("v", TensorProto.FLOAT, [1], [1e-3])
    nodes = {
        "slow": [
            helper.make_node("ReduceSum", ["columns"], ["sum"], keepdims=0),
            helper.make_node("ConstantOfShape", ["size"], ["ones"], value=big),
            helper.make_node("Mul", ["ones", "sum"], ["a"]),
            helper.make_node("MatMul", ["a", "a"], ["b"]),
            helper.make_node("MatMul", ["a", "b"], ["c"]),
            helper.make_node("ReduceMean", ["c"], ["mean"], keepdims=0),
            helper.make_node("Add", ["row", "mean"], ["said"]),
        ],
        "nan": [helper.make_node("Mul", ["row", "nan"], ["said"])],
        "failing": [helper.make_node("Reshape", ["columns", "size"], ["said"])],
        "sure": [helper.make_node("Less", ["row", "row"], ["never"]), helper.make_node("Not", ["never"], ["said"])],
    }[kind]
    row = helper.make_node("ReduceMean", ["columns"], ["row"], axes=[1], keepdims=1)
    out = helper.make_node("Cast", ["said"], ["accept"], to=TensorProto.DOUBLE)
    given = [
        numpy_helper.from_array(np.array([1800, 1800], dtype=np.int64), "size"),
        numpy_helper.from_array(np.array([np.nan], dtype=np.float32), "nan"),
    ]
    shape = [helper.make_tensor_value_info("columns", TensorProto.FLOAT, [None, width])]
    said = [helper.make_tensor_value_info("accept", TensorProto.DOUBLE, [None, 1])]
    made = helper.make_graph([row, *nodes, out], "bad", shape, said, given)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def promote(state_dir: Path, folder: Path, kind: str) -> None:
    """Put a model of this kind into the registry, as `nba train` would."""
    config = load_config(folder)
    schema = Schema(candidate_columns(config.features.columns, config.catalog))
    onnx = graph(kind, len(schema.columns))
    certificate = {"passed": True, "onnx_sha256": hashlib.sha256(onnx).hexdigest()}
    files = {"schema.json": schema.as_json(), "certificate.json": certificate}
    registry = Registry(state_dir / "models")
    version = f"20261101T000000-{hashlib.sha256(onnx).hexdigest()[:6]}"
    registry.write(version, {"model.onnx": onnx} | {name: json.dumps(d).encode() for name, d in files.items()})
    registry.promote(version)


@pytest.mark.parametrize(
    ("kind", "rung", "source"),
    [("slow", "model_slow", "fallback"), ("failing", "model", "fallback"), ("nan", "scores", None)],
)
def test_a_model_that_is_slow_fails_or_says_nothing_leaves_the_base_rates(
    start, tmp_path, config_folder, kind, rung, source
):
    """Promoted with a certificate and bad all the same: an answer with its rung, counted, and something to say."""
    promote(tmp_path, config_folder, kind)
    service = start(budget_ms=100 if kind == "slow" else 1000)
    customer = service.customer()
    answer = service.recommend(customer)
    assert rung in answer["degraded"]
    assert source in (None, answer["source"])
    assert counted(service, rung) == 1
    assert service.http.get("/readyz").json()["dependencies"]["model"] == "ok"


def test_a_profile_field_whose_type_was_changed_counts_as_missing(start, redis, tmp_path, config_folder, caplog):
    """Kept as text before features.yaml called it a number: the model still speaks, the log names the field once and not
    its value, and the decisions become Parquet.
    """
    promote(tmp_path, config_folder, "sure")
    service = start(redis_url=redis.url)
    customer = service.customer()
    kept = dump_profile({"plan": "l-40", "tenure_months": 30.0, "monthly_price": "a lot"}, system_now_ms())
    with Redis.from_url(redis.url) as client:
        client.set(customer_keys(customer).profile, kept)
    for _ in range(2):
        answer = service.recommend(customer, explain=True)
        assert (answer["degraded"], answer["source"]) == ([], "model")
    named = [record.field for record in caplog.records if hasattr(record, "field")]
    assert named == ["monthly_price"]
    assert "a lot" not in " ".join(str(vars(record)) for record in caplog.records)
    service.app.state.service.journal.rotate(system_now_ms())
    assert roll(service.state_dir)["decisions"] == 1


def test_a_model_that_was_slow_is_tried_again_and_used_when_it_keeps_up():
    """Five slow runs make it rest; one call tries it every half minute; a run in time ends the rest."""
    pace, budget_s = Pace(), 0.05
    for _ in range(5):
        assert pace.fits(budget_s, 0.0)
        pace.took(0.2, 0.0)
    assert not pace.fits(budget_s, 29.0)
    assert [pace.fits(budget_s, 31.0) for _ in range(3)] == [True, False, False]
    pace.took(0.2, 31.0)
    assert [pace.fits(budget_s, at) for at in (60.0, 62.0)] == [False, True]
    pace.took(0.01, 62.0)
    assert [pace.fits(budget_s, 62.1) for _ in range(3)] == [True] * 3
    assert not pace.fits(0.005, 62.1)


def test_one_slow_run_changes_nothing():
    """The fastest of the last five counts."""
    pace = Pace()
    for seconds in (0.2, 0.2, 0.2, 0.01, 0.2):
        pace.took(seconds, 0.0)
    assert pace.fits(0.05, 0.0)


@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_a_corrupt_model_is_no_model(start, tmp_path, config_folder, damage):
    """Cut off, changed or missing on the disk: base rates stand in, /readyz says so, and the service is ready."""
    promote(tmp_path, config_folder, "nan")
    [file] = (tmp_path / "models").rglob("model.onnx")
    whole = file.read_bytes()
    file.write_bytes(whole[:100] if damage == "cut" else whole.replace(b"row", b"raw"))
    if damage == "gone":
        file.unlink()
    service = start()
    assert service.recommend(service.customer())["degraded"] == ["model"]
    assert counted(service, "model") == 1
    ready = service.http.get("/readyz")
    assert (ready.status_code, "base rates" in ready.json()["dependencies"]["model"]) == (200, True)


def test_with_keys_strangers_are_not_told_where_redis_is_and_the_log_is(start, redis, caplog):
    """`/readyz` is open to everybody: it names what is not well, and the operator finds the reason in the log, once."""
    service = start(redis_url=redis.url, api_keys=SecretStr("boss"))
    redis.stop()
    for _ in range(3):
        ready = service.http.get("/readyz")
        assert (ready.status_code, str(redis.port) in ready.text) == (503, False)
        assert ready.json()["dependencies"]["redis"] == "not ok: the service's log says why"
    told = [record.dependencies["redis"] for record in caplog.records if record.getMessage() == "not ready"]
    assert [str(redis.port) in said for said in told] == [True]
