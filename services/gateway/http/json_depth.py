"""How deep JSON is nested and how long its lists are, told before it is decoded: decoders, and Redis's own, give up at
depths of their own, and make all of a list before they count it.

In time proportional to the body, in pieces. What is no JSON may be called shallow: the decoder, which reads it next,
says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

MAX_DEPTH: Final = 16
"""Levels of `metadata` and `parameters`; each is itself the first."""

PIECE: Final = 64 * 1024
"""Bytes that are looked at in one go."""

_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b"[]{},")
_OPENING: Final = frozenset(b"[{")
_COMMA: Final = ord(",")


class Fault(Enum):
    """What is wrong with the shape of a body."""

    DEEP = "deep"  # more brackets are open at once than there may be
    MANY = "many"  # a list within the body's object has more items than there may be


_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def look_over(body: bytes, levels: int, items: int | None = None) -> Iterator[Fault | None]:
    """Whether more than `levels` brackets are open at once, or lists that are members of the body's object
    have more than `items` between them. None for each piece in which nothing is wrong, then the fault or the end: a
    caller that serves others too lets them in between the pieces."""
    # What is escaped ends no string.
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    depth, commas, inside = 0, 0, 0
    for start in range(0, len(text), PIECE):
        parts = text[start : start + PIECE].split(b'"')
        outside = b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
        for mark in outside.translate(None, _OTHERS):
            if mark == _COMMA:
                commas += depth == 2
                continue
            depth += 1 if mark in _OPENING else -1
            if depth > levels:
                yield Fault.DEEP
                return
        if items is not None and commas >= items:
            yield Fault.MANY
            return
        yield None


def too_deep(body: bytes, levels: int) -> bool:
    """Whether it is deeper, told at once: for bodies that are bounded."""
    return body.count(b"[") + body.count(b"{") > levels and any(look_over(body, levels))


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
