"""`GET /api/admin/audit`: who changed which keys and settings, newest first; also as JSON lines."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from services.gateway.admin.key_views import OPERATORS_MEANING, holder
from services.gateway.http.calls import reading
from services.gateway.http.responses import in_time, organization_of
from services.gateway.submit.schemas import Identifier
from shared.events import Time, iso_time
from shared.http.auth import Identity, Scope
from shared.http.problems import invalid
from shared.store.audit_trail import CURSOR_PATTERN, AuditTrail, WrittenEntry
from shared.store.keys import OPERATORS

PAGE_MAX: Final = 1000
LINES: Final = "application/x-ndjson"
_encode: Final = msgspec.json.Encoder().encode


Cursor = Annotated[str, Meta(extra_json_schema={"pattern": CURSOR_PATTERN})]


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Entries of an organisation. A bound key reads its own organisation's; an operator's all when it names none."""

    organization_id: Annotated[Identifier | None, Meta(description=f"May be left out; {OPERATORS_MEANING}")] = None
    cursor: Annotated[Cursor | None, Meta(description="From the page before")] = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Default 100")] = 100
    format: Annotated[Literal["json", "lines"], Meta(description="`lines`: an entry a line, for exports")] = "json"


class EntryView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One change. `by`: the key, token or subject that made it; `organization_id`: the one that it is about."""

    id: str
    at: Time
    action: str
    organization_id: str
    by: str
    by_organization_id: str
    address: str
    request_id: str
    details: dict[str, Any]


class AuditView(msgspec.Struct, frozen=True):
    """Entries, newest first; `cursor` gives the next page, null: there is none."""

    entries: list[EntryView]
    cursor: str | None


class AuditCall:
    """Reads the audit trail."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/admin`."""

        @reading("/audit", "Changes of keys, newest first", 400, scope=Scope.ADMIN, query=AuditQuery, lines=LINES)
        async def audit(
            identity: NamedDependency[Identity], params: NamedDependency[AuditQuery]
        ) -> Response[AuditView]:
            page = await self.read(identity, params)
            if params.format == "json":
                return Response(page)
            lines: Any = b"".join(_encode(entry) + b"\n" for entry in page.entries)
            return Response(lines, media_type=LINES, headers={} if page.cursor is None else {"X-Cursor": page.cursor})

        return audit

    async def read(self, identity: Identity, query: AuditQuery) -> AuditView:
        """One page; a 400 or 403 `Problem` for a name that the caller may not use."""
        operator = identity.organization_id is None
        every = operator and query.organization_id is None
        named = operator and query.organization_id in (None, OPERATORS)
        wanted = None if named else organization_of(identity, query.organization_id)
        try:
            async with in_time():
                page = await self._trail.page(wanted, every=every, cursor=query.cursor, limit=query.limit)
        except ValueError:
            raise invalid("cursor", "not a cursor of this listing") from None
        return AuditView([_view(entry) for entry in page.entries], page.cursor)


def _view(written: WrittenEntry) -> EntryView:
    entry = written.entry
    return EntryView(
        id=written.id, at=iso_time(written.at_ms), action=entry.a, organization_id=holder(written.organization_id),
        by=entry.k, by_organization_id=holder(entry.o), address=entry.ip, request_id=entry.rq, details=entry.d,
    )  # fmt: skip
