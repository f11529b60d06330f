"""The query strings of the reading calls, checked like bodies. Names that no call knows are ignored."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from services.gateway.submit.schemas import Identifier
from shared.http.problems import INVALID, FieldError, Problem, choices_of, field_error, invalid
from shared.job import JobStatus

QueryT = TypeVar("QueryT", bound=msgspec.Struct)

WAIT_MAX: Final = 30
PAGE_MAX: Final = 100


class StatusQuery(msgspec.Struct, frozen=True, rename="camel"):
    """Of job-status. `wait`: seconds to wait for the end of the job."""

    job_id: str
    wait: Annotated[float, Meta(ge=0, le=WAIT_MAX)] = 0


class ListQuery(msgspec.Struct, frozen=True, rename="camel"):
    """Of the listing. A token that is bound to an organisation need not name it."""

    organization_id: Identifier | None = None
    status: JobStatus | None = None
    cursor: Annotated[str, Meta(max_length=256)] | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 50


def read_query(query_string: bytes, kind: type[QueryT]) -> QueryT:
    """The query; a 400 `Problem` that names the bad parameter."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise Problem(INVALID, errors=[FieldError("query", "not a valid query string")]) from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise invalid(name[:100], "given twice")
        given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        named = field_error(error).field
        types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        fault = field_error(error, choices=choices_of(types.get(named)))
        # Everything in a query is text: that it is not what was wanted says nothing.
        raise invalid(fault.field, fault.message.removesuffix(", got `string`")) from None
