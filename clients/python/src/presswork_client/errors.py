"""Errors that a caller meets. A refusal of the service is a `Problem`, by the `type` of its problem document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from presswork_client.models import JobView


class PressworkError(Exception):
    """Base of all errors of this package."""


class ConfigError(PressworkError):
    """Address, key or a setting is wrong; the message says what to set."""


class Unreachable(PressworkError):
    """No answer came for as long as the caller's patience. A call that changes something may have been carried out."""


class UnexpectedAnswer(PressworkError):
    """The answer is not one of Presswork's: something else is at that address, or stands before it."""


class WaitTimeout(PressworkError, TimeoutError):
    """The job did not end within the time that the caller gave; it goes on."""


class JobNotCompleted(PressworkError):
    """The job ended without its whole text. `view`: the job as it ended."""

    def __init__(self, message: str, view: JobView) -> None:
        super().__init__(message)
        self.view = view


class JobFailed(JobNotCompleted):
    """The job failed; `view.error` says why."""


class JobCancelled(JobNotCompleted):
    """The job was cancelled; `view.text` is the part that came."""


class FieldError(NamedTuple):
    """One bad field of a request: its path, and its fault."""

    field: str
    message: str


class Problem(PressworkError):
    """A refusal (RFC 9457). `slug` is the last part of `type`; empty when the answer was no problem document.

    `retry_after`: s after which the call may succeed, None: unknown. `errors`: bad fields. `job_id`, `job_status`: the
    job it is about, or that may have been accepted. `limit`: the organisation's limit that was reached. `document`: all
    members.
    """

    def __init__(self, status: int, document: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.document = document
        self.type = str(document.get("type", ""))
        self.slug = self.type.rpartition(":")[2]
        self.title = str(document.get("title") or f"HTTP status {status}")
        self.detail = _text(document.get("detail"))
        self.retry_after = retry_after
        self.errors: Sequence[FieldError] = _field_errors(document.get("errors"))
        self.job_id = _text(document.get("jobId"))
        self.job_status = _text(document.get("jobStatus"))
        self.limit = _text(document.get("limit"))
        super().__init__(self.title if self.detail is None else f"{self.title}: {self.detail}")


class InvalidRequest(Problem):
    """The request is not valid (400, 408, 413, 415, 431); `errors` name each bad field."""


class Unauthorized(Problem):
    """There is no key, or it is wrong, expired or revoked (401), or too many wrong ones came from here (429)."""


class BudgetExceeded(Problem):
    """The organisation's budget does not allow the job (402)."""


class Forbidden(Problem):
    """The key may not do this (403); `detail` names the scope that it lacks."""


class OrganizationPaused(Forbidden):
    """An operator has paused the organisation."""


class NotFound(Problem):
    """There is none, or it belongs to another organisation (404)."""


class Conflict(Problem):
    """The call conflicts with the present state (409)."""


class JobEnded(Conflict):
    """The job has ended otherwise; `job_status` says how."""


class JobNotFailed(Conflict):
    """Only a failed or cancelled job can be retried."""


class JobUnreadable(Conflict):
    """The record of the job is damaged, or of another release."""


class IdempotencyConflict(Conflict):
    """The idempotency key came with another body before."""


class OrganizationLimit(Problem):
    """The organisation has reached a limit of its own (429); `limit` names it."""


class Unavailable(Problem):
    """The service cannot take the call now (502, 503, 504)."""


class ServiceFault(Problem):
    """The service itself is at fault (500)."""


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _field_errors(found: Any) -> list[FieldError]:
    listed = found if isinstance(found, list) else []
    return [FieldError(str(one.get("field")), str(one.get("message"))) for one in listed if isinstance(one, Mapping)]
