"""`GET /api/admin/usage`: usage and cost over all organisations, in groups; also as CSV."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.http.calls import reading
from services.gateway.http.csv_table import CSV, table
from services.gateway.http.responses import organization_of
from services.gateway.jobs.usage import DAYS_MAX, Totals, UsageSums, date_of, days_of
from services.gateway.submit.schemas import Identifier
from shared.errors import StoreRejected
from shared.http.auth import Identity, Scope
from shared.http.problems import invalid
from shared.store.job_store import JobStore
from shared.store.reading.usage import UsageRow

GROUPS: Final = ("organization", "model", "project", "day")
GROUPS_MAX: Final = 50_000
TOP_MAX: Final = 10_000
READ_AT_ONCE: Final = 8
"""Organisations whose usage is read at once."""

_ONE: Final = "|".join(GROUPS)
_COLUMNS: Final = {
    "organization": ("organization_id",), "model": ("provider", "model"), "project": ("project_id",), "day": ("date",)
}  # fmt: skip
"""Fields of a row by its grouping."""

_NAMES: Final = {"organization_id": "organizationId", "group_by": "groupBy", "first": "from", "last": "to"}

GroupBy = Annotated[str, Meta(pattern=rf"^(?:{_ONE})(?:,(?:{_ONE})){{0,{len(GROUPS) - 1}}}\Z")]
Key = tuple[str, ...]


class AdminUsageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=_NAMES):
    """Days in UTC, both included. A bound key reads its own organisation's usage; an operator that names none, that of
    all."""

    organization_id: Annotated[Identifier | None, Meta(description="May be left out")] = None
    group_by: Annotated[GroupBy, Meta(description=f"One or more of {', '.join(GROUPS)}, separated by commas")] = (
        "organization"
    )
    top: Annotated[
        int, Meta(ge=1, le=TOP_MAX, description="So many groups, those that cost most; the others are summed up")
    ] = TOP_MAX
    first: Annotated[datetime.date | None, Meta(description="First day; left out: the first of this month")] = None
    last: Annotated[
        datetime.date | None, Meta(description=f"Last day, of at most {DAYS_MAX}; left out: the last of this month")
    ] = None


class UsageGroup(UsageSums, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Usage of one group, with the fields that it is grouped by."""

    organization_id: str | None = None
    provider: str | None = None
    model: str | None = None
    project_id: str | None = None
    date: str | None = None


class AdminUsageView(msgspec.Struct, frozen=True, kw_only=True, rename=_NAMES):
    """Usage in groups, the dearest first. `others`: all groups beyond `top` together, null: there are none.
    `unreadable`: organisations whose usage is damaged and in no sum."""

    first: datetime.date
    last: datetime.date
    group_by: list[str]
    totals: UsageSums
    groups: list[UsageGroup]
    others: UsageSums | None
    unreadable: list[str]


class AdminUsageCall:
    """Sums up usage for those who administer."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._reading = asyncio.Lock()

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/admin`."""
        summary = "Usage and cost of ended jobs, in groups; as CSV with `Accept: text/csv`"

        @reading("/usage", summary, 400, scope=Scope.ADMIN, query=AdminUsageQuery, lines=CSV)
        async def sum_usage(
            request: Request[Any, Any, Any],
            identity: NamedDependency[Identity],
            params: NamedDependency[AdminUsageQuery],
        ) -> Response[AdminUsageView]:
            view = await self.read(identity, params)
            headers = {"Vary": "Accept"}
            if request.accept.best_match(["application/json", CSV]) != CSV:
                return Response(view, headers=headers)
            content: Any = _as_csv(view)
            headers["Content-Disposition"] = 'attachment; filename="usage.csv"'
            return Response(content, media_type=CSV, headers=headers)

        return sum_usage

    async def read(self, identity: Identity, query: AdminUsageQuery) -> AdminUsageView:
        """The groups; a `Problem` for days that cannot be, another organisation, or too many groups."""
        grouped_by = tuple(dict.fromkeys(query.group_by.split(",")))
        first, last, days = days_of(query.first, query.last)
        everyone = identity.organization_id is None and query.organization_id is None
        named = None if everyone else organization_of(identity, query.organization_id)

        # One read at a time: a caller that asks for everything again and again waits for itself.
        async with self._reading:
            whose = [named] if named is not None else await self._store.queries.usage_organizations(days[0])
            groups, unreadable = await self._groups(whose, days, grouped_by)
        ranked = sorted(groups.items(), key=lambda held: (-held[1].cost_nano_usd, held[0]))
        totals = _merged([held for _, held in ranked])
        rest = [held for _, held in ranked[query.top :]]
        return AdminUsageView(
            first=first, last=last, group_by=list(grouped_by), totals=UsageSums(**totals.fields),
            groups=[UsageGroup(**_named(grouped_by, key), **held.fields) for key, held in ranked[: query.top]],
            others=UsageSums(**_merged(rest).fields) if rest else None, unreadable=unreadable,
        )  # fmt: skip

    async def _groups(
        self, organizations: Sequence[str], days: tuple[int, int], grouped_by: Sequence[str]
    ) -> tuple[dict[Key, Totals], list[str]]:
        """The sums of each group, and the organisations that cannot be read."""
        groups: dict[Key, Totals] = {}
        unreadable: list[str] = []

        async def read(organization: str) -> None:
            try:
                found = [rows async for rows in self._store.queries.usage(organization, *days)]
            except StoreRejected:
                unreadable.append(organization)
                return
            for row in itertools.chain.from_iterable(found):
                groups.setdefault(_key(organization, row, grouped_by), Totals()).add([row])
            if len(groups) > GROUPS_MAX:
                raise invalid("groupBy", f"more than {GROUPS_MAX} groups: ask for fewer days, or group by less")

        for start in range(0, len(organizations), READ_AT_ONCE):
            await asyncio.gather(*map(read, organizations[start : start + READ_AT_ONCE]))
        return groups, sorted(unreadable)


def _key(organization: str, row: UsageRow, grouped_by: Sequence[str]) -> Key:
    values = {
        "organization_id": organization, "provider": row.provider, "model": row.model, "project_id": row.project_id,
        "date": date_of(row.day).isoformat(),
    }  # fmt: skip
    return tuple(values[column] for name in grouped_by for column in _COLUMNS[name])


def _named(grouped_by: Sequence[str], key: Key) -> dict[str, Any]:
    columns = [column for name in grouped_by for column in _COLUMNS[name]]
    return dict(zip(columns, key, strict=True))


def _merged(totals: Sequence[Totals]) -> Totals:
    merged = Totals()
    for held in totals:
        merged.merge(held)
    return merged


def _as_csv(view: AdminUsageView) -> bytes:
    """A row for each group, and one without names for the others."""
    grouped = [column for name in view.group_by for column in _COLUMNS[name]]
    fields = {field.name: field.encode_name for field in msgspec.structs.fields(UsageGroup)}
    columns = [*grouped, *(name for name in UsageSums.__struct_fields__)]
    rows: list[UsageSums] = [*view.groups, *([view.others] if view.others else [])]
    return table([fields[name] for name in columns], ([getattr(row, name, None) for name in columns] for row in rows))
