"""Query strings as structs: decoded as strictly as bodies, and described to the OpenAPI document.

Litestar's own query parameters take the last one of several, ignore unknown ones, replace broken UTF-8, and remember
the 1,024 query strings seen last, which may have 64 KiB each.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar.di import NamedDependency, Provide
from litestar.types import Scope

from services.gateway.http.struct_errors import struct_errors
from shared.http.auth import Identity
from shared.http.field_errors import field_error
from shared.http.problems import INVALID, FieldError, Problem, invalid

QueryT = TypeVar("QueryT", bound=msgspec.Struct)

PARAMETERS_MAX: Final = 100
NAME_MAX: Final = 100


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of a call without parameters: each is unknown."""


def provide_query(kind: type[msgspec.Struct]) -> Provide:
    """The dependency that decodes a query string. It comes after that of the identity: without a token the answer is
    401 for any query."""

    def query(scope: Scope, identity: NamedDependency[Identity]) -> Any:  # noqa: ARG001 - it says the order
        return decode_query(scope["query_string"], kind)

    return Provide(query, sync_to_thread=False)


def decode_query(query_string: bytes, kind: type[QueryT]) -> QueryT:
    """The query; a 400 `Problem` that names all parameters that are bad, unknown or repeated."""
    given, repeated = _parameters(query_string)
    if repeated:
        raise Problem(INVALID, errors=[FieldError(name[:NAME_MAX], "given twice") for name in repeated])
    try:
        query = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError:
        raise Problem(INVALID, errors=struct_errors(given, kind, _check)) from None

    # `to=null` would count as left out.
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
    nulls = [name for name in given if getattr(query, fields[name]) is None]
    if nulls:
        raise Problem(INVALID, errors=[FieldError(name, "leave it out instead of null") for name in nulls])
    return query


def _parameters(query_string: bytes) -> tuple[dict[str, str], list[str]]:
    """The parameters by name, and the names that are there more than once."""
    if not query_string:
        return {}, []
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX
        )
    except ValueError:
        raise invalid("query", f"not a valid query string, or more than {PARAMETERS_MAX} parameters") from None

    given = dict(pairs)
    names = [name for name, _ in pairs] if len(given) < len(pairs) else []
    return given, [name for name in given if names.count(name) > 1]


def _check(text: str, kind: Any, name: str) -> list[FieldError]:
    try:
        msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        found = field_error(error, name, kind)
        # Every value of a query is text: its type does not help the reader.
        return [FieldError(found.field, found.message.removesuffix(", got `string`"))]
    return []
