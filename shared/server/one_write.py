"""Sends a response's head together with its body: uvicorn writes one after the other, and each write is a system call
and a packet, which cost more than all else in the answer to a submit."""

from __future__ import annotations

import asyncio
from typing import Any, Final

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
