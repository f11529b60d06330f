"""Requests that offer another protocol, without the offer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_OFFERS: Final = (b"upgrade", b"http2-settings")
"""Headers that offer another protocol, and their names in `Connection`."""


def without_offer(method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a request as it would be without the offer. Empty for CONNECT, which is itself such an offer."""
    if method == b"CONNECT":
        return b""
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode())]
    for name, value in headers:
        kept = value
        if name == b"connection":
            kept = b",".join(word for word in value.split(b",") if word.strip().lower() not in _OFFERS)
        if name not in _OFFERS and (kept or not value):
            lines.append(name + b": " + kept)
    return b"\r\n".join([*lines, b"", b""])
