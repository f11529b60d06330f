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
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from services.gateway.http.json_schemas import query_operation
from services.gateway.http.queries import NoQuery, provide_query
from services.gateway.http.responses import JOB_ID_PATTERN
from shared.http.error_responses import documented
from shared.http.health import READING

JobIdInPath = Annotated[
    str, PathParameter(name="jobId", description="Id of the job", schema_extra={"pattern": JOB_ID_PATTERN})
]

LOCATION: Final = ResponseHeader(
    name="Location", value="", documentation_only=True, description="Where the job's status is"
)


def reading(
    path: str, summary: str, *errors: int, query: type[msgspec.Struct] = NoQuery
) -> Callable[[Any], HTTPRouteHandler]:
    """A GET, and HEAD, that answers 200. `errors`: the statuses that it answers besides."""
    return _call(path, query, errors, methods=READING, status_code=200, summary=summary)


def changing(
    path: str, summary: str, *errors: int, status: int = 200, **more: Any
) -> Callable[[Any], HTTPRouteHandler]:
    """A POST without a body. `status`: that of its answer, `errors`: the statuses that it answers besides."""
    return _call(path, NoQuery, errors, methods=[HttpMethod.POST], status_code=status, summary=summary, **more)


def deleting(path: str, summary: str, *errors: int) -> Callable[[Any], HTTPRouteHandler]:
    """A DELETE that answers 204. `errors`: the statuses that it answers besides."""
    return _call(path, NoQuery, errors, methods=[HttpMethod.DELETE], status_code=204, summary=summary)


def _call(
    path: str, query: type[msgspec.Struct], errors: tuple[int, ...], *, methods: list[HttpMethod], **more: Any
) -> Callable[[Any], HTTPRouteHandler]:
    return route(
        path,
        http_method=methods,
        responses=documented(*errors),
        dependencies={"_params" if query is NoQuery else "params": provide_query(query)},
        operation_class=query_operation(query),
        **more,
    )
