"""Where Redis is: NBA_REDIS_URL, held against what the library takes, and told without its password."""

from __future__ import annotations

import re
from typing import Any

from redis.asyncio import ConnectionPool

from nba.errors import InputError

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
_IN_QUERY = re.compile(r"\?[^@]*\b(?:username|password)=.*", re.DOTALL)


def check_address(url: str) -> None:
    """Raises InputError for what is no Redis URL. Connects to nothing."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise InputError(
            f"NBA_REDIS_URL {without_secret(url)!r} is no Redis URL: write one with {'://, '.join(SCHEMES)}://"
        )
    database = rest.rpartition("@")[2].partition("?")[0].partition("/")[2].strip("/")
    if scheme != "unix" and database and not database.isdecimal():
        # The library takes it for none, and so for database 0, where others may live.
        raise InputError(f"NBA_REDIS_URL {without_secret(url)!r} names no database: write its number, such as /0")
    try:
        pool: Any = ConnectionPool.from_url(url.replace("+cluster", "", 1))
        if not scheme.endswith("+cluster"):
            pool.make_connection()
    except (ValueError, TypeError) as error:  # its words may repeat a part of the password
        raise InputError(
            f"NBA_REDIS_URL {without_secret(url)!r} is no Redis URL: write scheme://user:password@host:6379/0, what is "
            "special in the password percent-encoded (/ is %2F), and only options of the library behind a ?"
        ) from error


def without_secret(url: str) -> str:
    """The URL without user, password and options, also where it is none: people leave / and # in a password as they are."""
    scheme, mark, rest = url.rpartition("://")
    place = rest if rest.startswith("/") else _IN_QUERY.sub("", rest).rpartition("@")[2]
    return scheme + mark + place.partition("?")[0]
