"""`GET /openapi.json`: the OpenAPI document, which names the address of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from shared.http.health import READING
from shared.http.urls import prefix_of

_HEADERS: Final = {"Cache-Control": "no-cache", "Vary": "X-Forwarded-Prefix"}
_HERE: Final = b'"servers":[{"url":"/"}]'


class OpenApiCall:
    """Answers with the document.

    It is made when it is first asked for: that takes most of the time of a start, which platforms that start a gateway
    for a request would wait for.
    """

    def __init__(self, generate: Callable[[], bytes]) -> None:
        self._generate = generate
        self._document: bytes | None = None
        self._one_at_a_time = asyncio.Lock()

    def route(self) -> HTTPRouteHandler:
        """The handler; the page at `/docs` asks for the document below itself."""

        @route(["/docs/openapi.json", "/openapi.json"], http_method=READING, include_in_schema=False)
        async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
            body = await self.below(prefix_of(request.scope))
            return Response(body, media_type="application/json", headers=_HEADERS)

        return openapi

    async def below(self, prefix: str) -> bytes:
        """The document for clients that see the service below this path; empty: at the root."""
        async with self._one_at_a_time:
            if self._document is None:
                # In a thread: it takes some 0.3 s, in which the loop goes on.
                self._document = await asyncio.to_thread(self._generate)

        there = f'"servers":[{{"url":"{prefix}"}}]'.encode()
        return self._document.replace(_HERE, there) if prefix else self._document
