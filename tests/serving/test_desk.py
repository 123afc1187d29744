"""What the agent desktop shows around the suggestions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nba.clock import system_now_ms
from serving.insights import Insights
from serving.roll import roll


def test_the_own_plan_stands_first_and_the_others_by_cost(nba):
    """With what each costs this customer for what they use, and the difference a year."""
    view = nba.http.get(f"/v1/desk/{nba.customer()}").json()
    plans = view["plans"]
    assert [plan["own"] for plan in plans] == [True] + [False] * (len(plans) - 1)
    costs = [plan["cost_month"] for plan in plans[1:] if plan["cost_month"] is not None]
    assert costs == sorted(costs)
    flex = next(plan for plan in plans if plan["offer_id"] == "flex-10")
    assert flex["difference_year"] == round(-flex["saving_month"] * 12, 2)
    assert view["authority"] == {"group": None, "discount_month": 10.0}


def test_what_it_compares_is_what_is_suggested(nba):
    """One number for one thing: the saving beside the plan is the saving of the suggestion."""
    customer = nba.customer()
    suggested = {s["offer_id"]: s["saving_month"] for s in nba.recommend(customer, limit=20)["suggestions"]}
    compared = {p["offer_id"]: p["saving_month"] for p in nba.http.get(f"/v1/desk/{customer}").json()["plans"]}
    shared = suggested.keys() & compared.keys()
    assert shared
    assert {offer: suggested[offer] for offer in shared} == {offer: compared[offer] for offer in shared}


def test_open_issues_lock_sales_there_too(nba, make_event):
    """The reason is the funnel's own."""
    customer = nba.customer()
    nba.http.post("/v1/activity", json={"events": [make_event(customer, "complaint", subject="bill")]})
    view = nba.http.get(f"/v1/desk/{customer}", params={"locale": "de"}).json()
    assert view["sales_wait"].startswith("open issue: complaint since")
    assert view["customer"]["open_issues"][0]["subject"] == "bill"
    assert view["customer"]["thread"][-1]["text"] == "hat sich über bill beschwert"


@pytest.mark.parametrize("context", ["{}", '{"intent": null}'])
def test_what_is_not_said_is_the_default_there_too(start, config_folder, tmp_path, context):
    """A context field that is null waits with sales for the same reason as one that is left out, and as the decision does."""
    folder = Path(shutil.copytree(config_folder, tmp_path / "shop"))
    features = (folder / "features.yaml").read_text(encoding="utf-8")
    assert "default: general" in features
    (folder / "features.yaml").write_text(features.replace("default: general", "default: technical"), encoding="utf-8")
    service = start(config=str(folder))
    view = service.http.get(f"/v1/desk/{service.customer()}", params={"context": context}).json()
    assert view["sales_wait"] == "service intent: technical"


def test_bars_add_up_to_the_number_they_explain(nba, make_event):
    """A sum over months is the sum of its strong bars; a count over days that of all bars."""
    customer = nba.customer()
    dropped = [make_event(customer, "call_dropped", days=days) for days in (0.5, 3, 3.2, 29, 31)]
    nba.http.post("/v1/activity", json={"events": dropped})
    features = nba.http.get(f"/v1/customers/{customer}").json()["features"]
    asked = {"feature": ["data_gb_peak", "dropped_calls_30d", "saving_month"]}
    found = nba.http.get(f"/v1/series/{customer}", params=asked).json()["series"]
    months, days = found["data_gb_peak"], found["dropped_calls_30d"]
    strong = [v for v, counted in zip(months["values"], months["counted"], strict=True) if counted]
    assert months["counted"] == [False, False, True, True, True, False]  # three whole months, not the one that runs
    assert max(strong) / 1024 == features["data_gb_peak"]
    assert sum(days["values"]) == features["dropped_calls_30d"] == 4
    assert found["saving_month"] is None


def test_the_page_knows_the_config(nba):
    """Languages, reasons for calls that are listed or that a rule asks for, authority, titles; no callers but in the demo."""
    setup = nba.http.get("/v1/desk").json()
    assert setup["intent"]["known"][0] == "general"
    assert {"billing", "cancel", "technical", "travel", "usage"} <= set(setup["intent"]["known"])
    assert (setup["locales"], setup["currency"], setup["callers"]) == (["en", "de"], "EUR", [])
    assert setup["offers"]["to-network-expert"]["title"]["de"].startswith("eine Netzexpertin")


@pytest.mark.parametrize("query", ["context=[1]", "context=%7B", "context=%7B%22intent%22:5%7D"])
def test_a_wrong_context_is_refused(nba, query):
    """Held to the types of the config."""
    assert nba.http.get(f"/v1/desk/c-1?{query}").status_code == 422


def test_todays_numbers_stay_the_same_when_the_log_is_rolled(start):
    """Counted while they are written, and the same after the log was rolled and the service started anew."""
    service = start()
    customer = service.customer()
    first = service.recommend(customer, interaction_id="i-1")
    service.recommend("nobody", channel="chat")
    assert service.outcome(first, "accepted").status_code == 200
    before = service.http.get("/v1/insights").json()
    assert (before["decisions"], before["nothing"], before["suggestions"]) == (2, 1, len(first["suggestions"]))
    assert before["violations"]["found"] == 0
    assert before["violations"]["checked"] == 2
    kind = next(row for row in before["kinds"] if row["kind"] == first["suggestions"][0]["kind"])
    assert (kind["accepted"], kind["acceptance"]) == (1, 1.0)
    assert {row["channel"]: row["decisions"] for row in before["channels"]} == {"call": 1, "chat": 1}
    assert before["latency"]["count"] == 2
    inner = service.app.state.service
    inner.journal.rotate(system_now_ms())
    assert roll(service.state_dir)["decisions"] == 1
    anew = Insights(service.state_dir).report(inner.recommender.engine.config, inner.metrics, None, system_now_ms())
    same = ("decisions", "nothing", "suggestions", "sources", "kinds", "channels", "hours", "degraded")
    assert {name: anew[name] for name in same} == {name: before[name] for name in same}
