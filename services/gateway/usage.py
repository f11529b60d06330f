"""The call that answers what an organisation's jobs used and cost, by day, project and model."""

from __future__ import annotations

import calendar
import datetime
import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar import Response, route
from litestar.handlers import HTTPRouteHandler

from services.gateway.answers import AnyRequest, as_json, in_time, organization_of
from services.gateway.queries import read_query
from services.gateway.schemas import Identifier
from shared.http.identity import Identity
from shared.http.ops import READING
from shared.http.problems import invalid
from shared.job import NANO
from shared.store.job_store import JobStore
from shared.store.usage import UsageRow

DAYS_MAX: Final = 366
_EPOCH: Final = datetime.date(1970, 1, 1)
_DAY_SECONDS: Final = 86_400
_NAMES: Final = {"organization_id": "organizationId", "first": "from", "last": "to"}
_COUNTS: Final = ("jobs", "input_tokens", "output_tokens", "cached_tokens", "unknown_cost_jobs", "estimated_jobs")


class UsageQuery(msgspec.Struct, frozen=True, rename=_NAMES):
    """Days in UTC, both included. None: the beginning or the end of this month."""

    organization_id: Identifier | None = None
    first: datetime.date | None = None
    last: datetime.date | None = None


class UsageSums(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Sums of ended jobs that used anything: one that was cancelled while it waited is not among them.

    `cost_usd` lacks `unknown_cost_jobs`; null: of no job it is known. It is exact to the nano-USD up to 8 million USD,
    where a double has no digit left for it.

    `input_tokens` contain `cached_tokens`. `estimated_jobs`: their tokens were estimated, not reported.
    """

    jobs: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    unknown_cost_jobs: int
    estimated_jobs: int


class ModelUsage(UsageSums, frozen=True, kw_only=True, rename="camel"):
    """Of one model that answered."""

    provider: str
    model: str


class ProjectUsage(UsageSums, frozen=True, kw_only=True, rename="camel"):
    """Of one project."""

    project_id: str
    models: list[ModelUsage]


class DayUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The projects with jobs that ended on one day."""

    date: datetime.date
    projects: list[ProjectUsage]


class UsageView(msgspec.Struct, frozen=True, kw_only=True, rename=_NAMES):
    """What an organisation used from `from` to `to` (UTC, both included); days without ended jobs are left out."""

    organization_id: str
    first: datetime.date
    last: datetime.date
    totals: UsageSums
    days: list[DayUsage]


def _sum(rows: Sequence[UsageRow]) -> dict[str, Any]:
    """The fields of `UsageSums`. The quotient is the double nearest to the sum, which JSON writes to the nano."""
    sums: dict[str, Any] = {name: sum(getattr(row, name) for row in rows) for name in _COUNTS}
    known = not sums["jobs"] or sums["jobs"] > sums["unknown_cost_jobs"]
    return sums | {"cost_usd": sum(row.cost_nano_usd for row in rows) / NANO if known else None}


def _project(project_id: str, rows: Sequence[UsageRow]) -> ProjectUsage:
    models = [ModelUsage(provider=row.provider, model=row.model, **_sum([row])) for row in rows]
    return ProjectUsage(project_id=project_id, models=models, **_sum(rows))


def view_usage(organization_id: str, first: datetime.date, last: datetime.date, rows: Sequence[UsageRow]) -> UsageView:
    """The answer from the store's rows, which come by day, project and model."""
    days = [
        DayUsage(
            date=_EPOCH + datetime.timedelta(days=day),
            projects=[
                _project(project, list(held))
                for project, held in itertools.groupby(of_day, key=lambda row: row.project_id)
            ],
        )
        for day, of_day in itertools.groupby(rows, key=lambda row: row.day)
    ]
    totals = UsageSums(**_sum(rows))
    return UsageView(organization_id=organization_id, first=first, last=last, totals=totals, days=days)


def _days(query: UsageQuery, today: datetime.date) -> tuple[datetime.date, datetime.date]:
    """The first and the last day asked for; a 400 `Problem` when they are the wrong way round or too far apart."""
    first = query.first or today.replace(day=1)
    last = query.last or today.replace(day=calendar.monthrange(today.year, today.month)[1])
    if first > last:
        raise invalid("from", f"must not be after to; they are {first} and {last}, what is left out is of this month")
    if (last - first).days >= DAYS_MAX:
        raise invalid("to", f"at most {DAYS_MAX} days from `from`")
    return first, last


class UsageReport:
    """Answers what an organisation used."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def routes(self) -> list[HTTPRouteHandler]:
        """The handler, for the router of `/api/ai`."""

        @route("/usage", http_method=READING)
        async def usage(request: AnyRequest) -> Response[bytes]:
            return as_json(await self.read(request.user, request.scope["query_string"]))

        return [usage]

    async def read(self, identity: Identity, query_string: bytes) -> UsageView:
        """The sums; a `Problem` for a bad query or another organisation."""
        query = read_query(query_string, UsageQuery)
        organization = organization_of(identity, query.organization_id)
        today = int(time.time()) // _DAY_SECONDS
        first, last = _days(query, _EPOCH + datetime.timedelta(days=today))
        # Days that cannot be there cost no command; Redis's clock may be a little ahead of ours.
        days = (max((first - _EPOCH).days, 0), min((last - _EPOCH).days, today + 1))
        async with in_time():
            rows = await self._store.overview.usage(organization, *days)
        return view_usage(organization, first, last, rows)
