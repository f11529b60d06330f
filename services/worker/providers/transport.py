"""HTTP/1.1 for streams of small pieces, as a transport of httpx2: asyncio's own sockets and a parser in C.

A token is one read of a socket. httpx2's own transport spends 115 us of CPU on a read (locks, cancel scopes, a parser
in Python), this one 30 us, most of it asyncio's. It does what the two SDKs need and no more: requests whose body is in
memory, no proxies, no HTTP/2, no upgrade.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Final

import httptools
import httpx2

IDLE_SECONDS: Final = 30.0
"""How long a connection waits for its next call; servers that close earlier are noticed when they do."""

MAX_IDLE: Final = 100
MAX_HEAD_BYTES: Final = 65_536
HIGH_WATER_BYTES: Final = 262_144
"""Beyond so much unread body the socket is not read: a slow consumer slows its own stream down."""


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
        if not self._head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("the answer is not HTTP")
        if self._head_bytes > MAX_HEAD_BYTES and not self._head:
            self._fail("the answer's head has no end")
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
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        self.status = self._parser.get_status_code()
        self._head = self.status >= 200

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._chunks.append(body)
        self._unread += len(body)

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
        """Close the socket now, whatever is under way."""
        self._transport.abort()

    async def head(self, timeout_s: float | None) -> None:
        """Wait until `status` and `headers` are there. httpx2.TransportError."""
        while not self._head:
            await self._wait(timeout_s)

    async def read(self, timeout_s: float | None) -> bytes:
        """What has come of the body, empty at its end. httpx2.TransportError."""
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
                self._timer = self._loop.call_at(self._due, self._look)
        try:
            await waiter
        finally:
            self._waiter = None

    def _look(self) -> None:
        # One timer of an exchange looks again when it must, instead of one for each token.
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
        else:
            self._waiter.set_exception(httpx2.ReadTimeout("the server has sent nothing for too long"))

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Body(httpx2.AsyncByteStream):
    def __init__(
        self, transport: StreamTransport, origin: tuple[str, int], connection: Connection, timeout_s: float | None
    ) -> None:
        self._transport = transport
        self._origin = origin
        self._connection = connection
        self._timeout_s = timeout_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._connection.read(self._timeout_s):
            yield data

    async def aclose(self) -> None:
        self._transport.release(self._origin, self._connection)


class StreamTransport(httpx2.AsyncBaseTransport):
    """A pool of connections to any number of servers, to be used inside one event loop.

    `tls`: whom to trust; by default the certificates of the system, whatever the environment says.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._given_tls = tls
        self._idle: dict[tuple[str, int], list[Connection]] = {}
        self._open: set[Connection] = set()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = self._given_tls or httpx2.create_ssl_context(trust_env=False)
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2. httpx2.TransportError."""
        message = _message(request, await request.aread())
        timeouts = request.extensions.get("timeout", {})
        url = request.url
        origin = (url.scheme + "://" + url.host, url.port or (443 if url.scheme == "https" else 80))
        connection = self._take(origin) or await self._connect(url, origin[1], timeouts.get("connect"))
        self._open.add(connection)
        try:
            connection.send(message)
            await connection.head(timeouts.get("read"))
        except BaseException:
            self._open.discard(connection)
            connection.abort()
            raise
        return httpx2.Response(
            connection.status,
            headers=connection.headers,
            stream=_Body(self, origin, connection, timeouts.get("read")),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _take(self, origin: tuple[str, int]) -> Connection | None:
        idle = self._idle.get(origin, [])
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        while idle:
            connection = idle.pop()
            if connection.reusable and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self, url: httpx2.URL, port: int, timeout_s: float | None) -> Connection:
        secure = url.scheme == "https"
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection, url.host, port, ssl=self._tls if secure else None,
                    server_hostname=url.host if secure else None,
                )  # fmt: skip
        except TimeoutError:
            raise httpx2.ConnectTimeout("no connection came about in time") from None
        except OSError as error:
            raise httpx2.ConnectError(type(error).__name__) from None
        return connection

    def release(self, origin: tuple[str, int], connection: Connection) -> None:
        """Take a connection back; one whose answer was not read to its end is closed."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        idle = self._idle.setdefault(origin, [])
        if connection.reusable and len(idle) < MAX_IDLE:
            connection.idle_since = asyncio.get_running_loop().time()
            idle.append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        """Close every connection, used or not."""
        for connection in [*self._open, *(one for idle in self._idle.values() for one in idle)]:
            connection.abort()
        self._open.clear()
        self._idle.clear()
        # The sockets themselves close in the next turn of the loop, which may be its last.
        await asyncio.sleep(0)


def _message(request: httpx2.Request, body: bytes) -> bytes:
    lines = [request.method.encode() + b" " + request.url.raw_path + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers.raw]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise httpx2.LocalProtocolError("a line of the request's head has a line end in it")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
