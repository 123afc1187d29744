"""The story of a customer, from bytes alone: what one moment holds, how far back it looks, and what stands twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from features import thread
from features.packing import pack
from features.spec import FeatureSpec
from features.view import customer
from kits.activity import NOW_MS, make_config, make_event
from nba.clock import DAY_MS
from nba.domain import StatedIntent


def told(spec: FeatureSpec, *events, log: bytes = b""):
    """The customer whose thread has a line for each event, in this order."""
    return customer("c", log, None, b"", b"".join(map(thread.line, events)), NOW_MS, spec)


@pytest.mark.parametrize("number", range(6))
def test_of_one_moment_what_opens_comes_before_what_closes(spec, number) -> None:
    """A file that knows only the day: what was opened and closed on it is closed, whatever the ids and the order."""
    day = NOW_MS - DAY_MS
    opened = make_event(f"opened-{number}", day, "complaint", subject="bill")
    closed = make_event(f"closed-{number}", day, "resolved", subject="bill")
    for order in ((opened, closed), (closed, opened)):
        found = told(spec, *order)
        assert (found.open_issues, found.closed_ms) == ((), day)
        assert found.bad_experience_ms == day


def test_an_issue_that_opens_again_after_it_was_closed_is_open(spec) -> None:
    """Only of the same moment does the opening come first."""
    closed = make_event("closed", NOW_MS - 10, "resolved")
    again = make_event("again", NOW_MS - 9, "complaint")
    assert [issue.since_ms for issue in told(spec, again, closed).open_issues] == [NOW_MS - 9]


def test_a_story_behind_many_quiet_events_is_still_told() -> None:
    """Hundreds of events that nobody tells do not push the last ones that are told out of sight."""
    spec = FeatureSpec(make_config(thread_events=3))
    stories = [make_event(f"told-{i}", NOW_MS - 10_000 + i, "told", None) for i in range(5)]
    quiet = [make_event(f"seen-{i}", NOW_MS - 5_000 + i, "seen", None) for i in range(100)]
    log = b"".join(pack(event, frozenset(spec.channels)) for event in (*stories, *quiet))
    assert [entry.at_ms for entry in told(spec, log=log).thread] == [e.at_ms for e in stories[-3:]]
    recent = make_event("now", NOW_MS - 1, "told", None)
    log += pack(recent, frozenset(spec.channels))
    assert [entry.at_ms for entry in told(spec, log=log).thread] == [
        *(e.at_ms for e in stories[-2:]),
        recent.at_ms,
    ]


def test_an_event_that_stands_twice_is_told_by_its_earliest_and_smallest_line(spec) -> None:
    """Every replica tells the same, in whatever order the repeated lines arrived."""
    lines = [
        make_event("same", NOW_MS - 5, "told", text="b"),
        make_event("same", NOW_MS - 5, "told", text="a"),
        make_event("same", NOW_MS - 4, "told", text="0"),
    ]
    for order in permutations(lines):
        assert [(e.at_ms, e.text) for e in told(spec, *order).thread] == [(NOW_MS - 5, "a")]


def test_words_that_the_log_cannot_keep_are_kept_beside_it(spec) -> None:
    """A text, an interaction, a subject or a channel of its own, an issue; what the log tells alone is written once."""
    alone = make_event("e", NOW_MS, "told")
    assert not thread.needs_line(alone, spec)
    for more in ({"text": "words"}, {"interaction_id": "call-1"}, {"subject": "bill"}, {"channel": "pigeon"}):
        assert thread.needs_line(replace(alone, **more), spec), more
    assert thread.needs_line(replace(alone, type="complaint"), spec)
    assert not thread.needs_line(replace(alone, type="unheard of", text="words"), spec)


def test_a_thread_that_is_shortened_keeps_the_newest_of_each_sort() -> None:
    """What is told, what is about issues, what is open however old, and intents do not take each other's room."""
    spec = FeatureSpec(make_config(thread_events=4))
    start = NOW_MS - 1000
    kinds = [("complaint", "bill"), ("complaint", "line")] + [("complaint", "tv"), ("resolved", "tv")] * 5
    issues = [make_event(f"issue-{i}", start + i, kind, subject=of) for i, (kind, of) in enumerate(kinds)]
    stories = [make_event(f"story-{i}", start + 12 + i, "told", text="t") for i in range(6)]
    intents = [StatedIntent(start + 20 + i, f"call-{i}", "outage") for i in range(5)]
    raw = [*map(thread.line, [*issues, *stories]), *map(thread.intent_line, intents)]
    kept, _ = thread.settled(thread.shortened(b"".join(raw), spec))
    assert [line.at_ms - start for line in kept] == [0, 1, 8, 9, 10, 11, 14, 15, 16, 17, 24]
    assert [line.subject for line in kept[:2]] == ["bill", "line"]
