"""Tokens of the widget: bound to one customer and interaction, short-lived, and only for origins that are named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nba.clock import system_now_ms
from nba.errors import InputError
from serving.gate import origins_of
from serving.tokens import SCOPES, Grant, Tokens, kept_secret

NOW_MS = 1_790_000_000_000
TOKENS = Tokens(b"0123456789abcdef")
GRANT = Grant("c-1", "call-1", ("recommend", "outcome"), NOW_MS + 60_000)
text = st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable())


@settings(deadline=None)
@given(customer=text, interaction=text, ttl_ms=st.integers(1, 3_600_000))
def test_what_is_granted_is_read_back(customer, interaction, ttl_ms):
    """Whatever the ids look like, until the last millisecond and not after it."""
    grant = Grant(customer, interaction, ("recommend",), NOW_MS + ttl_ms)
    token = TOKENS.issue(grant)
    assert TOKENS.grant_of(token, NOW_MS + ttl_ms - 1) == grant
    assert TOKENS.grant_of(token, NOW_MS + ttl_ms) is None


def test_the_longest_ids_that_are_taken_fit_into_a_token():
    """256 bytes of a customer and 256 characters of an interaction, each as wide as JSON makes it: no token is dead at birth."""
    grant = Grant('"' * 256, "\U0001f600" * 256, SCOPES, NOW_MS + 1)
    token = TOKENS.issue(grant)
    assert TOKENS.grant_of(token, NOW_MS) == grant
    assert TOKENS.grant_of(TOKENS.issue(replace(grant, customer_id="x" * 9_000)), NOW_MS) is None


def test_a_secret_is_sixteen_bytes_at_least():
    """What could be guessed signs nothing."""
    with pytest.raises(InputError, match="at least 16 characters in NBA_TOKEN_SECRET"):
        Tokens(b"0123456789abcde")
    with pytest.raises(InputError, match="use recommend and outcome"):
        TOKENS.issue(replace(GRANT, scopes=()))


@settings(deadline=None)
@given(place=st.integers(0, 200), other=st.sampled_from("ABCxyz019-_."))
def test_a_changed_token_is_no_token(place, other):
    """One character is enough, the last one too, which carries two bits that belong to no byte."""
    token = TOKENS.issue(GRANT)
    place %= len(token)
    if token[place] != other:
        assert TOKENS.grant_of(token[:place] + other + token[place + 1 :], NOW_MS) is None


def test_a_token_has_one_way_to_be_written():
    """The same bytes in other letters are no token of ours: one with many names could be counted as many."""
    token = TOKENS.issue(GRANT)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = letters[letters.index(token[-1]) ^ 1]
    for written in (token[:-1] + other, token + "=", token + "\u00e9"):
        assert TOKENS.grant_of(written, NOW_MS) is None


@pytest.mark.parametrize("token", ["", "nbt1.", "nbt1..", "nbt1.e30.AAAA", "x" * 5000, "nbt1.é.é", "nbt1.a.b.c"])
def test_nonsense_is_no_token(token):
    """Nothing that comes from outside raises."""
    assert TOKENS.grant_of(token, NOW_MS) is None


def test_another_secret_is_another_service(tmp_path):
    """The secret of a state folder is made once, and only its owner may read it."""
    tmp_path = tmp_path / "made" / "anew"
    secret = kept_secret(tmp_path)
    assert kept_secret(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == ["token.key"], "no copy of it is left behind"
    assert (tmp_path / "token.key").stat().st_mode & 0o777 == 0o600
    assert Tokens(secret).grant_of(TOKENS.issue(GRANT), NOW_MS) is None


def test_origins_are_checked():
    """Scheme and host, nothing more; no wildcard."""
    assert origins_of("https://crm.example, http://localhost:8080") == {"https://crm.example", "http://localhost:8080"}
    assert origins_of(None) == frozenset()
    for wrong in ("*", "crm.example", "https://crm.example/path", "null"):
        with pytest.raises(InputError):
            origins_of(wrong)


@pytest.fixture
def bearer(keyed):
    """Headers with a token for c-t in call-t; keys of other scopes may not make one."""
    asked = {"customer_id": "c-t", "interaction_id": "call-t", "ttl_s": 60}
    for key in ("reader", "writer"):
        refused = keyed.http.post("/v1/tokens", json=asked, headers={"Authorization": f"Bearer {key}"})
        assert refused.status_code == 403
    made = keyed.http.post("/v1/tokens", json=asked, headers={"Authorization": "Bearer boss"})
    assert made.status_code == 201
    return {"Authorization": f"Bearer {made.json()['token']}"}


def test_a_token_asks_about_its_call_only(keyed, bearer):
    """Its customer in its interaction, now; nobody else, no other call, no other moment."""
    ask = {"customer_id": "c-t", "interaction_id": "call-t"}
    assert keyed.http.post("/v1/recommend", json=ask, headers=bearer).status_code == 200
    for other in ({"customer_id": "c-u"}, {"interaction_id": "call-u"}, {"at": "2026-01-01T00:00:00Z"}):
        assert keyed.http.post("/v1/recommend", json=ask | other, headers=bearer).status_code == 403
    assert keyed.http.post("/v1/recommend", json={"customer_id": "c-t"}, headers=bearer).status_code == 403
    assert keyed.http.get("/v1/series/c-t", headers=bearer).status_code == 200
    assert keyed.http.get("/v1/series/c-u", headers=bearer).status_code == 403
    assert keyed.http.get("/v1/interactions/call-t/stream?customer_id=c-u", headers=bearer).status_code == 403


def test_a_token_reports_on_its_own_decisions_only(keyed, bearer):
    """Not on a decision of another customer, and not on what became of somebody."""
    boss = {"Authorization": "Bearer boss"}
    for customer, status in (("c-t", 200), ("c-u", 403)):
        asked = {"customer_id": customer, "interaction_id": "call-t", "context": {"intent": "technical"}}
        decision = keyed.http.post("/v1/recommend", json=asked, headers=boss).json()
        said = {
            "decision_id": decision["decision_id"],
            "offer_id": decision["suggestions"][0]["offer_id"],
            "outcome": "spoken",
        }
        assert keyed.http.post("/v1/outcomes", json=said, headers=bearer).status_code == status
    later = {"customer_id": "c-t", "outcome": "churned", "at": "2026-01-01T00:00:00Z"}
    assert keyed.http.post("/v1/outcomes", json=later, headers=bearer).status_code == 403


@pytest.mark.parametrize(
    "call",
    [
        "GET /v1/customers/c-t", "DELETE /v1/customers/c-t", "PUT /v1/customers/c-t", "POST /v1/activity", "GET /v1/desk/c-t",
        "GET /v1/insights", "POST /v1/tokens", "POST /v1/admin/reload", "GET /metrics",
    ],
)  # fmt: skip
def test_a_token_does_nothing_else(keyed, bearer, call):
    """Everything that is not asking or reporting needs a key."""
    method, path = call.split()
    assert keyed.http.request(method, path, headers=bearer, json={} if method != "GET" else None).status_code == 403


def test_a_token_that_is_none_is_401(keyed):
    """And does not fall through to a service that would let it in."""
    answer = keyed.http.post("/v1/recommend", json={"customer_id": "c"}, headers={"Authorization": "Bearer nbt1.x.y"})
    assert (answer.status_code, answer.json()["status"]) == (401, 401)


def test_what_the_gate_says_is_traced_and_counted_as_every_answer_is(start):
    """A token that is none, one that asks too much, a browser's question: a request id, safe headers, a count."""
    service = start(widget_origins="https://crm.example")
    made = service.http.post("/v1/tokens", json={"customer_id": "c", "interaction_id": "i"}).json()["token"]
    for token, status in (("nbt1.x.y", 401), (made, 403)):
        headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "mine", "Origin": "https://crm.example"}
        answer = service.http.post("/v1/recommend", json={"customer_id": "other"}, headers=headers)
        assert (answer.status_code, answer.headers["x-request-id"], answer.json()["request_id"]) == (
            status,
            "mine",
            "mine",
        )
        assert answer.headers["access-control-allow-origin"] == "https://crm.example"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        counted = f'nba_requests_total{{route="/v1/recommend",status="{status}"}} 1.0'
        assert counted in service.http.get("/metrics").text
    asked = {"Origin": "https://crm.example", "Access-Control-Request-Method": "POST"}
    question = service.http.options("/v1/recommend", headers=asked)
    assert (question.status_code, question.content, bool(question.headers["x-request-id"])) == (204, b"", True)


def test_only_named_origins_are_answered(start):
    """A browser's question before a request is answered for these, and for what the widget calls."""
    service = start(widget_origins="https://crm.example")
    asked = {"Origin": "https://crm.example", "Access-Control-Request-Method": "POST"}
    allowed = service.http.options("/v1/recommend", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://crm.example"
    for path, origin in (("/v1/recommend", "https://evil.example"), ("/v1/customers/c-1", "https://crm.example")):
        refused = service.http.options(path, headers=asked | {"Origin": origin})
        assert "access-control-allow-origin" not in refused.headers


def test_a_call_has_one_share_however_it_shows_its_token(start):
    """Another header beside it, another token for the same call: none of them is a new caller with a limit of its own."""
    service = start(rate_per_s=0.01)
    asked = {"customer_id": "c-1", "interaction_id": "call-1"}
    secret = Tokens(kept_secret(service.state_dir))
    expires_ms = system_now_ms() + 60_000
    held = [secret.issue(Grant("c-1", "call-1", SCOPES, expires_ms + number)) for number in range(4)]
    statuses = []
    for number, token in enumerate(held):
        headers = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer other-{number}")]
        statuses.append(service.http.post("/v1/recommend", json=asked, headers=headers).status_code)
    assert statuses == [200, 429, 429, 429]


def test_a_stream_ends_with_its_token(start):
    """Who was let in for a while hears nothing of the customer afterwards: the page fetches a new token and comes again."""
    service = start()
    grant = Grant("c-1", "call-1", SCOPES, system_now_ms() + 500)
    headers = {"Authorization": f"Bearer {Tokens(kept_secret(service.state_dir)).issue(grant)}"}
    stream = "/v1/interactions/call-1/stream?customer_id=c-1"
    with service.http.stream("GET", stream, headers=headers, timeout=5) as answer:
        assert answer.status_code == 200
        assert "".join(answer.iter_text()).startswith(": listening")
    assert service.http.get(stream, headers=headers).status_code == 401
