"""The OpenAPI document against the service: whatever it allows to be sent, no error of ours and no status it does not name."""

from __future__ import annotations

import re

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install -e '.[test]'")

QUICK = settings(
    max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)  # fmt: skip


@pytest.fixture(scope="session")
def document(nba) -> dict:
    """The document as it is served."""
    return nba.http.get("/openapi.json").json()


@pytest.fixture(scope="session")
def operations(document) -> dict:
    """Every documented call but the endless stream and the reload, which loads everything anew."""
    schema = schemathesis.openapi.from_dict(document)
    found = (operation.ok() for operation in schema.get_all_operations())
    return {f"{o.method.upper()} {o.path}": o for o in found if not o.path.endswith(("/stream", "/reload"))}


def statuses(nba, document: dict, operation) -> set[int]:
    """The statuses that generated requests of one call get; each is held against the document."""
    documented = document["paths"][operation.path][operation.method.lower()]["responses"]
    seen = set()

    @QUICK
    @given(case=operation.as_strategy())
    def ask(case) -> None:
        answer = case.call(base_url=nba.url)
        seen.add(answer.status_code)
        assert answer.status_code < 500, (operation.path, case.body, answer.text)
        assert str(answer.status_code) in documented or answer.status_code in (404, 405), (operation.path, answer.text)
        if answer.status_code >= 400:
            assert "application/problem+json" in answer.headers["content-type"]

    ask()
    return seen


def test_generated_requests_get_documented_answers(nba, document, operations):
    """Generated bodies, paths and parameters: never a 5xx, never an undocumented status, refusals as problem documents."""
    seen = {name: statuses(nba, document, operation) for name, operation in operations.items()}
    assert {200, 422} & seen["POST /v1/recommend"]
    assert 202 in seen["POST /v1/activity"]


def unnamed(found: object, schema: dict, document: dict, place: str = "") -> list[str]:
    """The fields of an answer that its schema does not name, in lists and in objects too."""
    schema = next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(found, list):
        return [name for one in found for name in unnamed(one, schema.get("items", {}), document, place)]
    if not isinstance(found, dict) or "properties" not in schema:
        return []
    known = schema["properties"]
    return [f"{place}/{name}" for name in found.keys() - known.keys()] + [
        each
        for name in found.keys() & known.keys()
        for each in unnamed(found[name], known[name], document, f"{place}/{name}")
    ]


def test_no_answer_has_a_field_that_the_document_does_not_name(nba, document, make_event):
    """A suggestion with the skill that it takes, and a customer with what could not be read, among them."""
    customer = nba.customer()
    nba.http.post(
        "/v1/activity", json={"events": [make_event(customer, "support_contact", subject="line") for _ in "ab"]}
    )
    answers = {
        ("/v1/recommend", "post"): nba.recommend(customer, context={"intent": "technical"}, limit=20, explain=True),
        ("/v1/customers/{customer_id}", "get"): nba.http.get(f"/v1/customers/{customer}").json(),
        ("/readyz", "get"): nba.http.get("/readyz").json(),
    }
    assert any("skill" in suggestion for suggestion in answers["/v1/recommend", "post"]["suggestions"])
    for (path, method), answer in answers.items():
        content = document["paths"][path][method]["responses"]["200"]["content"]
        assert unnamed(answer, content["application/json"]["schema"], document) == []


def test_nobody_is_let_in_by_another_method(nba, document):
    """Methods that are not documented are a 405 with all the allowed ones named, in the header and in words."""
    for path, methods in document["paths"].items():
        plain = path.replace("{", "").replace("}", "")
        for method in sorted({"get", "put", "post", "delete", "patch", "options"} - methods.keys()):
            answer = nba.http.request(method.upper(), plain)
            assert answer.status_code == 405, (method, path)
            allowed = answer.headers["allow"]
            assert set(allowed.split(", ")) - {"HEAD"} == {name.upper() for name in methods}, path
            assert answer.json()["detail"].endswith(allowed)


def test_the_docs_name_every_call_also_where_no_script_runs(nba, document):
    """The page itself lists the API, in the place that Swagger UI takes."""
    page = nba.http.get("/docs").text
    for path, methods in document["paths"].items():
        assert all(f"<code>{method.upper()} {path}</code>" in page for method in methods)
    assert page.index("<dl>") > page.index('id="swagger-ui"')


def test_the_docs_are_drawn_with_nothing_from_elsewhere(keyed):
    """In a house without internet Swagger UI comes from the service, without a key, and the policy names nobody else."""
    with httpx.Client(base_url=keyed.url) as stranger:
        page = stranger.get("/docs")
        parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        files = {part: stranger.get(part) for part in parts}
        missing = stranger.get("/docs/no.js")
    assert {part.rpartition("/")[2] for part in parts} >= {"swagger-ui-bundle.js", "swagger-ui.css", "start.js"}
    assert not [part for part in parts if not re.match(r"/[^/]", part)] and "://" not in page.text
    kinds = {part: (file.status_code, file.headers["content-type"].partition(";")[0]) for part, file in files.items()}
    assert kinds["/docs/swagger-ui-bundle.js"] == kinds["/docs/start.js"] == (200, "text/javascript")
    assert kinds["/docs/swagger-ui.css"] == (200, "text/css")
    assert {status for status, _ in kinds.values()} == {200}
    policy = page.headers.get_list("content-security-policy")
    assert len(policy) == 1 and "script-src 'self';" in policy[0] and "http" not in policy[0]
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
