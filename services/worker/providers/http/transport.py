"""HTTP/1.1 for streams of small pieces, as a transport of httpx2: asyncio's own sockets and a parser in C.

A token is one read of a socket. httpx2's own transport spends 115 us of CPU on a read (locks, cancel scopes, a parser
in Python), this one 30 us, most of it asyncio's. It does only what the two SDKs need: requests whose body is in
memory, no proxies, no HTTP/2, no upgrade.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Final

import httpx2

from services.worker.providers.http.connection import Connection

IDLE_SECONDS: Final = 30.0
"""Time for which a connection waits for its next call, in s; servers that close earlier are noticed when they do."""

MAX_IDLE: Final = 100


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

    `tls`: the trusted certificates; by default those of the system, regardless of the environment.
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
        # The sockets themselves close in the next iteration of the loop, which may be its last.
        await asyncio.sleep(0)


def _message(request: httpx2.Request, body: bytes) -> bytes:
    lines = [request.method.encode() + b" " + request.url.raw_path + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers.raw]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise httpx2.LocalProtocolError("a line of the request's head has a line end in it")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
