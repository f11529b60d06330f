"""Reads the head and the body of a raw ASGI request, with limits: what is too much is never held in memory."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from litestar.types import HTTPScope, Receive

from shared.http.problems import TOO_LARGE, TOO_SLOW, UNSUPPORTED_MEDIA_TYPE, Problem

BODY_SECONDS: Final = 10.0
"""How long the rest of a body may take after its first piece."""


class ClientGone(Exception):
    """The client hung up while sending: there is nobody to answer."""


class Head(msgspec.Struct):
    """The headers of a submit that matter."""

    content_type: bytes = b""
    content_length: bytes = b"0"
    idempotency_key: bytes | None = None
    traceparent: bytes | None = None


def read_head(scope: HTTPScope) -> Head:
    """Pick the headers in one pass."""
    head = Head()
    for name, value in scope["headers"]:
        if name == b"content-type":
            head.content_type = value
        elif name == b"content-length":
            head.content_length = value
        elif name == b"idempotency-key":
            head.idempotency_key = value
        elif name == b"traceparent":
            head.traceparent = value
    return head


async def read_body(head: Head, receive: Receive, limit: int) -> bytes:
    """The whole body. 415 and 413 `Problem`s come before anything is read, 413 also while it arrives in pieces.

    408 when it dawdles; ClientGone when the client does not want to know.
    """
    if head.content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Problem(UNSUPPORTED_MEDIA_TYPE)
    if not head.content_length.isdigit() or int(head.content_length) > limit:
        raise Problem(TOO_LARGE, f"at most {limit} bytes")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _collect(receive, limit)
    except TimeoutError:
        raise Problem(TOO_SLOW, headers={"Connection": "close"}) from None


async def _collect(receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        size += len(message["body"])
        if size > limit:
            raise Problem(TOO_LARGE, f"at most {limit} bytes")
        pieces.append(message["body"])
        if not message["more_body"]:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
