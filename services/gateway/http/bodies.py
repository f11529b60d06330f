"""The raw ASGI calls that take a body: reads it with limits, so that too much is never held in memory, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar.types import HTTPScope, Receive, Send
from prometheus_client import Counter

from shared.http.auth import Identity, Scope
from shared.http.error_responses import from_error
from shared.http.methods import answer_other_method
from shared.http.organization_limits import Held, InUse
from shared.http.problems import TOO_LARGE, TOO_SLOW, UNSUPPORTED_MEDIA_TYPE, Problem
from shared.identity.authenticator import Authenticator

LENGTH_DIGITS: Final = 20
"""Most digits of a `Content-Length`: a longer number is too large anyway, and Python does not read thousands of
digits."""

BODY_SECONDS: Final = 10.0
"""Time for the rest of a body after its first piece, in s."""

_MARK: Final = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some editors and .NET put before a text: no part of it."""


class ClientGone(Exception):
    """The client hung up while sending: there is no connection to answer on."""


class Head(msgspec.Struct):
    """The headers of a submit that matter."""

    content_type: bytes = b""
    content_encoding: bytes = b""
    content_length: bytes = b"0"
    idempotency_key: bytes | None = None
    traceparent: bytes | None = None


def read_head(scope: HTTPScope) -> Head:
    """Pick the headers in one pass."""
    head = Head()
    for name, value in scope["headers"]:
        if name == b"content-type":
            head.content_type = value
        elif name == b"content-encoding":
            head.content_encoding = value
        elif name == b"content-length":
            head.content_length = value
        elif name == b"idempotency-key":
            head.idempotency_key = value
        elif name == b"traceparent":
            head.traceparent = value
    return head


RawCall = Callable[[HTTPScope, Receive, Send, Identity], Awaitable[None]]


class Posts:
    """Answers the calls that submit jobs; their errors are counted by type in `refused`."""

    def __init__(self, authenticator: Authenticator, refused: Counter, bodies: InUse) -> None:
        """`bodies`: how many bytes of bodies are being read for each organisation."""
        self._authenticator = authenticator
        self._refused = refused
        self._bodies = bodies

    async def answer(self, call: RawCall, scope: Any, receive: Receive, send: Send) -> None:
        """Let `call` answer a POST; a 405 `Problem` for other methods, 401 without an identity, 403 for one that may
        submit no jobs."""
        if scope["method"] != "POST":
            await answer_other_method(scope["method"], send, "POST")
            return

        identity = await self._authenticator.identify(scope)
        identity.require_scope(Scope.JOBS_WRITE)
        try:
            await call(scope, receive, send, identity)
        except ClientGone:
            return
        except Exception as error:
            self._refused.labels(from_error(error).kind.slug).inc()
            raise

    async def read(self, head: Head, receive: Receive, limit: int, identity: Identity) -> bytes:
        """The whole body, see `read_body`; a 429 `Problem` when too many bytes are being read for its organisation."""
        with self._bodies.held(identity.organization_id) as held:
            return await read_body(head, receive, limit, held)


async def send_json(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Answer with JSON."""
    start = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def read_body(head: Head, receive: Receive, limit: int, held: Held | None = None) -> bytes:
    """The whole body. 415 and 413 `Problem`s come before anything is read, 413 also while it arrives in pieces.

    `held` grows by what is announced, else by what arrives, and may raise. 408 when the body is too slow; ClientGone
    when the client hung up.
    """
    announced = _announced(head, limit)
    if held is not None and announced:
        held.grow(announced)

    piece, more = await _piece(receive)  # the first has the server's deadline
    if more or len(piece) > limit:
        piece = await _rest(piece, receive, limit, None if announced else held)
    return piece.removeprefix(_MARK)


def _announced(head: Head, limit: int) -> int:
    """The length that a head announces, 0 for none; a `Problem` for a body that is not read."""
    if head.content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Problem(UNSUPPORTED_MEDIA_TYPE)
    if head.content_encoding.lower() not in (b"", b"identity"):
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE, "send it without Content-Encoding", headers={"Accept-Encoding": "identity"}
        )

    digits = head.content_length
    if len(digits) > LENGTH_DIGITS or not digits.isdigit() or int(digits) > limit:
        raise Problem(TOO_LARGE, f"at most {limit} bytes")
    return int(digits)


async def _rest(piece: bytes, receive: Receive, limit: int, held: Held | None) -> bytes:
    """The whole body, of which `piece` came first and more follows or is too much already."""
    pieces, size, more = [piece], len(piece), True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while size <= limit and more:
                if held is not None:
                    held.grow(len(piece))
                piece, more = await _piece(receive)
                pieces.append(piece)
                size += len(piece)
    except TimeoutError:
        raise Problem(TOO_SLOW, headers={"Connection": "close"}) from None

    if size > limit:
        raise Problem(TOO_LARGE, f"at most {limit} bytes")
    return b"".join(pieces)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    return message["body"], message["more_body"]
