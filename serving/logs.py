"""What the service says of itself, on stderr: lines for people, or JSON lines for machines (`NBA_LOG=json`).

No line carries anything about a person. So an exception is told by its type and its places in the code, without its
words, which may repeat what a caller sent.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from contextvars import ContextVar
from typing import Any, Literal

from pythonjsonlogger.orjson import OrjsonFormatter

Kind = Literal["text", "json"]
# The request that is being answered here; None outside of one. Tasks and threads that it starts inherit it.
request_id: ContextVar[str | None] = ContextVar("nba_request_id", default=None)
_OWN = {*vars(logging.makeLogRecord({})), "asctime", "message", "color_message", "taskName"}
_NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "exception"}


def log_to_stderr(kind: Kind = "text", level: int = logging.INFO) -> None:
    """Everything that is logged in this process goes to stderr, each line with the id of the request it belongs to."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_with_request_id)
    handler.setFormatter(ForMachines() if kind == "json" else ForPeople())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _with_request_id(record: logging.LogRecord) -> bool:
    record.request_id = getattr(record, "request_id", None) or request_id.get()
    return True


def without_words(error: BaseException | None) -> str:
    """The types and places of an exception and of those it came from, the newest first."""
    lines = []
    while error is not None:
        lines.append(type(error).__qualname__)
        frames = reversed(traceback.extract_tb(error.__traceback__))
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(lines)


class ForPeople(logging.Formatter):
    """One line: time, level, logger, message, and what else is known as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """The line, before a traceback."""
        known = [f"{n}={v}" for n, v in vars(record).items() if n not in _OWN and v is not None]
        return " ".join([super().formatMessage(record), *known])

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's own name)
        """See `without_words`."""
        return without_words(ei[1])


class ForMachines(OrjsonFormatter):
    """One JSON object a line: time (UTC), level, logger, message, request_id, and every field of `extra`."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        fields = ["asctime", "levelname", "name", "message", "request_id"]
        super().__init__(fields, rename_fields=_NAMES, reserved_attrs=sorted(_OWN))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's own name)
        """See `without_words`."""
        return without_words(ei[1])
