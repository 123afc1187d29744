"""What came of a suggestion, over real HTTP."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from nba.clock import HOUR_MS, format_at, system_now_ms


def test_a_declined_offer_is_not_suggested_again(nba):
    """The outcome is a contact, and the contact rests the offer."""
    customer = nba.customer()
    first = nba.recommend(customer)
    offer = first["suggestions"][0]["offer_id"]
    assert nba.outcome(first, "declined", reason="too dear").json()["duplicate"] is False
    again = nba.recommend(customer, explain=True)
    assert offer not in {s["offer_id"] for s in again["suggestions"]}
    assert {"offer_id": offer, "stage": "contact"}.items() <= next(
        w for w in again["withheld"] if w["offer_id"] == offer
    ).items()


def test_repeating_an_outcome_changes_nothing(nba):
    """By its own id, or by decision, offer and outcome."""
    customer = nba.customer()
    decision = nba.recommend(customer)
    first = nba.outcome(decision, "shown")
    again = nba.outcome(decision, "shown")
    assert first.json()["outcome_id"] == again.json()["outcome_id"]
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    named = [nba.outcome(decision, "spoken", outcome_id=f"o-{customer}").json()["duplicate"] for _ in range(2)]
    assert named == [False, True]
    contacts = nba.http.get(f"/v1/customers/{customer}").json()["contacts"]
    assert [contact["outcome"] for contact in contacts] == ["shown", "spoken"]


def test_an_outcome_id_belongs_to_one_outcome(nba):
    """Using it for another one is refused, not swallowed."""
    customer = nba.customer()
    decision = nba.recommend(customer)
    assert nba.outcome(decision, "shown", outcome_id=f"one-{customer}").status_code == 200
    refused = nba.outcome(decision, "declined", outcome_id=f"one-{customer}")
    assert (refused.status_code, refused.json()["pointer"]) == (409, "#/outcome_id")


def test_an_outcome_of_an_unknown_decision_is_refused_with_its_place(nba):
    """Of the fields of the body, the one that is to be mended is named."""
    decision = nba.recommend(nba.customer())
    for unknown in ("mine", f"20200101{decision['decision_id'][8:]}"):
        refused = nba.outcome(decision, "shown", decision_id=unknown)
        assert (refused.status_code, refused.json()["pointer"]) == (404, "#/decision_id")


def test_a_skipped_offer_met_nobody(nba):
    """It is kept for learning, and is no contact."""
    customer = nba.customer()
    assert nba.outcome(nba.recommend(customer), "skipped").status_code == 200
    assert nba.http.get(f"/v1/customers/{customer}").json()["contacts"] == []


def test_an_offer_that_was_not_suggested_is_refused_with_its_place(nba):
    """Nobody can report what was never said."""
    decision = nba.recommend(nba.customer())
    answer = nba.outcome(decision, "shown", offer_id="no-such-offer")
    assert answer.status_code == 422
    assert answer.json()["pointer"] == "#/offer_id"


@pytest.mark.parametrize(
    "decision_id",
    [
        "x",
        "20261123-d" + "0" * 21 + "-0000000000",
        "../../etc/passwd",
        "20261123-d" + "0" * 21 + "-0000000001",
        "a" * 64,
        "٢٠٢٦",
    ],
)
def test_an_unknown_decision_is_not_found(nba, decision_id):
    """Ids come from outside: whatever they are, they lead to a decision of ours or nowhere."""
    body = {"decision_id": decision_id, "offer_id": "flex-3", "outcome": "shown"}
    assert nba.http.post("/v1/outcomes", json=body).status_code in (404, 422)
    assert nba.http.get(f"/v1/decisions/{decision_id}").status_code == 404


def test_an_offset_into_the_middle_of_a_record_is_not_found(nba):
    """A forged place inside another customer's record gives nothing away."""
    identifier = nba.recommend(nba.customer())["decision_id"]
    stem, _, offset = identifier.rpartition("-")
    assert nba.http.get(f"/v1/decisions/{stem}-{int(offset, 16) + 1:010x}").status_code == 404


def test_an_id_of_another_day_is_not_found(nba):
    """The place alone does not do: the record has to carry the very id."""
    identifier = nba.recommend(nba.customer())["decision_id"]
    assert nba.http.get(f"/v1/decisions/20200101{identifier[8:]}").status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"outcome": "accepted"}, "#/decision_id"),
        ({"outcome": "churned"}, "#/customer_id"),
        ({"outcome": "nonsense"}, "#/decision_id"),
        ({"customer_id": "c", "outcome": "churned", "at": "soon"}, "#/at"),
        ({"customer_id": "c", "outcome": "churned", "at": "2026-11-22T10:00:00Z", "offer_id": "x"}, "#/offer_id"),
        ({"customer_id": "c", "outcome": "survey", "at": "2026-11-22T10:00:00Z", "value": "9"}, "#/value"),
    ],
)
def test_a_wrong_outcome_is_named(nba, body, pointer):
    """The complaint is about the shape that was meant."""
    answer = nba.http.post("/v1/outcomes", json=body)
    assert answer.status_code == 422
    assert pointer in [entry["pointer"] for entry in answer.json()["errors"]]


def test_a_delayed_outcome_is_taken(nba):
    """What became of the customer later, for the stay head."""
    body = {"customer_id": "c-late", "outcome": "churned", "at": "2026-11-22T10:00:00Z"}
    assert nba.http.post("/v1/outcomes", json=body).json()["duplicate"] is False
    assert nba.http.post("/v1/outcomes", json=body).json()["duplicate"] is True


def test_a_survey_with_another_mark_is_another_answer(nba):
    """Nothing that is acknowledged is lost: only the same mark at the same moment is a repetition."""
    body = {"customer_id": "c-asked", "outcome": "survey", "at": "2026-11-22T10:00:00Z"}
    marks: list[dict[str, float]] = [{}, {"value": 9.0}, {"value": 4.0}, {"value": 9.0}]
    found = [nba.http.post("/v1/outcomes", json=body | mark).json() for mark in marks]
    assert [said["duplicate"] for said in found] == [False, False, False, True]
    assert len({said["outcome_id"] for said in found}) == 3


def test_a_decline_from_a_clock_that_runs_ahead_rests_the_offer_at_once(nba):
    """It met the customer when it was reported at the latest; the log keeps the moment that was given."""
    customer = nba.customer()
    decision = nba.recommend(customer)
    offer, ahead = decision["suggestions"][0]["offer_id"], format_at(system_now_ms() + 20 * HOUR_MS)
    assert nba.outcome(decision, "declined", at=ahead).status_code == 200
    assert offer not in {s["offer_id"] for s in nba.recommend(customer)["suggestions"]}
    folder = nba.state_dir
    kept = [line for path in folder.rglob("o*.jsonl") for line in path.read_text().splitlines() if customer in line]
    assert [format_at(json.loads(line)["at_ms"]) for line in kept] == [ahead]


def test_what_came_of_an_offer_before_is_told_to_the_model_and_kept(nba):
    """An offer that is put off is served, and logged, as one that this customer has heard."""
    customer = nba.customer()
    first = nba.recommend(customer)
    before = nba.http.get(f"/v1/decisions/{first['decision_id']}").json()["shown"]
    assert {shown["heard_30d"] for shown in before} == {0.0}
    put_off = first["suggestions"][0]["offer_id"]
    assert nba.outcome(first, "later").status_code == 200
    again = nba.recommend(customer)
    shown = nba.http.get(f"/v1/decisions/{again['decision_id']}").json()["shown"]
    assert {s["offer_id"]: s["heard_30d"] for s in shown} == {
        s["offer_id"]: float(s["offer_id"] == put_off) for s in shown
    }
    assert put_off in {s["offer_id"] for s in shown}


def test_an_outcome_id_belongs_to_one_of_several_at_once(nba):
    """Only one of them is acknowledged, the others are refused: of two under one id a roll keeps one."""
    at = format_at(system_now_ms())
    bodies = [{"customer_id": "c-race", "outcome": "survey", "value": mark, "at": at} for mark in range(8)]
    with ThreadPoolExecutor(8) as asking:
        for number in range(5):
            asked = [
                asking.submit(nba.http.post, "/v1/outcomes", json=b | {"outcome_id": f"r-{number}"}) for b in bodies
            ]
            assert sorted(answer.result().status_code for answer in asked) == [200] + [409] * 7


def test_an_outcome_that_is_sent_twice_at_once_is_taken_twice(nba):
    """Neither is refused for the other's sake, and each is acknowledged."""
    body = {"customer_id": "c-twice", "outcome": "stayed", "at": format_at(system_now_ms()), "outcome_id": "t-1"}
    with ThreadPoolExecutor(8) as asking:
        asked = [asking.submit(nba.http.post, "/v1/outcomes", json=body) for _ in range(8)]
        assert {answer.result().status_code for answer in asked} == {200}
