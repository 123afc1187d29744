"""An erased customer leaves the files of the engine's own Redis too, and nobody rewrites a Redis of somebody else's."""

from __future__ import annotations

import json
import subprocess
import sys

from redis import Redis


def holds(folder, word: str) -> bool:
    """Whether a file below says the word."""
    return any(word.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_erased_customer_leaves_the_append_only_file(start, tmp_path, eventually):
    """DELETE says that the file is being rewritten, and it is, however many ask at once."""
    service = start()
    names = [service.customer(family_name=f"Unmistakable-{number}") for number in range(3)]
    eventually(lambda: holds(tmp_path / "redis", "Unmistakable-2"))
    for name in names:
        assert service.http.delete(f"/v1/customers/{name}").json()["redis_file"] == "being rewritten"
    eventually(lambda: not holds(tmp_path / "redis", "Unmistakable"))


def test_nba_forget_returns_when_the_file_is_rewritten(start, tmp_path, config_folder, eventually):
    """The receipt of the command is the end of it."""
    service = start()
    name = service.customer(family_name="Unmistakable")
    eventually(lambda: holds(tmp_path / "redis", "Unmistakable"))
    asked = ["forget", name, "--config", str(config_folder), "--state-dir", str(tmp_path), "--json"]
    command = [sys.executable, "-c", "from nba.cli import main; main()", *asked]
    answer = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(answer.stdout)["redis_file"] == "rewritten"
    eventually(
        lambda: not holds(tmp_path / "redis", "Unmistakable")
    )  # Redis unlinks the old file in a thread of its own


def test_a_redis_of_somebody_elses_is_not_rewritten(start, redis):
    """When is theirs to say; the receipt says so."""
    service = start(redis_url=redis.url)
    receipt = service.http.delete(f"/v1/customers/{service.customer()}").json()
    assert receipt["redis_file"] == "not ours"
    with Redis.from_url(redis.url) as client:
        assert "cmdstat_bgrewriteaof" not in client.info("commandstats")
