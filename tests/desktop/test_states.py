"""When the service is slow, gone or works with half of what it needs, and when customers have strange names."""

from __future__ import annotations

import json

import pytest

from kits.desk import say

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
NASTY = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
RIGHT_TO_LEFT = "ליבוביץ-كنعان"


class Line:
    """The way from the page to some paths of the service, to be cut and mended.

    Laid before the first request: one that is made while interception is being switched on passes by unseen.
    """

    def __init__(self, page, paths: str) -> None:
        self.cut = False
        page.route(paths, lambda route: route.abort() if self.cut else route.continue_())


def in_call(page_of, paths: str, **more):
    """A page in a call, and the line to these paths of the service."""
    page = page_of(loud=True, **more)
    line = Line(page, paths)
    page.wait_for_selector("#callers button")
    page.keyboard.press("1")
    expect(say(page)).to_be_visible()
    return page, line


def cut_off(page_of):
    """A page in a call whose service has just gone, as its alert says; and the line to mend."""
    page, line = in_call(page_of, "**/v1/**")
    line.cut = True
    page.keyboard.press("r")
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    return page, line


def test_a_slow_service_is_said_to_be_slow(page_of, cast):
    """First the shape of the answer, then words; the answer itself takes their place."""
    page = page_of()
    page.route("**/v1/recommend", lambda route: (page.wait_for_timeout(2_000), route.continue_()))
    page.wait_for_selector("#callers button")
    page.keyboard.press("1")
    expect(page.locator(".bone").first).to_be_visible()
    expect(page.locator(".note")).to_contain_text("takes longer than usual")
    expect(say(page)).to_be_visible()
    expect(page.get_by_text("takes longer than usual")).to_have_count(0)


def test_a_dead_service_keeps_what_there_was_and_comes_back(page_of, cast):
    """The last answer stays, with its age and an alert; when the service is back, the page is by itself."""
    page, line = cut_off(page_of)
    expect(page.get_by_role("alert")).to_contain_text("What you see is from")
    expect(say(page)).to_be_visible()
    page.keyboard.press("s")
    expect(page.locator(".trouble")).to_contain_text("Not saved")
    line.cut = False
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_have_count(0)


def test_a_service_that_stays_dead_is_said_once(page_of, cast):
    """A screen reader reads out what is drawn into an alert, so a retry that fails again draws nothing there."""
    page, _ = cut_off(page_of)
    page.get_by_role("alert").get_by_text("The service does not answer.").evaluate("said => { window.first = said; }")
    for _ in range(2):  # when the second retry fails the first has been drawn
        page.wait_for_event("requestfailed", lambda request: request.url.endswith("/v1/recommend"))
    assert page.evaluate("first.isConnected")


def test_an_outcome_that_was_not_saved_can_be_sent_again(page_of, cast, service):
    """Nothing pretends to be saved; trying again saves it once."""
    page, line = in_call(page_of, "**/v1/outcomes")
    line.cut = True
    page.keyboard.press("s")
    expect(page.locator(".trouble")).to_contain_text("Not saved")
    expect(page.locator(".chip")).to_have_count(0)
    line.cut = False
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".chip")).to_contain_text("Said")
    assert [outcome for _, outcome, _ in service.contacts(cast["kraus"])] == ["spoken"]


def test_an_outcome_that_was_not_saved_outlives_its_call(page_of, cast, service):
    """It says so in words, is sent when the service answers again, and as part of the decision that it was said about."""
    page, line = in_call(page_of, "**/v1/outcomes", locale="de-DE")
    decision = page.evaluate("document.querySelector('#panel').answer.decision_id")
    line.cut = True
    page.keyboard.press("a")
    expect(page.locator(".trouble")).to_contain_text(
        "Nicht gespeichert: „Angenommen“ zu Flex 10 GB. Der Dienst antwortet"
    )
    line.cut = False
    page.keyboard.press("q")
    with page.expect_request("**/v1/outcomes") as sent:
        page.keyboard.press("3")
    told = {"decision_id": decision, "offer_id": "flex-10", "outcome": "accepted"}
    assert sent.value.post_data_json == told
    expect(page.locator("#name")).to_have_text("Mr. Novak")
    expect(page.locator(".trouble")).to_have_count(0)
    expect(page.locator(".chip, .done li")).to_have_count(0)
    assert service.contacts(cast["kraus"]) == [("flex-10", "accepted", None)]
    assert service.contacts(cast["novak"]) == []


def test_an_outcome_that_is_saved_late_marks_only_its_own_call(page_of, cast, service):
    """The same offer, suggested to the next caller, does not look as if something had been said about it."""
    service.http.put(f"/v1/customers/{cast['yildiz']}-b", json={"family_name": "Berg"})
    page, waiting = page_of(), []

    def hold(route):
        waiting.append(route)

    page.route("**/v1/outcomes", hold)
    page.wait_for_selector("#callers button")
    page.keyboard.press("2")
    expect(say(page)).to_contain_text("line")
    page.keyboard.press("s")
    page.wait_for_function("() => document.querySelector('#panel').shadowRoot.querySelector('[aria-disabled]')")
    page.keyboard.press("q")
    page.locator("#customer").fill(f"{cast['yildiz']}-b")
    page.locator("#dial-intent").select_option("technical")
    page.keyboard.press("Enter")
    expect(say(page)).to_contain_text("Berg")
    with page.expect_response("**/v1/outcomes"):
        waiting[0].continue_()
    page.keyboard.press("r")
    expect(say(page)).to_contain_text("Berg")
    expect(page.locator(".chip")).to_have_count(0)
    assert [outcome for _, outcome, _ in service.contacts(cast["yildiz"])] == ["spoken"]


def once(change):
    """A handler of a route: the first request is answered by `change`, all others by the service."""
    seen = []

    def handle(route):
        seen.append(route)
        change(route) if len(seen) == 1 else route.continue_()

    return handle


def busy(route):
    route.fulfill(status=503, content_type="application/problem+json", body='{"detail": "busy"}')


def test_a_stream_that_is_refused_for_a_moment_is_asked_for_again(page_of, cast, service):
    """A service that restarts, or the proxy before it, says 503: what happens afterwards in the call is still heard."""
    page = page_of(loud=True)
    page.route("**/stream?*", once(busy))
    page.wait_for_selector("#callers button")
    page.evaluate("document.querySelector('#panel').addEventListener('nba-listening', () => console.log('listening'))")
    with page.expect_event("console", predicate=lambda m: m.text == "listening"):
        page.keyboard.press("3")
    service.happens(cast["novak"], "complaint", subject="the bill")
    expect(page.locator(".lock")).to_contain_text("Sales are locked")


def test_an_answer_without_the_newest_activity_is_asked_anew(page_of, cast):
    """The spool delivers within seconds, and nothing tells the page: it does not leave sales locked for the whole call."""
    page = page_of(loud=True)
    page.route("**/stream?*", lambda route: route.fulfill(status=404, body="{}"))
    page.route("**/v1/recommend", once(lambda route: changed(route, degraded=["activity_pending"])))
    page.wait_for_selector("#callers button")
    with page.expect_response("**/v1/recommend"):
        page.keyboard.press("3")
    expect(page.locator(".note.without")).to_contain_text("the newest activity")
    expect(page.locator(".note.without")).to_contain_text("the model")


def changed(route, **fields):
    """Answer with what the service said, but for these fields."""
    answer = route.fetch()
    route.fulfill(response=answer, body=json.dumps(answer.json() | fields))


def test_who_calls_is_asked_for_until_it_is_there(page_of, cast):
    """A page that knows the sentence and not the name asks again by itself; till then it claims nothing of plans."""
    page = page_of(loud=True)
    page.route("**/v1/desk/**", once(busy))
    page.goto(f"{page.url}#customer={cast['novak']}&interaction=late-1")
    expect(say(page)).to_contain_text("Mr. Novak")
    page.keyboard.press("c")
    expect(page.locator("#pane-compare")).to_have_text("Asking …")
    expect(page.locator("#name")).to_have_text("Mr. Novak")
    expect(page.locator("#pane-compare table")).to_be_visible()


def test_what_could_not_be_read_is_not_called_unknown(page_of, cast):
    """Without Redis there is no activity to show: that is no claim that there was none, nor that no plan is enough."""
    page = page_of(locale="de-DE")
    lost = ["features", "profile", "contacts"]
    nothing = {"degraded": lost, "thread": [], "freshness": {"activity_s": None, "profile_s": None}}

    def view(route):
        told = route.fetch().json()
        told["customer"] |= {"degraded": lost, "thread": [], "profile": {}, "known": False}
        told["plans"] = [
            plan | {"own": False, "cost_month": None, "saving_month": None, "covers": False} for plan in told["plans"]
        ]
        route.fulfill(json=told)

    page.route("**/v1/recommend", lambda route: changed(route, **nothing))
    page.route("**/v1/desk/**", view)
    page.wait_for_selector("#callers button")
    page.keyboard.press("1")
    expect(page.locator("#standing")).to_contain_text("Die Aktivität war nicht lesbar.")
    expect(page.locator("#thread")).to_have_text("Die Aktivität war nicht lesbar.")
    page.keyboard.press("c")
    expect(page.locator("table")).to_contain_text("Listenpreis")
    expect(page.locator("table")).not_to_contain_text("reicht nicht")


def test_a_degraded_answer_looks_degraded(desk):
    """It names what it was missing; a likelihood that nobody estimated is not shown as one."""
    desk.keyboard.press("1")
    expect(desk.locator(".note.without")).to_contain_text("Working without the model.")
    expect(desk.locator(".weak .list")).to_have_css("border-top-style", "dashed")
    expect(desk.locator(".meta").first).to_have_text("typical rate")


def test_a_whole_answer_looks_whole(page_of, cast):
    """With the model's word there is no note, and the likelihood is there."""
    page = page_of()
    page.route("**/v1/recommend", lambda route: changed(route, source="model", degraded=[], model="m-1"))
    page.wait_for_selector("#callers button")
    page.keyboard.press("1")
    expect(page.locator(".meta").first).to_contain_text("likely to accept")
    expect(page.locator(".note")).to_have_count(0)


@pytest.mark.parametrize(
    "name", [NASTY, RIGHT_TO_LEFT, "Wolfeschlegelsteinhausenbergerdorff" * 6], ids=["markup", "right-to-left", "200"]
)
def test_names_and_texts_are_shown_as_text(page_of, service, cast, name):
    """Markup stays text, a right-to-left name does not turn the sentence around, 200 characters break no layout."""
    customer = cast["kraus"]
    profile = service.http.get(f"/v1/customers/{customer}").json()["profile"]
    service.http.put(f"/v1/customers/{customer}", json=profile | {"family_name": name[:200]})
    service.happens(customer, "complaint", subject=name[:200])
    page = page_of(viewport={"width": 360, "height": 780})
    page.locator("#callers button").first.click()
    expect(say(page)).to_contain_text(name[:24])
    expect(page.locator("#name")).to_contain_text(name[:24])
    expect(page.locator("#issues")).to_contain_text(name[:24])
    expect(page.locator("#thread")).to_contain_text(name[:24])
    assert page.locator("img, #thread script, #name script").count() == 0
    assert "owned" not in page.title() or "<" in page.title()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    bidi = "getComputedStyle(document.querySelector('#panel').shadowRoot.querySelector('.say')).unicodeBidi"
    assert page.evaluate(bidi) in ("isolate", "plaintext")


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_every_view_fits_a_side_panel_of_360_pixels(page_of, cast, locale):
    """Every view fits, in both languages, and what is touched is large enough."""
    page = page_of(viewport={"width": 360, "height": 780}, locale=locale, has_touch=True)
    page.locator("#callers button").nth(2).click()
    expect(say(page)).to_be_visible()
    for tab in ("say", "compare", "explain"):
        page.locator(f"#tab-{tab}").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360, tab
    page.locator("#tab-say").click()
    heights = [button.bounding_box()["height"] for button in page.locator(".acts button").all()]
    assert heights and min(heights) >= 40


def test_a_german_browser_is_answered_in_german(page_of, cast):
    """The page, the sentence and the numbers."""
    page = page_of(locale="de-DE")
    expect(page.locator("h1").first).to_have_text("Wer ruft an?")
    page.wait_for_selector("#callers button")
    page.keyboard.press("1")
    expect(say(page)).to_contain_text("nach Ihren letzten Aktivitäten")
    expect(page.locator(".save").first).to_have_text("spart 12,00 € im Monat")
    assert page.locator("html").get_attribute("lang") == "de"
    page.locator("[data-lang=en]").click()
    expect(say(page)).to_contain_text("judging by your recent activity")


def test_nothing_comes_from_elsewhere_and_nothing_is_written_as_markup(page_of, service):
    """A strict policy; scripts hold no sink of HTML; every file is asked from the service itself."""
    policy = service.http.get("/desktop").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    page = page_of(loud=True)
    write = "(() => { try { document.body.innerHTML = 'x'; return ''; } catch (error) { return error.name; } })()"
    refused = page.evaluate(write)
    assert refused == "TypeError"
    names = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names
    assert all(name.startswith(service.url) for name in names)


def test_a_sentence_runs_in_the_direction_of_its_language(page_of, service):
    """Also where it begins with a right-to-left name, without a salutation before it."""
    given, family = RIGHT_TO_LEFT.split("-")
    profile = {"given_name": given, "family_name": family, "plan": "l-40", "contract_end_days": 30}
    service.http.put("/v1/customers/rtl-1", json=profile)
    page = page_of("/desktop#customer=rtl-1", ready=".item.on")
    expect(say(page)).to_contain_text("there is one thing you will want to know")
    expect(say(page)).to_have_css("direction", "ltr")
    expect(page.locator("#name")).to_have_css("direction", "rtl")


@pytest.mark.parametrize("path", ["/desktop", "/insights"])
def test_without_script_the_page_says_what_it_needs(page_of, path):
    """Instead of an empty page with buttons that do nothing."""
    page = page_of(path, ready="noscript", java_script_enabled=False)
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("noscript p")).to_contain_text("This page needs JavaScript")


def test_the_list_of_keys_is_within_reach_at_every_width(page_of, cast):
    """At 320 pixels (or a zoom of 400 %) too: there the single keys can be turned off, and on again."""
    page = page_of(viewport={"width": 320, "height": 700}, locale="de-DE")
    page.get_by_role("button", name="Tasten").click()
    page.get_by_label("Tasten ohne Strg").uncheck()
    page.get_by_role("button", name="Schließen").click()
    page.get_by_role("button", name="Tasten").click()
    page.get_by_label("Tasten ohne Strg").check()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize(
    ("path", "again", "there"),
    [("/desktop#customer=c-1", "Try again", ".empty strong"), ("/insights", "API key", ".figures")],
    ids=["desktop", "today"],
)
def test_a_key_that_is_refused_is_said_to_be(browser, keyed, path, again, there):
    """In words; and who closed the question can be asked once more."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(keyed.url + path)
    asked = page.get_by_role("dialog", name="API key")
    expect(asked).to_contain_text("This service asks for a key")
    expect(asked.get_by_role("alert")).to_have_count(0)
    page.locator("#key").fill("wrong")
    page.keyboard.press("Enter")
    expect(asked.get_by_role("alert")).to_have_text("The service does not know this key.")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=again).click()
    page.locator("#key").fill("boss")
    page.keyboard.press("Enter")
    expect(page.locator(there)).to_be_visible()
    context.close()


def test_who_closes_the_question_for_a_key_is_not_asked_by_an_answer_that_comes_late(browser, keyed):
    """A second refusal of the same key, still under way when the dialog was closed, does not open it again."""
    context = browser.new_context(locale="en-GB")
    page, held = context.new_page(), []

    def hold(route):
        held.append(route)

    page.route("**/v1/desk/c-1*", hold)
    page.goto(keyed.url + "/desktop#customer=c-1")
    asked = page.get_by_role("dialog", name="API key")
    page.locator("#key").fill("wrong")
    page.keyboard.press("Enter")
    expect(asked.get_by_role("alert")).to_have_text("The service does not know this key.")
    expect(page.get_by_role("button", name="Try again")).to_be_attached()
    page.keyboard.press("Escape")
    with page.expect_response("**/v1/desk/c-1*") as late:
        held[-1].continue_()
    assert late.value.status == 401
    page.get_by_role("button", name="Try again").click()
    expect(asked).to_be_visible()
    page.locator("#key").fill("boss")
    page.unroute("**/v1/desk/c-1*")
    page.keyboard.press("Enter")
    expect(page.locator(".empty strong")).to_be_visible()
    context.close()
