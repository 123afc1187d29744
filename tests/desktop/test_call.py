"""A call on the agent desktop, in a real browser."""

from __future__ import annotations

import re

import pytest

from kits.desk import say
from nba.clock import format_at, system_now_ms

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect


def titles(page) -> list[str]:
    return page.locator(".item .pick span").all_text_contents()


def test_a_whole_call_is_taken_by_keyboard(desk, cast, service):
    """Pick the caller, read, say, accept, end: without a mouse, and each click is an outcome in the contact history."""
    desk.keyboard.press("1")
    expect(desk.locator("#name")).to_have_text("Mr. Kraus")
    expect(say(desk)).to_contain_text("Mr. Kraus, judging by your recent activity")
    first = desk.evaluate("document.querySelector('#panel').answer.suggestions[0].offer_id")
    desk.keyboard.press("s")
    expect(desk.locator(".item.on .chip")).to_contain_text("Said")
    desk.keyboard.press("a")
    expect(desk.locator(".done li")).to_contain_text("Accepted")
    desk.keyboard.press("q")
    expect(desk.locator("#start")).to_be_visible()
    met = [(offer, outcome) for offer, outcome, _ in service.contacts(cast["kraus"])]
    assert met == [(first, "spoken"), (first, "accepted")]


def test_every_reason_shows_its_number_and_what_it_came_from(desk):
    """Of data, the bars are months, and those that the number looks at are strong."""
    desk.keyboard.press("1")
    reason = desk.locator(".because > div").first
    expect(reason.locator("dd")).to_contain_text("2.1")
    expect(reason.locator("svg[role=img]")).to_have_attribute("aria-label", re.compile("data used: .*2,050"))
    expect(reason.locator("rect.in")).to_have_count(3)


def test_the_list_refreshes_itself_when_something_happens(desk, cast, service):
    """Activity that arrives during the call brings the lock, the issue and the new line of the story, without a reload."""
    with desk.expect_event("console", predicate=lambda m: m.text == "listening"):
        desk.evaluate(
            "document.querySelector('#panel').addEventListener('nba-listening', () => console.log('listening'))"
        )
        desk.keyboard.press("3")
    expect(say(desk)).to_contain_text("Mr. Novak")
    expect(desk.locator(".lock")).to_have_count(0)
    service.happens(cast["novak"], "complaint", subject="the bill")
    expect(desk.locator(".lock")).to_contain_text("Sales are locked")
    expect(desk.locator("#issues")).to_contain_text("the bill")
    expect(desk.locator("#thread .fresh")).to_contain_text("complained about the bill")


def test_what_is_declined_is_gone(desk, cast, service):
    """With the reason, by two keys; the list is asked anew and the offer rests."""
    desk.keyboard.press("3")
    expect(say(desk)).to_be_visible()
    before = titles(desk)
    desk.keyboard.press("2")
    desk.keyboard.press("d")
    expect(desk.get_by_role("button", name="Too expensive")).to_be_focused()
    desk.keyboard.press("1")
    expect(desk.locator(".done li")).to_have_text(f"Declined: {before[1]}")
    expect(desk.locator(".item .pick span").get_by_text(before[1], exact=True)).to_have_count(0)
    [(_, outcome, reason)] = service.contacts(cast["novak"])
    assert (outcome, reason) == ("declined", "too_expensive")


def test_a_slip_of_the_finger_answers_for_one_offer_only(desk, cast, service):
    """The second half of a double click, or a key held down, is no answer to the next sentence, which nobody has said yet."""
    desk.clock.install()
    desk.keyboard.press("3")
    expect(say(desk)).to_be_visible()
    first, second, third = desk.evaluate("document.querySelector('#panel').answer.suggestions.map((s) => s.offer_id)")
    desk.clock.pause_at(desk.evaluate("Date.now()") / 1000 + 60)
    desk.keyboard.press("l")
    expect(desk.locator(".chip")).to_have_count(1)
    desk.keyboard.press("l")
    desk.keyboard.press("s")
    expect(desk.locator(".item.on .chip")).to_contain_text("Said")
    desk.clock.run_for(1000)
    desk.keyboard.down("l")
    expect(desk.locator(".chip").nth(1)).to_contain_text("Later")
    desk.clock.run_for(1000)
    desk.keyboard.down("l")
    desk.keyboard.up("l")
    desk.keyboard.press("s")
    expect(desk.locator(".item.on .chip")).to_contain_text("Said")
    met = [(offer, outcome) for offer, outcome, _ in service.contacts(cast["novak"])]
    assert met == [(first, "later"), (second, "spoken"), (second, "later"), (third, "spoken")]


def test_a_reason_can_be_typed_and_taken_back(desk, cast, service):
    """Escape asks for no reason after all; another reason is written in one's own words."""
    desk.keyboard.press("1")
    expect(say(desk)).to_be_visible()
    desk.keyboard.press("k")
    expect(desk.get_by_role("button", name="No time")).to_be_visible()
    desk.keyboard.press("Escape")
    expect(desk.locator("fieldset")).to_have_count(0)
    desk.keyboard.press("d")
    desk.get_by_label("another reason").fill("moving abroad d")
    desk.keyboard.press("Enter")
    expect(desk.locator(".done li")).to_be_visible()
    assert service.contacts(cast["kraus"])[0][1:] == ("declined", "moving abroad d")


def test_service_comes_first_on_an_open_issue(desk, cast, service):
    """No sale while something is open, with the reason; when it is settled in this call, the lock is gone."""
    desk.keyboard.press("2")
    expect(desk.locator(".lock")).to_contain_text("Sales are locked")
    expect(desk.locator(".lock")).to_contain_text("complaint")
    expect(desk.locator(".item .kind").first).to_have_text("Fix")
    assert not {"Add-on", "Bigger plan"} & set(desk.locator(".item .kind").all_text_contents())
    desk.keyboard.press("n")
    expect(desk.locator("#says")).to_contain_text("Sent: issue settled")
    expect(desk.locator("#issues")).to_be_empty()
    expect(desk.locator(".lock")).to_have_count(0)


def test_a_day_is_the_same_day_on_the_whole_page(page_of, cast):
    """Also far from the company's time zone, where midnight in UTC is the evening before."""
    page = page_of(timezone_id="America/Los_Angeles")
    page.keyboard.press("2")
    expect(page.locator(".lock")).to_contain_text("Open since")
    told = page.locator("#issues small").inner_text().removeprefix("since ").partition(" · ")[0]
    expect(page.locator(".lock")).to_contain_text(f"Open since {told}: complaint")


def test_the_agent_corrects_the_reason_of_the_call(desk):
    """The list follows at once."""
    desk.keyboard.press("1")
    expect(say(desk)).to_contain_text("benefit from")
    desk.keyboard.press("i")
    desk.locator("#intent").select_option("technical")
    expect(desk.locator(".item .pick span")).to_contain_text(["a line check"])
    assert (
        desk.evaluate("document.querySelector('#panel').getAttribute('context')")
        == '{"intent":"technical","sentiment":0.1}'
    )


def test_plans_side_by_side_with_a_limit(desk):
    """Today's plan first, then cheaper, then dearer, with what is lost; the caller's limit goes into the question."""
    desk.keyboard.press("1")
    expect(say(desk)).to_be_visible()
    desk.keyboard.press("m")
    expect(desk.get_by_label("Caller’s monthly limit")).to_be_focused()
    groups = desk.locator("thead .group th").all_text_contents()
    assert groups == ["Today", "Cheaper", "Dearer"]
    assert desk.locator("thead tr:last-child th").first.text_content() == "L 40 GB"
    cheaper = desk.locator("tbody tr").filter(has_text="A year").locator("td").nth(2)
    expect(cheaper).to_have_text("−€144.00")
    expect(desk.locator("tbody")).to_contain_text("data: 40 GB → 10 GB")
    for _ in range(37):
        desk.keyboard.press("ArrowLeft")
    expect(desk.locator("output")).to_contain_text("€29.00")
    expect(desk.locator("thead")).to_contain_text("above the limit")
    desk.wait_for_function("() => document.querySelector('#panel').answer.withheld.some((w) => w.stage === 'max_cost')")


def test_why_these_accounts_for_every_offer(desk):
    """Suggested, or withheld with its stage and its rule."""
    desk.keyboard.press("3")
    expect(say(desk)).to_be_visible()
    desk.keyboard.press("e")
    numbers = [int(n) for n in desk.locator(".funnel dd").all_text_contents()]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == desk.locator("details li").count() + numbers[-1]
    expect(desk.locator("details").first.locator("code").first).to_be_visible()
    desk.keyboard.press("Escape")
    expect(say(desk)).to_be_visible()


def test_no_offer_now_is_said_in_words(desk):
    """Of somebody unknown there is nothing to say, and the panel says that."""
    desk.keyboard.press("/")
    desk.keyboard.type("nobody-knows")
    desk.keyboard.press("Enter")
    expect(desk.locator(".list strong")).to_have_text("No offer now")
    expect(desk.locator(".list")).to_contain_text("Nothing in the catalogue fits")
    expect(desk.locator("#facts")).to_contain_text("Nothing is known of this customer")


def test_age_of_the_data_and_authority_are_visible(desk):
    """And the authority follows the group of the agent."""
    desk.keyboard.press("1")
    expect(desk.locator("#standing")).to_contain_text("Last activity")
    expect(desk.locator("#standing")).to_contain_text("You may give up to €10.00 a month")
    desk.locator("#authority").select_option("newcomers")
    expect(desk.locator("#standing")).to_contain_text("€5.00")


def test_a_call_comes_in_by_address(page_of, cast):
    """A telephony system opens the page with customer, interaction and reason."""
    page = page_of(f"/desktop#customer={cast['yildiz']}&interaction=cti-1&intent=outage", ready=".item.on")
    expect(page.locator("#name")).to_have_text("Ms. Yildiz")
    assert page.locator("#intent").input_value() == "outage"
    assert page.locator("#panel").get_attribute("interaction-id") == "cti-1"


def test_the_same_customer_calls_again(page_of, cast):
    """An address with another interaction is another call, with its own reason, also while the one before is still open."""
    page = page_of(f"/desktop#customer={cast['kraus']}&interaction=cti-1&intent=billing", ready=".item.on")
    page.evaluate("(id) => { location.hash = `customer=${id}&interaction=cti-2&intent=technical`; }", cast["kraus"])
    expect(page.locator(".item .pick span").first).to_have_text("a line check")
    assert page.locator("#panel").get_attribute("interaction-id") == "cti-2"
    assert page.locator("#intent").input_value() == "technical"


def test_a_reload_goes_on_with_the_same_call(desk, cast):
    """The interaction, to whose end a service reason holds, and the reason as the agent corrected it."""
    desk.locator("#customer").fill(cast["kraus"])
    desk.keyboard.press("Enter")
    expect(say(desk)).to_be_visible()
    interaction = desk.locator("#panel").get_attribute("interaction-id")
    desk.locator("#intent").select_option("technical")
    expect(desk.locator(".item .pick span").first).to_have_text("a line check")
    desk.reload()
    expect(desk.locator(".item .pick span").first).to_have_text("a line check")
    assert desk.locator("#panel").get_attribute("interaction-id") == interaction
    assert desk.locator("#intent").input_value() == "technical"


def test_skipping_to_the_call_does_not_end_it_and_going_back_does(desk, cast):
    """Skipping to the call does not end it; the browser's Back does, and Forward takes it up again."""
    desk.keyboard.press("1")
    expect(say(desk)).to_be_visible()
    desk.locator(".skip").focus()
    desk.keyboard.press("Enter")
    expect(desk.locator("#main")).to_be_focused()
    expect(say(desk)).to_be_visible()
    desk.go_back()
    expect(desk.locator("#start")).to_be_visible()
    desk.go_forward()
    expect(desk.locator("#name")).to_have_text("Mr. Kraus")


def test_keys_can_be_turned_off(desk):
    """Single letters are no commands any more; everything stays reachable by Tab and Enter."""
    desk.keyboard.press("?")
    desk.get_by_label("Single-key shortcuts").uncheck()
    desk.get_by_role("button", name="Close").click()
    desk.keyboard.press("1")
    expect(desk.locator("#call")).to_be_hidden()
    desk.locator("#callers button").first.focus()
    desk.keyboard.press("Enter")
    expect(say(desk)).to_be_visible()


def test_an_age_is_no_day_of_the_calendar(page_of, cast, service):
    """What is 46 hours old was not always yesterday, nor what is 33 days old last month; and it ages while one looks."""
    now = system_now_ms()
    for hours in (46, 24 * 33):
        service.happens(cast["kraus"], "complaint", subject=f"{hours} h", at=format_at(now - hours * 3_600_000))
    page = page_of(locale="de-DE", loud=True)
    # The stream's next word would tell the true time.
    page.route("**/stream?*", lambda route: route.fulfill(status=404, body="{}"))
    page.clock.install()
    page.reload()
    page.wait_for_selector("#callers button")
    page.keyboard.press("1")
    expect(page.locator("#thread li").filter(has_text="46 h")).to_contain_text("vor 1 Tag")
    expect(page.locator("#thread li").filter(has_text="792 h")).to_contain_text("vor 1 Monat")
    page.clock.fast_forward("05:00:00")
    page.clock.run_for(11_000)
    expect(page.locator("#thread li").filter(has_text="46 h")).to_contain_text("vor 2 Tagen")


def test_one_is_said_in_the_singular(page_of, cast, service):
    """One month as a customer is no "1 months", in neither language."""
    profile = service.http.get(f"/v1/customers/{cast['kraus']}").json()["profile"]
    service.http.put(f"/v1/customers/{cast['kraus']}", json=profile | {"tenure_months": 1})
    page = page_of()
    page.wait_for_selector("#callers button")
    page.keyboard.press("1")
    expect(page.locator("#facts")).to_contain_text("customer for 1 month ·")
    page.locator("[data-lang=de]").click()
    expect(page.locator("#facts")).to_contain_text("seit 1 Monat Kunde")


def test_each_call_begins_without_a_limit(desk):
    """The slider of the call before does not stand where that caller's limit was."""
    desk.keyboard.press("1")
    expect(say(desk)).to_be_visible()
    desk.keyboard.press("m")
    for _ in range(9):
        desk.keyboard.press("ArrowLeft")
    expect(desk.locator("output")).not_to_have_text("no limit")
    desk.keyboard.press("q")
    desk.keyboard.press("1")
    expect(desk.locator("#standing")).to_contain_text("You may give")
    desk.keyboard.press("m")
    expect(desk.locator("output")).to_have_text("no limit")
    expect(desk.get_by_label("Caller’s monthly limit")).to_have_attribute("aria-valuetext", "no limit")
    assert desk.evaluate("document.querySelector('#limit').value === document.querySelector('#limit').max")
