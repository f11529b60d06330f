"""`POST /api/ai/jobs/{jobId}/retry`: makes one new job from a failed or cancelled one."""

from __future__ import annotations

from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.http.calls import LOCATION, JobIdInPath, changing
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import Accepted, Links, in_time
from services.gateway.jobs.finder import JobFinder
from services.gateway.submit.admission import Admission
from services.gateway.submit.new_jobs import JobMaker, read_traceparent
from shared.errors import StoreUnavailable
from shared.http.auth import Identity
from shared.http.error_responses import from_error, submit_unavailable
from shared.http.problems import JOB_NOT_FAILED, Problem
from shared.http.urls import prefix_of
from shared.job import JobStatus
from shared.store.job_store import JobStore
from shared.store.results import Submitted
from shared.telemetry.metrics import SubmitMetrics

RETRIABLE: Final = (JobStatus.FAILED, JobStatus.CANCELLED)
"""States of jobs that ended without their text: they can be retried."""

_log: Final = structlog.get_logger(__name__)


class RetryCall:
    """Queues retries."""

    def __init__(
        self,
        store: JobStore,
        finder: JobFinder,
        *,
        maker: JobMaker,
        admission: Admission,
        metrics: SubmitMetrics,
        links: Links,
    ) -> None:
        self._store = store
        self._finder = finder
        self._maker = maker
        self._admission = admission
        self._submitted, self._refused = metrics.submitted, metrics.refused
        self._links = links

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""
        summary = "Make one new job from a failed or cancelled one"

        @changing(
            "/jobs/{jobId:str}/retry", summary, 400, 401, 404, 409, 429, 503, status=202, response_headers=[LOCATION]
        )
        async def retry_job(
            request: Request[Any, Any, Any],
            identity: NamedDependency[Identity],
            job_id: JobIdInPath,
            _params: NamedDependency[NoQuery],
        ) -> Response[Accepted]:
            traceparent = read_traceparent(request.headers.get("traceparent", "").encode())
            try:
                submitted = await self.retry(identity, job_id, traceparent)
            except Exception as error:
                self._refused.labels(from_error(error).kind.slug).inc()
                raise
            accepted = self._links.accepted(submitted, prefix_of(request.scope))
            return Response(accepted, headers={"Location": accepted.links.status})

        return retry_job

    async def retry(self, identity: Identity, job_id: str, traceparent: str | None) -> Submitted:
        """Queue the one retry of a job; a 409 `Problem` when it did not fail and was not cancelled."""
        job = await self._finder.find(identity, job_id)
        if job.status not in RETRIABLE:
            raise Problem(JOB_NOT_FAILED, f"it is {job.status}", job_id=job.id, job_status=job.status)

        retry = self._maker.retry_of(job, traceparent)
        await self._admission.admit(1, len(retry.spec.prompt))
        try:
            async with in_time():
                submitted = await self._store.submit_retry_of(job.id, retry)
        except StoreUnavailable as error:
            raise submit_unavailable(error, retry.id) from None

        if submitted.created:
            self._submitted.labels(retry.spec.priority).inc()
            _log.info("job_retried", job_id=retry.id, retry_of=job.id, organization=job.organization_id)
        return submitted
