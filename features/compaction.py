"""Heavy customers stay bounded: a log that has outgrown its limit is written anew, without an append in between being lost.

The new bytes are computed here from what was read, and put in place by one script that first proves that what was read
still is the beginning of the value (appends only add behind it) and keeps whatever came in since. Two compactions at
once: the second finds another beginning and does nothing.

What is lost: of more than `max_events` events the oldest. Windows that reach beyond the oldest kept event then see only
what is kept, and so do `last` and `hours_since` of a type whose events are all older.
"""

from __future__ import annotations

from features import thread
from features.compute import in_order
from features.packing import EVENT_BYTES, readable
from nba.config import FeaturesConfig

SLACK = 1.25  # a log is shortened when it is a quarter over its limit, so that the work is paid by many appends

# KEYS: the value. ARGV: SHA-1 of what was read, its length, what takes its place.
REPLACE = """
local length = tonumber(ARGV[2])
if redis.call('STRLEN', KEYS[1]) < length then return 0 end
if redis.sha1hex(redis.call('GETRANGE', KEYS[1], 0, length - 1)) ~= ARGV[1] then return 0 end
local since = redis.call('GETRANGE', KEYS[1], length, -1)
redis.call('SET', KEYS[1], ARGV[3] .. since, 'KEEPTTL')
return 1
"""


def log_limit(config: FeaturesConfig) -> int:
    """Bytes beyond which a log is shortened."""
    return int(config.max_events * SLACK) * EVENT_BYTES


def thread_limit(config: FeaturesConfig) -> int:
    """Bytes beyond which a thread is shortened; at most about three quarters of them remain."""
    return config.thread_events * thread.BYTES_AN_ENTRY


def shorter_log(log: bytes, config: FeaturesConfig) -> bytes:
    """The newest `max_events` events of a log, each once, in order, damaged bytes left out."""
    return in_order(readable(log))[-config.max_events :].tobytes()
