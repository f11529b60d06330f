"""`POST /api/ai/jobs/{jobId}/cancel`: ends a waiting or running job."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.http.actor import AnyRequest, actor_alone, actor_of
from services.gateway.http.calls import JobIdInPath, changing
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.jobs.finder import JobFinder
from services.gateway.jobs.views import JobView, view_job
from services.gateway.waiting.long_poll import until_ended
from shared.http.auth import Identity, Scope
from shared.http.problems import JOB_ENDED, Problem
from shared.identity.client_address import ClientAddresses
from shared.job import JobSnapshot, JobStatus
from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore

CANCEL_SECONDS: Final = 1.5
"""Time for the worker of a running job to end it; then the gateway does."""


class CancelCall:
    """Ends jobs."""

    def __init__(self, store: JobStore, finder: JobFinder, stop: asyncio.Event, addresses: ClientAddresses) -> None:
        """`stop` ends waiting for a worker."""
        self._addresses = addresses
        self._store = store
        self._finder = finder
        self._stop = stop

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @changing("/jobs/{jobId:str}/cancel", "End a waiting or running job", 400, 404, 409, scope=Scope.JOBS_CANCEL)
        async def cancel_job(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            job_id: JobIdInPath,
            _params: NamedDependency[NoQuery],
        ) -> JobView:
            return view_job(await self.cancel(identity, job_id, actor_of(identity, request, self._addresses)))

        return cancel_job

    async def cancel(self, identity: Identity, job_id: str, actor: Actor) -> JobSnapshot:
        """End a job and answer it as it ended; a 409 `Problem` when it had ended otherwise."""
        job = await self._finder.find(identity, job_id)
        if not job.status.terminal:
            await self.end(identity, job, actor)
            job = await self._finder.find(identity, job_id)

        if job.status is not JobStatus.CANCELLED:
            raise Problem(JOB_ENDED, f"it is {job.status}", job_id=job.id, job_status=job.status)
        return job

    async def end(self, identity: Identity, job: JobSnapshot, actor: Actor | None = None) -> None:
        """End a job that is not known to have ended, and return when it has. `actor`: the caller, as the trail names
        it, with more than its key if more is known."""
        by = actor or actor_alone(identity)
        async with in_time():
            reply = await self._store.jobs_of(identity.organization_id).cancel(job.id, actor=by)
        if reply.state == "requested":
            await self._until_ended(identity, job)

    async def _until_ended(self, identity: Identity, job: JobSnapshot) -> None:
        """Give the job's worker its time, then end the job without it."""
        jobs = self._store.jobs_of(identity.organization_id)
        read = partial(jobs.status, job.id)
        job = await until_ended(self._store, job.id, CANCEL_SECONDS, self._stop, read, first=False) or job
        if not job.status.terminal:
            async with in_time():
                await jobs.cancel(job.id, force=True)
