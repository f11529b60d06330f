"""`GET /api/ai/usage`: the usage and cost of an organisation's jobs, by day, project and model."""

from __future__ import annotations

import asyncio
import calendar
import datetime
import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final
from weakref import WeakValueDictionary

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.http.calls import reading
from services.gateway.http.responses import organization_of
from services.gateway.jobs.listing import OfOrganization
from shared.http.auth import Identity, Scope
from shared.http.problems import invalid
from shared.job import NANO
from shared.store.job_store import JobStore
from shared.store.reading.usage import UsageRow

DAYS_MAX: Final = 366
ROWS_MAX: Final = 10_000
"""Rows (a day, a project, a model) of one answer, but always a whole day: about 3 MB."""

_EPOCH: Final = datetime.date(1970, 1, 1)
_DAY_SECONDS: Final = 86_400
_NAMES: Final = {"organization_id": "organizationId", "first": "from", "last": "to"}
_COUNTS: Final = ("jobs", "input_tokens", "output_tokens", "cached_tokens", "unknown_cost_jobs", "estimated_jobs")


class UsageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=_NAMES):
    """Days in UTC, both included. None: the beginning or the end of this month."""

    organization_id: OfOrganization = None
    first: Annotated[datetime.date | None, Meta(description="First day, in UTC; left out: the first of this month")] = (
        None
    )
    last: Annotated[
        datetime.date | None, Meta(description=f"Last day, of at most {DAYS_MAX}; left out: the last of this month")
    ] = None


class UsageSums(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Sums of ended jobs that used anything: one that was cancelled while it waited is not among them.

    `cost_usd` lacks `unknown_cost_jobs`; null: it is known of no job. It is exact to the nano-USD up to 8 million USD,
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
    """Usage of one model that answered."""

    provider: str
    model: str


class ProjectUsage(UsageSums, frozen=True, kw_only=True, rename="camel"):
    """Usage of one project."""

    project_id: str
    models: list[ModelUsage]


class DayUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The projects with jobs that ended on one day."""

    date: datetime.date
    projects: list[ProjectUsage]


class UsageView(msgspec.Struct, frozen=True, kw_only=True, rename=_NAMES):
    """Usage of an organisation from `from` to `to` (UTC, both included); days without ended jobs are left out.

    `totals` are those of all days. `next`: the day at which `days` was cut because there were many; ask again `from`
    there. Projects beyond the first thousand of a day (each with a model) are summed up as the project `other`.
    """

    organization_id: str
    first: datetime.date
    last: datetime.date
    totals: UsageSums
    days: list[DayUsage]
    next: datetime.date | None = None


class Totals:
    """Sums of rows."""

    def __init__(self, rows: Iterable[UsageRow] = ()) -> None:
        self._sums = dict.fromkeys((*_COUNTS, "cost_nano_usd"), 0)
        self.add(rows)

    def add(self, rows: Iterable[UsageRow]) -> None:
        """Add rows."""
        for row in rows:
            for name in self._sums:
                self._sums[name] += getattr(row, name)

    def merge(self, other: Totals) -> None:
        """Add the sums of other rows."""
        for name, value in other._sums.items():
            self._sums[name] += value

    @property
    def cost_nano_usd(self) -> int:
        """The cost in nano-USD, as far as it is known."""
        return self._sums["cost_nano_usd"]

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `UsageSums`. The quotient is the double nearest to the sum, which JSON writes to the nano."""
        sums: dict[str, Any] = dict(self._sums)
        known = not sums["jobs"] or sums["jobs"] > sums["unknown_cost_jobs"]
        cost = sums.pop("cost_nano_usd")
        return sums | {"cost_usd": cost / NANO if known else None}


def _project(project_id: str, rows: Sequence[UsageRow]) -> ProjectUsage:
    models = [ModelUsage(provider=row.provider, model=row.model, **Totals([row]).fields) for row in rows]
    return ProjectUsage(project_id=project_id, models=models, **Totals(rows).fields)


class UsageBuilder:
    """Builds an answer from the rows of one day after the other."""

    def __init__(self, organization_id: str, first: datetime.date, last: datetime.date) -> None:
        self._organization_id = organization_id
        self._first, self._last = first, last
        self._totals = Totals()
        self._days: list[DayUsage] = []
        self._rows = 0
        self._next: datetime.date | None = None

    def add(self, rows: Sequence[UsageRow]) -> None:
        """Add a day, which comes after those before; beyond `ROWS_MAX` rows days are only summed up."""
        self._totals.add(rows)
        self._rows += len(rows)
        if self._next is None and self._days and self._rows > ROWS_MAX:
            self._next = date_of(rows[0].day)
        if self._next is None:
            by_project = itertools.groupby(rows, key=lambda row: row.project_id)
            projects = [_project(project, list(held)) for project, held in by_project]
            self._days.append(DayUsage(date=date_of(rows[0].day), projects=projects))

    @property
    def view(self) -> UsageView:
        """The answer."""
        return UsageView(
            organization_id=self._organization_id, first=self._first, last=self._last,
            totals=UsageSums(**self._totals.fields), days=self._days, next=self._next,
        )  # fmt: skip


def date_of(day: int) -> datetime.date:
    """A day that is counted since the epoch."""
    return _EPOCH + datetime.timedelta(days=day)


def _day_number() -> int:
    return int(time.time()) // _DAY_SECONDS


def today() -> datetime.date:
    """The present day (UTC, this machine's clock)."""
    return date_of(_day_number())


def days_of(
    first: datetime.date | None, last: datetime.date | None
) -> tuple[datetime.date, datetime.date, tuple[int, int]]:
    """The first and the last day asked for (None: of this month), and both as days since the epoch, as far as there can
    be any usage; a 400 `Problem` when they are the wrong way round or too far apart."""
    number = _day_number()
    present = today()
    first = first or present.replace(day=1)
    last = last or present.replace(day=calendar.monthrange(present.year, present.month)[1])
    if first > last:
        raise invalid("from", f"must not be after to; they are {first} and {last}, a missing day is of this month")
    if (last - first).days >= DAYS_MAX:
        raise invalid("to", f"at most {DAYS_MAX} days from `from`")

    # Days that cannot be there cost no command; Redis's clock may be a little ahead of ours.
    return first, last, (max((first - _EPOCH).days, 0), min((last - _EPOCH).days, number + 1))


class UsageCall:
    """Sums up the usage of organisations."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""
        summary = "Usage and cost of an organization's jobs, by the day they ended, project and model"

        @reading("/usage", summary, 400, scope=Scope.USAGE_READ, query=UsageQuery)
        async def usage(identity: NamedDependency[Identity], params: NamedDependency[UsageQuery]) -> UsageView:
            return await self.read(identity, params)

        return usage

    async def read(self, identity: Identity, query: UsageQuery) -> UsageView:
        """The sums; a `Problem` for days that cannot be or another organisation."""
        organization = organization_of(identity, query.organization_id)
        first, last, days = days_of(query.first, query.last)

        # One read of an organisation at a time: a caller that asks for everything again and again waits for itself.
        lock = self._reading.setdefault(organization, asyncio.Lock())
        async with lock:
            built = UsageBuilder(organization, first, last)
            # Not within the time of other calls: a year is many, each of which the store bounds.
            async for rows in self._store.queries.usage(organization, *days):
                built.add(rows)
        return built.view
