"""Jobs as one organisation may know them: those of another are as good as none (I9).

Services that answer callers reach jobs through this view alone, so that no handler can forget whose they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from shared.errors import JobNotFound, JobUnreadable
from shared.events import EventId
from shared.job import JobSnapshot
from shared.store.audit_trail import Actor
from shared.store.reading.event_log import EventLog, EventPage
from shared.store.results import CancelReply


class _Cancel(Protocol):
    def __call__(
        self, job_id: str, *, force: bool = False, organization_id: str | None = None, actor: Actor | None = None
    ) -> Awaitable[CancelReply]: ...


class TenantJobs:
    """Made by `JobStore.jobs_of`. `organization_id` None: an operator's view, of all jobs.

    Every method may raise StoreUnavailable, and JobNotFound for a job of another organisation as for one that is not
    there.
    """

    def __init__(
        self,
        organization_id: str | None,
        *,
        status: Callable[[str], Awaitable[JobSnapshot | None]],
        cancel: _Cancel,
        events: EventLog,
    ) -> None:
        self.organization_id = organization_id
        self._status = status
        self._cancel = cancel
        self._events = events

    async def status(self, job_id: str) -> JobSnapshot:
        """The job as it stands. JobUnreadable for an own one that this release cannot show."""
        try:
            job = await self._status(job_id)
        except JobUnreadable as error:
            self._check(job_id, error.organization_id)
            raise
        if job is None:
            raise JobNotFound(job_id)
        self._check(job_id, job.organization_id)
        return job

    async def cancel(self, job_id: str, *, force: bool = False, actor: Actor | None = None) -> CancelReply:
        """See `JobStore.cancel`: the script checks the organisation."""
        return await self._cancel(job_id, force=force, organization_id=self.organization_id, actor=actor)

    async def read_events(self, job_id: str, cursor: EventId | None) -> EventPage:
        """See `EventLog.read`."""
        try:
            page = await self._events.read(job_id, cursor)
        except JobUnreadable as error:
            self._check(job_id, error.organization_id)
            raise
        self._check(job_id, page.organization_id)
        return page

    async def deltas(self, job_id: str, cursor: EventId, newest: EventId, organization_id: str) -> EventPage | None:
        """See `EventLog.deltas`; `organization_id`: whose job it was when it was read."""
        self._check(job_id, organization_id)
        return await self._events.deltas(job_id, cursor, newest, organization_id)

    async def mark(self, job_id: str) -> str:
        """See `EventLog.mark`: of a job that was read before."""
        return await self._events.mark(job_id)

    def _check(self, job_id: str, organization_id: str) -> None:
        if self.organization_id not in (None, organization_id):
            raise JobNotFound(job_id)
