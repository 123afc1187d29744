"""The workers of one state folder know of each other: a file each, locked while its worker lives.

One thing passes between them: that a reload is due, by a file that all look at.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from nba.errors import JournalError
from serving.segment import Segment, abandoned, segments


class Workers:
    """This worker among the others."""

    def __init__(self, folder: Path, now_ms: int, *, own_redis: bool = True) -> None:
        """Join the others. `own_redis`: the customers are in the state folder's own Redis. Raises JournalError."""
        self._folder, self._own_redis = folder, own_redis
        self._own = Segment(folder, "w", now_ms, may_wait=True)
        self.reload_lock = folder / "reload.lock"  # held while a reload goes round; there before the disk is full
        with suppress(OSError):  # unless it is full already: who reloads makes it
            self.reload_lock.touch()
        self.say(self.generation())

    def say(self, generation: str) -> None:
        """Tell the others which reload this worker has done; what was said last counts."""
        self.done, self._told = generation, False
        self.say_again()

    def say_again(self) -> None:
        """Tell the others what a full disk has not taken so far."""
        if self._told:
            return
        said = {"pid": os.getpid(), "generation": self.done, "own_redis": self._own_redis}
        with suppress(JournalError):  # the reload is done all the same
            self._own.append(orjson.dumps(said))
            self._told = True

    def living(self) -> list[dict[str, Any]]:
        """What every living worker said last, this one included; files of dead ones are removed."""
        return living(self._folder)

    def generation(self) -> str:
        """The reload that everybody should have done; empty before the first."""
        try:
            return (self._folder / "generation").read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def prepare_reload(self) -> str:
        """Write down the name of a reload, so that a full disk is known before anything changes. Raises JournalError."""
        name = secrets.token_hex(8)
        try:
            self._hidden(name).write_text(name, encoding="ascii")
        except OSError as error:
            self.drop_reload(name)
            raise JournalError(f"cannot write to {self._folder}: {error.strerror}: free space there") from error
        return name

    def order_reload(self, name: str) -> None:
        """Tell all workers to do a reload that was prepared."""
        self._hidden(name).replace(self._folder / "generation")

    def drop_reload(self, name: str) -> None:
        """Nothing comes of it."""
        self._hidden(name).unlink(missing_ok=True)

    def _hidden(self, name: str) -> Path:
        return self._folder / f".generation-{name}"

    def close(self) -> None:
        """Leave."""
        self._own.close(remove=True)


def living(folder: Path) -> list[dict[str, Any]]:
    """What every living worker of this folder said last; files of dead ones are removed."""
    found = []
    for path in segments(folder, "w"):
        with abandoned(path) as handle:
            if handle is not None:
                path.unlink()
                continue
        with suppress(OSError, IndexError, orjson.JSONDecodeError):
            found.append(orjson.loads(path.read_bytes().splitlines()[-1]))
    return found
