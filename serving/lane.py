"""The fast lane: POST /v1/recommend from bytes to bytes, without the framework's layers in between.

Routing, dependency solving and exit stacks cost a call about as much as a decision's scoring. So the outermost layer
(doors.py) hands this one call over here; the route that FastAPI documents calls the same function, so there is one
behaviour.
"""

from __future__ import annotations

import logging

import orjson
from pydantic import ValidationError

from nba import errors
from serving.auth import ADMIN, allowed
from serving.problems import MEDIA_TYPE, of_error, of_validation, problem
from serving.recommend import Recommender
from serving.schemas import RecommendIn

log = logging.getLogger("nba.serving")
JSON = "application/json"
NOT_JSON = "the body has to be JSON: send it with Content-Type: application/json"
Answer = tuple[int, bytes, str]


async def recommend(
    recommender: Recommender, body: bytes, content_type: bytes, scopes: frozenset[str] | None, request_id: str
) -> Answer:
    """Status, body and media type for one question. Never raises for what a caller sent."""
    if content_type != b"application/json" and content_type and not is_json(content_type):
        return 415, problem(415, NOT_JSON, request_id=request_id), MEDIA_TYPE
    try:
        asked = parsed(body, content_type)
        if asked.at is not None and scopes is not None and not allowed(scopes, ADMIN):
            detail = "this key may not ask as of another moment: leave `at` out, or use one with the scope admin"
            return 403, problem(403, detail, request_id=request_id), MEDIA_TYPE
        return 200, await recommender.recommend(asked), JSON
    except ValidationError as error:
        found = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        return *of_validation(found, request_id), MEDIA_TYPE
    except orjson.JSONDecodeError:
        return *of_validation([{"type": "json_invalid"}], request_id), MEDIA_TYPE
    except errors.NbaError as error:
        status, document = of_error(error, request_id)
        if status >= 500:
            log.error("refused", extra={"status": status, "request_id": request_id, "error": type(error).__name__})
        return status, document, MEDIA_TYPE


def parsed(body: bytes, content_type: bytes) -> RecommendIn:
    """The question. Raises JSONDecodeError and ValidationError."""
    if content_type == b"application/json" or is_json(content_type):
        return RecommendIn.model_validate(orjson.loads(body))
    # A browser may send other types to this machine without asking it first, so a form that looks like JSON is refused.
    return RecommendIn.model_validate(None)


def is_json(content_type: bytes) -> bool:
    """application/json or application/…+json, whatever parameters follow."""
    kind = content_type.partition(b";")[0].strip().lower()
    return kind.startswith(b"application/") and (kind == b"application/json" or kind.endswith(b"+json"))
