"""How deep JSON is nested, told before it is decoded: decoders, and Redis's own, give up at depths of their own.

In time proportional to the body, in pieces. What is no JSON may be called shallow: the decoder, which reads it next,
says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_DEPTH: Final = 16
"""Levels of `metadata` and `parameters`; each is itself the first."""

PIECE: Final = 64 * 1024
"""Bytes that are looked at in one go."""

_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_OPENING: Final = frozenset(b"[{")
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def look_for_depth(body: bytes, levels: int) -> Iterator[bool]:
    """Whether more than `levels` brackets are open at once somewhere: False for each piece in which they are not, then
    True or the end. A caller that serves others too lets them in between the pieces."""
    if body.count(b"[") + body.count(b"{") <= levels:
        return
    # What is escaped ends no string.
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    depth, inside = 0, 0
    for start in range(0, len(text), PIECE):
        parts = text[start : start + PIECE].split(b'"')
        outside = b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
        for bracket in outside.translate(None, _NO_BRACKETS):
            depth += 1 if bracket in _OPENING else -1
            if depth > levels:
                yield True
                return
        yield False


def too_deep(body: bytes, levels: int) -> bool:
    """The same at once, for bodies that are bounded."""
    return any(look_for_depth(body, levels))


def deep_field(body: bytes, levels: int) -> str:
    """The name of the field of an object in which more than `levels` brackets are open, those of the object counted;
    empty when there is none. For an object of bounded size: every bracket costs a fraction of a microsecond."""
    depth, name = 0, b""
    for token in _TOKEN.finditer(body):
        found = token.group()
        if found in b"[{":
            depth += 1
            if depth > levels:
                return name.decode("utf-8", "replace")
        elif found in b"]}":
            depth -= 1
        elif depth == 1:
            name = found[1:-1]
    return ""
