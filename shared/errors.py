"""Domain errors, one class each, so that a caller can name those it handles."""

from __future__ import annotations


class PressworkError(Exception):
    """Root of all domain errors: `except PressworkError` never hides a programming mistake."""


class StoreUnavailable(PressworkError):
    """Redis could not be reached or did not answer in time. `sent`: the call may have taken effect."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class QuotaExceeded(StoreUnavailable):
    """The host counts commands and the quota is used up. `retry_after_s`: seconds until this process will ask again."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnfit(StoreUnavailable):
    """Redis, or its user, can do less than this service needs; the message names everything missing."""


class IdentityUnavailable(StoreUnavailable):
    """The identity provider's keys could not be fetched, so that its tokens cannot be checked now."""


class StreamUnavailable(PressworkError):
    """A stream cannot begin now: too many are open here, the service is shutting down, or Redis is away."""


class StoreFull(PressworkError):
    """The server is out of memory for new jobs; running jobs go on."""


class StoreRejected(PressworkError):
    """A script refused one item of a batch (corrupt record, wrong type); the message is the server's."""


class IdempotencyConflict(PressworkError):
    """The same idempotency key came with another body."""


class SubmitRefused(PressworkError):
    """An organisation may not submit this job now. `organization_id`: the job's, empty: not known."""

    organization_id = ""


class OrganizationLimited(SubmitRefused):
    """A submit would be beyond a limit of its organisation: `limit` is its name, `quota` its value (0: not known), and
    `retry_after_s` the time until there may be room."""

    def __init__(self, limit: str, quota: int, retry_after_s: float) -> None:
        super().__init__(limit)
        self.limit = limit
        self.quota = quota
        self.retry_after_s = retry_after_s


class BudgetExceeded(SubmitRefused):
    """A submit would be beyond its organisation's budget. `period`: `month` or `day`, with the time until the next one;
    or `job`: it alone may cost more than a whole period allows. `project_id`: whose budget it is; None: the
    organisation's."""

    def __init__(self, period: str, retry_after_s: float, project_id: str | None = None) -> None:
        super().__init__(period)
        self.period = period
        self.project_id = project_id
        self.retry_after_s = retry_after_s


class UserBlocked(SubmitRefused):
    """An operator blocked this user of the organisation: nothing was accepted."""


class TooManyProjectBudgets(PressworkError):
    """More projects of an organisation would have budgets than may."""


class TooManyBlocked(PressworkError):
    """An organisation has as many blocked users as it may have."""


class OrganizationPaused(SubmitRefused):
    """An operator paused the job's organisation: it takes no new jobs."""


class JobNotFound(PressworkError):
    """No such job, or it belongs to another organisation."""


class JobUnreadable(PressworkError):
    """The record exists and cannot be shown: it is damaged, or of another release. `organization_id` and `state` are as
    the record has them, empty when not even they can be read."""

    def __init__(self, job_id: str, organization_id: str, state: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id
        self.organization_id = organization_id
        self.state = state


class KeyNotFound(PressworkError):
    """No such API key, or it belongs to another organisation."""


class WorkerNotFound(PressworkError):
    """No such worker is registered."""


class TaskNotFound(PressworkError):
    """No such task, or it belongs to another organisation."""


class TooManyKeys(PressworkError):
    """The organisation has as many API keys as it may have."""


class LeaseLost(PressworkError):
    """The lease was replaced or the job ended: nothing that this worker still has of it counts (I4)."""


class SettingsInvalid(PressworkError):
    """A setting is missing or malformed; the message is one line that names it."""


class Overloaded(PressworkError):
    """Too many callers wait for the store already; nothing was sent."""
