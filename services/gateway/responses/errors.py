"""Errors in OpenAI's form: the same problems as elsewhere, under the names that its SDKs know."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.http.error_responses import from_error
from shared.http.problems import (
    INVALID,
    NOT_FOUND,
    ORGANIZATION_LIMIT,
    UNAUTHORIZED,
    Kind,
    Problem,
)

RESPONSE_PENDING: Final = Kind("response-pending", 504, "The response is not complete yet, and goes on")
MODEL_NOT_FOUND: Final = Kind("model-not-found", 404, "There is no such model here")
PREVIOUS_NOT_FOUND: Final = Kind("previous-response-not-found", 404, "The previous response is not kept here")
BUDGET_STATUS: Final = 402

_CODES: Final = {
    UNAUTHORIZED.slug: "invalid_api_key",
    ORGANIZATION_LIMIT.slug: "rate_limit_exceeded",
    NOT_FOUND.slug: "not_found",
    INVALID.slug: "invalid_request",
}
_FINAL: Final = frozenset({BUDGET_STATUS, 408, 409, 504})
"""Statuses that the SDKs repeat a request for by themselves, although that cannot help."""

_encode: Final = msgspec.json.Encoder().encode


class ErrorBody(msgspec.Struct, frozen=True):
    """An error. `param`: the field that is bad, if one is; `code`: stable."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every error under /v1."""

    error: ErrorBody


class Refusal(msgspec.Struct, frozen=True):
    """An error as it is sent."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


def refusal(error: Exception) -> Refusal:
    """The answer for an error: OpenAI's form, and its header against repeating a call that cannot succeed."""
    problem = from_error(error)
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    if problem.kind.status in _FINAL or problem.kind is ORGANIZATION_LIMIT:
        headers.append((b"x-should-retry", b"false"))
    return Refusal(problem.kind.status, _encode(ErrorAnswer(_body(problem))), headers)


def _body(problem: Problem) -> ErrorBody:
    kind, details = problem.kind, problem.details
    text = f"{kind.title}: {details.detail}" if details.detail else kind.title
    if details.job_id is not None and details.job_id not in text:
        text = f"{text} (response {details.job_id})"
    param = _param(details.errors[0].field) if details.errors else None
    return ErrorBody(text, _type(kind), param, _CODES.get(kind.slug, kind.slug.replace("-", "_")))


def _param(field: str) -> str:
    return "response_id" if field == "jobId" else field.removesuffix("[...]")


def _type(kind: Kind) -> str:
    if kind is UNAUTHORIZED:
        return "authentication_error"
    if kind.status == 403:
        return "permission_error"
    if kind.status == 429:
        return "rate_limit_error"
    if kind.status == BUDGET_STATUS:
        return "insufficient_quota"
    if kind.status >= 500:
        return "server_error"
    return "invalid_request_error"
