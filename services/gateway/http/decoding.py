"""Decodes bodies strictly, after a check of their nesting and of the length of their lists: decoders, and Redis's
own, give up at depths of their own, and make all of a list before they count it.

The check takes time proportional to the body, in pieces. A body that is no JSON may be called shallow: the decoder,
which reads it next, names the fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from services.gateway.http.body_errors import UNDECODABLE, bad_fields, crowded_field, deep_field
from shared.http.problems import INVALID, MAX_NAME, FieldError, Problem

RequestT = TypeVar("RequestT", bound=msgspec.Struct)

MAX_DEPTH: Final = 16
"""Levels of `metadata` and `parameters`; each is itself the first."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} deep"

PIECE: Final = 64 * 1024
"""Bytes that are checked in one go."""

FAR_MAX: Final = 64
"""Numbers with an exponent beyond 200: the decoder takes 10 µs for each, when the body comes and whenever the job is
read."""

TOO_FAR: Final = f"more than {FAR_MAX} numbers with an exponent beyond 200"

_FAR: Final = re.compile(rb"[0-9.][eE][+-]?0*[2-9][0-9]{2}")
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b"[]{},")
_OPENING: Final = frozenset(b"[{")
_COMMA: Final = ord(",")


class Fault(Enum):
    """A shape that no body may have."""

    DEEP = "deep"  # more brackets are open at once than there may be
    MANY = "many"  # a list within the body's object has more items than there may be


def scan(body: bytes, levels: int, items: int | None = None) -> Iterator[Fault | None]:
    """Whether more than `levels` brackets are open at once, or lists that are members of the body's object
    have more than `items` between them. None for each piece in which nothing is wrong, then the fault or the end: a
    caller that serves others too lets them in between the pieces."""
    if body.count(b"[") + body.count(b"{") <= levels and (items is None or body.count(b",") < items):
        return  # also if all of them were in one place; most bodies end here

    depth, commas = 0, 0
    for marks in _marks(body):
        depth, deepest, separating = _follow(marks, depth)
        commas += separating
        if deepest > levels:
            yield Fault.DEEP
            return
        if items is not None and commas >= items:
            yield Fault.MANY
            return
        yield None


def _marks(body: bytes) -> Iterator[bytes]:
    """The brackets and commas outside of strings, in pieces."""
    text, inside = _plain(body), 0
    for start in range(0, len(text), PIECE):
        parts = text[start : start + PIECE].split(b'"')
        yield b"".join(parts[inside::2]).translate(None, _OTHERS)
        inside = (inside + len(parts) - 1) % 2


def _plain(body: bytes) -> bytes:
    """The same without escaped quotes, which end no string."""
    return body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body


def _follow(marks: bytes, depth: int) -> tuple[int, int, int]:
    """The depth behind these marks, the deepest place in them, and their commas on the second level."""
    deepest, commas = depth, 0
    for mark in marks:
        if mark == _COMMA:
            commas += depth == 2
        elif mark in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return depth, deepest, commas


def too_deep(body: bytes, levels: int) -> bool:
    """Whether more than `levels` brackets are open at once: for bodies of bounded size."""
    return any(scan(body, levels))


def far_numbers(body: bytes) -> int:
    """Count numbers with an exponent beyond 200, outside of strings; fewer than FAR_MAX are not counted
    exactly."""
    count = len(_FAR.findall(body))
    if count <= FAR_MAX or b'"' not in body:
        return count
    return len(_FAR.findall(b" ".join(_plain(body).split(b'"')[::2])))


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(body: bytes, kind: type[RequestT], prefix: str = "") -> RequestT:
    """The request in `body`, an object of bounded size; a 400 `Problem` that names the bad fields, below `prefix`."""
    if too_deep(body, 1 + MAX_DEPTH):
        raise _refused(prefix, deep_field(body, 1 + MAX_DEPTH), TOO_DEEP)
    if far_numbers(body) > FAR_MAX:
        raise _refused(prefix, crowded_field(body, far_numbers), TOO_FAR)

    return decode_shallow(body, kind, prefix)


def _refused(prefix: str, name: str, message: str) -> Problem:
    path = ".".join(part for part in (prefix, name[:MAX_NAME]) if part)
    return Problem(INVALID, errors=[FieldError(path or "body", message)])


def decode_shallow(body: bytes, kind: type[RequestT], prefix: str = "") -> RequestT:
    """The request in a body that is known not to be too deep; errors as above."""
    try:
        request: RequestT = _decoder(kind).decode(body)
    except UNDECODABLE as error:
        raise Problem(INVALID, errors=bad_fields(body, kind, error, prefix)) from None
    return request
