"""An application that another server imports by name, as serverless platforms do.

Such a server may run the start-up of ASGI's lifespan protocol or not, and may freeze or end the process at any moment
without its shutdown. So nothing here depends on either: the first request opens the application unless start-up did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from shared.errors import SettingsInvalid
from shared.http.problems import INTERNAL, Problem, send_problem

ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - never bound: an address that others can reach
"""The host of an application that does not choose where it listens: it needs API_TOKENS or ALLOW_ANONYMOUS."""

_log: Final = structlog.get_logger(__name__)


class EntryPoint:
    """The ASGI application `open_app` makes, opened once, at start-up or else by the first request."""

    def __init__(self, open_app: Callable[[], AbstractAsyncContextManager[ASGIApp]]) -> None:
        self._open_app = open_app
        self._exits = AsyncExitStack()
        self._app: ASGIApp | None = None
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Scope | Any, receive: Receive | Any, send: Send | Any) -> None:
        """Handle one ASGI connection, or the process's lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            app = await self._opened()
        except SettingsInvalid as error:
            _log.error("settings_invalid", reason=str(error))
            if scope["type"] == ScopeType.HTTP:
                await send_problem(send, Problem(INTERNAL))
            return
        await app(scope, receive, send)

    async def _opened(self) -> ASGIApp:
        if self._app is None:
            async with self._opening:
                if self._app is None:
                    self._app = await self._exits.enter_async_context(self._open_app())
        return self._app

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self._opened()
        except SettingsInvalid as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._exits.aclose()
        await send({"type": "lifespan.shutdown.complete"})
