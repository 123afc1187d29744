"""The supervisor's page counts what has just happened."""

from __future__ import annotations

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def test_it_counts_what_agents_do(page_of, service, cast):
    """A decision, an acceptance and a check of its guarantees appear without a reload."""
    page = page_of("/insights", ready=".figures")
    before = service.http.get("/v1/insights").json()
    asked = {"customer_id": cast["kraus"], "interaction_id": "in-1", "context": {"intent": "billing"}}
    answer = service.http.post("/v1/recommend", json=asked).json()
    said = {
        "decision_id": answer["decision_id"],
        "offer_id": answer["suggestions"][0]["offer_id"],
        "outcome": "accepted",
    }
    assert service.http.post("/v1/outcomes", json=said).status_code == 200
    page.wait_for_function(
        "(count) => Number(document.querySelector('.figures small').textContent.match(/\\d+/)?.[0] ?? 0) > count",
        arg=before["decisions"],
    )
    sync_api.expect(page.locator("tbody tr", has_text="Better fit").locator("td").nth(2)).not_to_have_text("0")
    sync_api.expect(page.locator(".figures .good dd")).to_have_text("0")
    sync_api.expect(page.locator("#numbers")).to_contain_text("No experiment is running")


def test_it_speaks_german_throughout(page_of, service, cast):
    """Also of what was missing, and where there is no model: no name of a field in the middle of a sentence."""
    service.http.post("/v1/recommend", json={"customer_id": cast["kraus"]})
    page = page_of("/insights", ready=".figures", locale="de-DE")
    sync_api.expect(page.locator("#numbers")).to_contain_text("ohne Modell (")
    sync_api.expect(page.locator("main")).to_contain_text("Kein Modell, Regeln ")
