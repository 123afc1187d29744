"""What each take means, at the edges of its window, and that order and repetition of arrival change no bit."""

from __future__ import annotations

import math
import random
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.compute import newest_ms, settle, vector
from features.packing import pack
from features.spec import FeatureSpec
from kits.activity import NOW_MS, make_config, make_event
from nba.clock import DAY_MS


def at(text: str, zone: str = "Europe/Berlin") -> int:
    """A local moment in milliseconds UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.fixture
def one():
    """The value of one feature over some events, whose config is given."""

    def compute(events, now_ms, **feature):
        spec = FeatureSpec(make_config(features=[{"name": "x", "of": "spent", **feature}]))
        log = b"".join(pack(event, spec.channels) for event in events)
        return float(vector(settle(log, spec), now_ms, spec)[0])

    return compute


def test_a_window_is_open_at_its_beginning_and_closed_at_now(one):
    """An event counts when now - window < at <= now, to the millisecond."""
    now = NOW_MS
    events = [make_event(str(i), t, value=10**i) for i, t in enumerate((now - DAY_MS, now - DAY_MS + 1, now, now + 1))]
    assert one(events, now, take="sum", window="1d") == 110
    assert one(events, now, take="count") == 3


@pytest.mark.parametrize(
    ("take", "expected"),
    [
        ("count", 4),
        ("sum", 12),
        ("mean", 4),
        ("min", -5),
        ("max", 9),
        ("last", 9),
        ("distinct", 2),
        ("hours_since", 1),
        ("streak", 2),
    ],
)
def test_each_take_of_four_events_one_without_a_value(one, take, expected):
    """The values 8, -5, 9 and one event without a value, on two days, about two subjects."""
    now = at("2026-05-20T12:00")
    hours = ((30, 8, "a"), (29, -5, "b"), (2, 9, "a"), (1, None, None))
    events = [make_event(str(h), now - h * 3_600_000, value=v, subject=s) for h, v, s in hours]
    assert one(events, now, take=take, window="30d") == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_an_event_without_a_value_is_no_zero(one, sign):
    """The smallest of 3 and 5 is 3, and the largest of -3 and -5 is -3, whatever else has no value; so is their mean."""
    values = (3, None, 5, None)
    events = [make_event(str(i), NOW_MS - i, value=v and sign * v) for i, v in enumerate(values)]
    assert one(events, NOW_MS, take="min" if sign > 0 else "max", window="1d") == sign * 3
    assert one(events, NOW_MS, take="mean", window="1d") == sign * 4
    assert one(events[1:], NOW_MS, take="last", window="1d") == sign * 5


@pytest.mark.parametrize("count", [256, 257, 600])
@pytest.mark.parametrize("nameless", [0, 3])
def test_subjects_are_counted_once_however_many(one, count, nameless):
    """Those that come again, and events without a subject, add nothing."""
    subjects = [f"s{i % (count // 2)}" for i in range(count)] + [None] * nameless
    events = [make_event(str(i), NOW_MS - i, subject=s) for i, s in enumerate(subjects)]
    assert one(events, NOW_MS, take="distinct", window="1d") == count // 2


@pytest.mark.parametrize("moment", [0, 1 << 43])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_moment_that_no_calendar_has_is_damage_wherever_it_stands(spec, moment, place):
    """Also in the middle of a log that is not in order, and with sound check bits."""
    moments = [NOW_MS - 1, NOW_MS - 5]
    moments.insert(place, moment)
    log = b"".join(pack(make_event(str(i), t), spec.channels) for i, t in enumerate(moments))
    settled = settle(log, spec)
    assert settled.damaged
    assert settled.records[:, 0].tolist() == [NOW_MS - 5, NOW_MS - 1]


@pytest.mark.parametrize(
    ("take", "missing"),
    [("count", 0), ("sum", 0), ("distinct", 0), ("streak", 0), ("trend", 0), ("mean", math.nan), ("min", math.nan),
     ("max", math.nan), ("last", math.nan), ("hours_since", math.nan)],
)  # fmt: skip
def test_nothing_is_zero_for_what_counts_and_missing_for_the_rest_unless_a_default_says_otherwise(one, take, missing):
    """The vector keeps its length whatever is missing."""
    for events in ([], [make_event("other", NOW_MS, kind="seen")]):
        assert one(events, NOW_MS, take=take, window="7d") == pytest.approx(missing, nan_ok=True)
        assert one(events, NOW_MS, take=take, window="7d", default=-3.0) == -3.0


def test_trend_is_the_last_window_against_the_one_before_it(one):
    """Sums where the type has a unit, counts where it has none."""
    now, day = NOW_MS, DAY_MS
    events = [
        make_event(f"{kind}{d}", now - d * day, kind=kind, value=10 + d)
        for kind in ("spent", "seen")
        for d in (0, 1, 8, 14)
    ]
    assert one(events, now, take="trend", window="7d") == (10 + 11) - 18
    assert one(events, now, of="seen", take="trend", window="7d") == 2 - 1


@pytest.mark.parametrize(
    ("now", "window", "expected"),
    [
        ("2026-04-15T00:00", "month", 4 + 8),
        ("2026-04-15T00:00", "month-1", 1 + 2),
        ("2026-05-01T00:00", "month-1", 4 + 8),
        ("2026-05-01T00:00", "month", 0),
        ("2026-04-30T23:59", "month-2", 0),
    ],
)
def test_calendar_months_begin_at_local_midnight_also_when_the_clock_changes_in_them(one, now, window, expected):
    """March 2026 in Berlin has 743 hours; its first instant is 23:00 UTC of February 28, its last before 22:00 UTC."""
    moments = ("2026-03-01T00:00", "2026-03-31T23:59:59.999", "2026-04-01T00:00", "2026-04-14T12:00")
    events = [make_event(m, at(m), value=2**i) for i, m in enumerate(moments)]
    assert one(events, at(now), take="sum", window=window) == expected


@pytest.mark.parametrize(
    ("days", "expected"), [((0, 1, 2), 3), ((1, 2, 4), 2), ((2, 3), 0), ((0, 0, 1), 2), ((0,), 1), ((3, 4, 5, 0), 1)]
)
def test_a_streak_ends_today_or_yesterday(one, days, expected):
    """Local days without a gap; the clock went forward on March 29."""
    events = [make_event(f"{i}", at(f"2026-03-{30 - d}T00:30"), value=1) for i, d in enumerate(days)]
    assert one(events, at("2026-03-30T23:30"), take="streak") == expected


def test_where_matches_subject_and_channel_together(one):
    """Lists are alternatives, fields are conditions."""
    pairs = [("a", "web"), ("a", "app"), ("b", "web"), ("c", "web"), (None, "web"), ("a", "kiosk")]
    events = [make_event(f"{i}", NOW_MS, value=10**i, subject=s, channel=c) for i, (s, c) in enumerate(pairs)]
    assert one(events, NOW_MS, take="sum", where={"subject": ["a", "b"], "channel": "web"}) == 101
    assert one(events, NOW_MS, take="sum", where={"subject": "a"}) == 100_011
    assert one(events, NOW_MS, take="sum", where={"channel": "kiosk"}) == 100_000


def test_sums_are_exact_whatever_the_values(one):
    """Integers are added as integers, also beyond 64 bits; float64 comes last."""
    large = 2**63 - 1
    events = [
        make_event(f"{i}", NOW_MS - i, value=v)
        for i, v in enumerate((large, large, -large, 2**53 + 1, -(2**53), -large))
    ]
    assert one(events, NOW_MS, take="sum") == 1.0
    assert one(events[:2], NOW_MS, take="sum") == float(2 * large)
    assert one(events[:2], NOW_MS, take="mean") == float(2 * large) / 2
    lowest = [make_event(f"{i}", NOW_MS - i * DAY_MS, value=-(2**63)) for i in (0, 8)]
    assert one(lowest, NOW_MS, take="sum") == -(2.0**64)
    assert one(lowest, NOW_MS, take="trend", window="7d") == 0.0


def test_derived_features_read_each_other_in_any_order_and_fall_back_when_they_fail(spec):
    """`twice` stands before what it reads; a division by nothing gives the declared default."""
    log = pack(make_event("e", NOW_MS, kind="seen"), spec.channels)
    values = dict(zip(spec.names, vector(settle(log, spec), NOW_MS, spec), strict=True))
    assert (values["double_count"], values["twice"], values["share"]) == (2.0, 4.0, -1.0)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.one_of(st.integers(0, 5), st.integers(0, 100 * 86_400_000)),
        st.sampled_from(["spent", "seen", "told"]),
        st.one_of(st.none(), st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)),
        st.sampled_from([None, "a", "b", "c"]),
        st.sampled_from(["web", "app", "kiosk"]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(drawn=EVENTS, seed=st.integers(0, 2**32), back=st.integers(-2, 50 * 86_400_000))
def test_order_and_repetition_of_arrival_change_no_bit(spec, drawn, seed, back):
    """A stream with late and repeated events gives the vector of the clean stream, at any moment."""
    packed = [
        pack(make_event(f"e{i}", NOW_MS - ago, kind, value, subject=subject, channel=channel), spec.channels)
        for i, ago, kind, value, subject, channel in drawn
    ]
    clean: dict[str, tuple] = {}
    for record, (i, _, *_) in sorted(zip(packed, drawn, strict=True), key=lambda p: (-p[1][1], _words(p[0]))):
        clean.setdefault(i, record)
    arrived = packed + random.Random(seed).choices(packed, k=10) if packed else []
    random.Random(seed).shuffle(arrived)
    for now_ms in (NOW_MS, NOW_MS - back):
        one, other = settle(b"".join(clean.values()), spec), settle(b"".join(arrived), spec)
        assert vector(one, now_ms, spec).tobytes() == vector(other, now_ms, spec).tobytes()
        assert newest_ms(one, now_ms) == newest_ms(other, now_ms)


@pytest.mark.parametrize("field", ["at", "value", "subject", "channel"])
def test_of_two_versions_of_one_event_the_same_one_counts_whatever_came_first(spec, field):
    """The earliest, then the smallest: a sender that repeats an id with other content gets one answer, not two."""
    other = {"at": NOW_MS - 5, "value": 2, "subject": "b", "channel": "app"}[field]
    fields = {"value": 1, "subject": "a", "channel": "web"}
    one = make_event("e", NOW_MS, **fields)
    two = make_event("e", other, **fields) if field == "at" else make_event("e", NOW_MS, **fields | {field: other})
    logs = [
        b"".join(pack(event, spec.channels) for event in order) for order in ((one, two), (two, one), (two, one, two))
    ]
    found = {vector(settle(log, spec), NOW_MS, spec).tobytes() for log in logs}
    assert len(found) == 1
    assert vector(settle(logs[0], spec), NOW_MS, spec)[spec.names.index("spent_count_none")] == 1


def _words(record: bytes) -> tuple[int, ...]:
    return tuple(int(word) for word in np.frombuffer(record, "<u8")[2:])


@settings(max_examples=60, deadline=None)
@given(drawn=EVENTS, back=st.integers(0, 50 * 86_400_000))
def test_what_comes_later_does_not_change_the_past(spec, drawn, back):
    """A log seen from an earlier moment is the log as it was then: training and serving see the same."""
    now_ms = NOW_MS - back
    events = [
        (NOW_MS - ago, make_event(f"e{i}", NOW_MS - ago, k, v, subject=s, channel=c)) for i, ago, k, v, s, c in drawn
    ]
    whole = b"".join(pack(event, spec.channels) for _, event in events)
    then = b"".join(pack(event, spec.channels) for at_ms, event in events if at_ms <= now_ms)
    assert vector(settle(whole, spec), now_ms, spec).tobytes() == vector(settle(then, spec), now_ms, spec).tobytes()


@pytest.mark.parametrize("count", [590, 601, 5000])
def test_long_logs_find_their_duplicates_too(spec, count):
    """The table that finds repeated ids in long logs finds what sorting finds."""
    records = [pack(make_event(f"e{i}", NOW_MS - count + i, value=i), spec.channels) for i in range(count)]
    clean = settle(b"".join(records), spec)
    for repeated in ((0,), (count - 1,), (3, 3, 700 % count), range(count)):
        log = b"".join([*records, *(records[i] for i in repeated)])
        assert vector(settle(log, spec), NOW_MS, spec).tobytes() == vector(clean, NOW_MS, spec).tobytes()


@pytest.mark.parametrize("now_ms", [-1, 0, 946_684_800_000, 2**43, 2**62])
def test_no_moment_is_too_early_or_too_late(spec, now_ms):
    """Back-tests may ask for any moment; long before the first event there is nothing."""
    log = b"".join(pack(make_event(f"{k}", NOW_MS, k), spec.channels) for k in ("spent", "seen"))
    values = dict(zip(spec.names, vector(settle(log, spec), now_ms, spec), strict=True))
    assert values["spent_count_none"] == (1.0 if now_ms > NOW_MS else 0.0)
    assert values["spent_count_30d"] == values["seen_count_month"] == 0.0


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(["Europe/Berlin", "Pacific/Apia", "America/St_Johns", "UTC"]),
    gaps=st.lists(st.sampled_from([1, 20, 22, 23, 24, 25, 26, 47, 49, 60]), min_size=1, max_size=40),
    minutes=st.integers(0, 1439),
)
@example(zone="Pacific/Apia", gaps=[24] * 10, minutes=600)
def test_a_streak_counts_local_days_whatever_the_clocks_do(zone, gaps, minutes):
    """Also across a clock change, and where a whole day was left out of the calendar (Apia, 30 December 2011)."""
    features = [{"name": "days", "of": "seen", "take": "streak"}]
    spec = FeatureSpec(make_config(features=features, timezone=zone))
    now_ms = 1_325_600_000_000 + minutes * 60_000  # 3 January 2012
    moments = [now_ms]
    for gap in gaps:
        moments.append(moments[-1] - gap * 3_600_000)
    tz = ZoneInfo(zone)
    days = sorted({datetime.fromtimestamp(at / 1000, tz).toordinal() for at in moments}, reverse=True)
    wanted = next((n for n, day in enumerate(days) if day != days[0] - n), len(days))
    log = b"".join(pack(make_event(f"e{n}", at, "seen", None), spec.channels) for n, at in enumerate(moments))
    assert vector(settle(log, spec), now_ms, spec).tolist() == [wanted]
