"""axe-core finds no violation of WCAG 2.2 AA, in any view, light and dark."""

from __future__ import annotations

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_module = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)
expect = sync_api.expect
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def check(page, where: str) -> None:
    found = axe_module.Axe().run(page, options=_RULES).response["violations"]
    told = [
        (where, v["id"], v["help"], [n["target"] for n in v["nodes"]][:3], v["nodes"][0].get("failureSummary", ""))
        for v in found
    ]
    assert not told, told


@pytest.mark.parametrize("light", ["light", "dark"])
def test_every_view_of_the_desktop_is_accessible(page_of, cast, light):
    """Start, call, reasons, compare, why, help; then one that is locked, and one with nothing to say."""
    page = page_of(color_scheme=light, bypass_csp=True)
    page.wait_for_selector("#callers button")
    check(page, "start")
    page.keyboard.press("1")
    expect(page.locator(".because svg").first).to_be_visible()
    check(page, "call")
    page.keyboard.press("d")
    check(page, "reasons")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    expect(page.locator("table")).to_be_visible()
    check(page, "compare")
    page.keyboard.press("e")
    expect(page.locator(".funnel")).to_be_visible()
    check(page, "why")
    page.keyboard.press("?")
    check(page, "help")
    page.keyboard.press("Escape")
    page.keyboard.press("q")
    page.keyboard.press("2")
    expect(page.locator(".lock")).to_be_visible()
    check(page, "locked")
    page.goto(page.url.partition("#")[0] + "#customer=nobody")
    expect(page.locator(".empty strong")).to_be_visible()
    check(page, "nothing")


def test_the_side_panel_and_the_insights_are_accessible(page_of, cast):
    """At 360 pixels, in German; and today's numbers."""
    page = page_of(viewport={"width": 360, "height": 780}, locale="de-DE", bypass_csp=True)
    page.locator("#callers button").nth(2).click()
    expect(page.locator(".item.on")).to_be_visible()
    check(page, "side panel")
    page.locator("#tab-compare").click()
    expect(page.locator("table")).to_be_visible()
    check(page, "compare, narrow")
    numbers = page_of("/insights", ready=".figures", bypass_csp=True)
    check(numbers, "insights")


def test_an_update_is_told_to_a_screen_reader(desk, cast, service):
    """A polite live region names the new first suggestion."""
    desk.keyboard.press("1")
    expect(desk.locator("#panel [role=status]")).to_have_text("Updated: Flex 10 GB")


def test_focus_is_kept_through_a_refresh(desk, cast, service):
    """An agent whose finger is on a button does not lose it when the list is drawn anew."""
    desk.keyboard.press("1")
    expect(desk.locator(".because svg").first).to_be_visible()
    later = desk.get_by_role("button", name="Later")
    later.focus()
    before = desk.evaluate("document.querySelector('#panel').answer.decision_id")
    desk.evaluate("document.querySelector('#panel').refresh()")
    desk.wait_for_function("(id) => document.querySelector('#panel').answer.decision_id !== id", arg=before)
    expect(later).to_be_focused()
