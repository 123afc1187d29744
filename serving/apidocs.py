"""`/docs`: the API drawn by Swagger UI, which the browser fetches from elsewhere; where it may not, the calls as a plain list."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

_MOUNT = '<div id="swagger-ui">'  # Swagger UI takes the place of what stands in it
_ICON = "/desktop/icon.svg"


def add_docs(app: FastAPI) -> None:
    """Mount the page."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The whole API."""
        url = str(app.openapi_url)
        drawn = get_swagger_ui_html(openapi_url=url, title=f"{app.title} API", swagger_favicon_url=_ICON)
        page = bytes(drawn.body).decode()
        return HTMLResponse(page.replace(_MOUNT, _MOUNT + plain_list(app.openapi(), url), 1))


def plain_list(document: dict[str, Any], url: str) -> str:
    """Every call of an OpenAPI document with its words, as HTML."""
    calls = "".join(
        f"<dt><code>{method.upper()} {escape(path)}</code></dt><dd>{escape(call.get('description', ''))}</dd>"
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    )
    why = "This list is what there is without Swagger UI, which the browser gets from cdn.jsdelivr.net."
    return f'<h1>{escape(document["info"]["title"])} API</h1><p>{why} All of it: <a href="{url}">{url}</a>.</p><dl>{calls}</dl>'
