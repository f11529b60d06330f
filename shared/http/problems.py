"""Errors as Problem Details (RFC 9457): the catalogue of their types, the document, and its response over raw ASGI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar.types import Send

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 20
"""Fields that one document names at most; its `detail` gives the number of the others. A body with 10,000 bad ones must
not be answered with a megabyte."""

MAX_NAME: Final = 100
"""Characters of a bad field's name, or of its message, that a document repeats."""

_encode: Final = msgspec.json.Encoder().encode


class Kind(msgspec.Struct, frozen=True):
    """A problem type: its stable name, its HTTP status and its title."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The `type` of its documents: a name, not an address that would have to be served."""
        return f"urn:presswork:problem:{self.slug}"


INVALID: Final = Kind("invalid-request", 400, "The request is not valid")
UNAUTHORIZED: Final = Kind("unauthorized", 401, "A valid bearer token is needed")
BUDGET_EXCEEDED: Final = Kind("budget-exceeded", 402, "This organization has spent its budget")
FORBIDDEN: Final = Kind("forbidden", 403, "This token may not act for that organization")
PAUSED: Final = Kind("organization-paused", 403, "This organization is paused")
USER_BLOCKED: Final = Kind("user-blocked", 403, "This user of the organization is blocked")
TOO_MANY_PROJECT_BUDGETS: Final = Kind(
    "too-many-project-budgets", 409, "The organization has budgets of too many projects"
)
TOO_MANY_BLOCKED: Final = Kind("too-many-blocked-users", 409, "The organization has too many blocked users")
INSUFFICIENT_SCOPE: Final = Kind("insufficient-scope", 403, "This key does not have the scope that the call needs")
MODEL_NOT_ALLOWED: Final = Kind("model-not-allowed", 403, "This key may not use that model")
OPERATORS_ONLY: Final = Kind("operators-only", 403, "Only an operator's key may change this")
FOREIGN_ORIGIN: Final = Kind("foreign-origin", 403, "Pages of this origin may not call this service")
FOREIGN_SESSION: Final = Kind("foreign-session", 403, "A session is used by the console's own page alone")
NOT_FOUND: Final = Kind("not-found", 404, "There is nothing here")
LISTING_OFF: Final = Kind("listing-off", 404, "Jobs are not listed here")
METHOD_NOT_ALLOWED: Final = Kind("method-not-allowed", 405, "The method is not allowed here")
TOO_SLOW: Final = Kind("body-too-slow", 408, "The body did not arrive in time")
HEAD_TOO_SLOW: Final = Kind("head-too-slow", 408, "The head of the request did not arrive in time")
JOB_ENDED: Final = Kind("job-ended", 409, "The job has ended")
JOB_UNREADABLE: Final = Kind("job-unreadable", 409, "The record of this job cannot be read by this release")
JOB_NOT_FAILED: Final = Kind("job-not-failed", 409, "Only a failed or cancelled job can be retried")
REQUEST_GONE: Final = Kind("request-gone", 409, "The request of this job is not kept any more")
IDEMPOTENCY_CONFLICT: Final = Kind("idempotency-conflict", 409, "This idempotency key came with another body")
KEY_ENDED: Final = Kind("key-ended", 409, "The key has ended")
COUNT_CHANGED: Final = Kind("count-changed", 409, "Another number of jobs match than the caller saw")
TOO_MANY_KEYS: Final = Kind("too-many-keys", 409, "The organization has as many keys as it may have")
TOO_LARGE: Final = Kind("body-too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE: Final = Kind("unsupported-media-type", 415, "The body must be application/json")
MISDIRECTED: Final = Kind("misdirected-request", 421, "This service does not answer to this host")
TOO_MANY_FAILURES: Final = Kind("too-many-failures", 429, "Too many bad tokens came from this address")
ORGANIZATION_LIMIT: Final = Kind("organization-limit", 429, "This organization has reached a limit of its own")
HEAD_TOO_LARGE: Final = Kind("head-too-large", 431, "The head of the request is too large")
INTERNAL: Final = Kind("internal-error", 500, "Something went wrong on our side")
STORE_UNAVAILABLE: Final = Kind("store-unavailable", 503, "The queue cannot be reached")
STORE_QUOTA: Final = Kind("store-quota", 503, "The queue's command quota is used up")
STORE_UNFIT: Final = Kind("store-unfit", 503, "The queue's Redis lacks something; the log names it")
STORE_FULL: Final = Kind("store-full", 503, "The queue has no memory left for new jobs")
QUEUE_FULL: Final = Kind("queue-full", 503, "Too many jobs are waiting")
OVERLOADED: Final = Kind("overloaded", 503, "Too many requests at once")
IDENTITY_UNAVAILABLE: Final = Kind("identity-unavailable", 503, "The identity provider cannot be reached")
DRAINING: Final = Kind("draining", 503, "This instance is shutting down")
NOT_LIVE: Final = Kind("not-live", 503, "The service is stuck")
HTTP_ERROR: Final = Kind("http-error", 400, "The request was refused")
"""Of any other error; its documents have the error's own status."""

TYPES: Final = tuple(sorted(kind.type for kind in tuple(globals().values()) if isinstance(kind, Kind)))
"""The `type` of every problem document."""


class FieldError(msgspec.Struct, frozen=True):
    """One bad field: its path (`parameters.tone`, `jobs[3].prompt`) and its fault."""

    field: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Problem Details of RFC 9457; `type` is stable. `errors` name the bad fields of a request.

    `job_id`, `job_status`: of the job that the problem is about. `jobs`: the results of a batch of which no job was
    accepted. `limit`: the organisation's limit that was reached. `count`: the jobs that match now.
    """

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] = []
    job_id: str | None = None
    job_status: str | None = None
    jobs: Annotated[list[Any], msgspec.Meta(extra_json_schema={"items": {"type": "object"}})] = []
    limit: str | None = None
    count: int | None = None


class Problem(Exception):
    """An HTTP error in flight. `retry_after` is in s; the other members are those of `ProblemDetails`.

    `refused`: a caller may not do that, and this is its organisation, `*` an operator's; the audit trail counts it.
    None: it is an error of another sort, or the caller is not known.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        retry_after: int | None = None,
        job_id: str | None = None,
        job_status: str | None = None,
        jobs: Sequence[Any] = (),
        limit: str | None = None,
        count: int | None = None,
        refused: str | None = None,
    ) -> None:
        super().__init__(kind.slug)
        self.kind = kind
        self.refused = refused
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

        self.details = ProblemDetails(
            type=kind.type,
            title=kind.title,
            status=kind.status,
            detail=_in_short(errors) if detail is None and errors else detail,
            errors=list(errors[:MAX_ERRORS]),
            job_id=job_id,
            job_status=job_status,
            jobs=list(jobs),
            limit=limit,
            count=count,
        )

    def body(self) -> bytes:
        """The document as JSON."""
        return _encode(self.details)


def _in_short(errors: Sequence[FieldError]) -> str:
    """The first bad field, and the number of others: for clients that show `detail` alone."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{errors[0].field}: {errors[0].message}{more}"


def invalid(field: str, message: str) -> Problem:
    """A 400 that names one field."""
    return Problem(INVALID, errors=[FieldError(field, message)])


def unauthorized(refused: str | None = None) -> Problem:
    """A 401 with the challenge that RFC 6750 asks for. `refused`: whose key it was, if that is known."""
    return Problem(UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"}, refused=refused)


async def send_problem(send: Send, problem: Problem) -> None:
    """Send it as the response to a raw ASGI request."""
    body = problem.body()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
