"""`POST /api/ai/jobs/{jobId}/retry`: makes one new job from a failed or cancelled one."""

from __future__ import annotations

import time
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
from shared.http.auth import Identity, Scope
from shared.http.error_responses import from_error, submit_unavailable
from shared.http.problems import JOB_NOT_FAILED, REQUEST_GONE, Problem
from shared.http.urls import prefix_of
from shared.identity.ticket_signer import TicketSigner
from shared.job import JobStatus
from shared.store.job_store import JobStore
from shared.store.results import Submitted
from shared.store.transitions import Submit
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
        signer: TicketSigner,
    ) -> None:
        self._store = store
        self._finder = finder
        self._maker = maker
        self._admission = admission
        self._submitted, self._refused = metrics.submitted, metrics.refused
        self._links = links
        self._signer = signer

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""
        summary = "Make one new job from a failed or cancelled one"

        @changing(
            "/jobs/{jobId:str}/retry",
            summary,
            400,
            402,
            404,
            409,
            scope=Scope.JOBS_WRITE,
            status=202,
            response_headers=[LOCATION],
        )
        async def retry_job(
            request: Request[Any, Any, Any],
            identity: NamedDependency[Identity],
            job_id: JobIdInPath,
            _params: NamedDependency[NoQuery],
        ) -> Response[Accepted]:
            traceparent = read_traceparent(request.headers.get("traceparent", "").encode())
            try:
                submitted, retry = await self.retry(identity, job_id, traceparent)
            except Exception as error:
                self._refused.labels(from_error(error).kind.slug).inc()
                raise
            ticket = await self._signer.issue_for_job(
                identity, retry.spec.organization_id, submitted.job_id, time.time() + retry.deadline_ms / 1000
            )
            accepted = self._links.accepted(submitted, prefix_of(request.scope), ticket)
            return Response(accepted, headers={"Location": accepted.links.status})

        return retry_job

    async def retry(self, identity: Identity, job_id: str, traceparent: str | None) -> tuple[Submitted, Submit]:
        """Queue the one retry of a job; answers how it was taken, and what it asks for. A 409 `Problem` when
        the job did not fail and was not cancelled, or its prompt is gone."""
        job = await self._finder.find(identity, job_id)
        if job.status not in RETRIABLE:
            raise Problem(JOB_NOT_FAILED, f"it is {job.status}", job_id=job.id, job_status=job.status)

        retry = self._maker.retry_of(job, identity, traceparent)
        if job.retried_as is None:
            if not job.spec.prompt:
                raise Problem(REQUEST_GONE, "its prompt is not kept any more: submit a new job", job_id=job.id)
            await self._admission.admit(1, len(retry.spec.prompt))
        try:
            async with in_time():
                submitted = await self._store.submit_retry_of(job, retry)
        except StoreUnavailable as error:
            raise submit_unavailable(error, retry.id) from None

        if submitted.created:
            self._submitted.labels(retry.spec.priority).inc()
            _log.info("job_retried", job_id=retry.id, retry_of=job.id, organization=job.organization_id)
        return submitted, retry
