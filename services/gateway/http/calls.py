"""Typed calls of `/api/ai`: Litestar handlers that name their query struct and the errors they answer.

A handler's `params` are its query (`_params` when it has none: any parameter is refused), its `identity` is the
caller's, and its return type is the body of its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from litestar import HttpMethod, route
from litestar.datastructures import ResponseHeader
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from services.gateway.http.body_dependency import BODY_ERRORS, provide_body
from services.gateway.http.json_schemas import described_operation
from services.gateway.http.queries import NoQuery, provide_query
from services.gateway.http.responses import JOB_ID_PATTERN
from shared.http.auth import Scope
from shared.http.error_responses import CALLER_ERRORS, documented
from shared.http.health import READING

JobIdInPath = Annotated[
    str, PathParameter(name="jobId", description="Id of the job", schema_extra={"pattern": JOB_ID_PATTERN})
]

LOCATION: Final = ResponseHeader(
    name="Location", value="", documentation_only=True, description="Where the job's status is"
)


def reading(
    path: str, summary: str, *errors: int, scope: Scope, query: type[msgspec.Struct] = NoQuery, lines: str = ""
) -> Callable[[Any], HTTPRouteHandler]:
    """A GET, and HEAD, that answers 200. `scope`: the right it needs; `errors`: the statuses that it answers besides
    those of a caller without it; `lines`: a media type that it may answer with instead of JSON."""
    return _call(path, query, errors, scope, lines=lines, methods=READING, status_code=200, summary=summary)


def changing(
    path: str,
    summary: str,
    *errors: int,
    scope: Scope,
    status: int = 200,
    method: HttpMethod = HttpMethod.POST,
    body: type[msgspec.Struct] | None = None,
    **more: Any,
) -> Callable[[Any], HTTPRouteHandler]:
    """A call that changes something: a POST, unless `method` says otherwise, without a body unless `body` describes
    it, which is then the handler's `content`. `status`: that of its answer; the rest as above."""
    if body is not None:
        errors = (*errors, *BODY_ERRORS)
        more["dependencies"] = {"content": provide_body(body)}
    return _call(path, NoQuery, errors, scope, methods=[method], status_code=status, summary=summary, body=body, **more)


def deleting(path: str, summary: str, *errors: int, scope: Scope) -> Callable[[Any], HTTPRouteHandler]:
    """A DELETE that answers 204. The rest as for `reading`."""
    return _call(path, NoQuery, errors, scope, methods=[HttpMethod.DELETE], status_code=204, summary=summary)


def _call(
    path: str,
    query: type[msgspec.Struct],
    errors: tuple[int, ...],
    scope: Scope,
    *,
    methods: list[HttpMethod],
    body: type[msgspec.Struct] | None = None,
    lines: str = "",
    dependencies: dict[str, Provide] | None = None,
    **more: Any,
) -> Callable[[Any], HTTPRouteHandler]:
    named = {"_params" if query is NoQuery else "params": provide_query(query)}
    return route(
        path,
        http_method=methods,
        responses=documented(*sorted({*CALLER_ERRORS, *errors})),
        dependencies={**named, **(dependencies or {})},
        operation_class=described_operation(query, body),
        opt={"scope": scope, "body": body, "lines": lines},
        **more,
    )
