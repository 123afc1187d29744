"""The promises of the store, on one Redis and on a cluster of three: one suite, no mocks."""

from __future__ import annotations

import asyncio
import random

import pytest
from redis import exceptions as failed

from features import thread
from features.compute import settle, vector
from features.keys import customer_keys, ingest_key
from features.spec import FeatureSpec
from features.store import Store
from features.store_errors import store_error
from features.view import customer
from kits.activity import NOW_MS, customer_id, make_config, make_event
from kits.ports import free_ports
from nba.domain import Contact, OpenIssue
from nba.errors import InputError, StoreError


def test_keys_are_pinned():
    """Renaming a key loses the data behind it; the braces keep a customer's keys on one node of a cluster."""
    assert customer_keys("c-1") == ("nba:{c-1}:log", "nba:{c-1}:profile", "nba:{c-1}:contacts", "nba:{c-1}:thread")
    assert ingest_key("ab12") == "nba:ingest:ab12"


def test_an_unknown_customer_is_empty_and_not_an_error(store, run, spec):
    """The vector has its full length, with what is declared as missing."""
    found = run(store.read(customer_id(), NOW_MS))
    assert list(found.features) == list(spec.names)
    assert (found.features["spent_count_30d"], found.profile, found.activity_at_ms, found.degraded) == (
        0.0,
        {},
        None,
        (),
    )


def test_what_was_appended_is_there_once_whatever_the_order(store, run):
    """Repeating an event id changes nothing, nor does the order; later events are not there yet."""
    name = customer_id()
    events = [make_event(f"e{i}", NOW_MS - i * 1000, value=i, customer_id=name) for i in range(20)]
    run(store.append(random.Random(1).sample(events, 20)))
    run(store.append(events[:7]))
    found = run(store.read(name, NOW_MS - 5000))
    assert (found.features["spent_count_30d"], found.features["spent_sum_30d"]) == (15.0, sum(range(5, 20)))
    assert found.activity_at_ms == NOW_MS - 5000


def test_a_batch_over_many_customers_arrives_whole(store, run):
    """Customers live on different nodes; each gets its own events."""
    names = [customer_id() for _ in range(50)]
    run(store.append([make_event(f"e{i}", NOW_MS, value=i, customer_id=n) for i, n in enumerate(names)]))
    sums = [run(store.read(name, NOW_MS)).features["spent_sum_30d"] for name in names]
    assert sums == list(range(50))


def test_a_profile_is_replaced_as_a_whole_and_tells_its_age(store, run):
    """A PUT without a field takes the field away."""
    name = customer_id()
    run(store.put_profile(name, {"plan": "l", "age": 40.0, "vip": True}, NOW_MS - 10))
    run(store.put_profile(name, {"plan": "é\u2028", "vip": None}, NOW_MS))
    found = run(store.read(name, NOW_MS))
    assert (found.profile, found.profile_at_ms) == ({"plan": "é\u2028", "vip": None}, NOW_MS)


def test_contacts_count_once_for_each_decision_offer_and_outcome(store, run):
    """Outcomes may be reported twice, and in any order."""
    name = customer_id()
    met = [Contact(NOW_MS - i, f"o{i % 2}", "declined", "call", f"d{i // 2}", "call-7", "dear") for i in range(4)]
    run(store.append_contacts(name, [met[2], met[0]]))
    run(store.append_contacts(name, [*met[::-1], Contact(NOW_MS + 1, "o1", "shown", "call")]))
    assert run(store.read(name, NOW_MS)).contacts == tuple(reversed(met))


def test_a_read_asks_once_for_everything(store, run):
    """MGET and EXISTS in one round trip, on a cluster inside one script; whatever the number of features."""
    name = customer_id()
    run(store.append([make_event("e", NOW_MS, customer_id=name)]))
    run(store.read(name, NOW_MS))
    before = commands(store, run)
    for _ in range(10):
        run(store.read(name, NOW_MS))
    after = commands(store, run)
    asked = {c: n - before.get(c, 0) for c, n in after.items() if n > before.get(c, 0) and c != "cmdstat_info"}
    script = {"cmdstat_eval": 10} if store._lane is None else {}
    assert asked == {"cmdstat_mget": 10, "cmdstat_exists": 10, **script}


def commands(store: Store, run) -> dict[str, int]:
    """How often each command was run, over all nodes."""
    found = (
        run(store._client.execute_command("INFO", "commandstats", target_nodes="primaries")) if cluster(store) else None
    )
    stats = found.values() if found else [run(store._client.execute_command("INFO", "commandstats"))]
    counts: dict[str, int] = {}
    for node in stats:
        for name, stat in node.items():
            counts[name] = counts.get(name, 0) + stat["calls"]
    return counts


def cluster(store: Store) -> bool:
    return "cluster" in store._url


def test_forgetting_leaves_nothing(store, run):
    """All four keys are gone, and so is what they held."""
    name = customer_id()
    run(store.append([make_event("e", NOW_MS, kind="complaint", customer_id=name)]))
    run(store.put_profile(name, {"plan": "l"}, NOW_MS))
    run(store.append_contacts(name, [Contact(NOW_MS, "o", "shown", "call")]))
    assert run(store.forget(name)) == 4
    assert run(store.forget(name)) == 0
    assert run(store.read(name, NOW_MS)).thread == ()


def test_doing_something_keeps_everything_alive(store, run):
    """Retention is of silent customers: an event renews the profile's time to live too."""
    name = customer_id()
    keys = customer_keys(name)
    run(store.put_profile(name, {"plan": "l"}, NOW_MS))
    run(store._client.expire(keys.profile, 5))
    run(store.append([make_event("e", NOW_MS, customer_id=name)]))
    assert run(store._client.ttl(keys.profile)) > 399 * 86_400
    assert run(store._client.ttl(keys.log)) > 399 * 86_400


def test_a_heavy_customer_keeps_the_newest_events(opened, run):
    """Beyond max_events the oldest go, duplicates first; windows inside what is kept stay exact."""
    spec = FeatureSpec(make_config(max_events=100))
    store = opened(spec)
    name = customer_id()
    for first in range(0, 1000, 10):
        again = [
            make_event(f"e{i}", NOW_MS - 10**6 + i * 1000, customer_id=name)
            for i in range(max(first - 10, 0), first + 10)
        ]
        run(store.append(again))
        assert run(store._client.strlen(customer_keys(name).log)) <= 145 * 32
    found = run(store.read(name, NOW_MS))
    assert 100 <= found.features["spent_count_30d"] <= 125
    assert found.activity_at_ms == NOW_MS - 10**6 + 999_000
    assert run(store._client.ttl(customer_keys(name).log)) > 0


def test_no_append_is_lost_while_a_log_is_written_anew(opened, run):
    """Appends and compactions of one customer at once: every event is there, counted."""
    spec = FeatureSpec(make_config(max_events=1000))
    store, other = opened(spec), opened(spec)
    name = customer_id()

    async def both() -> None:
        for wave in range(20):
            events = [make_event(f"{wave}-{i}", NOW_MS - i, customer_id=name) for i in range(40)]
            writes = [(store, other)[i % 2].append([event]) for i, event in enumerate(events)]
            await asyncio.gather(
                *writes, *(s._shorten(customer_keys(name).log, lambda raw: raw) for s in (store, other))
            )

    run(both())
    assert run(store.read(name, NOW_MS)).features["spent_count_30d"] == 800


def test_a_compaction_that_comes_too_late_changes_nothing(store, run):
    """What was read is no longer there: written anew by another, or erased; what is erased stays erased."""
    name, now = customer_id(), NOW_MS
    key = customer_keys(name).log
    for count in (1, 2):
        run(store.append([make_event(f"e{count}", now, customer_id=name)]))
    both = run(store._client.get(key))
    assert run(store._replace(key, both[:32], both[:32]))
    assert run(store._client.get(key)) == both
    assert run(store._replace(key, both, both[32:]))
    assert not run(store._replace(key, both, both))
    run(store.append([make_event(f"e{count}", now, customer_id=name) for count in (3, 4)]))
    longer = run(store._client.get(key))
    assert not run(store._replace(key, both, both))
    assert run(store._client.get(key)) == longer
    run(store.forget(name))
    assert not run(store._replace(key, both, both))
    run(store._shorten(key, lambda _: both))
    assert run(store._client.exists(key)) == 0


def test_issues_open_and_close_whatever_the_order_of_arrival(store, run):
    """A close without subject closes all; with one it closes those with the same subject or none."""
    name, now = customer_id(), NOW_MS
    told = [
        make_event("1", now - 9, "complaint", None, subject="bill", customer_id=name),
        make_event("2", now - 8, "complaint", None, subject="net", customer_id=name, channel="call"),
        make_event("3", now - 7, "complaint", None, customer_id=name),
        make_event("4", now - 6, "resolved", None, subject="bill", customer_id=name, interaction_id="call-1"),
        make_event("5", now - 3, "failed", None, customer_id=name, interaction_id="call-2"),
        make_event("6", now - 1, "resolved", None, customer_id=name, interaction_id="call-3"),
    ]
    for order in range(5):
        run(store.append(random.Random(order).sample(told, 6)))
        found = run(store.read(name, now - 2))
        assert found.open_issues == (OpenIssue("complaint", now - 8, "call", "net"),)
        assert (found.closed_ms, found.closed_in) == (now - 6, "call-1")
        assert (found.bad_experience_ms, found.bad_experience_in) == (now - 3, "call-2")
        assert [entry.at_ms for entry in found.thread] == [now - 9, now - 8, now - 7, now - 6, now - 3]
        assert run(store.read(name, now)).open_issues == ()
        run(store.forget(name))


def test_the_thread_tells_what_the_config_tells_and_what_carries_words(store, run):
    """`told` has a text in the config: from the log alone; `spent` is told only when it brings a text or an interaction."""
    name, now = customer_id(), NOW_MS
    run(
        store.append(
            [
                make_event("1", now - 5, "told", customer_id=name),
                make_event("2", now - 4, "told", customer_id=name, subject="plans", channel="kiosk"),
                make_event("3", now - 3, "spent", customer_id=name),
                make_event("4", now - 2, "spent", customer_id=name, text="too dear", interaction_id="call-1"),
            ]
        )
    )
    entries = run(store.read(name, now)).thread
    assert [(e.activity, e.channel, e.subject, e.text, e.interaction_id) for e in entries] == [
        ("told", "web", None, None, None),
        ("told", "kiosk", "plans", None, None),
        ("spent", "web", None, "too dear", "call-1"),
    ]


def test_a_long_thread_keeps_the_newest_and_every_open_issue(opened, run):
    """Thousands of told events later the old complaint is still open, and the thread is still short."""
    spec = FeatureSpec(make_config(thread_events=10))
    store = opened(spec)
    name, now = customer_id(), NOW_MS
    run(store.append([make_event("issue", now - 10**7, "complaint", customer_id=name, subject="bill")]))
    for first in range(0, 2000, 100):
        events = [
            make_event(f"{i}", now - 10**6 + i, customer_id=name, text=f"no {i}") for i in range(first, first + 100)
        ]
        run(store.append(events))
    found = run(store.read(name, now))
    assert [entry.text for entry in found.thread] == [f"no {i}" for i in range(1990, 2000)]
    assert found.open_issues == (OpenIssue("complaint", now - 10**7, "web", "bill"),)
    assert run(store._client.strlen(customer_keys(name).thread)) <= 10 * thread.BYTES_AN_ENTRY


def test_damaged_values_are_answered_as_far_as_they_can_be_read(store, run):
    """Each part on its own: what is whole answers, what is not is named."""
    name = customer_id()
    keys = customer_keys(name)
    run(store.append([make_event(f"e{i}", NOW_MS, "complaint", customer_id=name) for i in range(3)]))
    run(store.append_contacts(name, [Contact(NOW_MS, "o", "shown", "call")]))
    for key, noise in ((keys.log, b"\xff" * 40), (keys.thread, b'{"half\n[1,2]\n'), (keys.contacts, b"\x00\n")):
        run(store._client.append(key, noise))
    run(store._client.set(keys.profile, b"nothing", ex=60))
    found = run(store.read(name, NOW_MS))
    assert found.degraded == ("activity", "profile", "contacts", "thread")
    assert (len(found.contacts), len(found.open_issues), found.profile) == (1, 3, {})
    run(store.append([make_event("after", NOW_MS, customer_id=name)]))
    assert run(store.read(name, NOW_MS)).features["spent_count_30d"] == 1


def test_a_cancelled_read_does_not_answer_the_next_one(store, run):
    """A caller whose time is over gives up in the middle; nobody gets another customer's data."""
    names = [customer_id() for _ in range(5)]
    run(store.append([make_event("e", NOW_MS, value=i, customer_id=n) for i, n in enumerate(names)]))

    async def impatient() -> None:
        for turn in range(60):
            reading = asyncio.create_task(store.read(names[turn % 5], NOW_MS))
            for _ in range(turn % 12):
                await asyncio.sleep(0)
            reading.cancel()
            found = await asyncio.gather(*(store.read(name, NOW_MS) for name in names))
            assert [c.features["spent_sum_30d"] for c in found] == [0, 1, 2, 3, 4]

    run(impatient())


@pytest.mark.parametrize(
    "wrong",
    [
        "http://h", "redis", "redis://h:port", "unix+cluster:///x", "", "redis://[::1", "redis://h:99999", "redis://h/shop",
        "redis://h?time=1", "redis://:se/cret@h", "redis://:se#cret@h:1", "redis://u:se?cret@h", "u:secret@h:6379",
        "redis+cluster://:se/cret@h:1/0", "http://u:secret@h/0", "rediss://h:x?password=secret", "redis://u:se@cret@h:x",
    ],
)  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_opened(wrong, run, spec):
    """The message says what one looks like, and nothing of the password, whatever is in it."""
    with pytest.raises(InputError, match="redis") as refused:
        run(Store.open(wrong, spec, timeout_s=1.0))
    assert not any(part in str(refused.value) for part in ("secret", "cret", "'se'"))


def test_a_redis_that_is_away_is_a_store_error_with_the_way_out(run, spec, tmp_path):
    """No secret of the URL in the message, and no hanging."""
    port = free_ports(1)[0]
    for url in (
        f"redis://user:secret@127.0.0.1:{port}/0",
        f"unix://{tmp_path}/none@1.sock?password=secret",
        f"redis+cluster://:secret@127.0.0.1:{port}",
    ):
        store = run(Store.open(url, spec, timeout_s=0.5))
        for call in (store.ping(), store.read("c", NOW_MS), store.append([make_event("e", NOW_MS)])):
            with pytest.raises(StoreError, match=r"NBA_REDIS_URL|as a cluster") as caught:
                run(call)
            assert "secret" not in str(caught.value)
            assert "none@1.sock" in str(caught.value) or "none@1.sock" not in url
        run(store.close())


def test_every_error_of_the_library_has_its_words():
    """The map is complete: whatever the library may raise, the caller gets a StoreError that says what to do."""
    ours = [
        e
        for e in vars(failed).values()
        if isinstance(e, type) and issubclass(e, (failed.RedisError, failed.RedisClusterException))
    ]
    for kind in [*ours, OSError, TimeoutError]:
        error = store_error(kind.__new__(kind), "redis://user:secret@host:1/0")
        assert isinstance(error, StoreError)
        assert "redis://host:1/0" in str(error)
        assert ": " in str(error).partition("/0")[2]


def test_the_view_is_the_same_function_as_the_read(store, run, spec):
    """A replay of the bytes gives the customer that was served."""
    name = customer_id()
    run(store.append([make_event(f"e{i}", NOW_MS - i, value=i, customer_id=name) for i in range(9)]))
    log = run(store._client.get(customer_keys(name).log))
    assert repr(customer(name, log, None, b"", b"", NOW_MS, spec)) == repr(run(store.read(name, NOW_MS)))
    assert vector(settle(log, spec), NOW_MS, spec).shape == (len(spec.names),)
