"""Which activities the thread tells, and in which words."""

from __future__ import annotations

import pytest

from nba.answer import thread_line
from nba.config import ActivityType, Config
from nba.domain import ThreadEntry


@pytest.mark.parametrize(
    ("declared", "told"),
    [({}, True), ({"unit": "megabyte"}, False), ({"unit": "cent", "text": {"en": "paid"}}, True), ({"thread": False}, False),
     ({"unit": "cent", "thread": True}, True)],
)  # fmt: skip
def test_what_is_measured_is_no_story_unless_it_has_words(declared: dict, told: bool) -> None:
    """A page view is told as it stands in the contract, a megabyte is not, and the config has the last word."""
    assert ActivityType.model_validate(declared).told is told


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (ThreadEntry(0, "web", "page_viewed", "plans"), "looked at plans"),
        (ThreadEntry(0, "web", "complaint", "the bill"), "complaint the bill"),
        (ThreadEntry(0, "chat", "complaint", None, "It is too dear\u202e!"), "It is too dear !"),
        (ThreadEntry(0, "web", "long_gone"), "long gone"),
        (ThreadEntry(0, "web", "page_viewed", "{text}", "x"), "looked at {text}"),
    ],
)
def test_a_line_is_told_in_the_words_of_the_config_else_its_own(config: Config, entry: ThreadEntry, text: str) -> None:
    """What an event carries is put in once, and never read as a template."""
    assert thread_line(config, entry, "en")["text"] == text
