"""Framing of a request's body: the head before it, chunk sizes, their extensions and trailers. All of it is bounded,
and of the latter nothing is kept: uvicorn puts trailers among the headers, where they could change the identity.

And of a response: uvicorn writes its head and its body one after the other. Each write is a system call and a packet,
which cost more than any other step of the answer to a submit, so both leave in one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX: Final = 64 * 1024
"""Bytes of a request's line and headers; those that came with its first piece are not counted. The same bound holds for
bytes between a body's pieces or behind it, beside those that short pieces need."""

_ROOM: Final = 8
"""Bytes around each byte of a body that count for nothing: a chunk of one byte has five."""


class Framed(HttpToolsProtocol):
    """Counts the bytes that are not body."""

    __slots__ = ("_around_body", "_head_bytes")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._around_body = 0
        self._head_bytes: int | None = None
        """Bytes of the head that has begun; None: none has, or it is complete."""

    def _count(self, length: int) -> None:
        """Count bytes that came; `on_body` takes off those of a body."""
        if self._head_bytes is not None:
            self._head_bytes += length
        else:
            self._around_body += length

    @property
    def _endless(self) -> bool:
        """Whether there are too many bytes beside the body."""
        return max(self._head_bytes or 0, self._around_body) > HEAD_MAX

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._around_body = self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, without the blanks that the parser leaves behind its value; a trailer is dropped."""
        if self._head_bytes is not None:
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """End a head."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._around_body = max(0, self._around_body - (1 + _ROOM) * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._around_body = 0
        super().on_message_complete()


_OF_KNOWN_LENGTH: Final = b"\r\ncontent-length: "
_STATUS: Final = b"HTTP/1.1 "

COPIED_MAX: Final = 64 * 1024
"""Bytes of a body up to which it is copied behind the head."""


class OneWrite:
    """A connection's transport for one response, to anything but HEAD: a head that announces a length waits for the
    first piece of its body. The head of a stream goes at once: its client waits for it."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send bytes, or keep the head until there is more."""
        if self._head:
            data = self._behind_head(data)
        elif data.startswith(_STATUS) and _OF_KNOWN_LENGTH in data:
            self._head = data
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self._transport.write(self._behind_head(b""))
        self._transport.close()

    def _behind_head(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        if len(data) <= COPIED_MAX:
            return head + data
        self._transport.write(head)
        return data
