"""Short-lived tokens for the widget: what a browser may hold instead of an API key.

    nbt1.BODY.TAG       BODY: base64url of JSON {c: customer, i: interaction, s: scopes, x: expiry in ms}
                        TAG:  base64url of HMAC-SHA256 over `nbt1.BODY`

A token asks about one customer in one interaction, reports what came of that, and nothing else (gate.py holds every
request against it). Nothing is stored, so every worker can check every token that another one has made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from nba.errors import InputError, JournalError
from nba.folders import make_private

PREFIX = "nbt1."
RECOMMEND, OUTCOME = "recommend", "outcome"
SCOPES = (RECOMMEND, OUTCOME)
LONGEST_S = 3_600
_MOST_BYTES = 4_096  # the longest ids, as JSON escapes them, make about 2,200


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows until `expires_ms`."""

    customer_id: str
    interaction_id: str
    scopes: tuple[str, ...]
    expires_ms: int


class Tokens:
    """Makes and checks tokens with one secret of at least 16 bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise InputError("the secret of the tokens is too short: give at least 16 characters in NBA_TOKEN_SECRET")
        self._secret = secret

    def issue(self, grant: Grant) -> str:
        """The token of a grant. Raises InputError for an unknown scope."""
        if not grant.scopes or not set(grant.scopes) <= set(SCOPES):
            raise InputError(f"unknown scope: use {' and '.join(SCOPES)}", "/scopes")
        said = {"c": grant.customer_id, "i": grant.interaction_id, "s": list(grant.scopes), "x": grant.expires_ms}
        body = PREFIX + _encode(orjson.dumps(said))
        return f"{body}.{_encode(self._tag(body))}"

    def grant_of(self, token: str, now_ms: int) -> Grant | None:
        """What a token allows; None when it is not ours, was changed, or has run out."""
        body, _, tag = token.rpartition(".")
        if len(token) > _MOST_BYTES or not body.startswith(PREFIX):
            return None
        with suppress(binascii.Error, ValueError, UnicodeEncodeError):
            # The text of the tag, not its bytes: base64 has many ways to write the same ones.
            if hmac.compare_digest(tag.encode(), _encode(self._tag(body)).encode()):
                said = orjson.loads(_decode(body.removeprefix(PREFIX)))
                grant = Grant(said["c"], said["i"], tuple(said["s"]), said["x"])
                return grant if now_ms < grant.expires_ms else None
        return None

    def _tag(self, body: str) -> bytes:
        return hmac.digest(self._secret, body.encode(), hashlib.sha256)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def kept_secret(state_dir: Path) -> bytes:
    """The secret of this state folder, made when there is none, the same for all its workers. Raises JournalError."""
    path = state_dir / "token.key"
    try:
        make_private(state_dir)
        hidden = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        if not path.exists():
            fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as handle:
                handle.write(secrets.token_bytes(32))
            with suppress(FileExistsError):  # another worker was first: its secret counts
                os.link(hidden, path)
            hidden.unlink()
        return path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot keep {path}: {error.strerror}: free space or mend its permissions") from error


def scopes_of(names: Sequence[str] | None) -> tuple[str, ...]:
    """The scopes that were asked for, all when none were named."""
    return SCOPES if names is None else tuple(dict.fromkeys(names))
