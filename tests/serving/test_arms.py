"""Experiments in the running service: who is in which arm, for good, and what the journal keeps of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from redis import Redis

from features.keys import pins_key
from nba.clock import format_at, system_now_ms
from nba.load import load_config
from serving.replay import replay

EXPERIMENTS = {
    "holdout": {"random": 0.2, "nothing": 0.2},
    "experiments": [
        {"name": "desks", "unit": "agent_group", "arms": [
            {"name": "usual", "share": 0.5}, {"name": "silent-savings", "share": 0.5, "policy": {"worth": {"saving": 0.0}}}]},
    ],
}  # fmt: skip


@pytest.fixture
def folder(config_folder: Path, tmp_path: Path) -> Path:
    """The config with a hold-out and an experiment over agent groups."""
    copy = tmp_path / "config"
    copy.mkdir()
    for file in config_folder.glob("*.yaml"):
        (copy / file.name).write_bytes(file.read_bytes())
    policy = yaml.safe_load((copy / "policy.yaml").read_text(encoding="utf-8")) | EXPERIMENTS
    (copy / "policy.yaml").write_text(yaml.safe_dump(policy, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return copy


def test_arms_are_kept_within_an_interaction_and_replayed(start, folder: Path) -> None:
    """A call handed to another group stays in its arm; hold-outs are what they say; every answer can be computed again."""
    nba = start(config=str(folder))
    groups = [f"group-{n}" for n in range(10, 18)]
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(60):
        customer = nba.customer()
        asked = {"interaction_id": f"call-{number}", "channel": "call"}
        answers = [
            nba.recommend(customer, agent={"id": "a", "group": group}, **asked)
            for group in (groups * 2)[number % 8 :][:4]
        ]
        arms = {(a["experiment"]["name"], a["experiment"]["arm"]) for a in answers if a["experiment"]}
        assert len(arms) == 1
        seen.update(arms)
        record = nba.http.get(f"/v1/decisions/{answers[-1]['decision_id']}").json()
        assert (record["experiment"], record["arm"]) in arms
        assert replay(record, load_config(folder), nba.state_dir).same
        if ("holdout", "nothing") in arms:
            assert answers[0]["suggestions"] == [] and answers[0]["nothing_because"].startswith("held out")
        if ("holdout", "random") in arms and answers[0]["suggestions"]:
            assert answers[0]["suggestions"][0]["propensity"] == pytest.approx(
                1 / answers[0]["funnel"]["passed"], rel=0.5
            )
    assert set(seen) == {("holdout", "nothing"), ("holdout", "random"), ("desks", "usual"), ("desks", "silent-savings")}


def test_the_pins_are_forgotten_with_the_customer(start, folder: Path) -> None:
    """Nothing of a customer stays, the arms of their interactions included."""
    nba = start(config=str(folder))
    customer = nba.customer()
    nba.recommend(customer, interaction_id="call-1", agent={"id": "a", "group": "north"})
    assert nba.http.delete(f"/v1/customers/{customer}").status_code in (200, 204)
    assert nba.http.get(f"/v1/customers/{customer}").status_code == 404


def test_a_question_about_the_past_pins_nothing(start, folder: Path, redis) -> None:
    """A back-test of a call that runs leaves the call where it is: its first real question decides."""
    nba = start(config=str(folder), redis_url=redis.url)
    customer = nba.customer()
    past = format_at(system_now_ms() - 86_400_000)
    nba.recommend(customer, interaction_id="call-1", agent={"id": "a", "group": "north"}, at=past)
    with Redis.from_url(redis.url) as client:
        assert not client.exists(pins_key(customer))
        nba.recommend(customer, interaction_id="call-1", agent={"id": "a", "group": "north"})
        assert client.hlen(pins_key(customer)) == 1
