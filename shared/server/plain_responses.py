"""Responses of the server itself, without an application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from shared.http.headers import NOTHING_LOADS, SAFE
from shared.http.problems import MEDIA_TYPE, OVERLOADED, Problem, send_problem


def as_response(problem: Problem, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole HTTP/1.1 response behind which the connection is closed."""
    body = problem.body()
    named = [
        *headers,
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
        *SAFE,
        NOTHING_LOADS,
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%s: %s\r\n" % header for header in named)
    return STATUS_LINE[problem.kind.status] + lines + b"\r\n" + body


async def overloaded(_scope: Any, _receive: Any, send: Any) -> None:
    """An ASGI application for a connection that is one too many."""
    await send_problem(send, Problem(OVERLOADED, retry_after=1, headers={"Connection": "close"}))
