"""`nba ingest` itself, killed on real activity: Megaline's 318,611 calls, data sessions and messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from redis import Redis

from features import files as files_module
from features.compute import settle
from features.spec import FeatureSpec
from features.store import Store
from kits.waiting import wait_until
from nba.clock import parse_at
from nba.load import find_config, load_config

ROOT = Path(files_module.__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "megaline"
EVENTS = 318_611
NOW_MS = parse_at("2019-01-01T00:00:00Z", "")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the Megaline files are not beside the repository")


@pytest.fixture(scope="module")
def url(redis_url):
    """One Redis is enough here."""
    return redis_url


@pytest.fixture(scope="module")
def activity(tmp_path_factory) -> Path:
    """The events as one Parquet file."""
    target = tmp_path_factory.mktemp("megaline")
    command = [sys.executable, "benchmarks/megaline_convert.py", str(DATA), str(target)]
    counts = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(counts)["activity"] == EVENTS
    return target / "activity.parquet"


@pytest.fixture
def verb(redis_url, activity, tmp_path):
    """Starts `nba ingest` on the file, as an operator would."""
    started = [sys.executable, "-c", "from nba.cli import main; main()"]
    command = [*started, "ingest", str(activity), "--config", "megaline", "--json"]
    command += ["--redis-url", redis_url, "--state-dir", str(tmp_path / "state")]
    return lambda: subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def rows_kept(client: Redis) -> int:
    """How many rows the marks in the store say are in."""
    marks = [client.get(key) for key in client.keys("nba:ingest:*")]
    return max((orjson.loads(mark)["rows"] for mark in marks if mark), default=0)


def everybody(url: str, run, spec: FeatureSpec) -> dict[str, tuple[int, str]]:
    """By customer: how many events count, and all that a read gives, vector included, to the last digit."""
    with Redis.from_url(url) as client:
        names = sorted(key.decode().partition("{")[2].partition("}")[0] for key in client.keys("nba:{*}:log"))
    store = run(Store.open(url, spec, timeout_s=10.0))
    found = {
        name: (len(settle(run(store.log(name)), spec).records), repr(run(store.read(name, NOW_MS)))) for name in names
    }
    run(store.close())
    return found


def test_megaline_killed_in_the_middle_and_resumed_is_megaline_loaded_once(store, redis_url, run, verb):
    """kill -9 at a quarter and at two thirds: the counts are exact, and no customer differs by a bit."""
    spec = FeatureSpec(load_config(find_config("megaline")).features)
    with verb() as whole:
        assert json.load(whole.stdout)["accepted"] == EVENTS
    expected = everybody(redis_url, run, spec)
    assert sum(events for events, _ in expected.values()) == EVENTS
    with Redis.from_url(redis_url) as client:
        client.flushall()
        for least in (EVENTS // 4, EVENTS * 2 // 3):
            with verb() as child:
                wait_until(lambda least=least: rows_kept(client) >= least)
                child.send_signal(signal.SIGKILL)
            assert child.returncode == -signal.SIGKILL
            assert least <= rows_kept(client) < EVENTS
    with verb() as last:
        report = json.load(last.stdout)
    assert (report["rows"], report["accepted"], report["rejected"]) == (EVENTS, EVENTS, 0)
    assert report["resumed"] >= EVENTS * 2 // 3
    assert everybody(redis_url, run, spec) == expected
