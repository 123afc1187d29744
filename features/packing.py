"""How one event is written: 32 bytes, little-endian, appended to the customer's log and never changed.

    at_ms int64 · event uint64 (hash of the event's id) · value int64 · subject uint32 (hash) · type uint16 (hash)
    · channel uint8 · flags uint8

The lowest bit of `flags` says that there is a value, the next that it is small (absolutely below 2**40, or missing), so
that sums of it cannot leave 64 bits. The six high bits are a check: the XOR of the record's four words, folded to six
bits, is `CHECK`. The fold is linear, so one XOR over a whole log tests every record in it in about two microseconds, and
a read that meets damaged bytes knows it.

Hashes are stateless on purpose: no dictionary has to be read beside the log, none can be lost, and an edited config
finds its old events again. Two types of one config with the same 16 bits are refused when the spec is built; 64 bits
for ids and 32 for subjects are taken per customer, where a collision is out of reach.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nba.clock import YEAR_2000_MS
from nba.config.shapes import CHANNEL
from nba.domain import Activity

EVENT_BYTES = 32
TYPE = 14  # of the 16 two-byte words of a record
HAS_VALUE = 1
SMALL = 2
SMALL_BELOW = 1 << 40  # times a million events this is 2**60
CHECK = 0b101101
LAST_MS = 1 << 43  # the year 2248: a time beyond it is damage
CHANNELS = ("app", "web", "ivr", "chat", "store", "call", "email", "sms", "letter", "social")
EVENT = np.dtype(
    [
        ("at_ms", "<i8"),
        ("event", "<u8"),
        ("value", "<i8"),
        ("subject", "<u4"),
        ("type", "<u2"),
        ("channel", "u1"),
        ("flags", "u1"),
    ]
)
CHANNEL_NAME = re.compile(CHANNEL)
_RECORD = struct.Struct("<qQqIHBB")
_WORD = 2**64 - 1


def event_hash(event_id: str) -> int:
    """An event's id as 64 bits: BLAKE2b, eight bytes."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "little")


@lru_cache(maxsize=65536)
def subject_hash(subject: str) -> int:
    """A subject as 32 bits: BLAKE2b, four bytes; never 0, which stands for none."""
    return int.from_bytes(blake2b(subject.encode(), digest_size=4).digest(), "little") or 1


@lru_cache(maxsize=4096)
def type_code(name: str) -> int:
    """An activity type as 16 bits: BLAKE2b, two bytes."""
    return int.from_bytes(blake2b(name.encode(), digest_size=2).digest(), "little")


@lru_cache(maxsize=4096)
def channel_code(name: str) -> int:
    """The usual channels are 1 … 10; any other is hashed into 32 … 255, clashes inside a config being refused there."""
    if name in CHANNELS:
        return CHANNELS.index(name) + 1
    return 32 + int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "little") % 224


def fold(word: int) -> int:
    """The XOR of a 64-bit word's six-bit groups."""
    word = (word & 0x0FFF_FFFF_FFFF_FFFF) ^ (word >> 60)
    word = (word ^ (word >> 30)) & 0x3FFF_FFFF
    return (word ^ (word >> 6) ^ (word >> 12) ^ (word >> 18) ^ (word >> 24)) & 63


def pack(event: Activity, channels: frozenset[str]) -> bytes:
    """One event as 32 bytes. `channels`: those with a code; an event of another one is kept with channel 0."""
    value = event.value or 0
    flags = (0 if event.value is None else HAS_VALUE) | (SMALL if -SMALL_BELOW < value < SMALL_BELOW else 0)
    channel = channel_code(event.channel) if event.channel in channels else 0
    subject = 0 if event.subject is None else subject_hash(event.subject)
    identity, code = event_hash(event.event_id), type_code(event.type)
    last = subject | code << 32 | channel << 48 | flags << 56
    check = _check_bits(fold((event.at_ms ^ value) & _WORD ^ identity ^ last))
    return _RECORD.pack(event.at_ms, identity, value, subject, code, channel, flags | check)


def _check_bits(folded: int) -> int:
    # The flags' six high bits are bits 58 … 63 of the last word: groups 4, 5, 0, 1, 2, 3 of the fold.
    wanted = folded ^ CHECK
    return (((wanted >> 4) | (wanted << 2)) & 63) << 2


def seal(records: NDArray[np.void]) -> NDArray[np.void]:
    """Write the bits that the engine reckons itself into records (dtype EVENT, shape (n,), `flags` at most HAS_VALUE)."""
    small = (records["value"] > -SMALL_BELOW) & (records["value"] < SMALL_BELOW)
    records["flags"] |= small.astype(np.uint8) * np.uint8(SMALL)
    words = records.view("<u8").reshape(-1, 4)
    wanted = _fold_all(np.bitwise_xor.reduce(words, axis=1)) ^ np.uint64(CHECK)
    bits = ((wanted >> np.uint64(4)) | (wanted << np.uint64(2))) & np.uint64(63)
    records["flags"] |= (bits << np.uint64(2)).astype(np.uint8)
    return records


def sound(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which records (shape (n, 4), uint64) carry their check and a possible time; shape (n,)."""
    at_ms = words[:, 0].view(np.int64)
    checked = _fold_all(np.bitwise_xor.reduce(words, axis=1)) == CHECK
    return np.asarray(checked & (at_ms >= YEAR_2000_MS) & (at_ms < LAST_MS))


def _fold_all(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    shift = np.uint64
    word = (word & shift(0x0FFF_FFFF_FFFF_FFFF)) ^ (word >> shift(60))
    word = (word ^ (word >> shift(30))) & shift(0x3FFF_FFFF)
    folded: NDArray[np.uint64] = (
        word ^ (word >> shift(6)) ^ (word >> shift(12)) ^ (word >> shift(18)) ^ (word >> shift(24))
    )
    return folded & shift(63)


def readable(log: bytes) -> NDArray[np.uint64]:
    """The sound records of a log with damaged bytes, shape (n, 4).

    Where bytes were lost or added the records after them stand askew, so every offset is tried. One offset in a few
    thousand fits by chance; of overlapping ones those stay that together weigh most, and a record weighs more when it
    has a neighbour or stands where records stand.
    """
    fits = np.zeros(max(len(log) - EVENT_BYTES + 1, 0), np.int64)
    for shift in range(min(EVENT_BYTES, len(fits))):
        count = (len(log) - shift) // EVENT_BYTES
        fits[shift::EVENT_BYTES] = sound(np.frombuffer(log, "<u8", count * 4, shift).reshape(-1, 4))
    weights = 4 * fits
    weights[EVENT_BYTES:] += fits[:-EVENT_BYTES]
    weights[:-EVENT_BYTES] += fits[EVENT_BYTES:]
    weights[::EVENT_BYTES] += 1
    offsets = np.flatnonzero(fits)
    taken = _heaviest(offsets, weights[offsets].tolist())
    return np.frombuffer(b"".join(log[o : o + EVENT_BYTES] for o in taken), "<u8").reshape(-1, 4)


def _heaviest(offsets: NDArray[np.intp], weights: list[int]) -> list[int]:
    """Of ascending offsets those that do not overlap and weigh most together."""
    after = offsets.searchsorted(offsets + EVENT_BYTES).tolist()
    best = [0] * (len(weights) + 1)
    for index in range(len(weights) - 1, -1, -1):
        best[index] = max(best[index + 1], weights[index] + best[after[index]])
    taken, index = [], 0
    while index < len(weights):
        if best[index] > best[index + 1]:
            taken.append(int(offsets[index]))
            index = after[index]
        else:
            index += 1
    return taken
