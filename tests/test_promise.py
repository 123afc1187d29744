"""The promise as one test: ingest, recommend, what happens in the call changes the answer, and the engine learns from it."""

from __future__ import annotations

import csv
import json
import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from kits.served import NBA, serving


def nba(*arguments: object, state: Path, status: int = 0) -> dict:
    """Run a verb with --json and give its document."""
    command = [str(NBA), *map(str, arguments), "--state-dir", str(state), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def used(customer: str, gigabytes: float) -> list[dict]:
    """Three whole months of that much data."""
    now = datetime.now(UTC)
    return [
        {"event_id": f"{customer}-{n}", "customer_id": customer, "at": (now - timedelta(days=days)).isoformat(),
         "channel": "network", "type": "data_used", "value": round(gigabytes * 1024 / 15)}
        for n, days in enumerate(range(2, 122, 2))
    ]  # fmt: skip


def write_customers(folder: Path, count: int) -> tuple[Path, Path]:
    """Half of them on far too large a plan, half on one that fits."""
    draw = random.Random(7)
    activity, customers = folder / "activity.jsonl", folder / "customers.csv"
    with activity.open("w") as lines, customers.open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(
            ["customer_id", "salutation", "family_name", "plan", "tenure_months", "addons_month", "extra_data_gb"]
        )
        for number in range(count):
            plan, gigabytes = ("xl-80", draw.uniform(1, 2)) if number % 2 else ("m-20", draw.uniform(8, 9))
            rows.writerow([f"c-{number}", "Mr.", f"Name{number}", plan, 24, 0, 0])
            lines.writelines(json.dumps(event) + "\n" for event in used(f"c-{number}", gigabytes))
    return activity, customers


def ask(client: httpx.Client, customer: str, **more: object) -> dict:
    body = {"customer_id": customer, "channel": "call", "interaction_id": f"call-{customer}", "explain": True, **more}
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def report(client: httpx.Client, decision: dict, offer_id: str, outcome: str) -> None:
    body = {"decision_id": decision["decision_id"], "offer_id": offer_id, "outcome": outcome}
    assert client.post("/v1/outcomes", json=body).status_code in (200, 201, 202)


def happens(client: httpx.Client, customer: str, kind: str, **fields: object) -> None:
    at = (datetime.now(UTC) - timedelta(milliseconds=5)).isoformat()
    event = {
        "event_id": f"{customer}-{kind}",
        "customer_id": customer,
        "at": at,
        "channel": "call",
        "type": kind,
        **fields,
    }
    answer = client.post("/v1/activity", json={"events": [event]})
    assert answer.status_code == 202 and answer.json()["accepted"] == 1, answer.text


def stage_of(answer: dict, offer_id: str) -> tuple[str, str]:
    return next((w["stage"], w["rule"]) for w in answer["withheld"] if w["offer_id"] == offer_id)


def offers_of(answer: dict) -> list[str]:
    return [suggestion["offer_id"] for suggestion in answer["suggestions"]]


def test_the_promise_is_kept(tmp_path: Path) -> None:
    """What is known is used, what happens in the call counts at once, and the next model has learnt from it."""
    state = tmp_path / "state"
    activity, customers = write_customers(tmp_path, 500)
    with serving(state) as client:
        assert nba("ingest", activity, "--config", "telco", state=state)["accepted"] == 500 * 60
        assert nba("ingest", customers, "--kind", "customers", "--config", "telco", state=state)["accepted"] == 500

        # The overpaying customer hears of a cheaper plan, with the saving that it really is.
        first = ask(client, "c-1")
        best = first["suggestions"][0]
        assert best["kind"] == "optimize" and best["saving_month"] > 0
        assert best["say"].startswith("Mr. Name1, judging by your recent activity we believe you would benefit from ")
        assert first["source"] == "fallback" and "model" in first["degraded"]
        assert len(first["withheld"]) + len(first["suggestions"]) == first["funnel"]["catalog"]

        # A decline: the offer rests, for the stated reason.
        report(client, first, best["offer_id"], "declined")
        again = ask(client, "c-1")
        assert best["offer_id"] not in offers_of(again)
        stage, rule = stage_of(again, best["offer_id"])
        assert stage == "contact" and rule.startswith("declined on ")

        # Activity during the call: a complaint stops sales, its resolution in the same call frees them.
        client.post("/v1/activity", json={"events": used("c-heavy", 47)})
        profile = {"plan": "l-40", "family_name": "Novak", "salutation": "Mr.", "addons_month": 0, "extra_data_gb": 0}
        client.put("/v1/customers/c-heavy", json={**profile, "tenure_months": 40})
        calm = ask(client, "c-heavy", limit=10)
        sold = {s["offer_id"] for s in calm["suggestions"] if s["kind"] in ("up_sell", "cross_sell")}
        assert sold
        happens(client, "c-heavy", "complaint", subject="slow internet", interaction_id="call-c-heavy")
        angry = ask(client, "c-heavy", limit=10)
        assert not sold & set(offers_of(angry))
        assert {stage_of(angry, offer)[0] for offer in sold} == {"service_first"}
        assert angry["thread"][-1]["text"] == "complained about slow internet"
        happens(client, "c-heavy", "issue_resolved", subject="slow internet", interaction_id="call-c-heavy")
        assert sold & set(offers_of(ask(client, "c-heavy", limit=10)))

        # The engine learns: those who save much say yes, the others no.
        for number in range(2, 500):
            decision = ask(client, f"c-{number}")
            for suggestion in decision["suggestions"]:
                yes = (suggestion["saving_month"] or 0) > 15
                report(client, decision, suggestion["offer_id"], "accepted" if yes else "declined")
        # Every answer came at once here, so none has to be waited for.
        decisions = state / "decisions"
        trained = nba("train", "--decisions", decisions, "--window-days", 0, "--config", "telco", state=state)
        assert trained["promoted"], trained["stopped_by"]
        assert client.post("/v1/admin/reload").status_code == 200
        client.post("/v1/activity", json={"events": used("c-new", 1.5)})
        client.put("/v1/customers/c-new", json={"plan": "xl-80", "tenure_months": 24, "addons_month": 0})
        learnt = ask(client, "c-new")
        assert learnt["source"] == "model" and learnt["model"] == trained["version"]
        assert learnt["suggestions"][0]["saving_month"] > 15
        assert learnt["suggestions"][0]["accept_probability"] > 0.5
