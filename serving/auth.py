"""Who may do what: API keys with scopes. In memory there are only SHA-256 digests, and comparison takes constant time."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
import secrets
from collections.abc import Iterable, Sequence

from nba.errors import InputError, RefusedError

RECOMMEND, WRITE, ADMIN, ANY = "recommend", "write", "admin", "any"
SCOPES = frozenset({RECOMMEND, WRITE, ADMIN})
_DIGEST = re.compile(r"sha256[:$]([0-9a-fA-F]{64})")
_MARKS = ("sha256:", "sha256$")
SHORTEST_KEY = 16  # characters; those of `nba key` have 43


class Keys:
    """The keys that are let in. `KEY` has every scope, `KEY=recommend+write` those; `admin` may do everything.

    Entries are separated by commas or white space, or given as JSON: {"KEY": ["recommend"]}. An entry may be the key's
    digest, `sha256:HEX=scopes`, so that the key itself stands nowhere (`nba key` makes both); `sha256$HEX` is the same.

    `short`: how many of them might be guessed; of a digest nobody knows.
    """

    def __init__(self, text: str | None) -> None:
        """Raises InputError for an entry that is not understood, without repeating it."""
        entries = list(_entries(text or ""))
        self._digests = [(_digest(key), _scopes(scopes)) for key, scopes in entries]
        self.short = sum(len(key) < SHORTEST_KEY for key, _ in entries)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def scopes_of(self, header: bytes | None) -> frozenset[str] | None:
        """The scopes of an Authorization header; None when it carries no key of ours. Looks at every key, always."""
        scheme, _, key = (header or b"").partition(b" ")
        offered = hashlib.sha256(key.strip()).digest()
        found = None
        for digest, scopes in self._digests:
            if hmac.compare_digest(digest, offered):
                found = scopes
        return found if scheme.lower() == b"bearer" else None


def new_key() -> str:
    """A key that nobody can guess."""
    return secrets.token_urlsafe(32)


def entry(key: str, scopes: Sequence[str] = ()) -> str:
    """How a key stands in NBA_API_KEYS without standing there. Raises InputError for a scope that does not exist."""
    names = "+".join(sorted(_scopes([*scopes]))) if scopes else ""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}" + (f"={names}" if names else "")


def allowed(scopes: frozenset[str], needed: str) -> bool:
    """Whether these scopes open a door that needs `needed`."""
    return needed == ANY or needed in scopes or ADMIN in scopes


def check_binding(host: str, keys: str | None) -> None:
    """Without keys the service answers only this machine. Raises RefusedError otherwise."""
    if not Keys(keys) and not _is_loopback(host):
        raise RefusedError(
            f"without API keys the service answers this machine only, not {host}: set NBA_API_KEYS, or use --host 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _entries(text: str) -> Iterable[tuple[str, list[str] | None]]:
    text = text.strip()
    if text.startswith("{"):
        try:
            document = json.loads(text)
        except ValueError as error:
            raise InputError('NBA_API_KEYS is not JSON: write {"KEY": ["recommend"]}, or KEY=recommend,KEY2') from error
        return list(document.items())
    return [_entry(part) for part in re.split(r"[\s,]+", text) if part]


def _entry(part: str) -> tuple[str, list[str] | None]:
    # The last separator counts only before words that are scopes: a key may hold = and : itself, as base64 does.
    if _DIGEST.fullmatch(part):
        return part, None
    key, _, scopes = part.rpartition("=") if "=" in part else part.rpartition(":")
    names = re.split(r"[+|]", scopes)
    if set(names) <= SCOPES or not re.search(r"[^+|=:]", part):  # no key: behind a comma or a blank
        return key, names
    if key and (re.fullmatch(r"[a-z_]+(?:[+|][a-z_]+)*", scopes) or {name.lower() for name in names} & SCOPES):
        raise InputError(
            f"NBA_API_KEYS names an unknown scope: use {', '.join(sorted(SCOPES))}; a key with = or : fits in JSON"
        )
    return part, None


def _digest(key: str) -> bytes:
    if not key:
        raise InputError(
            "NBA_API_KEYS has scopes without a key: write KEY=recommend+write, without blanks and with a comma only "
            "before the next KEY, and look whether KEY was empty"
        )
    if match := _DIGEST.fullmatch(key):
        return bytes.fromhex(match[1])
    if key.startswith(_MARKS):
        raise InputError("NBA_API_KEYS has a digest that is not whole: write sha256: and 64 hexadecimal digits")
    return hashlib.sha256(key.encode()).digest()


def _scopes(names: object) -> frozenset[str]:
    if names is None:
        return SCOPES
    if not isinstance(names, list) or not names or not set(names) <= SCOPES:
        raise InputError(f"NBA_API_KEYS names an unknown scope: use {', '.join(sorted(SCOPES))}")
    return frozenset(names)
