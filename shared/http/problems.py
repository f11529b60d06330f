"""Errors as RFC 9457 problem documents: one catalogue, one shape, for Litestar's handlers and for raw ASGI ones."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap, Send

from shared.errors import (
    IdempotencyConflict,
    JobNotFound,
    JobUnreadable,
    Overloaded,
    QuotaExceeded,
    StoreFull,
    StoreUnavailable,
    StoreUnfit,
)
from shared.job import IDENTIFIER_MAX

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 20
"""Fields one document names at most, its `detail` says how many there are besides: a body with 10,000 bad ones must not
be answered with a megabyte."""

MAX_NAME: Final = 100
"""Characters of a bad field's name, or of what is wrong with it, that a document repeats."""

_log: Final = structlog.get_logger(__name__)
_encode: Final = msgspec.json.Encoder().encode


class Kind(msgspec.Struct, frozen=True):
    """One kind of problem: its stable name, its HTTP status and its title."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The `type` of its documents: a name, not an address that somebody would have to serve."""
        return f"urn:presswork:problem:{self.slug}"


INVALID: Final = Kind("invalid-request", 400, "The request is not valid")
UNAUTHORIZED: Final = Kind("unauthorized", 401, "A valid bearer token is needed")
FORBIDDEN: Final = Kind("forbidden", 403, "This token may not act for that organization")
FOREIGN_ORIGIN: Final = Kind("foreign-origin", 403, "Pages of this origin may not call this service")
NOT_FOUND: Final = Kind("not-found", 404, "There is nothing here")
LISTING_OFF: Final = Kind("listing-off", 404, "Jobs are not listed here")
METHOD_NOT_ALLOWED: Final = Kind("method-not-allowed", 405, "The method is not allowed here")
TOO_SLOW: Final = Kind("body-too-slow", 408, "The body did not arrive in time")
HEAD_TOO_SLOW: Final = Kind("head-too-slow", 408, "The head of the request did not arrive in time")
JOB_ENDED: Final = Kind("job-ended", 409, "The job has ended")
JOB_UNREADABLE: Final = Kind("job-unreadable", 409, "The record of this job cannot be read by this release")
JOB_NOT_FAILED: Final = Kind("job-not-failed", 409, "Only a failed or cancelled job can be retried")
IDEMPOTENCY_CONFLICT: Final = Kind("idempotency-conflict", 409, "This idempotency key came with another body")
TOO_LARGE: Final = Kind("body-too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE: Final = Kind("unsupported-media-type", 415, "The body must be application/json")
MISDIRECTED: Final = Kind("misdirected-request", 421, "This service does not answer to this host")
HEAD_TOO_LARGE: Final = Kind("head-too-large", 431, "The head of the request is too large")
INTERNAL: Final = Kind("internal-error", 500, "Something went wrong on our side")
STORE_UNAVAILABLE: Final = Kind("store-unavailable", 503, "The queue cannot be reached")
STORE_QUOTA: Final = Kind("store-quota", 503, "The queue's command quota is used up")
STORE_UNFIT: Final = Kind("store-unfit", 503, "The queue's Redis lacks something; the log names it")
STORE_FULL: Final = Kind("store-full", 503, "The queue has no memory left for new jobs")
QUEUE_FULL: Final = Kind("queue-full", 503, "Too many jobs are waiting")
OVERLOADED: Final = Kind("overloaded", 503, "Too many requests at once")
DRAINING: Final = Kind("draining", 503, "This instance is shutting down")
NOT_LIVE: Final = Kind("not-live", 503, "The service is stuck")

_BY_STATUS: Final = {
    kind.status: kind
    for kind in (INVALID, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
}


class FieldError(msgspec.Struct, frozen=True):
    """One bad field: its path (`parameters.tone`, `jobs[3].prompt`) and what is wrong with it."""

    field: str
    message: str


class Problem(Exception):
    """An HTTP error in flight. `extra` are further members of the document; `retry_after` is in s."""

    def __init__(
        self,
        kind: Kind,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(kind.slug)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.extra = extra
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    def document(self) -> dict[str, Any]:
        """The document's members."""
        document: dict[str, Any] = {"type": self.kind.type, "title": self.kind.title, "status": self.kind.status}
        detail = self.detail if self.detail is not None or not self.errors else _in_short(self.errors)
        if detail is not None:
            document["detail"] = detail
        if self.errors:
            document["errors"] = list(self.errors[:MAX_ERRORS])
        return document | self.extra

    def body(self) -> bytes:
        """The document as JSON."""
        return _encode(self.document())


def _in_short(errors: Sequence[FieldError]) -> str:
    """For who shows `detail` alone: the first bad field, and how many there are besides."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{errors[0].field}: {errors[0].message}{more}"


def invalid(field: str, message: str) -> Problem:
    """A 400 that names one field."""
    return Problem(INVALID, errors=[FieldError(field, message)])


def unauthorized() -> Problem:
    """A 401 with the challenge that RFC 6750 asks for."""
    return Problem(UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})


def refused(error: StoreUnavailable, job_id: str) -> Problem:
    """The 503 of a submit; it names the job that may exist all the same."""
    return unavailable(job_id) if error.sent else from_error(error)


def unavailable(job_id: str | None = None) -> Problem:
    """A 503 because Redis did not answer; `job_id` names the job that may exist all the same."""
    if job_id is None:
        return Problem(STORE_UNAVAILABLE, retry_after=1)
    return Problem(STORE_UNAVAILABLE, "the job may have been accepted", retry_after=1, jobId=job_id)


_PLACE: Final = " - at `"
_NAMED_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`\Z", re.DOTALL)
_TOLD_MAX: Final = 4 * MAX_NAME
"""Characters of an error's text, and of the path at its end, that are looked at: it may quote the whole request."""

_IDENTIFIER: Final = r"'^[!-~]+\\Z'"
"""How msgspec shows the pattern of an id."""

_TYPES: Final = re.compile(r"`(?:\w+ \| )*\w+`")
_OF_JSON: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def field_error(error: Exception, prefix: str = "", choices: Sequence[str] = ()) -> FieldError:
    """Name the field that msgspec complains about, below the path `prefix`; the body as a whole is `body`.

    `choices`: what the field takes, when it is one of a few words.
    """
    text, path = _told(error)
    if (named := _NAMED_FIELD.match(text)) is not None:
        path = f"{path}.{named.group(2)}" if path else named.group(2)
        text = "unknown field" if named.group(1) == "contains unknown" else "required"
    whole = ".".join(part for part in (prefix, path) if part) if not path.startswith("[") else prefix + path
    return FieldError(whole[: 2 * MAX_NAME] or "body", _in_json_words(text, choices)[: 2 * MAX_NAME])


def _told(error: Exception) -> tuple[str, str]:
    """What msgspec complains about, and the path of it, both cut: in time that does not grow with what they quote."""
    if isinstance(error, UnicodeError):
        return "not valid UTF-8", ""
    if isinstance(error, RecursionError):
        return "nested too deeply", ""
    text, path = str(error), ""
    place = text.rfind(_PLACE)
    if place >= 0 and text.endswith("`"):
        path = text[place + len(_PLACE) : -1][:_TOLD_MAX].removeprefix("key` in `").removeprefix("$").removeprefix(".")
        text = text[:place]
    if len(text) > _TOLD_MAX:
        text = text[: _TOLD_MAX - 1] + text[-1]
    return text, path


def _in_json_words(text: str, choices: Sequence[str]) -> str:
    """msgspec speaks of Python's types and patterns, and does not say which words an enum has."""
    if text.startswith("Invalid enum value") and choices:
        return f"must be one of {', '.join(choices)}"
    if text == "Invalid RFC3339 encoded date":
        return "must be a date as in 2026-01-31"
    if text.startswith("Expected"):
        text = _TYPES.sub(lambda types: re.sub(r"\w+", lambda word: _OF_JSON.get(word[0], word[0]), types[0]), text)
        if _IDENTIFIER in text:
            return f"must be 1 to {IDENTIFIER_MAX} printable ASCII characters without blanks"
        text = text.replace(r"\\Z'", "$'")
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]


def choices_of(kind: Any) -> list[str]:
    """The words of an enum, also of one that may be None."""
    enums = [held for held in (kind, *get_args(kind)) if isinstance(held, type) and issubclass(held, enum.Enum)]
    return [str(member.value) for held in enums for member in held]


_OF_STORE: Final[dict[type[Exception], Callable[[], Problem]]] = {
    JobNotFound: lambda: Problem(NOT_FOUND, "no such job"),
    IdempotencyConflict: lambda: Problem(IDEMPOTENCY_CONFLICT),
    StoreFull: lambda: Problem(STORE_FULL, retry_after=10),
    Overloaded: lambda: Problem(OVERLOADED, retry_after=1),
    StoreUnavailable: unavailable,
    StoreUnfit: lambda: Problem(STORE_UNFIT, retry_after=5),
}


def from_error(error: Exception) -> Problem:
    """The problem that stands for an error; 500 for what nobody foresaw."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _from_litestar(error)
    if isinstance(error, QuotaExceeded):
        return Problem(STORE_QUOTA, retry_after=math.ceil(error.retry_after_s))
    if isinstance(error, JobUnreadable):
        return Problem(JOB_UNREADABLE, jobId=error.job_id, jobStatus=error.state)
    make = _OF_STORE.get(type(error))
    return make() if make is not None else Problem(INTERNAL)


def _from_litestar(error: HTTPException) -> Problem:
    kind = _BY_STATUS.get(error.status_code)
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() in ("allow", "retry-after")}
    if kind is None:
        kind = (
            INTERNAL if error.status_code >= 500 else Kind("http-error", error.status_code, "The request was refused")
        )
    errors = [
        FieldError(str(item.get("key", "body")), str(item.get("message", "")))
        for item in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(item, dict)
    ]
    return Problem(kind, errors=errors, headers=headers)


def to_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    problem = from_error(error)
    if problem.kind is INTERNAL:
        _log.error("unhandled error", path_template=request.scope.get("path_template", ""), exc_info=error)
    return Response(problem.body(), status_code=problem.kind.status, headers=problem.headers, media_type=MEDIA_TYPE)


async def send_problem(send: Send, problem: Problem) -> None:
    """Answer a raw ASGI request."""
    body = problem.body()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {Exception: to_response, HTTPException: to_response}
"""For `Litestar(exception_handlers=...)`: every error becomes a problem document."""
