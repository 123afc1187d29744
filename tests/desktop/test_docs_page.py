"""The page of the API: drawn by Swagger UI, and by nobody else."""

from __future__ import annotations

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def test_swagger_ui_is_drawn_without_asking_anybody_else(page_of, service):
    """Every request of the page goes to this service; a call opens, can be tried, and answers."""
    page = page_of("/docs", ready=".opblock-summary-path")
    asked = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert asked and all(name.startswith((service.url, "data:")) for name in asked)
    page.locator(".opblock", has_text="/healthz").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    sync_api.expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
