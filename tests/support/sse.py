"""A client of server-sent events that behaves as EventSource, and lets a test cut, stall and resume it."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec

TERMINAL = ("completed", "failed", "cancelled")


class Event(msgspec.Struct, frozen=True):
    """One dispatched event. `id` is the last id seen up to and with this event, as in EventSource."""

    id: str
    kind: str
    data: dict[str, Any]


class Stream:
    """One HTTP request for a stream. `status` and `headers` (lower-case names) are there once it is entered.

    While events are read: `last_id`, `retry_ms` (None: none came), and `heartbeats`, the number of comments.
    """

    def __init__(
        self,
        url: str,
        *,
        last_event_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        receive_buffer: int | None = None,
    ) -> None:
        self._url = urlsplit(url)
        self._method = method
        self._request = {"Host": self._url.netloc, "Accept": "text/event-stream", **(headers or {})}
        if last_event_id is not None:
            self._request["Last-Event-ID"] = last_event_id
        self._receive_buffer = receive_buffer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.last_id = last_event_id or ""
        self.retry_ms: int | None = None
        self.heartbeats = 0
        self._unparsed = b""
        self._chunk: int | None = None

    async def __aenter__(self) -> Stream:
        connection = socket.socket()
        if self._receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (self._url.hostname, self._url.port))
        except OSError:
            connection.close()
            raise
        limit = self._receive_buffer or 2**16
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=limit)
        try:
            await self._request_head()
        except BaseException:
            self.cut()
            raise
        return self

    async def _request_head(self) -> None:
        lines = [f"{self._method} {self._url.path}?{self._url.query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._request.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        async with asyncio.timeout(20):
            first = (await self._reader.readline()).split()
            if len(first) < 2:
                raise ConnectionResetError("the connection was closed before an answer")
            self.status = int(first[1])
            while line := (await self._reader.readline()).strip():
                name, _, value = line.decode("latin-1").partition(":")
                self.headers[name.lower()] = value.strip()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """Break the connection at once."""
        self._writer.transport.abort()

    async def body(self) -> bytes:
        """The whole rest of the answer. For answers that end."""
        if "content-length" in self.headers:
            return await self._reader.readexactly(int(self.headers["content-length"]))
        body = b""
        while piece := await self._piece():
            body += piece
        return body

    async def json(self) -> dict[str, Any]:
        """The answer as JSON."""
        document: dict[str, Any] = json.loads(await self.body())
        return document

    async def next(self) -> Event | None:
        """The next event, None when the answer has ended; ConnectionError when it broke off. May be cancelled."""
        while True:
            while b"\n\n" in self._unparsed:
                block, _, self._unparsed = self._unparsed.partition(b"\n\n")
                if (event := self._dispatch(block.decode())) is not None:
                    return event
            piece = await self._piece()
            if not piece:
                return None
            self._unparsed += piece

    async def take(self, count: int, *, seconds: float = 10.0) -> list[Event]:
        """The next `count` events, fewer when the answer ends before; TimeoutError when they don't come."""
        taken: list[Event] = []
        async with asyncio.timeout(seconds):
            while len(taken) < count and (event := await self.next()) is not None:
                taken.append(event)
        return taken

    async def rest(self, *, seconds: float = 10.0) -> list[Event]:
        """All events until the server closes the stream."""
        return await self.take(2**31, seconds=seconds)

    def _dispatch(self, block: str) -> Event | None:
        kind, data = "message", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "":
                    self.heartbeats += 1
                case "id":
                    self.last_id = value
                case "event":
                    kind = value
                case "data":
                    data.append(value)
                case "retry":
                    self.retry_ms = int(value)
        return Event(self.last_id, kind, json.loads("\n".join(data))) if data else None

    async def _piece(self) -> bytes:
        """The next chunk of the body, b"" at its end. Cancelled in the middle, it goes on where it was."""
        if self._chunk == 0 or self.headers.get("transfer-encoding") != "chunked":
            return b""
        try:
            if self._chunk is None:
                line = await self._reader.readuntil(b"\r\n")
                self._chunk = int(line, 16)
            piece = await self._reader.readexactly(self._chunk + 2)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the stream broke off") from error
        self._chunk = None if self._chunk else 0
        return piece[:-2]


async def until_end(urls: Iterable[str], *, pause_s: float | None = 0.05) -> AsyncIterator[Event]:
    """A job's events up to its end, over as many connections as it takes, resuming as EventSource does.

    `urls`: one for each connection. `pause_s`: the wait between them; None: as the server asks.
    AssertionError for an answer that is neither a stream nor the 204 of a stream that was read to its end.
    """
    last_id, pause = "", 0.2 if pause_s is None else pause_s
    for url in urls:
        stream = Stream(url, last_event_id=last_id or None)
        try:
            async with stream:
                if stream.status == 204:
                    return
                assert stream.status == 200, (url, stream.status)
                while (event := await stream.next()) is not None:
                    yield event
                    if event.kind in TERMINAL:
                        return
        except ConnectionError:
            pass  # refused, or cut before or in the middle of the answer
        last_id = stream.last_id
        if pause_s is None and stream.retry_ms is not None:
            pause = stream.retry_ms / 1000
        await asyncio.sleep(pause)


async def follow(url: str, *, seconds: float = 30.0) -> list[Event]:
    """All events of a job up to its end; TimeoutError when it does not come."""
    async with asyncio.timeout(seconds):
        return [event async for event in until_end(itertools.repeat(url))]


async def beats(stream: Stream, count: int) -> None:
    """Wait until so many heartbeats came, and no event with them."""
    before = stream.heartbeats
    reading = asyncio.create_task(stream.next())
    async with asyncio.timeout(10):
        while stream.heartbeats < before + count:
            await asyncio.sleep(0.01)
    assert not reading.done()
    reading.cancel()
    await asyncio.wait([reading])
