"""Bytes as the UTF-8 that a reader of files takes. What is none is marked, so that it costs its own row and not the file."""

from __future__ import annotations

import codecs
import io
from typing import IO

# No character, and so in no proper text: https://www.unicode.org/faq/private_use.html#nonchar1
MARK = "\ufdd0"


def _marked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return MARK, error.end


codecs.register_error("nba.mark", _marked)


class MarkedUtf8(io.RawIOBase):
    """The bytes of `source`, with MARK in the place of what is no UTF-8. `found`: whether it had to be put anywhere."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")("nba.mark")
        self._rest = b""
        self._ended = False
        self.found = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end: a short block would have the reader lose a row between two."""
        while not self._ended and (size < 0 or len(self._rest) < size):
            data = self._source.read(size if size < 0 else size - len(self._rest))
            self._ended = not data
            self._rest = self._rest + self._proper(data) if self._rest else self._proper(data)
        taken = len(self._rest) if size < 0 else size
        found, self._rest = self._rest[:taken], self._rest[taken:]
        return found

    def _proper(self, data: bytes) -> bytes:
        if data and data.isascii() and not self._decoder.getstate()[0]:
            return data
        text = self._decoder.decode(data, final=not data)
        self.found = self.found or MARK in text
        return text.encode()
