"""Waiting for what becomes so in its own time, without a sleep that is too short today and too long tomorrow."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], object], seconds: float = 60.0) -> None:
    """Return when it is so; fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError("it did not become so")
        time.sleep(0.005)
