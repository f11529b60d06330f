"""Raw connections to a server of this process: bytes that no client library sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from litestar.types import ASGIApp

from shared.server import serve
from tests.support.processes import free_port


class Connection:
    """A connection, and the answers on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.send: Callable[[bytes], None] = writer.write
        self.drain = writer.drain
        self.send_no_more = writer.write_eof

    async def answer(self) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(15):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body.decode()

    async def refused(self, status: int, slug: str) -> None:
        """The next answer is this problem document, and the connection is closed behind it."""
        got, headers, body = await self.answer()
        document: dict[str, Any] = json.loads(body)
        assert (got, document["status"], headers["connection"]) == (status, status, "close")
        assert (headers["content-type"], document["type"]) == (
            "application/problem+json",
            f"urn:presswork:problem:{slug}",
        )
        await self.closed()

    async def asked_to_continue(self) -> None:
        """The server wants the body."""
        async with asyncio.timeout(15):
            assert await self._reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    async def closed(self) -> None:
        """The server closes, with no further word; a reset when there was more to be read."""
        async with asyncio.timeout(15):
            with contextlib.suppress(ConnectionResetError):
                assert await self._reader.read() == b""

    async def read(self, count: int) -> bytes:
        """So many bytes at most; none: it was closed."""
        async with asyncio.timeout(15):
            return await self._reader.read(count)


class Serving:
    """A server; `connect` makes connections to it, which end with it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, limit: int = 1 << 16) -> Connection:
        """A new connection; the server may cut it at once."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        self._writers.append(writer)
        return Connection(reader, writer)

    def close(self) -> None:
        """End all of them."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def serving(app: ASGIApp, **options: Any) -> AsyncIterator[Serving]:
    """The application, served as every service is, for the length of the block."""
    port, stop = free_port(), asyncio.Event()
    task = asyncio.create_task(
        serve.serve(app, host="127.0.0.1", port=port, stop=stop, calm_collector=False, grace_seconds=1, **options)
    )
    while not task.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            break
    running = Serving(port)
    try:
        yield running
    finally:
        running.close()
        stop.set()
        await task
