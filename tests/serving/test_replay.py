"""A past decision can be computed again from its record alone."""

from __future__ import annotations

import json

import pytest

from nba.errors import RefusedError
from nba.load import load_config
from serving.replay import replay

ASKED = [{}, {"explain": True}, {"limit": 1, "locale": "de", "max_cost_month": 20, "context": {"intent": "plan"}}]


@pytest.mark.parametrize("asked", ASKED)
def test_every_byte_of_the_answer_agrees(nba, config_folder, make_event, asked):
    """With contacts, an open issue, a thread and whatever was asked."""
    customer = nba.customer()
    decision = nba.recommend(customer)
    nba.outcome(decision, "later")
    story = [make_event(customer, "support_contact", days=day, subject=f"call {day}") for day in range(1, 14)]
    story.append(make_event(customer, "complaint", subject="the bill"))
    assert nba.http.post("/v1/activity", json={"events": story}).json()["accepted"] == 14
    answer = nba.recommend(customer, interaction_id="r-1", **asked)
    record = nba.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    verdict = replay(record, load_config(config_folder), nba.state_dir)
    assert verdict.differences == []
    assert verdict.same


def test_a_changed_record_does_not_agree(nba, config_folder):
    """What was tampered with is named by its path."""
    answer = nba.recommend(nba.customer())
    record = nba.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    record["answer"]["suggestions"][0]["saving_month"] += 1
    verdict = replay(record, load_config(config_folder), nba.state_dir)
    assert not verdict.same
    assert [path for path, _, _ in verdict.differences] == ["/suggestions/0/saving_month"]


def test_another_config_is_refused(nba, config_folder):
    """A replay with other rules would prove nothing."""
    record = nba.http.get(f"/v1/decisions/{nba.recommend('c-1')['decision_id']}").json()
    with pytest.raises(RefusedError, match="--config"):
        replay(json.loads(json.dumps(record | {"policy": "0000"})), load_config(config_folder), nba.state_dir)
