"""An erased customer leaves the files of the engine's own Redis too, and nobody rewrites a Redis of somebody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from features.embedded import EmbeddedRedis
from kits.waiting import wait_until
from nba.clock import format_at, system_now_ms
from serving.rewriting import DueRewrite


def holds(folder, word: str) -> bool:
    """Whether a file below says the word."""
    return any(word.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_erased_customer_leaves_the_append_only_file(start, tmp_path):
    """DELETE says that the file is being rewritten, and it is, however many ask at once."""
    service = start()
    names = [service.customer(family_name=f"Unmistakable-{number}") for number in range(3)]
    wait_until(lambda: holds(tmp_path / "redis", "Unmistakable-2"))
    for name in names:
        assert service.http.delete(f"/v1/customers/{name}").json()["redis_file"] == "being rewritten"
    wait_until(lambda: not holds(tmp_path / "redis", "Unmistakable"))


def test_a_rewrite_that_a_stop_cut_off_is_done_at_the_next_start(start, tmp_path):
    """The receipt promised it. Erased and noted, and then stopped before it was done: the next service does it."""
    before = EmbeddedRedis(tmp_path)
    with Redis.from_url(before.start()) as client:
        client.set("customer", "Unmistakable")
        client.delete("customer")
    DueRewrite(tmp_path).ask()
    before.stop()
    assert holds(tmp_path / "redis", "Unmistakable")
    start()
    wait_until(lambda: not holds(tmp_path / "redis", "Unmistakable"))
    wait_until(lambda: DueRewrite(tmp_path).standing is None)


def test_a_note_is_taken_away_by_the_last_who_asked(start, tmp_path):
    """Two erasures at once share a rewrite; the note stays until the later one is covered too."""
    service = start()
    for _ in range(2):
        assert service.http.delete(f"/v1/customers/{service.customer()}").status_code == 200
    wait_until(lambda: DueRewrite(tmp_path).standing is None)


def test_nba_forget_returns_when_the_file_is_rewritten(start, tmp_path, config_folder):
    """The receipt of the command is the end of it."""
    service = start()
    name = service.customer(family_name="Unmistakable")
    wait_until(lambda: holds(tmp_path / "redis", "Unmistakable"))
    asked = ["forget", name, "--config", str(config_folder), "--state-dir", str(tmp_path), "--json"]
    command = [sys.executable, "-c", "from nba.cli import main; main()", *asked]
    answer = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(answer.stdout)["redis_file"] == "rewritten"
    # Redis unlinks the old file in a thread of its own.
    wait_until(lambda: not holds(tmp_path / "redis", "Unmistakable"))


def test_one_of_several_workers_knows_its_own_redis(start, tmp_path):
    """It is given the URL by the process that started both: the file is rewritten all the same."""
    shared = EmbeddedRedis(tmp_path)
    service = start(redis_url=shared.start())
    name = service.customer(family_name="Unmistakable")
    wait_until(lambda: holds(tmp_path / "redis", "Unmistakable"))
    assert service.http.delete(f"/v1/customers/{name}").json()["redis_file"] == "being rewritten"
    wait_until(lambda: not holds(tmp_path / "redis", "Unmistakable"))
    shared.stop()


@pytest.mark.parametrize("verb", ["forget c-1", "ingest events.jsonl"])
@pytest.mark.parametrize("own", [True, False])
def test_no_verb_works_on_another_redis_than_the_service(start, redis, tmp_path, config_folder, verb, own):
    """A receipt of it would be worth nothing: it is refused, with what to give instead, and nothing is touched."""
    start(**({} if own else {"redis_url": redis.url}))
    (tmp_path / "events.jsonl").write_text("{}")
    asked = [*verb.split(), "--config", str(config_folder), "--state-dir", str(tmp_path)]
    command = [
        sys.executable,
        "-c",
        "from nba.cli import main; main()",
        *asked,
        *(["--redis-url", redis.url] if own else []),
    ]
    answer = subprocess.run(command, capture_output=True, check=False, text=True, cwd=tmp_path)
    assert answer.returncode == 2
    assert "keeps its customers in another Redis: " in answer.stderr
    assert ("leave NBA_REDIS_URL out" if own else "give --redis-url") in answer.stderr
    with Redis.from_url(redis.url) as client:
        assert client.dbsize() == 0


def test_a_redis_of_somebody_elses_is_not_rewritten(start, redis):
    """When is theirs to say; the receipt says so."""
    service = start(redis_url=redis.url)
    receipt = service.http.delete(f"/v1/customers/{service.customer()}").json()
    assert receipt["redis_file"] == "not ours"
    with Redis.from_url(redis.url) as client:
        assert "cmdstat_bgrewriteaof" not in client.info("commandstats")


def test_many_erasures_at_once_end_and_hold_nobody_up(start):
    """More of them than the service has threads; what needs a thread beside them is done too."""
    service = start()
    with ThreadPoolExecutor(40) as asking:
        erased = [asking.submit(service.http.delete, f"/v1/customers/gone-{number}") for number in range(40)]
        delayed = {"customer_id": "c", "outcome": "stayed", "at": format_at(system_now_ms())}
        assert service.http.post("/v1/outcomes", json=delayed).status_code == 200
        assert {answer.result().status_code for answer in erased} == {200}
