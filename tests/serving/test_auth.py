"""Who is let in, and what for."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from kits.served import asked
from nba.errors import InputError, RefusedError
from serving.auth import ADMIN, ANY, RECOMMEND, WRITE, Keys, allowed, check_binding, entry, new_key
from serving.doors import needed_scope

ALL = {RECOMMEND, WRITE, ADMIN}
DIGEST = hashlib.sha256(b"k1").hexdigest()


@pytest.mark.parametrize(
    ("text", "key", "scopes"),
    [
        ("k1", "k1", ALL),
        ("k1=recommend", "k1", {RECOMMEND}),
        ("k1:recommend+write", "k1", {RECOMMEND, WRITE}),
        ("k0=admin, k1=write\n k2", "k1", {WRITE}),
        ("abc==", "abc==", ALL),
        ("abc===recommend", "abc==", {RECOMMEND}),
        (f"sha256${DIGEST}=write", "k1", {WRITE}),
        (f"sha256:{DIGEST}=recommend+write", "k1", {RECOMMEND, WRITE}),
        (f"sha256:{DIGEST}", "k1", ALL),
        (f"sha256:{DIGEST.upper()}=write, k2=admin", "k1", {WRITE}),
        (f'{{"sha256:{DIGEST}": ["write"]}}', "k1", {WRITE}),
        (f"sha256:{DIGEST}=write", DIGEST, None),
        (f"sha256:{DIGEST}=write", f"sha256:{DIGEST}", None),
        ('{"k1": ["recommend"], "a,b c": ["write"]}', "a,b c", {WRITE}),
        ("k1=recommend", "k1=recommend", None),
        ("k1", "K1", None),
        ("k1", "", None),
    ],
)
def test_a_key_has_the_scopes_it_was_given(text, key, scopes):
    """Every way of writing keys, and nothing else opens."""
    assert Keys(text).scopes_of(b"Bearer " + key.encode()) == scopes


@pytest.mark.parametrize(
    "text",
    [
        "sha256:0123=write",
        "sha256:k1",
        "sha256$",
        "k1=recomend",
        "k1=recommend+x",
        '{"k1": ["x"]}',
        '{"k1": []}',
        '{"k1": "recommend"}',
        "{",
        "=recommend",
        ":recommend+write",
        "other, =admin",
        '{"": ["recommend"]}',
        "k1=recommend,write",
        "k1=recommend + write",
        "k1=recommend+ write",
        "k1=write|",
        "k1=Recommend",
        "recommend+write",
        "admin",
        "+",
    ],
)
def test_a_scope_that_does_not_exist_is_refused_without_repeating_the_key(text):
    """A typing error, or a variable that was empty where the key should stand, must not open every door; no key is told.

    The scope behind a comma or a blank had been a key of its own, with every scope, that anybody guesses.
    """
    with pytest.raises(InputError) as refused:
        Keys(text)
    assert "k1" not in str(refused.value)


@pytest.mark.parametrize("header", [None, b"", b"k1", b"Basic k1", b"Bearer", b"Bearer k1 k1", b"Bearer \xff"])
def test_only_a_bearer_key_opens(header):
    """Other schemes, no scheme, no key: closed."""
    assert Keys("k1").scopes_of(header) is None


@given(st.text(min_size=1))
def test_no_other_text_opens(text):
    """Whatever is offered, only the key itself is let in."""
    offered = text.encode("utf-8", "surrogatepass")
    assert (Keys("k1").scopes_of(b"Bearer " + offered) is not None) == (offered.strip() == b"k1")


def test_keys_stand_nowhere_in_memory_but_as_digests():
    """What the object holds does not contain the key."""
    assert "very-secret-key" not in repr(vars(Keys("very-secret-key=write")))


def test_a_key_that_might_be_guessed_is_said_when_the_service_starts(serve):
    """How many, and the cure, without repeating one; keys of `nba key` and digests are not complained of."""
    key = new_key()
    served = serve(NBA_API_KEYS=f"boss=admin,{key}=write,{entry(key)}")
    assert asked(served, Authorization="Bearer boss") == 200
    told = [line for line in served.said().splitlines() if "might be guessed" in line]
    assert len(told) == 1 and "1 of the keys in NBA_API_KEYS" in told[0] and "nba key" in told[0]
    assert "boss" not in served.said() and key not in served.said()


def test_admin_may_do_everything_and_the_others_their_own():
    """The scopes as the contract names them."""
    assert allowed(frozenset({ADMIN}), WRITE)
    assert allowed(frozenset({WRITE}), ANY)
    assert not allowed(frozenset({RECOMMEND}), WRITE)
    assert not allowed(frozenset({RECOMMEND, WRITE}), ADMIN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])  # noqa: S104
def test_without_keys_only_this_machine_is_served(host):
    """Listening to others without keys is refused; with keys it is not."""
    with pytest.raises(RefusedError, match="NBA_API_KEYS"):
        check_binding(host, None)
    check_binding(host, "k1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_needs_no_keys(host):
    """A newcomer's first start works."""
    check_binding(host, None)


def test_what_is_not_listed_needs_a_key():
    """A new path is closed until somebody says otherwise."""
    assert needed_scope("GET", "/v1/something") == ANY
    assert needed_scope("GET", "/metrics") == ANY
    assert needed_scope("GET", "/healthz") is None
    assert needed_scope("DELETE", "/v1/customers/c-1") == ADMIN


def test_without_a_key_only_health_and_readiness_are_answered(keyed):
    """Everything else is refused with 401 and the way to ask."""
    refused = keyed.http.post("/v1/recommend", json={"customer_id": "c-1"})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.headers["content-type"] == "application/problem+json"
    assert keyed.http.get("/healthz").status_code == keyed.http.get("/readyz").status_code == 200
    assert keyed.http.get("/metrics").status_code == 401


def test_a_key_opens_what_its_scope_names(keyed):
    """Any other call is refused with 403."""
    ask = {"customer_id": "c-1"}

    def post(key: str, path: str, body: dict) -> int:
        return keyed.http.post(path, json=body, headers={"authorization": f"Bearer {key}"}).status_code

    assert post("reader", "/v1/recommend", ask) == 200
    assert post("reader", "/v1/activity", {"events": []}) == 403
    assert post("writer", "/v1/activity", {"events": []}) == 202
    assert post("writer", "/v1/recommend", ask) == 403
    assert post("writer", "/v1/admin/reload", {}) == 403


def test_asking_as_of_another_moment_needs_admin(keyed):
    """A back-test is for administrators, and its record says what it is."""
    ask = {"customer_id": "c-1", "at": "2026-11-01T10:00:00Z"}
    assert keyed.http.post("/v1/recommend", json=ask, headers={"authorization": "Bearer reader"}).status_code == 403
    answer = keyed.http.post("/v1/recommend", json=ask, headers={"authorization": "Bearer boss"})
    assert answer.json()["at"] == "2026-11-01T10:00:00.000Z"
    record = keyed.http.get(f"/v1/decisions/{answer.json()['decision_id']}", headers={"authorization": "Bearer boss"})
    assert record.json()["backtest"] is True


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.nip.io", "localhost.evil.example."])
def test_a_strangers_name_for_this_machine_is_refused_without_keys(nba, host):
    """DNS rebinding: a page whose own name leads to 127.0.0.1 reads and writes nothing."""
    answer = nba.http.post("/v1/recommend", json={"customer_id": "c-1"}, headers={"host": host})
    assert answer.status_code == 421
    assert "NBA_API_KEYS" in answer.json()["detail"]
    assert nba.http.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "nba:8000", "nba.localhost", "LOCALHOST."]
)
def test_names_of_this_machine_are_served_without_keys(nba, host):
    """Localhost, addresses and names without a dot are no stranger's page."""
    assert nba.http.post("/v1/recommend", json={"customer_id": "c-1"}, headers={"host": host}).status_code == 200


def test_with_keys_any_name_is_served(keyed):
    """A key is what a stranger's page has not."""
    headers = {"host": "nba.example.com", "authorization": "Bearer reader"}
    assert keyed.http.post("/v1/recommend", json={"customer_id": "c-1"}, headers=headers).status_code == 200


@pytest.mark.parametrize("keys", [SecretStr("boss"), None])
def test_a_header_that_is_written_another_way_is_no_other_caller(start, keys):
    """Capitals and blanks are not counted apart; where there are no keys, a made-up one is not either."""
    service = start(api_keys=keys, rate_per_s=1)
    headers = [f"{scheme}{' ' * blanks}boss" for scheme in ("Bearer", "bearer", "BEARER") for blanks in range(1, 11)]
    headers = headers if keys else [f"Bearer made-up-{number}" for number in range(30)]
    asked = [service.http.get("/v1/decisions/x", headers={"Authorization": header}) for header in headers]
    assert [answer.status_code for answer in asked].count(429) >= 20


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example:8000"])
def test_a_strangers_page_orders_nothing_where_there_are_no_keys(nba, origin):
    """A browser sends a POST without a body for any page it shows, and asks nobody; a reload is such a POST."""
    answer = nba.http.post("/v1/admin/reload", headers={"Origin": origin})
    assert (answer.status_code, "another origin" in answer.json()["detail"]) == (403, True)
    for near in ("http://localhost:8000", "http://127.0.0.1:1", "http://[::1]:8000"):
        assert nba.http.post("/v1/admin/reload", headers={"Origin": near}).status_code == 200
