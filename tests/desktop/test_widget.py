"""The widget inside a page of another origin, with a token that its server made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def crm(keyed) -> Iterator[tuple[str, dict[str, str]]]:
    """The example host page of docs/examples on an origin of its own; `about`: whom its server makes tokens for."""
    about = {"customer_id": "", "interaction_id": "call-77"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/") or "crm.html"
            if name == "favicon.ico":
                body, kind = b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"
            elif name == "token":
                body, kind = keyed.http.post("/v1/tokens", json=about).content, "application/json"
            else:
                text = (EXAMPLES / name).read_text(encoding="utf-8").replace("https://nba.example", keyed.url)
                kind = {"html": "text/html", "js": "text/javascript"}[name.rpartition(".")[2]]
                body = text.replace("c-1001", about["customer_id"]).encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", keyed.host_port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{keyed.host_port}/", about
    server.shutdown()
    server.server_close()


@pytest.fixture
def opened(browser, crm, keyed):
    """The host page with the widget of a fresh caller in it."""
    url, about = crm
    about["customer_id"] = keyed.cast()["kraus"]
    context = browser.new_context(locale="en-GB")
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto(url)
    yield page, about["customer_id"]
    context.close()
    assert not [line for line in wrong if "401" not in line], wrong


def test_it_suggests_and_reports_across_origins(opened, keyed):
    """Under the host's strict policy, with a token instead of a key; the host hears what came of it."""
    page, customer = opened
    expect(page.locator(".item.on .say")).to_contain_text("Mr. Kraus")
    page.get_by_role("button", name="Accepted").click()
    expect(page.locator("#log")).to_have_text("accepted: flex-10")
    assert keyed.contacts(customer)[0][:2] == ("flex-10", "accepted")
    page.get_by_role("listitem").filter(has_text="Accepted").first.wait_for()


def test_it_hears_of_what_happens_during_the_call(opened, keyed):
    """The stream crosses origins too."""
    page, customer = opened
    page.evaluate(
        "document.querySelector('nba-suggestions').addEventListener('nba-listening', () => { document.title = 'listening'; })"
    )
    page.evaluate("document.querySelector('nba-suggestions').refresh()")
    page.wait_for_function("() => document.title === 'listening'")
    keyed.happens(customer, "complaint", subject="the bill")
    page.wait_for_function(
        "() => document.querySelector('nba-suggestions').answer.thread.at(-1).activity === 'complaint'"
    )


def test_a_decline_is_told_with_its_reason(opened, keyed):
    """`nba-declined` bubbles out of the element with offer, decision and reason."""
    page, customer = opened
    page.evaluate("addEventListener('nba-declined', ({ detail }) => { window.told = detail; })")
    page.get_by_role("button", name="Declined").click()
    page.get_by_role("button", name="Not needed").click()
    page.wait_for_function("() => window.told")
    told = page.evaluate("window.told")
    assert (told["offer_id"], told["reason"]) == ("flex-10", "not_needed")
    assert keyed.contacts(customer)[0][1:] == ("declined", "not_needed")


def test_a_token_that_has_run_out_is_fetched_anew(opened):
    """Once, by the page's own way, without a word to the agent."""
    page, _ = opened
    expect(page.locator(".item.on .say")).to_be_visible()
    with page.expect_request("**/token") as fetched:
        page.locator("nba-suggestions").evaluate("(p) => { p.setAttribute('token', 'nbt1.x.y'); return p.refresh(); }")
    assert fetched.value.method == "GET"
    expect(page.locator(".item.on .say")).to_be_visible()
    expect(page.locator(".note.dead")).to_have_count(0)
    assert page.locator("nba-suggestions").get_attribute("token") != "nbt1.x.y"


@pytest.mark.parametrize("light", ["light", "dark"])
def test_it_is_accessible_on_a_page_that_styles_nothing(browser, crm, keyed, light):
    """With its own colours, in the light that the host asks for."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    url, about = crm
    about["customer_id"] = keyed.cast()["yildiz"]
    context = browser.new_context(bypass_csp=True, color_scheme=light)
    page = context.new_page()
    page.goto(url)
    page.evaluate("(light) => { document.documentElement.style.colorScheme = light; }", light)
    expect(page.locator(".item.on .say")).to_be_visible()
    found = axe.Axe().run(page, context="nba-suggestions").response["violations"]
    context.close()
    assert not [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found]


def test_another_origin_gets_nothing(browser, keyed, service):
    """A page that the settings do not name cannot read an answer, token or not."""
    token = keyed.http.post("/v1/tokens", json={"customer_id": "c-1", "interaction_id": "i"}).json()["token"]
    page = browser.new_context().new_page()
    page.goto(service.url + "/healthz")
    ask = """([url, token]) => fetch(url + '/v1/recommend', {
      method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: 'Bearer ' + token }, body: '{}',
    }).then(() => 'read', () => 'refused')"""
    outcome = page.evaluate(ask, [keyed.url, token])
    page.context.close()
    assert outcome == "refused"
