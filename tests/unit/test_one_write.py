"""A response's head and its body in one write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from litestar.handlers import asgi
from litestar.types import Receive, Scope, Send

from shared.server import serve
from shared.server.framing import COPIED_MAX, OneWrite
from tests.support.connections import serving

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Writes(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[bytes] = []

    def write(self, data: Any) -> None:
        """Take bytes."""
        if data:
            self.found.append(bytes(data))

    def close(self) -> None:
        """Note it."""
        self.found.append(b"closed")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ([HEAD, b"body"], [HEAD + b"body"]),
        ([HEAD, b"bo", b"dy"], [HEAD + b"bo", b"dy"]),
        ([HEAD, b""], [HEAD]),
        ([HEAD, b"x" * (COPIED_MAX + 1)], [HEAD, b"x" * (COPIED_MAX + 1)]),
        ([STREAM], [STREAM]),
        ([CONTINUE, HEAD, b"body"], [CONTINUE, HEAD + b"body"]),
    ],
)
def test_a_head_waits_for_its_body_and_for_nothing_else(written: list[bytes], sent: list[bytes]) -> None:
    """The head of a stream, whose body may come much later, goes at once; so does a piece that is not the first."""
    transport = Writes()
    response = OneWrite(transport)
    for piece in written:
        response.write(piece)
    assert transport.found == sent


def test_a_head_without_its_body_leaves_before_the_connection_closes() -> None:
    """An application that fails between them ends its response."""
    transport = Writes()
    response = OneWrite(transport)
    response.write(HEAD)
    response.close()
    assert transport.found == [HEAD, b"closed"]


async def test_head_is_answered_without_a_body() -> None:
    """A response to HEAD announces a length and has none; the next one does not wait."""

    @asgi("/", copy_scope=False)
    async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - by these names
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"body", "more_body": False})

    async with serving(serve.application([application])) as running:
        connection = await running.connect()
        connection.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await connection.read(1 << 16)
        assert head.endswith(b"\r\n\r\n")
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await connection.answer())[::2] == (200, "body")
