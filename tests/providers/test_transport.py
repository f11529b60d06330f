"""The transport under the adapters, against servers that send given bytes."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from services.worker.providers.http.connection import HIGH_WATER_BYTES, MAX_HEAD_BYTES
from services.worker.providers.http.transport import StreamTransport
from tests.support.adapters import collect, open_provider, request

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""A key and its self-signed certificate for localhost and 127.0.0.1, valid to 2126 and worth nothing."""

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Served:
    """A server of one test: its address, and the heads of the requests it got per connection."""

    def __init__(self, port: int, heads: list[list[bytes]], handlers: set[asyncio.Task[None]]) -> None:
        self.url = f"http://127.0.0.1:{port}/x?y=1"
        self.heads = heads
        self._handlers = handlers

    async def gone(self) -> None:
        """Wait until every client has gone."""
        if self._handlers:
            await asyncio.wait(self._handlers)


@asynccontextmanager
async def serving(*answers: bytes, stay: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """Sends the next of `answers` after each request, then closes, unless it has to `stay` for more."""
    heads: list[list[bytes]] = []
    left = list(answers)
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: list[bytes] = []
        heads.append(mine)
        if (task := asyncio.current_task()) is not None:
            handlers.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while left:
                mine.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(left.pop(0))
                await writer.drain()
                if not stay:
                    break
            if stay:
                await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls) as server:
        served = Served(server.sockets[0].getsockname()[1], heads, handlers)
        yield served
        await served.gone()


@asynccontextmanager
async def opened() -> AsyncIterator[httpx2.AsyncClient]:
    """A client on the transport."""
    async with httpx2.AsyncClient(transport=StreamTransport(), timeout=2, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
        (CHUNKED + b"2\r\nhi\r\n3\r\n you\r\n0\r\n\r\n".replace(b"3\r\n you", b"4\r\n you"), b"hi you"),
        (b"HTTP/1.0 200 OK\r\n\r\nhi until the end", b"hi until the end"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_bodies(answer: bytes, body: bytes) -> None:
    """With a length, in chunks, until the end of the connection, after an interim answer, and none."""
    async with serving(answer) as served, opened() as client:
        got = await client.get(served.url, headers={"x-a": "b"})
        assert (got.content, got.headers.get("link")) == (body, None)
    (head,) = served.heads[0]
    assert head.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert b"x-a: b\r\n" in head


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi",
        CHUNKED + b"5\r\nhi",
        CHUNKED + b"nonsense\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * (MAX_HEAD_BYTES + 1),
    ],
)
async def test_broken_answers(answer: bytes) -> None:
    """A connection that ends too early, or speaks something else, is an error and never a short body."""
    async with serving(answer) as served, opened() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(served.url)


async def test_a_connection_serves_again() -> None:
    """An answer that was read to its end leaves its connection for the next call."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    async with serving(answer, answer, answer, stay=True) as served, opened() as client:
        for _ in range(3):
            assert (await client.get(served.url)).content == b"hi"
    assert [len(heads) for heads in served.heads] == [3]


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi and more",
])  # fmt: skip
async def test_a_connection_that_must_not_serve_again(answer: bytes) -> None:
    """One that the server wants to close, or that has unexpected bytes, is not used again."""
    async with serving(answer, answer, stay=True) as served, opened() as client:
        for _ in range(2):
            with suppress(httpx2.RemoteProtocolError):
                await client.get(served.url)
    assert [len(heads) for heads in served.heads] == [1, 1]


async def test_a_connection_that_died_idle() -> None:
    """A server that closes idle connections costs no call."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    async with serving(answer, answer) as served, opened() as client:
        assert (await client.get(served.url)).content == b"hi"
        await served.gone()
        assert (await client.get(served.url)).content == b"hi"


async def test_nothing_for_too_long() -> None:
    """Silence before the head and inside the body ends at the read time-out."""
    for answer in (b"", CHUNKED + b"2\r\nhi\r\n"):
        async with serving(answer, stay=True) as served, opened() as client:
            with pytest.raises(httpx2.ReadTimeout):
                await client.get(served.url, timeout=0.2)


async def test_leaving_before_the_head() -> None:
    """A call that is cancelled while the server still thinks closes its connection at once."""
    async with serving(b"", stay=True) as served, opened() as client:
        calling = asyncio.create_task(client.get(served.url, timeout=60))
        async with asyncio.timeout(30):
            while not any(served.heads):
                await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        # The server reads until we go: that it ends proves that we went, well before any time-out of the client.
        async with asyncio.timeout(30):
            await served.gone()


async def test_a_slow_reader_slows_its_stream() -> None:
    """Unread text stays with the server: memory does not grow with the answer."""
    size = 64 * HIGH_WATER_BYTES
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
    async with serving(answer) as served, opened() as client, client.stream("GET", served.url) as response:
        body = response.aiter_raw()
        got = [len(await anext(body))]
        await asyncio.sleep(0.3)
        got.append(len(await anext(body)))
        # One read of the socket may overshoot the mark.
        assert got[1] < 4 * HIGH_WATER_BYTES
        got += [len(piece) async for piece in body]
    assert sum(got) == size


async def test_line_ends_cannot_be_smuggled() -> None:
    """A key with a line end in it does not become a header of its own."""
    async with serving(b"") as served, opened() as client:
        with pytest.raises(httpx2.LocalProtocolError):
            await client.get(served.url, headers=_headers([("x-a", "b\r\nx-c: d")]))
    assert not served.heads


def _headers(pairs: Sequence[tuple[str, str]]) -> httpx2.Headers:
    return httpx2.Headers([(name.encode(), value.encode()) for name, value in pairs])


def _server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_tls() -> None:
    """Over TLS the same, for a certificate that is trusted and names the host."""
    answer = CHUNKED + b"2\r\nhi\r\n0\r\n\r\n"
    transport = StreamTransport(tls=ssl.create_default_context(cafile=CERTIFICATE))
    async with serving(answer, answer, stay=True, tls=_server_tls()) as served:
        async with httpx2.AsyncClient(transport=transport, timeout=2, trust_env=False) as client:
            for _ in range(2):
                assert (await client.get(served.url.replace("http:", "https:"))).content == b"hi"
        assert [len(heads) for heads in served.heads] == [2]


async def test_the_certificate_is_checked() -> None:
    """A server with an untrusted certificate receives nothing."""
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n", tls=_server_tls()) as served, opened() as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(served.url.replace("http:", "https:"))
    assert not any(served.heads)


@pytest.mark.parametrize("encoding", [b"gzip", b"identity, gzip"])
async def test_a_compressed_stream_is_read_all_the_same(encoding: bytes) -> None:
    """Some servers compress against the request; a stream with a wrong encoding is unreadable, not a crash."""
    event = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    head = CHUNKED.removesuffix(b"\r\n") + b"content-encoding: " + encoding + b"\r\n\r\n"
    for body, expected in ((gzip.compress(event), "Hi"), (event, "StreamMalformed")):
        answer = head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        async with serving(answer) as served, open_provider("openai", served.url.removesuffix("/x?y=1")) as provider:
            seen = await collect(provider, request("openai"))
        assert (seen.error.error.type if seen.error else seen.text) == expected
