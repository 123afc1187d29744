"""Errors as RFC 9457 problem documents; the one place where an error of ours gets an HTTP status.

https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson

from nba import errors
from serving.schemas import DELAYED, OFFER

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[errors.NbaError], int] = {
    errors.NbaError: 500,
    errors.InputError: 422,
    errors.ConfigError: 422,
    errors.ActivityError: 422,
    errors.ProfileError: 422,
    errors.DataError: 422,
    errors.RuleError: 500,
    errors.NotFoundError: 404,
    errors.RefusedError: 409,
    errors.UnavailableError: 503,
    errors.StoreError: 503,
    errors.ModelError: 503,
    errors.JournalError: 503,
}
_MAX_ERRORS = 20
_CURES = {
    "string_type": "is not text: write it in quotes",
    "float_type": "is not a number: write it without quotes",
    "int_type": "is not a whole number: write it without quotes",
    "finite_number": "is not a finite number: leave it out when it is unknown",
    "bool_type": "is not a truth value: write true or false, without quotes",
}


def status_of(error: errors.NbaError) -> int:
    """The HTTP status of an error of ours."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(
    status: int,
    detail: str,
    *,
    pointer: str | None = None,
    fields: Sequence[tuple[str, str]] = (),
    request_id: str = "",
) -> bytes:
    """A problem document. `fields`: (pointer, detail) of everything wrong, the first one also at the top."""
    fields = fields or ([(pointer, detail)] if pointer else [])
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if fields:
        body["pointer"] = fields[0][0]
        body["errors"] = [{"detail": text, "pointer": place} for place, text in fields[:_MAX_ERRORS]]
    if request_id:
        body["request_id"] = request_id
    return orjson.dumps(body)


def of_error(error: errors.NbaError, request_id: str) -> tuple[int, bytes]:
    """Status and document of an error of ours. What we did not foresee is told to the log, not to the caller."""
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.SERVICE_UNAVAILABLE:
        return status, problem(
            status, "this should not have happened: the log has it under the request id", request_id=request_id
        )
    pointer = "#" + quote(error.pointer) if error.pointer else None
    return status, problem(status, str(error), pointer=pointer, request_id=request_id)


def of_validation(found: Sequence[Mapping[str, Any]], request_id: str) -> tuple[int, bytes]:
    """Status and document for what pydantic found: 400 when the body is no JSON at all, else 422 with each place."""
    if any(entry["type"] == "json_invalid" for entry in found):
        return 400, problem(
            400, "the body is not JSON: send one JSON object as application/json", request_id=request_id
        )
    fields = [(pointer_of(entry["loc"]), words_of(entry)) for entry in found]
    return 422, problem(422, f"{fields[0][0] or '#'}: {fields[0][1]}", fields=fields, request_id=request_id)


def pointer_of(location: Sequence[str | int]) -> str:
    """pydantic's location as a JSON pointer in URI form: ("body", "context", "a/b") is #/context/a~1b."""
    parts = (quote(str(part).replace("~", "~0").replace("/", "~1")) for part in _inside(location))
    return "#" + "".join(f"/{part}" for part in parts)


def _inside(location: Sequence[str | int]) -> list[str | int]:
    """The location within the body: without its name, and without the names of the two shapes of an outcome."""
    return [part for part in location[1:] if part not in (OFFER, DELAYED)]


def words_of(entry: Mapping[str, Any]) -> str:
    """What pydantic found at one place, in words that say how to mend it."""
    if entry["type"] in _CURES:
        return _CURES[entry["type"]]
    if entry["type"] == "extra_forbidden":
        return "is not known here: remove it, or look for a typing error"
    if entry["type"] == "missing" and len(entry["loc"]) > 1:
        return "is missing: add it"
    whole = not _inside(entry["loc"])
    if whole and entry["type"] in ("missing", "model_attributes_type", "dict_type", "model_type"):
        return "the body has to be one JSON object, sent with Content-Type: application/json"
    return str(entry["msg"]).removeprefix("Value error, ")
