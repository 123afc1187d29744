"""A new config or model is checked and warmed, then switched between two requests, in all workers."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path, config_folder):
    """A config folder that may be edited."""
    return Path(shutil.copytree(config_folder, tmp_path / "config"))


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_new_config_is_served_by_every_worker_without_a_failed_request(start, folder):
    """Asked all the while: every answer is whole, and carries the old version or the new one."""
    one, two = (start(config=str(folder), state_dir=folder.parent / "state") for _ in range(2))
    before = one.recommend("c-1")["policy"]
    seen: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            for service in (one, two):
                answer = service.http.post("/v1/recommend", json={"customer_id": "c-1"})
                seen.append((answer.status_code, answer.json().get("policy")))

    asking = threading.Thread(target=ask)
    asking.start()
    edit(folder, "judging by your recent activity", "from what you did lately")
    reloaded = one.http.post("/v1/admin/reload").json()
    stop.set()
    asking.join()
    assert reloaded["policy"] != before
    assert (reloaded["workers"], reloaded["not_yet"]) == (2, [])
    assert {status for status, _ in seen} == {200}
    assert {policy for _, policy in seen} <= {before, reloaded["policy"]}
    assert one.recommend("c-1")["policy"] == two.recommend("c-1")["policy"] == reloaded["policy"]


def test_a_broken_config_is_refused_and_the_old_one_goes_on(start, folder):
    """The refusal names file and line; nothing changes."""
    service = start(config=str(folder), state_dir=folder.parent / "state")
    before = service.recommend("c-1")["policy"]
    edit(folder, "horizon_months: 12", "horizon_months: -1")
    refused = service.http.post("/v1/admin/reload")
    assert refused.status_code == 422
    assert "policy.yaml:" in refused.json()["detail"]
    assert service.recommend("c-1")["policy"] == before


def test_a_broken_model_is_refused_by_a_reload_and_survived_by_a_start(start, tmp_path):
    """A running service keeps what it has; one that starts answers with base rates and says so."""
    service = start()
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "champion.json").write_text("{broken")
    assert service.http.post("/v1/admin/reload").status_code == 503
    assert service.recommend("c-1")["degraded"] == ["model"]
    assert start().recommend("c-1")["source"] == "fallback"


def test_a_reload_that_cannot_be_told_to_the_others_changes_nothing(start, folder, monkeypatch):
    """On a full disk it is refused before this worker has switched: no two workers serve two versions."""
    one, two = (start(config=str(folder), state_dir=folder.parent / "state") for _ in range(2))
    before = one.recommend("c-1")["policy"]
    edit(folder, "judging by your recent activity", "from what you did lately")
    with monkeypatch.context() as disk:
        disk.setattr(one.app.state.service.workers, "_folder", folder / "nowhere")
        refused = one.http.post("/v1/admin/reload")
        assert (refused.status_code, "free space" in refused.json()["detail"]) == (503, True)
        assert one.recommend("c-1")["policy"] == two.recommend("c-1")["policy"] == before
    assert one.http.post("/v1/admin/reload").json()["policy"] != before


def test_reloads_at_once_are_done_one_after_the_other(start, folder):
    """Each tells the truth, nobody waits for a worker that has long done more, and all serve the newest in the end."""
    services = [start(config=str(folder), state_dir=folder.parent / "state") for _ in range(2)]
    before = services[0].recommend("c-1")["policy"]
    with ThreadPoolExecutor(4) as asking:
        edit(folder, "judging by your recent activity", "from what you did lately")
        reloads = [asking.submit(service.http.post, "/v1/admin/reload") for service in services * 2]
        answers = [reload.result().json() for reload in reloads]
    assert [answer["not_yet"] for answer in answers] == [[]] * 4
    newest = {answer["policy"] for answer in answers}
    assert {service.recommend("c-1")["policy"] for service in services} == newest != {before}
