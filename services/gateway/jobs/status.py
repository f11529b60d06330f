"""`GET /api/ai/job-status`: how a job stands, at once or as soon as it has ended."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Final

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.http.calls import reading
from services.gateway.http.responses import JobId, in_time
from services.gateway.jobs.finder import JobFinder
from services.gateway.jobs.views import JobView, view_job
from services.gateway.waiting.awaited_jobs import AwaitedJobs
from services.gateway.waiting.long_poll import until_ended
from shared.http.auth import Identity, Scope
from shared.http.organization_limits import InUse
from shared.http.urls import read_job_id
from shared.job import JobSnapshot, JobStatus
from shared.store.job_store import JobStore
from shared.store.results import Waiting

WAIT_MAX: Final = 30


class StatusQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A job, and how long to wait for it in s."""

    job_id: Annotated[JobId, Meta(description="Id of the job")]
    wait: Annotated[float, Meta(ge=0, le=WAIT_MAX, description="Seconds to wait for the end of the job")] = 0


class StatusCall:
    """Answers how a job stands."""

    def __init__(
        self, store: JobStore, finder: JobFinder, awaited: AwaitedJobs, stop: asyncio.Event, waits: InUse
    ) -> None:
        """`stop` ends waiting; `waits`: how many calls wait for each organisation."""
        self._store = store
        self._waits = waits
        self._finder = finder
        self._awaited = awaited
        self._stop = stop

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @reading("/job-status", "How a job stands", 400, 404, 409, scope=Scope.JOBS_READ, query=StatusQuery)
        async def job_status(identity: NamedDependency[Identity], params: NamedDependency[StatusQuery]) -> JobView:
            job = await self.read(identity, params)
            return view_job(job, waiting=await self._waiting(job, params))

        return job_status

    async def read(self, identity: Identity, query: StatusQuery) -> JobSnapshot:
        """The job; with `wait` as soon as it ends."""
        read_job_id(query.job_id)
        if query.wait and self._store.subscriber.covers(self._store.keys.job_channel(query.job_id)):
            return await self._listen_first(identity, query)

        job = await self._finder.find(identity, query.job_id)
        if query.wait and not job.status.terminal:
            read = partial(self._store.jobs_of(identity.organization_id).status, job.id)
            with self._waits.held(job.organization_id) as held:
                held.grow()
                return await until_ended(self._store, job.id, query.wait, self._stop, read, first=False) or job
        return job

    async def _waiting(self, job: JobSnapshot, query: StatusQuery) -> Waiting | None:
        """The reason why it waits. Where commands are billed, callers that wait for the end do not learn it."""
        if job.status is not JobStatus.QUEUED or (query.wait and self._store.settings.frugal):
            return None
        async with in_time():
            return await self._store.queries.waiting(job.id)

    async def _listen_first(self, identity: Identity, query: StatusQuery) -> JobSnapshot:
        """Listen before the first read, which it saves where listening costs nothing."""
        find = partial(self._finder.find, identity, query.job_id)
        with self._waits.held(identity.organization_id) as held:
            held.grow()
            found = await self._awaited.until_ended(query.job_id, identity, query.wait, self._stop, find)
        return found or await find()
