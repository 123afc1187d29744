"""Places on the page of the agent desktop."""

from __future__ import annotations

from typing import Any


def say(page: Any) -> Any:
    """The sentence that the agent is to say now (a Playwright locator)."""
    return page.locator(".item.on .say")
