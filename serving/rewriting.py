"""The rewrite of the own Redis's append-only file that an erasure asked for, remembered until it is done.

The receipt says that it is being rewritten; a service that stops in that moment does it when it starts again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from pathlib import Path

from features.store import Store
from nba.errors import StoreError
from nba.folders import write_whole

log = logging.getLogger("nba.serving")


class DueRewrite:
    """One note in the state folder for all workers; the last who asked takes it away."""

    def __init__(self, state_dir: Path) -> None:
        self._note = state_dir / "rewrite.due"

    @property
    def standing(self) -> str | None:
        """Who asked last and has not been served; None: nothing is due."""
        try:
            return self._note.read_text()
        except FileNotFoundError:
            return None

    def ask(self) -> str:
        """Note it, durably; gives a word for `carry_out`. Raises OSError."""
        word = secrets.token_hex(8)
        write_whole(self._note, word.encode())
        return word

    async def carry_out(self, store: Store, word: str) -> None:
        """Rewrite. The note stays where it failed, and where somebody has asked since: that rewrite takes it away."""
        try:
            await store.rewrite_file()
        except StoreError as error:
            log.error("erased values stay in Redis's append-only file until it is rewritten: send BGREWRITEAOF",
                      extra={"error": str(error)})  # fmt: skip
            return
        if await asyncio.to_thread(lambda: self.standing) == word:
            self._note.unlink(missing_ok=True)
