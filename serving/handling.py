"""What every route handler needs: the running service, and an answer in JSON."""

from __future__ import annotations

import orjson
from fastapi import Request, Response

from serving.service import Service


def service_of(request: Request) -> Service:
    """The running service, which the lifespan of the application opened."""
    service: Service = request.app.state.service
    return service


def as_json(content: object, status: int = 200) -> Response:
    """The content as the JSON body of a response. Raises TypeError: not JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")
