"""`GET /api/ai/jobs`: the jobs of an organisation, newest first."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.docs import examples
from services.gateway.http.calls import reading
from services.gateway.http.responses import in_time, organization_of
from services.gateway.jobs.views import JobList, view_row
from services.gateway.submit.schemas import Identifier
from shared.http.auth import Identity, Scope
from shared.http.problems import LISTING_OFF, Problem, invalid
from shared.job import JobStatus
from shared.store.job_store import JobStore

PAGE_MAX: Final = 100

OfOrganization = Annotated[
    Identifier | None,
    Meta(description="May be left out when the token belongs to one", examples=[examples.ORGANIZATION]),
]


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A page of jobs. A token that is bound to an organisation need not name it."""

    organization_id: OfOrganization = None
    status: Annotated[JobStatus | None, Meta(description="Only jobs of this status")] = None
    cursor: Annotated[Annotated[str, Meta(max_length=256)] | None, Meta(description="From the page before")] = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Default 50")] = 50


class ListingCall:
    """Lists jobs."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""
        summary = "Jobs of an organization, newest first, without their texts"

        @reading("/jobs", summary, 400, 404, scope=Scope.JOBS_READ, query=ListQuery)
        async def list_jobs(identity: NamedDependency[Identity], params: NamedDependency[ListQuery]) -> JobList:
            return await self.read(identity, params)

        return list_jobs

    async def read(self, identity: Identity, query: ListQuery) -> JobList:
        """One page. A 404 `Problem` where listings are off, 400 for an invalid cursor."""
        organization = organization_of(identity, query.organization_id)
        if not self._store.settings.listing:
            raise Problem(LISTING_OFF, "LISTING is off: set LISTING=1 to turn it on")

        try:
            async with in_time():
                found = await self._store.queries.jobs(
                    organization, status=query.status, cursor=query.cursor, limit=query.limit
                )
        except ValueError:
            raise invalid(
                "cursor", "not a cursor of this listing: take it from the page before, or leave it out"
            ) from None
        return JobList([view_row(job) for job in found.jobs], found.cursor)
