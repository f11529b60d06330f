"""An application that answers late, reads nothing or sends much, for the deadlines of its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import HttpMethod, asgi, get, route
from litestar.types import ASGIApp, Receive, Scope, Send

from shared.http.problems import UNAUTHORIZED, Problem
from shared.server import serve
from tests.support.connections import Serving, serving

LARGE = 12 << 20
"""More than the kernel takes for a client that reads nothing."""

HOST = b"Host: localhost\r\n"


class Application:
    """`/held` answers when it may, `/large` sends more than fits on its way. `held`: how many were asked for; `ended`:
    how many bodies were read, or sent, to their end."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.held = 0
        self.ended = 0

    def app(self) -> ASGIApp:
        """Its routes, in the services' own server."""

        @route("/ok", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200)
        async def ok() -> str:
            return "ok"

        @get("/health/live")
        async def live() -> str:
            return "live"

        @get("/held")
        async def held() -> str:
            self.held += 1
            await self.may_answer.wait()
            return "held"

        @asgi("/read", copy_scope=False)
        async def read(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the names are asked for
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
            self.ended += 1
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        @asgi("/refuse", copy_scope=False)
        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - as above
            raise Problem(UNAUTHORIZED)

        @asgi("/large", copy_scope=False)
        async def large(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - as above
            head = [(b"content-length", b"%d" % LARGE)]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            for _piece in range(LARGE >> 20):
                await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            self.ended += 1

        return serve.application([ok, live, held, read, refuse, large])


@asynccontextmanager
async def running_application(**options: int) -> AsyncIterator[tuple[Serving, Application]]:
    """It and the server; `options`: of `serve`."""
    application = Application()
    async with serving(application.app(), **options) as running:
        yield running, application
        application.may_answer.set()
