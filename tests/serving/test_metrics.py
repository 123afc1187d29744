"""What an operator sees: whatever happens, no label grows without end and nothing of a dead worker is told as alive."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kits.waiting import wait_until
from nba.load import find_config
from serving.metrics import Metrics


def served(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("nba_serving_version{")]


def test_what_is_served_is_one_series_also_after_many_reloads(start, tmp_path):
    """The model and the policy of the moment with the value 1; what was served before is gone."""
    folder = Path(shutil.copytree(find_config("telco"), tmp_path / "own"))
    service = start(config=str(folder))
    for number in range(3):
        with (folder / "policy.yaml").open("a") as policy:
            policy.write(f"# {number}\n")
        answer = service.http.post("/v1/admin/reload", json={}).json()
    text = service.http.get("/metrics").text
    assert served(text) == [f'nba_serving_version{{model="none",policy="{answer["policy"]}"}} 1.0']
    assert re.search(r'^nba_build_info\{version="\d+\.\d+\.\d+"\} 1\.0$', text, re.MULTILINE)


def test_a_label_never_comes_from_a_caller(nba):
    """Ids, unknown paths, methods and wrong values add no series of their own."""
    for number in range(5):
        nba.http.get(f"/v1/customers/c-label-{number}")
        nba.http.get(f"/v1/nowhere/label-{number}")
        nba.http.request("PROPFIND", f"/label-{number}")
        nba.http.post("/v1/recommend", json={"customer_id": f"c-label-{number}", "channel": f"label-{number}"})
        nba.http.post("/v1/outcomes", json={"decision_id": "x", "offer_id": "x", "outcome": f"label-{number}"})
    assert "label-" not in nba.http.get("/metrics").text


@pytest.mark.parametrize("name", ["nba_degraded", "nba_suggestions", "nba_withheld", "nba_activity_age_seconds",
                                  "nba_stage_seconds", "nba_serving_version", "nba_spool_bytes", "nba_streams"])  # fmt: skip
def test_what_the_issue_of_an_operator_is_has_a_metric(name):
    """Rungs, offers, funnel, freshness, latency by stage, versions, what waits, who listens."""
    assert f"# TYPE {name} ".encode() in Metrics().exposition().replace(b"_total ", b" ")


def test_what_an_alert_counts_begins_at_zero(start):
    """A series that is born with its first count has never risen for Prometheus: `increase` gives 0, and no alert comes."""
    text = start().http.get("/metrics").text
    for part in ("activity", "profile", "contacts", "thread"):
        assert f'nba_damaged_values_total{{part="{part}"}} 0.0' in text
    for what in ("features", "model", "model_slow"):
        assert f'nba_degraded_total{{what="{what}"}} 0.0' in text
    assert 'nba_rolls_total{result="failed"} 0.0' in text
    assert 'nba_reloads_total{result="refused"} 0.0' in text


def test_the_time_of_a_stream_is_not_that_of_a_question(start):
    """A stream lasts as long as a call does: among the questions it would be the slowest of all, and NbaSlow never end."""
    nba = start()
    with nba.http.stream("GET", "/v1/interactions/i-1/stream", params={"customer_id": "c-1"}) as answer:
        assert next(answer.iter_lines()) == ": listening"
    nba.recommend("c-1")
    took = 'nba_request_seconds_count{route="%s"} 1.0'
    wait_until(lambda: took % "/v1/interactions/{interaction_id:path}/stream" in nba.http.get("/metrics").text)
    assert took % "/v1/recommend" in nba.http.get("/metrics").text
