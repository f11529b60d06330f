"""`GET /api/admin/jobs`: jobs by their errors, owners and times, newest first."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.admin.failure_views import FILTER_NAMES, FailureFilter
from services.gateway.admin.fleet_jobs import FleetJobs
from services.gateway.http.calls import reading
from services.gateway.http.responses import in_time, organization_of
from services.gateway.jobs.listing import PAGE_MAX
from services.gateway.jobs.views import JobList, view_row
from shared.http.auth import Identity, Scope
from shared.http.problems import LISTING_OFF, Problem, invalid
from shared.job import JobSnapshot, JobStatus
from shared.store.audit_trail import CURSOR_PATTERN
from shared.store.job_store import JobStore
from shared.store.reading.ended_jobs import EndedAs, EndedFilter
from shared.store.reading.live_jobs import LIVE, parse_cursor
from shared.store.results import JobPage

SEARCHED_MAX: Final = 20_000
"""Entries of the index that one page searches, about: it may be shorter than asked, its cursor goes on."""

_ENTRY: Final = re.compile(CURSOR_PATTERN.replace("$", r"\Z"), re.ASCII)

INDEXED: Final = {JobStatus.FAILED: EndedAs.FAILED, JobStatus.CANCELLED: EndedAs.CANCELLED}
"""Statuses with an index over all organisations."""


class AdminJobsQuery(FailureFilter, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=FILTER_NAMES):
    """A page of jobs, newest first: failed and cancelled ones by the time of their end, others by that of their submit.
    Without an organisation and a status all but completed ones, which are listed of one organisation alone. `errorType`
    means failed ones."""

    status: JobStatus | None = None
    cursor: Annotated[Annotated[str, Meta(max_length=256)] | None, Meta(description="From the page before")] = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Default 50")] = 50


class AdminJobsCall:
    """Lists jobs for those who administer."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._fleet = FleetJobs(store)

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/admin`."""
        summary = "Jobs, newest first, without their texts"

        @reading("/jobs", summary, 400, 404, scope=Scope.ADMIN, query=AdminJobsQuery)
        async def search_jobs(identity: NamedDependency[Identity], params: NamedDependency[AdminJobsQuery]) -> JobList:
            return await self.read(identity, params)

        return search_jobs

    async def read(self, identity: Identity, query: AdminJobsQuery) -> JobList:
        """One page; a `Problem` for another organisation, a bad cursor, or jobs that no index has."""
        status = query.status or (JobStatus.FAILED if query.error_type else None)
        if query.error_type and status is not JobStatus.FAILED:
            return JobList([], None)
        organization = query.of(identity)
        async with in_time():
            try:
                page = await self._page(identity, status, organization, query)
            except ValueError:
                raise _bad_cursor() from None
        return JobList([view_row(job) for job in page.jobs], page.cursor)

    async def _page(
        self, identity: Identity, status: JobStatus | None, organization: str | None, query: AdminJobsQuery
    ) -> JobPage:
        if status is not None and status in INDEXED:
            return await self._indexed(INDEXED[status], organization, query)
        if organization is None and status is None:
            return await self._fleet.page(query.cursor, query.limit, query.wanted, _filter(query.wanted))
        if status in LIVE and (organization is None or not self._store.settings.listing):
            return await self._live(status, organization, query)
        return await self._listed(status, organization_of(identity, organization), query)

    async def _live(self, status: JobStatus, organization: str | None, query: AdminJobsQuery) -> JobPage:
        cursor = None if query.cursor is None else parse_cursor(query.cursor)
        wanted = _filter(query.wanted, organization)
        return await self._store.queries.live(frozenset({status}), cursor, query.limit, wanted)

    async def _indexed(self, kind: EndedAs, organization: str | None, query: AdminJobsQuery) -> JobPage:
        if query.cursor is not None and _ENTRY.match(query.cursor) is None:
            raise _bad_cursor()
        entries, cursor = await self._store.ended_jobs.page(
            kind, organization, query.wanted, before=query.cursor, limit=query.limit, searched_max=SEARCHED_MAX
        )
        rows = await self._store.queries.rows([entry.job_id for entry in entries])
        return JobPage([rows[entry.job_id] for entry in entries if entry.job_id in rows], cursor)

    async def _listed(self, status: JobStatus | None, organization: str, query: AdminJobsQuery) -> JobPage:
        if not self._store.settings.listing:
            raise Problem(LISTING_OFF, "LISTING is off: set LISTING=1 to turn it on")
        return await self._store.queries.jobs(
            organization, status=status, cursor=query.cursor, limit=query.limit, wanted=_filter(query.wanted)
        )


def _filter(wanted: EndedFilter, organization: str | None = None) -> Callable[[JobSnapshot], bool] | None:
    """The filter of a listing, which orders jobs by their creation; None: all are wanted."""
    if wanted == EndedFilter() and organization is None:
        return None

    def matches(job: JobSnapshot) -> bool:
        asked = (
            (organization, job.organization_id),
            (wanted.provider, job.outcome.provider if job.outcome else None),
            (wanted.project_id, job.spec.project_id),
            (wanted.user_id, job.spec.user_id),
        )
        return (
            all(one in (None, held) for one, held in asked)
            and job.created_ms >= (wanted.from_ms or 0)
            and (wanted.to_ms is None or job.created_ms <= wanted.to_ms)
        )

    return matches


def _bad_cursor() -> Problem:
    return invalid("cursor", "not a cursor of this listing: take it from the page before, or leave it out")
