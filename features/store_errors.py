"""What Redis or its client raises, said as what is wrong and what to do."""

from __future__ import annotations

from redis import exceptions as failed

from features.address import without_secret
from nba.errors import StoreError

# RuntimeError is uvloop's word where a connection ends while the client is writing to it, as in its handshake.
FAILURES = (failed.RedisError, failed.RedisClusterException, OSError, RuntimeError)


class ForeignValueError(StoreError):
    """Another program's value sits under a key of one customer: others' keys may be in order."""


_FULL = "is out of memory: raise `maxmemory`, or lower retention_days or max_events in features.yaml"
_READ_ONLY = "is read-only: point NBA_REDIS_URL at the primary, not at a replica"
_COMMANDS = "PING, MGET, EXISTS, TYPE, GET, SET, DEL, APPEND, EXPIRE, STRLEN, GETRANGE, EVAL, HSETNX and HGET"
# From the particular to the general: the first one that fits speaks.
_CURES: tuple[tuple[type[BaseException], str], ...] = (
    (failed.OutOfMemoryError, _FULL),
    (failed.ReadOnlyError, _READ_ONLY),
    (failed.NoPermissionError, f"denies a command: allow the user {_COMMANDS}"),
    (failed.AuthenticationError, "refuses the credentials: mend user and password in NBA_REDIS_URL"),
    (failed.AuthorizationError, "refuses the credentials: mend user and password in NBA_REDIS_URL"),
    (failed.BusyLoadingError, "is still loading its data: try again in a moment"),
    (failed.MaxConnectionsError, "has no connection left: raise `maxclients`, or start fewer workers"),
    (failed.ClusterDownError, "is a cluster with a part down: bring its nodes back"),
    (failed.SlotNotCoveredError, "is a cluster with a part down: bring its nodes back"),
    (failed.TimeoutError, "did not answer in time: look at its load, or give it more time"),
    (TimeoutError, "did not answer in time: look at its load, or give it more time"),
    (failed.ConnectionError, "cannot be reached: start it, or mend NBA_REDIS_URL"),
    (failed.RedisClusterException, "cannot be reached as a cluster: start it, or use redis:// for a single one"),
    (OSError, "cannot be reached: start it, or mend NBA_REDIS_URL"),
    (RuntimeError, "closed the connection: see whether it is being restarted"),
)
_WORDS = (
    ("OOM", _FULL),
    ("READONLY", _READ_ONLY),
    ("MISCONF", "cannot write to its disk: make room there, or mend its configuration"),
    ("WRONGTYPE", "holds a foreign value under one of our keys: give the engine a database of its own"),
    ("NOREPLICAS", "has too few replicas in step to take a write: bring them back"),
    ("MASTERDOWN", "is a replica without its primary: bring the primary back"),
    ("LOADING", "is still loading its data: try again in a moment"),
)


def store_error(error: BaseException, url: str) -> StoreError:
    """The StoreError that says what is wrong with the Redis at `url` and what to do."""
    text = str(error).partition(", with args")[0]  # what follows repeats the command: the key, and so who it is about
    words = text.replace("-", " ").split()  # inside a script's error the code stands as -READONLY
    cure = next((cure for word, cure in _WORDS if word in words), None)
    kind = ForeignValueError if "WRONGTYPE" in words else StoreError
    if cure is None:
        cure = next((cure for raised, cure in _CURES if isinstance(error, raised)), None)
    if cure is None:
        cure = f"answers {text or type(error).__name__!r}: look at its log"
        return StoreError(f"Redis at {without_secret(url)} {cure}")
    return kind(f"Redis at {without_secret(url)} {cure} ({text or type(error).__name__})")
