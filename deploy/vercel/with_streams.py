"""`deploy.vercel.with_streams:app`: gateway and event streams in one function, so that everything has one origin.

A function may answer for so long and no longer. The streams are closed before that, on purpose, and go on where they
were in the next request. Needs a Redis that speaks TCP: notifications do not come over REST.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from services.gateway.asgi import open_gateway
from services.notifier.asgi import open_notifier
from shared.http.lazy_app import EntryPoint
from shared.streams.routes import PATH

STREAM_SECONDS: Final = "280"
"""Below the 300 s that a function may take on every plan (`maxDuration` in deploy/vercel/gateway/vercel.json)."""


@asynccontextmanager
async def _open() -> AsyncIterator[ASGIApp]:
    mapping = {"NOTIFIER_STREAM_SECONDS": STREAM_SECONDS, **os.environ}
    async with open_gateway(mapping) as gateway, open_notifier(mapping) as notifier:

        async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
            await (notifier if scope["path"] == PATH else gateway)(scope, receive, send)

        yield by_path


app = EntryPoint(_open)
