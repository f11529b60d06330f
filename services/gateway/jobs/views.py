"""The bodies of answers: a job, a page of jobs."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from services.gateway.http.json_schemas import items_of
from shared.events import Time, iso_time
from shared.job import JobError, JobSnapshot, JobStatus, Outcome, PassedOver, Priority, Usage
from shared.store.results import UnreadableJob, Waiting, WaitReason

UNREADABLE: Final = JobError(type="Unreadable", message="the record of this job cannot be read by this release")


class WaitingView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The reason why a job is queued. `gate`: the provider and model that it waits for; `until`: it cannot start
    before; `ahead`: jobs of its own organization that go first."""

    reason: WaitReason
    gate: str | None = None
    until: str | None = None
    ahead: int | None = None


class JobView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A job as its customer sees it; fields that do not apply are left out. Times are ISO 8601 in UTC.

    `result` is the generated text (of a cancelled job: the part that came), `metadata` that of the result,
    `request_metadata` that of the request. `attempt` counts from 1; 0: never started. `cost_usd` is in USD, of all
    attempts together; absent: not known. `passed_over`: the choices before `provider`, and why each did not answer.
    `retried_as`: the job that was made from this one. `waiting`: in `job-status` alone, of a queued job.
    """

    job_id: str
    status: JobStatus
    result: str | None = None
    error: JobError | None = None
    provider: str | None = None
    model: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    passed_over: tuple[PassedOver, ...] = ()
    metadata: dict[str, Any] | None = None
    project_id: str
    user_id: str
    organization_id: str
    priority: Priority
    attempt: int
    max_attempts: int
    cancel_requested: bool = False
    retry_of: str | None = None
    retried_as: str | None = None
    request_metadata: dict[str, Any] | None = None
    created_at: Time
    deadline_at: Time
    started_at: Time | None = None
    ended_at: Time | None = None
    next_attempt_at: Time | None = None
    waiting: WaitingView | None = None


class UnreadableView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A job that cannot be shown: its record is damaged, or of another release. `job_status`: the state in it."""

    job_id: str
    error: JobError
    job_status: str | None = None


class JobList(msgspec.Struct, frozen=True):
    """Jobs, newest first, without their texts; `cursor` gives the next page, null: there is none."""

    jobs: Annotated[list[Any], items_of(JobView, UnreadableView)]
    cursor: str | None


def _at(ms: int | None) -> str | None:
    return None if ms is None else iso_time(ms)


def view_waiting(waiting: Waiting) -> WaitingView:
    """The reason as a customer sees it."""
    return WaitingView(reason=waiting.reason, gate=waiting.gate, until=_at(waiting.until_ms), ahead=waiting.ahead)


def view_job(job: JobSnapshot, *, with_result: bool = True, waiting: Waiting | None = None) -> JobView:
    """The job as its customer sees it."""
    spec, outcome = job.spec, job.outcome or Outcome()
    return JobView(
        job_id=job.id,
        status=job.status,
        result=outcome.result if with_result else None,
        error=outcome.error,
        provider=outcome.provider,
        model=outcome.model,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        finish_reason=outcome.finish_reason,
        passed_over=outcome.passed_over,
        metadata=outcome.metadata,
        project_id=spec.project_id,
        user_id=spec.user_id,
        organization_id=job.organization_id,
        priority=spec.priority,
        attempt=job.attempt,
        max_attempts=spec.max_attempts,
        cancel_requested=job.cancel_requested and not job.status.terminal,
        retry_of=spec.retry_of,
        retried_as=job.retried_as,
        request_metadata=spec.metadata,
        created_at=iso_time(job.created_ms),
        deadline_at=iso_time(job.deadline_ms),
        started_at=_at(job.started_ms),
        ended_at=_at(job.ended_ms),
        next_attempt_at=_at(job.next_attempt_ms),
        waiting=None if waiting is None else view_waiting(waiting),
    )


def view_row(job: JobSnapshot | UnreadableJob) -> JobView | UnreadableView:
    """The job as a row of a listing."""
    if isinstance(job, UnreadableJob):
        return UnreadableView(job_id=job.id, error=UNREADABLE, job_status=job.state or None)
    return view_job(job, with_result=False)
