"""What stands around the body of a request: its head before it, and within and behind it chunk sizes, their extensions
and trailers. All of it is bounded, and of the latter nothing is kept: uvicorn puts trailers among the headers, where
they would have a say in who asks."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX: Final = 64 * 1024
"""Bytes of a request's line and headers; those that came with its first piece are not counted. As many may stand
between a body's pieces or behind it, beside what short pieces need."""

_ROOM: Final = 8
"""Bytes around each byte of a body that count for nothing: a chunk of one byte has five."""


class Framed(HttpToolsProtocol):
    """Counts what is no body."""

    __slots__ = ("_around_body", "_head_bytes")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._around_body = 0
        self._head_bytes: int | None = None
        """Of the head that has begun; None: none has, or it is complete."""

    def _count(self, length: int) -> None:
        """So many bytes came; `on_body` takes off those of a body."""
        if self._head_bytes is not None:
            self._head_bytes += length
        else:
            self._around_body += length

    @property
    def _endless(self) -> bool:
        """Whether there is too much beside the body."""
        return max(self._head_bytes or 0, self._around_body) > HEAD_MAX

    def on_message_begin(self) -> None:
        """A head begins."""
        self._around_body = self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, without the blanks that the parser leaves behind its value; a trailer is dropped."""
        if self._head_bytes is not None:
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._around_body = max(0, self._around_body - (1 + _ROOM) * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._around_body = 0
        super().on_message_complete()
