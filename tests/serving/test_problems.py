"""The one place where an error gets an HTTP status."""

from __future__ import annotations

import json

from features.store_errors import ForeignValueError
from nba import errors
from serving.problems import STATUS, of_error, pointer_of


def _tree(root: type) -> set[type]:
    return {root}.union(*(_tree(child) for child in root.__subclasses__()))


def test_every_error_of_ours_has_a_status():
    """The map names each class of the tree itself, so that a new one cannot slip in as its parent."""
    ours = {kind for kind in _tree(errors.NbaError) if kind.__module__ == "nba.errors"}
    assert ours == set(STATUS)


def test_input_is_never_our_fault_and_absence_is_not_theirs():
    """Wrong input is 4xx, something away is 503."""

    def status(kind: type) -> int:
        return of_error(kind(["x"]) if kind is errors.ConfigError else kind("x"), "r-1")[0]

    assert all(400 <= status(kind) < 500 for kind in _tree(errors.InputError))
    assert all(status(kind) == 503 for kind in {ForeignValueError, *_tree(errors.UnavailableError)})


def test_a_pointer_is_escaped_as_rfc_6901_says():
    """Slashes and tildes of a name do not look like levels."""
    assert pointer_of(("body", "context", "a/b~c d")) == "#/context/a~1b~0c%20d"


def test_what_nobody_foresaw_is_not_told_to_the_caller():
    """The text of an internal error stays in the log."""
    status, body = of_error(errors.RuleError("profile.secret is 5"), "r-1")
    assert status == 500
    assert "secret" not in body.decode()
    assert json.loads(body)["request_id"] == "r-1"


def test_what_nobody_foresaw_is_answered_as_everything_else_is(start):
    """Its request id is in the header and in the document, and the headers are the safe ones."""
    service = start()

    def broken() -> None:
        raise ZeroDivisionError("c-1 has secrets")

    service.app.add_api_route("/broken", broken)
    answer = service.http.get("/broken", headers={"X-Request-Id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"], answer.json()["request_id"]) == (500, "mine", "mine")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secrets" not in answer.text


def test_an_outcome_that_is_no_object_is_told_how_to_send_one(nba):
    """Most often the content type was forgotten."""
    for sent in ({"content": b'{"outcome": "shown"}'}, {"json": ["shown"]}):
        told = nba.http.post("/v1/outcomes", **sent).json()
        assert (told["status"], told["pointer"], "Content-Type: application/json" in told["detail"]) == (422, "#", True)
