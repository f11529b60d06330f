"""`GET /openapi.json`: the OpenAPI document, which names the address of the API."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from shared.http.health import READING
from shared.http.urls import prefix_of

_HEADERS: Final = {"Cache-Control": "no-cache", "Vary": "X-Forwarded-Prefix"}
_HERE: Final = b'"servers":[{"url":"/"}]'


class OpenApiCall:
    """Answers with the document."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    def route(self) -> HTTPRouteHandler:
        """The handler; the page at `/docs` asks for the document below itself."""

        @route(["/docs/openapi.json", "/openapi.json"], http_method=READING, include_in_schema=False)
        async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
            body = self.below(prefix_of(request.scope))
            return Response(body, media_type="application/json", headers=_HEADERS)

        return openapi

    def below(self, prefix: str) -> bytes:
        """The document for clients that see the service below this path; empty: at the root."""
        there = f'"servers":[{{"url":"{prefix}"}}]'.encode()
        return self._document.replace(_HERE, there) if prefix else self._document
