"""Errors become responses: one table of domain errors, one exception handler for Litestar."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap

from shared.errors import (
    BudgetExceeded,
    IdempotencyConflict,
    IdentityUnavailable,
    JobNotFound,
    JobUnreadable,
    KeyNotFound,
    OrganizationLimited,
    Overloaded,
    QuotaExceeded,
    StoreFull,
    StoreUnavailable,
    StoreUnfit,
    StreamUnavailable,
    SubmitRefused,
    TaskNotFound,
    TooManyBlocked,
    TooManyKeys,
    TooManyProjectBudgets,
    UserBlocked,
    WorkerNotFound,
)
from shared.http.organization_limits import LIMITS, Limit, limit_reached
from shared.http.problems import (
    BUDGET_EXCEEDED,
    FORBIDDEN,
    HTTP_ERROR,
    IDEMPOTENCY_CONFLICT,
    IDENTITY_UNAVAILABLE,
    INTERNAL,
    INVALID,
    JOB_UNREADABLE,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    OVERLOADED,
    PAUSED,
    STORE_FULL,
    STORE_QUOTA,
    STORE_UNAVAILABLE,
    STORE_UNFIT,
    TOO_LARGE,
    TOO_MANY_BLOCKED,
    TOO_MANY_KEYS,
    TOO_MANY_PROJECT_BUDGETS,
    UNAUTHORIZED,
    UNSUPPORTED_MEDIA_TYPE,
    USER_BLOCKED,
    FieldError,
    Problem,
    ProblemDetails,
)

_log: Final = structlog.get_logger(__name__)

_BY_STATUS: Final = {
    kind.status: kind
    for kind in (INVALID, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
}


def submit_unavailable(error: StoreUnavailable, job_id: str) -> Problem:
    """The 503 of a submit; it names the job that may have been accepted."""
    return unavailable(job_id) if error.sent else from_error(error)


def unavailable(job_id: str | None = None) -> Problem:
    """A 503 because Redis did not answer; `job_id` names the job that may have been accepted."""
    if job_id is None:
        return Problem(STORE_UNAVAILABLE, retry_after=1)
    return Problem(STORE_UNAVAILABLE, "the job may have been accepted", retry_after=1, job_id=job_id)


_OF_STORE: Final[dict[type[Exception], Callable[[], Problem]]] = {
    JobNotFound: lambda: Problem(NOT_FOUND, "no such job"),
    KeyNotFound: lambda: Problem(NOT_FOUND, "no such key"),
    TaskNotFound: lambda: Problem(NOT_FOUND, "no such task"),
    WorkerNotFound: lambda: Problem(NOT_FOUND, "no such worker"),
    TooManyKeys: lambda: Problem(TOO_MANY_KEYS),
    IdempotencyConflict: lambda: Problem(IDEMPOTENCY_CONFLICT),
    StoreFull: lambda: Problem(STORE_FULL, retry_after=10),
    TooManyProjectBudgets: lambda: Problem(TOO_MANY_PROJECT_BUDGETS),
    TooManyBlocked: lambda: Problem(TOO_MANY_BLOCKED),
    Overloaded: lambda: Problem(OVERLOADED, retry_after=1),
    StoreUnavailable: unavailable,
    StreamUnavailable: lambda: Problem(OVERLOADED, "no stream can begin now", retry_after=1),
    IdentityUnavailable: lambda: Problem(IDENTITY_UNAVAILABLE, retry_after=5),
    StoreUnfit: lambda: Problem(STORE_UNFIT, retry_after=5),
}


def from_error(error: Exception) -> Problem:
    """The problem of an error; 500 for one that is not in the table."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _from_litestar(error)
    if isinstance(error, QuotaExceeded):
        return Problem(STORE_QUOTA, retry_after=math.ceil(error.retry_after_s))
    if isinstance(error, SubmitRefused):
        return _of_submit(error)
    if isinstance(error, JobUnreadable):
        return Problem(JOB_UNREADABLE, job_id=error.job_id, job_status=error.state)

    make = _OF_STORE.get(type(error))
    return make() if make is not None else Problem(INTERNAL)


def _of_submit(error: SubmitRefused) -> Problem:
    """The problem of a job that its organisation may not submit now."""
    refused = error.organization_id or None
    if isinstance(error, OrganizationLimited):
        limit, left_s = LIMITS.get(error.limit) or Limit(error.limit), math.ceil(error.retry_after_s)
        return limit_reached(limit, error.quota, retry_after_s=left_s, organization_id=refused)
    if isinstance(error, UserBlocked):
        return Problem(USER_BLOCKED, errors=[FieldError("userId", "blocked by an operator")], refused=refused)
    if isinstance(error, BudgetExceeded):
        return _beyond_budget(error, refused)
    return Problem(PAUSED, "an operator paused it; its jobs wait", refused=refused)


def _beyond_budget(error: BudgetExceeded, refused: str | None) -> Problem:
    whose = "organization" if error.project_id is None else "project"
    if error.period == "job":
        detail = f"this job alone may cost more than the budget of its {whose}: set a lower maxTokens"
        return Problem(BUDGET_EXCEEDED, detail, limit="job", refused=refused)
    return Problem(
        BUDGET_EXCEEDED, f"what the {error.period} allows its {whose} is spent",
        retry_after=math.ceil(error.retry_after_s), limit=error.period, refused=refused,
    )  # fmt: skip


def _from_litestar(error: HTTPException) -> Problem:
    kind = _BY_STATUS.get(error.status_code)
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() in ("allow", "retry-after")}
    if kind is None:
        kind = INTERNAL if error.status_code >= 500 else msgspec.structs.replace(HTTP_ERROR, status=error.status_code)
    errors = [
        FieldError(str(item.get("key", "body")), str(item.get("message", "")))
        for item in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(item, dict)
    ]
    return Problem(kind, errors=errors, headers=headers)


Noticed = Callable[[Problem], None]
"""Called with each problem before it is answered."""


def exception_handlers(noticed: Noticed | None = None) -> ExceptionHandlersMap:
    """Handlers for `Litestar(exception_handlers=...)`: every error becomes a problem document."""

    def to_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        problem = from_error(error)
        if problem.kind is INTERNAL:
            _log.error("request_failed", path_template=request.scope.get("path_template", ""), exc_info=error)
        if noticed is not None:
            noticed(problem)
        return Response(problem.body(), status_code=problem.kind.status, headers=problem.headers, media_type=MEDIA_TYPE)

    return {Exception: to_response, HTTPException: to_response}


_REASONS: Final = {
    400: "The request is not valid; `errors` names each bad field",
    401: "A valid bearer token is needed",
    402: "The organization has spent its budget (`limit`: month or day), or this job may cost more than all of it",
    403: "The key lacks a scope, which `detail` names, or belongs to another organization, or an operator has paused "
    "this one or blocked the user",
    404: "There is none, or it belongs to another organization",
    408: "The body did not arrive in time",
    409: "It conflicts with the present state; `type` says how",
    413: "The body is too large",
    415: "The body is not application/json",
    429: "Too many bad tokens came from this address, or the organization has reached a limit of its own (see "
    "`limit`); come back after `Retry-After` seconds",
    503: "Come back after `Retry-After` seconds; `jobId` names a job that may have been accepted nevertheless",
}


CALLER_ERRORS: Final = (401, 403, 429, 503)
"""Of every call that asks who calls: no token, a right that is lacking, too many bad tokens, an unread key."""


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """The error responses of a handler, for its place in the OpenAPI document."""
    return {
        status: ResponseSpec(
            ProblemDetails, generate_examples=False, description=_REASONS[status], media_type=MEDIA_TYPE
        )
        for status in statuses
    }
