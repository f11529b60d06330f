"""Responses for HTTP/1.0, which knows no chunks: a body of unknown length ends with its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class _Unframed:
    """Replaces a cycle's `send`. uvicorn writes chunk sizes unless it knows the length of a body."""

    __slots__ = ("_cycle", "_of_unknown_length")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._of_unknown_length = False

    @property
    def transport(self) -> asyncio.Transport:
        """The connection, for callers that must cut it."""
        return self._cycle.transport

    def send(self, message: Any) -> Awaitable[None]:
        """ASGI's `send`."""
        if message["type"] == "http.response.start":
            if all(name.lower() != b"content-length" for name, _ in message["headers"]):
                self._of_unknown_length, self._cycle.chunked_encoding = True, False
        elif self._of_unknown_length:
            self._cycle.expected_content_length = len(message.get("body", b""))
        return self._cycle.send(message)


def without_chunks(app: Any, cycle: RequestResponseCycle) -> Any:
    """The application, for the one request of `cycle`."""

    def called(scope: Any, receive: Any, _: Any) -> Awaitable[None]:
        answer: Awaitable[None] = app(scope, receive, _Unframed(cycle).send)
        return answer

    return called
