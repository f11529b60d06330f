"""From an answer to the error that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2

from presswork_client.errors import (
    BudgetExceeded,
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InvalidRequest,
    JobEnded,
    JobNotFailed,
    JobUnreadable,
    NotFound,
    OrganizationLimit,
    OrganizationPaused,
    PressworkError,
    Problem,
    ServiceFault,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)

BY_SLUG: Final[Mapping[str, type[Problem]]] = {
    "too-many-failures": Unauthorized,
    "organization-paused": OrganizationPaused,
    "job-ended": JobEnded,
    "job-not-failed": JobNotFailed,
    "job-unreadable": JobUnreadable,
    "idempotency-conflict": IdempotencyConflict,
}
"""Types that say more than their status."""

BY_STATUS: Final[Mapping[int, type[Problem]]] = {
    400: InvalidRequest,
    401: Unauthorized,
    402: BudgetExceeded,
    403: Forbidden,
    404: NotFound,
    405: NotFound,
    408: InvalidRequest,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    421: NotFound,
    429: OrganizationLimit,
    431: InvalidRequest,
    500: ServiceFault,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
"""Types that a later release adds are known by their status."""

REPEATED: Final = frozenset({408, 429, 502, 503, 504})
"""Statuses of answers after which the same call may succeed a little later."""

_LONGEST_S: Final = 10.0**9


def error_of(response: httpx2.Response) -> PressworkError:
    """The error of an answer that was read and is no success."""
    document = _document(response)
    if response.is_redirect:
        return UnexpectedAnswer(f"status {response.status_code}, a redirect: set the address to where it leads")
    if document is None and response.status_code not in REPEATED:
        return UnexpectedAnswer(
            f"status {response.status_code} without a problem document: is this a Presswork gateway?"
        )
    return problem(response.status_code, document or {}, retry_after(response))


def problem(status: int, document: Mapping[str, Any], after: float | None = None) -> Problem:
    """The problem of a document. `after`: its `Retry-After` in s."""
    kind = BY_SLUG.get(str(document.get("type", "")).rpartition(":")[2]) or BY_STATUS.get(status, Problem)
    return kind(status, document, after)


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds that an answer asks to wait; None when it does not say, or not in seconds."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < _LONGEST_S else None


def json_of(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object of a success; {} of an answer without a body. UnexpectedAnswer for anything else."""
    if response.status_code == 204:
        return {}
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UnexpectedAnswer(f"status {response.status_code} without a JSON object: is this a Presswork gateway?")
    return found


def _document(response: httpx2.Response) -> dict[str, Any] | None:
    if "json" not in response.headers.get("content-type", ""):
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) and "type" in found else None
