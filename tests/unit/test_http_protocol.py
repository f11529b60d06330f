"""Bytes that reach the server before any application: offers of other protocols, no HTTP, heads without an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Request, get, post
from litestar.response import Stream

from shared.http.problems import UNSUPPORTED_MEDIA_TYPE, Problem
from shared.server import http11, serve
from tests.support.connections import Connection, serving

OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
"""The headers of Java's own client with each request until it was answered once."""


def _request(body: str, headers: str = "") -> bytes:
    return f"POST /echo HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@asynccontextmanager
async def _connection() -> AsyncIterator[Connection]:
    @post("/echo", status_code=200)
    async def echo(request: Request[Any, Any, Any]) -> bytes:
        return await request.body() + request.headers.get("upgrade", "").encode()

    @post("/refuse")
    async def refuse() -> None:
        raise Problem(UNSUPPORTED_MEDIA_TYPE)

    async with serving(serve.application([echo, refuse])) as running:
        yield await running.connect()


async def test_an_offer_of_another_protocol_is_declined_and_the_request_answered() -> None:
    """The body behind an offered upgrade arrives, in one piece with it or later, and so do the requests after it."""
    async with _connection() as connection:
        connection.send(_request("one", OFFER) + _request("two", OFFER) + _request("three"))
        for text in ("one", "two", "three"):
            assert (await connection.answer())[::2] == (200, text)
        whole = _request("in pieces", OFFER)
        for i in range(len(whole)):
            connection.send(whole[i : i + 1])
            await connection.drain()
            await asyncio.sleep(0)
        assert (await connection.answer())[::2] == (200, "in pieces")
        chunked = (
            f"POST /echo HTTP/1.1\r\nHost: localhost\r\n{OFFER}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        connection.send(chunked.encode())
        assert (await connection.answer())[::2] == (200, "abc")


async def test_what_else_a_connection_says_of_itself_is_kept() -> None:
    """`close` beside the offer closes."""
    async with _connection() as connection:
        connection.send(_request("x", "Connection: close, upgrade\r\nUpgrade: websocket\r\n"))
        status, headers, body = await connection.answer()
        assert (status, headers["connection"], body) == (200, "close", "x")
        await connection.closed()


@pytest.mark.parametrize(
    "data",
    [
        b"HELLO\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET /echo?prompt=é HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem_document(data: bytes) -> None:
    """A 400 like every other one, then the connection is closed."""
    async with _connection() as connection:
        connection.send(data)
        await connection.refused(400, "invalid-request")


async def test_nobody_is_connected_to_elsewhere() -> None:
    """CONNECT is a method that is not allowed."""
    async with _connection() as connection:
        connection.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        await connection.refused(405, "method-not-allowed")


@pytest.mark.parametrize("endless", [b"X-Long: ", b"X-Many: 1\r\n"])
async def test_a_head_without_an_end_is_refused(endless: bytes) -> None:
    """One long header or many short ones: beyond the limit it is 431, while a large good one passes."""
    async with _connection() as connection:
        connection.send(_request("x", f"X-Large: {'x' * 30_000}\r\n"))
        assert (await connection.answer())[0] == 200
        connection.send(b"GET /echo HTTP/1.1\r\nHost: localhost\r\n" + endless)
        filler = endless * 1000 if endless.endswith(b"\n") else b"x" * 10_000
        for _ in range(200):
            connection.send(filler)
        await connection.refused(431, "head-too-large")


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "endless"),
    [
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Many: 1\r\n"),
        (CHUNKED + b"1\r\nx\r\n0\r\nX-Long: ", b"x"),
        (CHUNKED + b"1;x=", b"x"),
        (b"", b"\r\n"),
    ],
    ids=["trailers", "a trailer", "an extension", "nothing"],
)
async def test_what_is_around_a_body_ends(before: bytes, endless: bytes) -> None:
    """Trailers, extensions of chunks and empty lines are bounded as a head is."""
    async with _connection() as connection:
        connection.send(before)
        await connection.drain()
        for _ in range(20):
            connection.send(endless * (10_000 // len(endless)))
        await connection.refused(431, "head-too-large")


async def test_trailers_are_no_headers() -> None:
    """They are read and dropped: fields behind a body cannot change the identity. Short chunks are no fault."""
    async with _connection() as connection:
        connection.send(CHUNKED)
        await connection.drain()
        for _ in range(20):
            await asyncio.sleep(0)
            connection.send(b"1\r\nx\r\n" * 2_000)
        connection.send(b"0\r\nUpgrade: trailer\r\n\r\n" + _request("y"))
        assert (await connection.answer())[::2] == (200, "x" * 40_000)
        assert (await connection.answer())[::2] == (200, "y")


async def test_a_head_that_dawdles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time is not enough: the whole head must be there soon after its first piece."""
    monkeypatch.setattr(http11, "HEAD_SECONDS", 0.3)
    async with _connection() as connection:
        connection.send(_request("x"))
        assert (await connection.answer())[0] == 200
        connection.send(b"GET /ec")
        await connection.refused(408, "head-too-slow")


async def test_a_refusal_instead_of_100_continue_closes() -> None:
    """A client that asks before it sends sends no body when it is refused: its next request is not taken for one."""
    expecting = "Expect: 100-continue\r\n"
    async with _connection() as connection:
        connection.send(_request("", expecting).replace(b"/echo", b"/refuse"))
        assert (await connection.answer())[0] == 415
        connection.send(_request("x", expecting).removesuffix(b"x"))
        await connection.asked_to_continue()
        connection.send(b"x")
        assert (await connection.answer())[::2] == (200, "x")
        connection.send(_request("x", expecting).replace(b"/echo", b"/refuse").removesuffix(b"x"))
        assert (await connection.answer())[0] == 415
        await connection.closed()


async def test_who_sends_no_more_is_answered() -> None:
    """A client that closes its half behind its requests, as `nc -N` does, gets every answer, then the end."""

    @get("/slow")
    async def slow() -> str:
        await asyncio.sleep(0.05)
        return "slow"

    async with serving(serve.application([slow])) as running:
        connection = await running.connect()
        connection.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        connection.send_no_more()
        for _ in range(2):
            assert (await connection.answer())[::2] == (200, "slow")
        await connection.closed()


async def test_who_leaves_a_stream_has_left() -> None:
    """Behind the first piece of a stream the end of a client's sending is the end of the stream."""
    left = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        try:
            while True:
                yield "piece"
                await asyncio.sleep(0.01)
        finally:
            left.set()

    @get("/stream")
    async def stream() -> Stream:
        return Stream(pieces())

    async with serving(serve.application([stream])) as running, asyncio.timeout(30):
        connection = await running.connect()
        connection.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await connection.read(1)
        connection.send_no_more()
        await left.wait()


async def test_blanks_behind_a_header_are_none_of_it() -> None:
    """`Host: localhost ` is a host of loopback, and an offer with a blank behind it is an offer."""
    async with _connection() as connection:
        connection.send(_request("x", "Upgrade: no \t\r\n").replace(b"localhost", b"localhost \t "))
        assert (await connection.answer())[::2] == (200, "xno")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_http_1_0_knows_no_chunks(version: str) -> None:
    """An answer of unknown length comes as it is and ends with its connection; 1.1 gets chunks."""

    @get("/stream")
    async def stream() -> Stream:
        return Stream(iter(["one ", "two"]))

    @get("/plain")
    async def plain() -> str:
        return "plain"

    async with serving(serve.application([stream, plain])) as running:
        connection = await running.connect()
        connection.send(f"GET /stream HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        whole = b""
        while piece := await connection.read(1000):
            whole += piece
        head, _, body = whole.partition(b"\r\n\r\n")
        assert b"connection: close" in head.lower()
        assert (b"transfer-encoding" in head.lower()) is (version == "1.1")
        assert body == (b"one two" if version == "1.0" else b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
        connection = await running.connect()
        connection.send(f"GET /plain HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        assert (await connection.answer())[::2] == (200, "plain")
