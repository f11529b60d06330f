"""Client of Presswork, the AI content job queue: submit a prompt, watch the text arrive."""

from __future__ import annotations

from presswork_client.async_client import AsyncJob, AsyncPresswork
from presswork_client.client import Job, Presswork
from presswork_client.errors import (
    BudgetExceeded,
    ConfigError,
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyConflict,
    InvalidRequest,
    JobCancelled,
    JobEnded,
    JobFailed,
    JobNotCompleted,
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
    Unreachable,
    WaitTimeout,
)
from presswork_client.events import Cancelled, Completed, Delta, End, Event, Failed, Gap, Processing, Queued, Retrying
from presswork_client.models import JobError, JobView, PassedOver, Usage, UsageReport, UsageRow, UsageSums, Waiting
from presswork_client.requests import JobOptions, JobRequest
from presswork_client.version import VERSION

__version__ = VERSION

__all__ = [
    "AsyncJob", "AsyncPresswork", "BudgetExceeded", "Cancelled", "Completed", "ConfigError", "Conflict", "Delta", "End",
    "Event", "Failed", "FieldError", "Forbidden", "Gap", "IdempotencyConflict", "InvalidRequest", "Job", "JobCancelled",
    "JobEnded", "JobError", "JobFailed", "JobNotCompleted", "JobNotFailed", "JobOptions", "JobRequest", "JobUnreadable",
    "JobView", "NotFound", "OrganizationLimit", "OrganizationPaused", "PassedOver", "Presswork", "PressworkError",
    "Problem", "Processing", "Queued", "Retrying", "ServiceFault", "Unauthorized", "Unavailable", "UnexpectedAnswer",
    "Unreachable", "Usage", "UsageReport", "UsageRow", "UsageSums", "WaitTimeout", "Waiting", "__version__",
]  # fmt: skip
