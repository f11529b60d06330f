"""`GET /api/ai/jobs/{jobId}/request`: the request of a job, as it can be submitted again."""

from __future__ import annotations

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.http.calls import JobIdInPath, reading
from services.gateway.http.queries import NoQuery
from services.gateway.jobs.finder import JobFinder
from services.gateway.submit.schemas import JobRequest
from shared.http.auth import Identity, Scope
from shared.http.problems import REQUEST_GONE, Problem
from shared.job import JobSnapshot

_FIELDS: frozenset[str] = frozenset(field.name for field in msgspec.structs.fields(JobRequest))


class RequestCall:
    """Answers requests of jobs: prompt, parameters and choices, with the values that defaults gave them."""

    def __init__(self, finder: JobFinder) -> None:
        self._finder = finder

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""
        summary = "The request of a job, as it can be submitted again"

        @reading("/jobs/{jobId:str}/request", summary, 400, 404, 409, scope=Scope.JOBS_READ)
        async def job_request(
            identity: NamedDependency[Identity], job_id: JobIdInPath, _params: NamedDependency[NoQuery]
        ) -> JobRequest:
            return _request(await self._finder.find(identity, job_id))

        return job_request


def _request(job: JobSnapshot) -> JobRequest:
    """The request; a 409 `Problem` when the prompt is gone: only a failed job's stays, as long as its organisation's
    retention says."""
    if not job.spec.prompt:
        raise Problem(
            REQUEST_GONE, "the prompt went with the job's end, or its organization's retention", job_id=job.id
        )
    held = msgspec.structs.asdict(job.spec)
    return JobRequest(**{name: value for name, value in held.items() if name in _FIELDS})
