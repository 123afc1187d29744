"""A long log that a worker has settled is not settled again, and nobody can tell but by the clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.longlogs
from features.compute import settle, vector
from features.longlogs import LONG_BYTES, LongLogs
from features.packing import EVENT_BYTES, pack
from kits.activity import NOW_MS, make_event


def log_of(spec, count: int, seed: int = 0) -> bytes:
    """So many events, one a minute, newest last."""
    events = (make_event(f"e{seed}-{n}", NOW_MS - (count - n) * 60_000, value=n + seed) for n in range(count))
    return b"".join(pack(event, spec.channels) for event in events)


@pytest.fixture
def settled_times(monkeypatch) -> list[int]:
    """The lengths of the logs that were really settled."""
    lengths: list[int] = []

    def counting(log: bytes, spec):
        lengths.append(len(log))
        return settle(log, spec)

    monkeypatch.setattr(features.longlogs, "settle", counting)
    return lengths


@settings(max_examples=60, deadline=None)
@given(asked=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 40, 1_000, 1_001, 1_300])), max_size=12))
def test_what_is_remembered_is_what_would_be_settled(spec, asked):
    """Whatever was appended, compacted, erased or damaged in between: the vector of the bytes that are given, to the bit."""
    known = LongLogs(spec, most_bytes=400_000)
    for who, count in asked:
        log = log_of(spec, count, who) + (b"torn" if count == 1_300 else b"")
        found, wanted = known.settle(f"c-{who}", log), settle(log, spec)
        assert vector(found, NOW_MS, spec).tobytes() == vector(wanted, NOW_MS, spec).tobytes()
        assert (found.damaged, found.records.tobytes()) == (wanted.damaged, wanted.records.tobytes())


def test_only_a_long_log_is_remembered_and_only_for_its_bytes(spec, settled_times):
    """The same bytes are settled once, one more event settles them anew, a short log always is."""
    known, log = LongLogs(spec), log_of(spec, LONG_BYTES // EVENT_BYTES)
    for given_log in (log, log, log[EVENT_BYTES:], log[EVENT_BYTES:], log + log[:EVENT_BYTES], log):
        known.settle("c", given_log)
    assert [length - LONG_BYTES for length in settled_times] == [0, -EVENT_BYTES, -EVENT_BYTES, EVENT_BYTES, 0]


def test_every_array_of_a_log_counts(spec):
    """Also the one that only a log has in which some events lack a value."""
    known, log = (
        LongLogs(spec),
        log_of(spec, 1_000) + pack(make_event("none", NOW_MS, value=None), spec.channels),
    )
    settled = known.settle("c", log)
    arrays = [part for name in settled.__slots__ if isinstance(part := getattr(settled, name), np.ndarray)]
    assert settled.valued is not None and len(known) == len(log) + sum(array.nbytes for array in arrays)


def test_the_memory_is_bounded_and_lets_go(spec, settled_times):
    """In bytes, the one longest ago first; after a quarter of an hour; and at once when a customer is erased."""
    now_s = [0.0]
    known, log = LongLogs(spec, most_bytes=500_000, clock=lambda: now_s[0]), log_of(spec, 1_000)
    for name in "abcdefgh":
        known.settle(name, log)
        assert len(known) <= 500_000
    known.settle("h", log)
    assert len(settled_times) == 8
    known.settle("a", log)
    assert len(settled_times) == 9
    held = len(known)
    known.forget("a")
    assert len(known) < held
    now_s[0] = 901.0
    known.settle("x", b"")
    assert len(known) == 0
