"""How heavy the page is, and how long a click takes until the sentence stands on the screen."""

from __future__ import annotations

import os
import statistics

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
MOST_BYTES = 60_000
MOST_MS = 150.0
CLICKS = 25
# Until the frame after the sentence stands in the page.
_MEASURE = """(place) => new Promise((done) => {
  const panel = document.querySelector('#panel'), button = document.querySelectorAll('#callers button')[place];
  let began = 0;
  panel.addEventListener('nba-answer', () => requestAnimationFrame(() => setTimeout(() => {
    const said = panel.shadowRoot.querySelector('.item.on .say');
    done(said && said.getClientRects().length ? performance.now() - began : Infinity);
  })), { once: true });
  began = performance.now();
  button.click();
})"""


def test_the_page_weighs_at_most_60_kb(browser, service, cast):
    """Everything that crosses the wire until the page can be used, headers included."""
    context = browser.new_context()
    page, received = context.new_page(), []
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(service.url + "/desktop")
    page.wait_for_selector("#callers button")
    page.wait_for_load_state("networkidle")
    context.close()
    assert len(received) >= 8
    assert sum(received) <= MOST_BYTES, sum(received)


def test_an_unchanged_file_is_not_sent_again(service):
    """A second visit costs a few bytes a file."""
    first = service.http.get("/desktop/widget.js")
    again = service.http.get("/desktop/widget.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["content-encoding"] == "gzip"


def clicks(page) -> list[float]:
    """Milliseconds from the click on a call to its sentence, for so many calls."""
    times = []
    for number in range(CLICKS):
        page.wait_for_selector("#start:not([hidden])")
        times.append(page.evaluate(_MEASURE, number % 2 * 2))
        page.keyboard.press("q")
    return times


def test_from_the_click_to_the_sentence_within_150_ms(desk, record_property):
    """At p95 of 25 calls, the best of three rounds. On a machine that is busy with other things it says so and skips."""
    found = []
    for _ in range(3):
        found.append(statistics.quantiles(clicks(desk), n=20)[-1])
        if found[-1] <= MOST_MS:
            break
    record_property("click_to_sentence_p95_ms", round(min(found), 1))
    if min(found) > MOST_MS and os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip(f"the machine is busy (load {os.getloadavg()[0]:.1f}): p95 of {min(found):.0f} ms says nothing")
    assert min(found) <= MOST_MS, found
