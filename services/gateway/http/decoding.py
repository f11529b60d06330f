"""Decodes bodies strictly, and names every bad field of one that does not decode."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from services.gateway.http.json_depth import MAX_DEPTH, deep_field, too_deep
from services.gateway.http.surrogates import halves
from services.gateway.submit.schemas import MAX_PARAMETERS, Value
from shared.http.problems import INVALID, MAX_ERRORS, MAX_NAME, FieldError, Problem, choices_of, field_error

RequestT = TypeVar("RequestT", bound=msgspec.Struct)

UNDECODABLE: Final = (ValueError, RecursionError)
"""What msgspec raises for bad input: its own errors, UnicodeDecodeError, and a RecursionError for deep nesting."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} deep"


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(body: bytes | msgspec.Raw, kind: type[RequestT], prefix: str = "") -> RequestT:
    """The request in `body`, an object of bounded size; a 400 `Problem` that names the bad fields, below `prefix`."""
    if too_deep(body := bytes(body), 1 + MAX_DEPTH):
        name = deep_field(body, 1 + MAX_DEPTH)[:MAX_NAME]
        path = ".".join(part for part in (prefix, name) if part)
        raise Problem(INVALID, errors=[FieldError(path or "body", TOO_DEEP)])
    return decode_shallow(body, kind, prefix)


def decode_shallow(body: bytes, kind: type[RequestT], prefix: str = "") -> RequestT:
    """The same for what was found to be not too deep."""
    try:
        request: RequestT = _decoder(kind).decode(body)
    except UNDECODABLE as error:
        raise Problem(INVALID, errors=_explain(body, kind, error, prefix)) from None
    return request


def _explain(body: bytes, kind: type[msgspec.Struct], error: Exception, prefix: str) -> list[FieldError]:
    """msgspec stops at the first error: look at each field by itself. Runs for bad input only."""
    if not body.strip():
        return [FieldError(prefix or "body", "is empty")]
    if (encoding := _other_encoding(bytes(body))) is not None:
        return [FieldError(prefix or "body", f"is {encoding}: JSON is sent as UTF-8")]
    try:
        given = _FIELDS.decode(body)
    except UNDECODABLE:
        return halves(bytes(body), prefix) or [field_error(error, prefix)]
    dot = f"{prefix}." if prefix else ""
    found: list[FieldError] = []
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in known.items():
        if name not in given:
            found += [FieldError(dot + name, "required")] if field.required else []
        elif (fault := _check(given[name], field.type, dot + name)) is not None:
            found += _bad_values(given[name], dot + name) if name == "parameters" else []
            found += [] if found and found[-1].field.startswith(dot + name) else [fault]
    unknown = [name for name in given if name not in known][:MAX_ERRORS]
    found += [FieldError(f"{dot}{name[:MAX_NAME]}", "unknown field") for name in unknown]
    return found or [field_error(error, prefix)]


def _other_encoding(body: bytes) -> str | None:
    """The name of an encoding that is not UTF-8, by its byte order mark or by where the first characters have zeros."""
    start = body[:4]
    if start in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") or start.count(0) == 3:
        return "UTF-32"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(body) > 1 and 0 in start[:2]):
        return "UTF-16"
    return None


def _check(raw: msgspec.Raw, kind: Any, path: str) -> FieldError | None:
    try:
        _decoder(kind).decode(raw)
    except UNDECODABLE as error:
        return field_error(error, path, choices_of(kind))
    return None


def _bad_values(raw: msgspec.Raw, path: str) -> list[FieldError]:
    """The parameters by name: of a mapping msgspec tells only that some value is wrong."""
    try:
        values = _FIELDS.decode(raw)
    except UNDECODABLE:
        return []
    if len(values) > MAX_PARAMETERS:
        return []
    checked = (_check(value, Value, f"{path}.{name[:MAX_NAME]}") for name, value in values.items())
    return list(islice((fault for fault in checked if fault is not None), MAX_ERRORS))
