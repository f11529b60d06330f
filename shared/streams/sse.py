"""Server-sent events: their format, and the response that carries them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

from litestar.types import ASGIApp, Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]

RETRY_MS: Final = 2000
"""Milliseconds that a browser waits before it connects again after an ordinary break."""

AT_ONCE_MS: Final = (50, 250)
"""The same (least, most) when the stream was closed on purpose in the middle of a job: text is coming."""

AWAY_MS: Final = (1000, 5000)
"""The same when this notifier cannot serve it now; random, so that not all come back at once."""

LIMITED_MS: Final = (5000, 15_000)
"""The same when its organisation has as many streams as it may have."""

HEARTBEAT: Final = b":\n\n"
"""A comment: keeps proxies from closing a silent stream, moves no cursor."""

HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

NOTHING: Final = ((b"cache-control", b"no-store"),)
"""Headers of a 204."""


def event(event_id: str | None, kind: str, data: bytes) -> bytes:
    """One event; `data` is JSON on one line. Without an id the browser keeps the one before."""
    head = f"event: {kind}\ndata: " if event_id is None else f"id: {event_id}\nevent: {kind}\ndata: "
    return head.encode() + data + b"\n\n"


def position(event_id: str) -> bytes:
    """Moves the browser's cursor without an event."""
    return f"id: {event_id}\n\n".encode()


def retry(milliseconds: int = RETRY_MS) -> bytes:
    """The field that sets how long the browser waits before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()


def retry_at_once() -> bytes:
    """The same for a stream that has lasted as long as it may."""
    return retry(random.randint(*AT_ONCE_MS))  # noqa: S311 - spreads load, keeps no secret


def retry_later() -> bytes:
    """The same for a stream that ends because of us, not of the job."""
    return retry(random.randint(*AWAY_MS))  # noqa: S311 - spreads load, keeps no secret


def retry_limited() -> bytes:
    """The same for a stream that is one too many of its organisation."""
    return retry(random.randint(*LIMITED_MS))  # noqa: S311 - spreads load, keeps no secret


PIECE: Final = 32 * 1024
"""Bytes that are given to the server at once; it takes the next piece when the browser has taken enough."""

KERNEL_BUFFER: Final = 64 * 1024
"""Send buffer of a stream's socket. Left alone it grows to megabytes for a reader that stopped reading."""

UNACKNOWLEDGED_MS: Final = 30_000
"""Milliseconds after which the kernel drops a connection whose peer acknowledged nothing: no router keeps dead streams
alive."""

_TRANSPORT: Final = "presswork.transport"


class TooSlow(Exception):
    """The reader took nothing for too long and was cut off."""


class WithTransport:
    """An ASGI application that also learns which transport a request came over, to be able to cut it.

    ASGI has no word for that: closing politely waits until a reader that has stopped reading has read everything.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Any, receive: Receive, send: Any) -> Awaitable[None]:
        if scope["type"] == "http":
            try:
                scope[_TRANSPORT] = send.__self__.transport
            except AttributeError:  # another server's `send` has none
                scope[_TRANSPORT] = None
        return self._app(scope, receive, send)


class StreamResponse:
    """The response to one request for a stream."""

    __slots__ = ("_more_headers", "_receive", "_send", "_send_seconds", "_transport", "_watch")

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, send_seconds: float, headers: Headers = ()
    ) -> None:
        """`headers`: more of them, of a stream."""
        self._more_headers = headers
        self._receive = receive
        self._send = send
        self._send_seconds = send_seconds
        self._transport: asyncio.Transport | None = cast("dict[str, Any]", scope).get(_TRANSPORT)
        self._watch: asyncio.Task[None] | None = None

    async def only(self, data: bytes) -> None:
        """Send one short stream as the whole response."""
        await self._send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *self._more_headers]})
        await self._body(data, more=False)

    async def nothing_more(self) -> None:
        """Send 204: EventSource does not come back."""
        await self._send({"type": "http.response.start", "status": 204, "headers": NOTHING})
        await self._body(b"", more=False)

    async def begin(self) -> None:
        """Send the head of a stream."""
        self._limit()
        await self._send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *self._more_headers]})

    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the browser leaves, until `unwatch`."""
        self._watch = asyncio.create_task(self._until_gone(gone), name="sse-watch")

    async def write(self, data: bytes) -> None:
        """Send bytes; TooSlow when the reader takes none of them for the time allowed."""
        for first in range(0, len(data), PIECE):
            await self._body(data[first : first + PIECE], more=True)

    async def end(self, data: bytes = b"") -> None:
        """Send the last bytes and close. TooSlow as above."""
        await self._body(data, more=False)

    def unwatch(self) -> None:
        """Stop watching for the client's disconnect."""
        if self._watch is not None:
            self._watch.cancel()

    def abort(self) -> None:
        """Cut the connection, whatever its buffers still hold."""
        if self._transport is not None:
            self._transport.abort()

    async def _body(self, data: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self._send_seconds):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            self.abort()
            raise TooSlow from None

    async def _until_gone(self, gone: Callable[[], None]) -> None:
        with contextlib.suppress(Exception):  # a connection that cannot be watched is as good as gone
            while (await self._receive())["type"] != "http.disconnect":
                pass
        gone()

    def _limit(self) -> None:
        connection = None if self._transport is None else self._transport.get_extra_info("socket")
        if connection is None:
            return
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER // 2)  # Linux doubles it
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
