"""A past decision can be computed again from its record alone."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba.domain import Scores
from nba.errors import RefusedError
from nba.load import load_config
from serving.record import past_of, scores_of
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


numbers = st.lists(st.floats(), min_size=1, max_size=4).map(np.array)


@given(numbers, st.none() | st.tuples(numbers, numbers), st.none() | numbers)
def test_scores_come_back_from_a_record_as_they_went_in(accept, stay, base):
    """To the last bit, heads that were not there as none; what JSON cannot write is no number in either."""
    scores = Scores(accept, *(stay or (None, None)), base)
    written = orjson.dumps({"scores": scores}, option=orjson.OPT_SERIALIZE_NUMPY)
    found = scores_of(orjson.loads(written))
    for name in ("accept", "stay_if_accepted", "stay_if_not", "base"):
        before, after = getattr(scores, name), getattr(found, name)
        assert (before is None) == (after is None), name
        if before is not None:
            np.testing.assert_array_equal(after, np.where(np.isfinite(before), before, np.nan))
    assert scores_of({"scores": None}) is None


def test_records_of_older_versions_are_read():
    """Without the past of an offer it is unknown, and without base rates the heads that there were still count."""
    assert all(np.isnan(past_of({"offer_id": "music"})))
    assert past_of({"accepted_before": 1, "declined_before": 0, "heard_30d": None})[:2] == (1.0, 0.0)
    assert scores_of({"scores": {"accept": [0.5]}}).base is None
