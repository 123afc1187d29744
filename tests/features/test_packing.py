"""The 32 bytes of an event, and what damage does to a log of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features import packing
from features.compute import settle, vector
from features.spec import FeatureSpec
from kits.activity import NOW_MS, make_event
from nba.domain import Activity


def log_of(spec: FeatureSpec, count: int) -> bytes:
    events = [make_event(f"e{i}", NOW_MS - i * 3_600_000, value=i, subject="a") for i in range(count, 0, -1)]
    return b"".join(packing.pack(event, spec.channels) for event in events)


def test_the_bytes_of_an_event_are_pinned(spec):
    """Logs outlive versions of the engine: what one wrote, the next one reads."""
    event = Activity("e-1", "c-1", 1_790_000_000_000, "app", "spent", -7, "plans")
    packed = packing.pack(event, spec.channels)
    assert packed.hex() == "006c50c4a0010000317386494bf10d9ff9ffffffffffffff8966f5e1d8d701bb"
    record = np.frombuffer(packed, packing.EVENT)[0]
    assert (record["at_ms"], record["value"], record["channel"], record["flags"] & 1) == (event.at_ms, -7, 1, 1)


def test_columns_are_packed_into_the_same_bytes_as_single_events(spec):
    """`seal` and `pack` write the same check bits."""
    log = log_of(spec, 50)
    records = np.frombuffer(log, packing.EVENT).copy()
    records["flags"] &= 1
    assert packing.seal(records).tobytes() == log


@given(place=st.integers(0, 32 * 20 - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed_and_the_other_events_answer(spec, place, bit):
    """One damaged event of twenty: nineteen are counted, and the answer says that something was damaged."""
    log = bytearray(log_of(spec, 20))
    log[place] ^= 1 << bit
    settled = settle(bytes(log), spec)
    assert settled.damaged
    assert vector(settled, NOW_MS, spec)[spec.names.index("spent_count_none")] == 19


@given(place=st.integers(0, 32 * 20), cut=st.integers(1, 100), inserted=st.binary(max_size=100))
def test_lost_or_foreign_bytes_cost_only_the_events_they_touch(spec, place, cut, inserted):
    """After a tear the walk finds the next whole event, at whatever offset it stands."""
    log = log_of(spec, 20)
    torn = log[:place] + inserted + log[place + cut :]
    whole_before, whole_after = place // 32, max(len(log) - place - cut, 0) // 32
    settled = settle(torn, spec)
    assert len(settled.records) >= whole_before + whole_after
    assert settled.damaged or len(torn) % 32 == 0


@given(noise=st.binary(max_size=400))
def test_no_bytes_at_all_break_a_read(spec, noise):
    """Whatever stands in the value, there is a vector of the full length."""
    settled = settle(noise, spec)
    assert len(vector(settled, NOW_MS, spec)) == len(spec.names)
    assert settled.damaged or not noise


def test_of_two_readings_the_one_that_stands_in_its_place_is_believed():
    """A record and a stray word that make a second one by chance, eight bytes later: the first is where records stand."""
    words = np.array([1_790_000_000_000, 1_780_000_000_000, 3, 0, 1_790_000_000_000], np.uint64)
    last = np.arange(64, dtype=np.uint64)
    candidates = np.column_stack([np.repeat(words[None, :3], 64, axis=0), last])
    words[3] = last[packing.sound(candidates)][0]
    first, second = words[:4], words[1:]
    assert packing.sound(np.stack([first, second])).all()
    assert packing.readable(words.tobytes()).tolist() == [first.tolist()]
    assert packing.readable(b"\0" * 8 + words.tobytes()[8:]).tolist() == [second.tolist()]


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_value_is_small_below_two_to_the_forty(spec, value):
    """So that a million of them add up within 64 bits; whoever packs columns marks the same ones."""
    for each in (value, value >> 20, packing.SMALL_BELOW, packing.SMALL_BELOW - 1, -packing.SMALL_BELOW):
        record = np.frombuffer(packing.pack(make_event("e", NOW_MS, value=each), spec.channels), packing.EVENT).copy()
        assert bool(record["flags"][0] & packing.SMALL) == (abs(each) < 2**40)
        sealed = record.copy()
        sealed["flags"] &= packing.HAS_VALUE
        assert packing.seal(sealed) == record


def test_zeroed_bytes_are_damage(spec):
    """A block of zeros, as a crashed disk leaves it, is no event of 1970."""
    assert settle(bytes(64), spec).damaged
    assert len(settle(bytes(64), spec).records) == 0
