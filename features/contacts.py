"""Which offers met a customer, and what came of it: a line of JSON for each, appended, settled at read.

One line counts for each decision, offer and outcome (for each moment where there is no decision): the earliest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import orjson

from nba.domain import OUTCOMES, Contact, Outcome

MAX_CONTACTS = 500
SHORTEN_BYTES = 2 * 160 * MAX_CONTACTS  # lines of about 130 bytes: half of them go each time


def line(contact: Contact) -> bytes:
    """A contact as one line. Short names: a at, o offer, u outcome, c channel, d decision, i interaction, r reason."""
    entry: dict[str, Any] = {"a": contact.at_ms, "o": contact.offer_id, "u": contact.outcome, "c": contact.channel}
    more = (("d", contact.decision_id or None), ("i", contact.interaction_id), ("r", contact.reason))
    entry |= {name: value for name, value in more if value is not None}
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def read_contacts(raw: bytes, now_ms: int) -> tuple[tuple[Contact, ...], bool]:
    """The contacts up to `now_ms` in order of time, and whether some lines could not be read."""
    if not raw:
        return (), False
    contacts, damaged = _settled(raw)
    return tuple(contact for contact in contacts if contact.at_ms <= now_ms), damaged


def _lines(raw: bytes) -> tuple[list[Any], bool]:
    """What can be read, and whether there were other lines."""
    lines = raw.split(b"\n")
    try:
        return orjson.loads(b"[" + b",".join(part for part in lines if part) + b"]"), False
    except orjson.JSONDecodeError:
        return [found for found in map(_loads, lines) if found is not None], True


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def shortened(raw: bytes) -> bytes:
    """The newest 500 contacts, and the newest of each offer and outcome however old, so that no rest ends too early."""
    contacts, _ = _settled(raw)
    newest = {(c.offer_id, c.outcome): c for c in contacts}
    old = [c for c in contacts[:-MAX_CONTACTS] if newest[c.offer_id, c.outcome] is c]
    return b"".join(map(line, [*old, *contacts[-MAX_CONTACTS:]]))


def _settled(raw: bytes) -> tuple[list[Contact], bool]:
    lines, damaged = _lines(raw)
    contacts = [_contact(entry) for entry in lines if _whole(entry)]
    return _once(contacts), damaged or len(contacts) < len(lines)


def _once(contacts: Iterable[Contact]) -> list[Contact]:
    first: dict[tuple[str | int, str, str], Contact] = {}
    for contact in sorted(contacts, key=lambda c: (c.at_ms, c.offer_id, c.outcome, c.decision_id, line(c))):
        first.setdefault((contact.decision_id or contact.at_ms, contact.offer_id, contact.outcome), contact)
    return list(first.values())


def _whole(entry: object) -> bool:
    if type(entry) is not dict:
        return False
    texts = all(type(entry.get(name)) is str for name in ("o", "u", "c"))
    return texts and type(entry.get("a")) is int and entry["u"] in OUTCOMES


def _contact(entry: dict[str, Any]) -> Contact:
    outcome = cast("Outcome", entry["u"])
    return Contact(entry["a"], entry["o"], outcome, entry["c"], entry.get("d", ""), entry.get("i"), entry.get("r"))
