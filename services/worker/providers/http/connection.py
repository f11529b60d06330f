"""One connection that speaks HTTP/1.1: asyncio's own socket and a parser in C, one exchange at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import httptools
import httpx2

MAX_HEAD_BYTES: Final = 65_536
"""Most bytes of the head, and of all else that comes without a byte of body, such as the trailers after it."""

HIGH_WATER_BYTES: Final = 262_144
"""Bytes of unread body from which on the socket is not read: a slow consumer slows its own stream down."""


class Connection(asyncio.Protocol):
    """One socket, one exchange at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self.idle_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._paused = self.lost = False
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._unread = self._head_bytes = 0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._head = self.complete = self._keep = False
        self._error: httpx2.TransportError | None = None
        self._unwatch()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is always a Transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("the answer is not HTTP")
        if self._head_bytes > MAX_HEAD_BYTES:
            self._fail("the answer's head or trailers have no end")
        if self._unread > HIGH_WATER_BYTES and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.lost = True
        self._unwatch()
        if not self.complete and self._head and error is None and not self._framed():
            # Without a length the end of the connection is the end of the body (RFC 9112, section 6.3).
            self.complete = True
        elif not self.complete and self._error is None:
            self._error = httpx2.RemoteProtocolError("the server closed the connection before the end of its answer")
        self._wake()

    def _framed(self) -> bool:
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    def _fail(self, why: str) -> None:
        self._error = self._error or httpx2.RemoteProtocolError(why)
        self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        if not self._head:  # afterwards it is a trailer
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        self.status = self._parser.get_status_code()
        self._head = self.status >= 200
        if self._head:
            self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._chunks.append(body)
        self._unread += len(body)
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self._head:
            self.headers = []  # an interim answer (1xx)
        elif self.complete:
            self._fail("the server sent two answers")
        else:
            self.complete, self._keep = True, self._parser.should_keep_alive()

    @property
    def reusable(self) -> bool:
        """Whether the exchange is over and the socket good for another."""
        return self.complete and self._keep and not self.lost and not self._unread and self._error is None

    def send(self, message: bytes) -> None:
        """Begin an exchange."""
        self._begin()
        self._transport.write(message)

    def abort(self) -> None:
        """Close the socket now, also within an exchange."""
        self._transport.abort()

    async def head(self, timeout_s: float | None) -> None:
        """Wait until `status` and `headers` are there. httpx2.TransportError."""
        while not self._head:
            await self._wait(timeout_s)

    async def read(self, timeout_s: float | None) -> bytes:
        """The next bytes of the body, empty at its end. httpx2.TransportError."""
        while not self._chunks:
            if self.complete:
                return b""
            await self._wait(timeout_s)
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._unread = 0
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self, timeout_s: float | None) -> None:
        if self._error is not None:
            raise self._error
        waiter = self._waiter = self._loop.create_future()
        if timeout_s is not None:
            self._due = self._loop.time() + timeout_s
            if self._timer is None:
                self._timer = self._loop.call_at(self._due, self._check_due)
        try:
            await waiter
        finally:
            self._waiter = None

    def _check_due(self) -> None:
        # One timer per exchange, set again when it fires, instead of one for each token.
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._check_due)
        else:
            self._waiter.set_exception(httpx2.ReadTimeout("the server has sent nothing for too long"))

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
