"""`/docs`: the API drawn by Swagger UI, all of it from this service, so that it needs no internet; beneath, a plain list.

Swagger UI's files come with the package `fastapi-offline`, of which nothing is imported. Without it the list is the page.
"""

from __future__ import annotations

import asyncio
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from nba.errors import NotFoundError
from serving.pages import File, file_of, made

_CARRIER, _SCRIPT, _STYLE, _START = "fastapi_offline", "swagger-ui-bundle.js", "swagger-ui.css", "start.js"
# Neither the page nor a document that it draws can ask anybody else for anything.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DRAW = """SwaggerUIBundle({
  url: document.currentScript.dataset.document,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/desktop/icon.svg">{style}
</head>
<body>
<div id="swagger-ui">{plain}</div>{scripts}
</body>
</html>
"""


def add_docs(app: FastAPI) -> None:
    """Mount the page and what it is drawn with; read and compressed when the first one asks, outside the event loop."""
    files: dict[str, File] = {}

    async def served(path: str, request: Request) -> Response:
        if not files:
            document = app.openapi()
            files.update(await asyncio.to_thread(_made, document, str(app.openapi_url)))
        if path not in files:
            raise NotFoundError("no such file of the documentation: the page is at /docs")
        status, body, headers = files[path].answer(request.headers)
        if "content-security-policy" in headers:
            headers["content-security-policy"] = _CSP
        return Response(body, status, headers)

    @app.api_route("/docs/", methods=["GET", "HEAD"], include_in_schema=False)
    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs(request: Request) -> Response:
        """The whole API."""
        return await served("/docs", request)

    @app.api_route("/docs/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def part(name: str, request: Request) -> Response:
        """What the page is drawn with."""
        return await served(f"/docs/{name}", request)


def _made(document: dict[str, Any], url: str) -> dict[str, File]:
    """The page and its files by the path that they are served at."""
    folder = carried()
    files = {} if folder is None else {f"/docs/{name}": file_of(folder / name) for name in (_SCRIPT, _STYLE)}
    if files:
        files[f"/docs/{_START}"] = made(_DRAW.encode(), ".js")
    return {"/docs": made(_page(document, url, drawn=bool(files)).encode(), ".html"), **files}


def carried() -> Path | None:
    """The folder with Swagger UI's files, None where nothing was installed that carries them."""
    found = find_spec(_CARRIER)
    folder = None if found is None or found.origin is None else Path(found.origin).parent / "static"
    return folder if folder and all((folder / name).is_file() for name in (_SCRIPT, _STYLE)) else None


def _page(document: dict[str, Any], url: str, *, drawn: bool) -> str:
    start = f'<script src="/docs/{_START}" data-document="{url}"></script>'
    return _PAGE.format(
        title=escape(f"{document['info']['title']} API"),
        plain=plain_list(document, url),
        style=f'\n<link rel="stylesheet" href="/docs/{_STYLE}">' if drawn else "",
        scripts=f'\n<script src="/docs/{_SCRIPT}"></script>\n{start}' if drawn else "",
    )


def plain_list(document: dict[str, Any], url: str) -> str:
    """Every call of an OpenAPI document with its words, as HTML. Swagger UI takes its place."""
    calls = "".join(
        f"<dt><code>{method.upper()} {escape(path)}</code></dt><dd>{escape(call.get('description', ''))}</dd>"
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    )
    why = (
        f"Every call; for Swagger UI let this page run scripts, and see that {_CARRIER.replace('_', '-')} is installed."
    )
    return f'<h1>{escape(document["info"]["title"])} API</h1><p>{why} All of it: <a href="{url}">{url}</a>.</p><dl>{calls}</dl>'
