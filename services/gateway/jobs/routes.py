"""The calls that read, cancel and retry jobs."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog
from litestar import Response, post, route
from litestar.handlers import HTTPRouteHandler

from services.gateway.http.query_strings import ListQuery, StatusQuery, read_query
from services.gateway.http.responses import AnyRequest, as_json, in_time, organization_of
from services.gateway.jobs.links import Links
from services.gateway.jobs.views import JobList, view_job, view_row, view_stats
from services.gateway.stats.stats_cache import Readings
from services.gateway.submit.admission import Admission
from services.gateway.submit.new_jobs import JobMaker, read_traceparent
from services.gateway.waiting.awaited_jobs import Expected
from services.gateway.waiting.long_poll import until_ended
from shared.errors import JobNotFound, JobUnreadable, StoreUnavailable
from shared.http.auth import Identity
from shared.http.health import READING
from shared.http.job_ids import read_job_id
from shared.http.prefix import prefix_of
from shared.http.problems import JOB_ENDED, JOB_NOT_FAILED, LISTING_OFF, Problem, from_error, invalid, refused
from shared.job import JobSnapshot, JobStatus
from shared.store.job_store import JobStore
from shared.store.results import Submitted
from shared.telemetry.command_budget import Meter
from shared.telemetry.metrics import SubmitMetrics

CANCEL_SECONDS: Final = 1.5
"""How long the worker of a running job may take to end it; then the gateway does."""

RETRIABLE: Final = (JobStatus.FAILED, JobStatus.CANCELLED)
"""Jobs that ended without what was asked for: they can be asked for once more."""

_log: Final = structlog.get_logger(__name__)


def _ended(job: JobSnapshot) -> Problem:
    return Problem(JOB_ENDED, f"it is {job.status}", jobId=job.id, jobStatus=job.status)


class Jobs:
    """The calls on jobs that are in the queue, or were. Another organisation's job is as good as none."""

    def __init__(
        self,
        store: JobStore,
        *,
        readings: Readings,
        admission: Admission,
        maker: JobMaker,
        expected: Expected,
        metrics: SubmitMetrics,
        links: Links,
        stop: asyncio.Event,
        meter: Meter,
    ) -> None:
        self._store = store
        self._readings = readings
        self._meter = meter
        self._maker = maker
        self._expected = expected
        self._admission = admission
        self._submitted, self._refused = metrics.submitted, metrics.refused
        self._links = links
        self._stop = stop

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/ai`."""

        @route("/job-status", http_method=READING)
        async def job_status(request: AnyRequest) -> Response[bytes]:
            return as_json(view_job(await self.status(request.user, request.scope["query_string"])))

        @route("/queue-stats", http_method=READING)
        async def queue_stats() -> Response[bytes]:
            async with in_time():
                reading = await self._readings.latest()
            return as_json(view_stats(reading.stats, reading.at_ms, self._meter.projection))

        @route("/jobs", http_method=READING)
        async def jobs(request: AnyRequest) -> Response[bytes]:
            return as_json(await self.page(request.user, request.scope["query_string"]))

        @post("/jobs/{job_id:str}/cancel")
        async def cancel(request: AnyRequest) -> Response[bytes]:
            return as_json(view_job(await self.cancel(request.user, request.path_params["job_id"])))

        @post("/jobs/{job_id:str}/retry")
        async def retry(request: AnyRequest) -> Response[bytes]:
            traceparent = read_traceparent(request.headers.get("traceparent", "").encode())
            try:
                submitted = await self.retry(request.user, request.path_params["job_id"], traceparent)
            except Exception as error:
                self._refused.labels(from_error(error).kind.slug).inc()
                raise
            location, body = self._links.accepted(submitted, prefix_of(request.scope))
            headers = {"Location": location.decode(), "Cache-Control": "no-store"}
            return Response(body, status_code=202, media_type="application/json", headers=headers)

        return [job_status, queue_stats, jobs, cancel, retry]

    async def _find(self, identity: Identity, job_id: str) -> JobSnapshot:
        """JobNotFound also for what is no job id at all: such a text never becomes part of a key."""
        wanted = read_job_id(job_id)
        try:
            async with in_time():
                job = await self._store.status(wanted)
        except JobUnreadable as error:
            if not identity.may_see(error.organization_id):
                raise JobNotFound(job_id) from None
            raise
        if job is None or not identity.may_see(job.organization_id):
            raise JobNotFound(job_id)
        return job

    async def status(self, identity: Identity, query_string: bytes) -> JobSnapshot:
        """The job; with `wait` as soon as it ends."""
        query = read_query(query_string, StatusQuery)
        read_job_id(query.job_id)
        if query.wait and self._store.bell.hears(self._store.keys.bell(query.job_id)):
            # Listening first costs nothing here and saves a read.
            find = partial(self._find, identity, query.job_id)
            found = await self._expected.until_ended(query.job_id, identity, query.wait, self._stop, find)
            return found or await find()
        job = await self._find(identity, query.job_id)
        if query.wait and not job.status.terminal:
            waited = await until_ended(self._store, job.id, query.wait, self._stop)
            if waited is None:  # its record went while we waited
                raise JobNotFound(job.id)
            return waited
        return job

    async def page(self, identity: Identity, query_string: bytes) -> JobList:
        """Jobs of one organisation, newest first."""
        query = read_query(query_string, ListQuery)
        organization = organization_of(identity, query.organization_id)
        if not self._store.settings.listing:
            raise Problem(LISTING_OFF, "LISTING is off, as it is in the frugal profile unless it is set")
        try:
            async with in_time():
                found = await self._store.overview.jobs(
                    organization, status=query.status, cursor=query.cursor, limit=query.limit
                )
        except ValueError:
            raise invalid("cursor", "not a cursor of this listing") from None
        return JobList([view_row(job) for job in found.jobs], found.cursor)

    async def cancel(self, identity: Identity, job_id: str) -> JobSnapshot:
        """End a job and answer it as it ended; a 409 `Problem` when it had ended otherwise."""
        job = await self._find(identity, job_id)
        if not job.status.terminal:
            async with in_time():
                reply = await self._store.cancel(job_id)
            if reply.state == "requested":
                job = await until_ended(self._store, job_id, CANCEL_SECONDS, self._stop) or job
                if not job.status.terminal:
                    async with in_time():
                        await self._store.cancel(job_id, force=True)
            job = await self._find(identity, job_id)
        if job.status is not JobStatus.CANCELLED:
            raise _ended(job)
        return job

    async def retry(self, identity: Identity, job_id: str, traceparent: str | None) -> Submitted:
        """Queue the one retry of a failed or cancelled job."""
        job = await self._find(identity, job_id)
        if job.status not in RETRIABLE:
            raise Problem(JOB_NOT_FAILED, f"it is {job.status}", jobId=job.id, jobStatus=job.status)
        again = self._maker.again(job, traceparent)
        await self._admission.admit(1, len(again.spec.prompt))
        try:
            async with in_time():
                submitted = await self._store.submit_retry_of(job.id, again)
        except StoreUnavailable as error:
            raise refused(error, again.id) from None
        if submitted.created:
            self._submitted.labels(again.spec.priority).inc()
            _log.info("job retried", job_id=again.id, retry_of=job.id, organization=job.organization_id)
        return submitted
