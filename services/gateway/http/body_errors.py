r"""Names every bad field of a body that did not decode: msgspec stops at the first one. Runs for bad input only.

JavaScript cuts strings between the two halves of an emoji; `JSON.stringify` writes the half as `\ud83d`. That is JSON,
but no text: no UTF-8 exists for it, and its fields are named too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import islice
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from services.gateway.http.struct_errors import struct_errors
from shared.http.field_errors import field_error
from shared.http.problems import MAX_ERRORS, MAX_NAME, FieldError

UNDECODABLE: Final = (ValueError, RecursionError)
"""The errors of msgspec for bad input: its own, UnicodeDecodeError, and a RecursionError for deep nesting."""

HALF_CHARACTER: Final = "holds half an emoji (a lone surrogate): cut texts between characters"

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_LONE: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
SIZE_MAX: Final = 2 << 20
"""Bytes of the largest body in which half characters are searched: 2 MiB of nothing but escapes take 50 ms. In larger
batches the message names only the position."""

_MARK: Final = "\ufdd0"
"""Replacement for each half: never a character, by the Unicode standard."""

_MARKED: Final = _MARK.encode()
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


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


def crowded_field(body: bytes, count: Callable[[bytes], int]) -> str:
    """The name of the field of an object that has most of what `count` counts; empty for a body that is no object."""
    try:
        fields = _object.decode(body)
    except UNDECODABLE:
        return ""
    return max(fields, key=lambda name: count(bytes(fields[name])), default="")


def bad_fields(body: bytes, kind: type[msgspec.Struct], error: Exception, prefix: str) -> list[FieldError]:
    """All bad fields of a body, below `prefix`, that is no `kind`, as msgspec's `error` says."""
    if not body.strip():
        return [FieldError(prefix or "body", "is empty")]
    if (encoding := _other_encoding(bytes(body))) is not None:
        return [FieldError(prefix or "body", f"is {encoding}: JSON is sent as UTF-8")]

    try:
        given = _object.decode(body)
    except UNDECODABLE:
        return half_characters(bytes(body), prefix) or [field_error(error, prefix)]
    return struct_errors(given, kind, _check_field, prefix) or [field_error(error, prefix)]


def _other_encoding(body: bytes) -> str | None:
    """The name of an encoding that is not UTF-8, by its byte order mark or by where the first characters have zeros."""
    start = body[:4]
    if start in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") or start.count(0) == 3:
        return "UTF-32"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(body) > 1 and 0 in start[:2]):
        return "UTF-16"
    return None


def _check_field(raw: msgspec.Raw, kind: Any, path: str) -> list[FieldError]:
    found = _check(raw, kind, path)
    if found and get_origin(mapping := _without_limits(kind)) is dict:
        return _bad_values(raw, get_args(mapping)[1], _length_max(kind), path) or found
    return found


def _check(raw: msgspec.Raw, kind: Any, path: str) -> list[FieldError]:
    try:
        _decoder(kind).decode(raw)
    except UNDECODABLE as error:
        return [field_error(error, path, kind)]
    return []


def _bad_values(raw: msgspec.Raw, kind: Any, length_max: int, path: str) -> list[FieldError]:
    """The values of a mapping by name: msgspec says only that some value is wrong."""
    try:
        values = _object.decode(raw)
    except UNDECODABLE:
        return []
    if len(values) > length_max:
        return []

    checked = (_check(value, kind, f"{path}.{name[:MAX_NAME]}") for name, value in values.items())
    return list(islice((error for errors in checked for error in errors), MAX_ERRORS))


def _without_limits(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _length_max(kind: Any) -> int:
    """The most entries that a mapping may have; one without a limit is not read."""
    limits = [held.max_length for held in get_args(kind)[1:] if isinstance(held, msgspec.Meta)]
    return limits[0] or 0 if limits else 0


def half_characters(body: bytes, prefix: str) -> list[FieldError]:
    """The fields, below `prefix`, that hold half a character; none when there is no such half. Linear in `body`."""
    if len(body) > SIZE_MAX:
        return []
    # Without the escaped backslashes every `\u` that is left begins an escape.
    marked, count = _LONE.subn(_MARKED, body.replace(rb"\\", b"//"))
    if not count:
        return []

    try:
        paths = _paths(msgspec.Raw(marked), prefix)
    except UNDECODABLE:
        paths = []
    return [FieldError(path, HALF_CHARACTER) for path in paths or [prefix or "body"]]


def _paths(value: msgspec.Raw, path: str) -> list[str]:
    """Paths of the marks in `value`: the fields of a job, of each job of a batch, and one level of what they hold."""
    found: list[str] = []
    for name, held in _object.decode(value).items():
        below = f"{path}.{_shown(name)}" if path else _shown(name)
        if _MARK in name:
            found.append(below)
        elif _MARKED in bytes(held):
            found += _inside(name, held, below)
    return found[:MAX_ERRORS]


def _inside(name: str, held: msgspec.Raw, path: str) -> list[str]:
    if name == "jobs":
        jobs = enumerate(_array.decode(held))
        return [inner for i, job in jobs if _MARKED in bytes(job) for inner in _paths(job, f"{path}[{i}]")]
    if bytes(held).lstrip()[:1] != b"{":
        return [path]
    keys = [key for key, value in _object.decode(held).items() if _MARK in key or _MARKED in bytes(value)]
    return [f"{path}.{_shown(key)}" for key in keys]


def _shown(name: str) -> str:
    return name.replace(_MARK, "\ufffd")[:MAX_NAME]
