"""Bounds on the bytes that a server makes us read, whichever transport is below: of an error the first ones, soon.

The body of an answer is bounded in `stream_reader.py`, its head and its trailers in `connection.py`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Final

import httpx2

ERROR_BYTES: Final = 65_536
"""An error is some hundred bytes of JSON; of more the beginning is kept, which is then no JSON and says nothing."""

ERROR_SECONDS: Final = 5.0
"""Time for the body of an error, in s. Its status and headers are there, and decide how the job goes on."""

_OF_THE_WIRE: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Passes on the answers of `inner`: good ones as streams, errors with the part of their body that came in time."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2. httpx2.TransportError; DecodingError for an answer that is packed more than once."""
        response = await self._inner.handle_async_request(request)
        names = response.headers.get_list("content-encoding", split_commas=True)
        readable = sum(name.lower() not in ("", "identity") for name in names) < 2
        if response.is_success and readable:
            return response

        try:
            # Layers multiply: each may make a thousand bytes of one, in one go that nothing interrupts.
            body = await _beginning(response) if readable else b""
        finally:
            await response.aclose()

        if response.is_success:
            raise httpx2.DecodingError("the answer is packed more than once", request=request)
        return httpx2.Response(
            response.status_code, headers=_headers(response), content=body, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """See httpx2."""
        await self._inner.aclose()


def _headers(response: httpx2.Response) -> list[tuple[bytes, bytes]]:
    """Those that hold for the part of a body: as bytes, for they may be in any encoding, and without the charset of the
    body, which the SDKs would follow: JSON is UTF-8, and what is not says nothing."""
    kept = []
    for name, value in response.headers.raw:
        if name.lower() not in _OF_THE_WIRE:
            kept.append((name, value.partition(b";")[0] if name.lower() == b"content-type" else value))
    return kept


async def _beginning(response: httpx2.Response) -> bytes:
    """The part of a body that comes within the bounds, however it ends."""
    body = b""
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(ERROR_SECONDS), aclosing(response.aiter_bytes()) as pieces:
            async for piece in pieces:
                body += piece[:ERROR_BYTES]
                if len(body) >= ERROR_BYTES:
                    break
    return body[:ERROR_BYTES]
