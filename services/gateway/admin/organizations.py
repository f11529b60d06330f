"""`/api/admin/organizations`: settings of single organisations, and their deletion."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from litestar import HttpMethod
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter
from msgspec import Meta

from services.gateway.admin.failure_views import AcceptedTask
from services.gateway.admin.organization_views import (
    OrganizationChange,
    OrganizationList,
    OrganizationView,
    stored_changes,
    view_organization,
)
from services.gateway.http.actor import AnyRequest, actor_of
from services.gateway.http.calls import changing, reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.submit.schemas import Identifier
from shared.http.auth import Identity, Scope
from shared.http.problems import NOT_FOUND, Problem
from shared.identity.client_address import ClientAddresses
from shared.job_ids import IDENTIFIER
from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore
from shared.store.tasks import TaskPlan

PAGE_MAX: Final = 500
OrganizationInPath = Annotated[str, PathParameter(name="id", description="Id of the organization")]


class OrganizationsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of organisations."""

    cursor: Annotated[Identifier | None, Meta(description="From the page before")] = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Default 100")] = 100


class OrganizationCalls:
    """Reads and changes settings."""

    def __init__(self, store: JobStore, addresses: ClientAddresses) -> None:
        self._store = store
        self._organizations = store.organizations
        self._addresses = addresses

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/admin`."""
        return [self._list_route(), self._read_route(), self._change_route(), self._delete_route()]

    def _list_route(self) -> HTTPRouteHandler:
        summary = "Organizations that have keys or settings, by id"

        @reading("/organizations", summary, 400, scope=Scope.ADMIN, query=OrganizationsQuery)
        async def list_organizations(
            identity: NamedDependency[Identity], params: NamedDependency[OrganizationsQuery]
        ) -> OrganizationList:
            return await self.page(identity, params)

        return list_organizations

    def _read_route(self) -> HTTPRouteHandler:
        @reading("/organizations/{id:str}", "An organization's settings", 400, 404, scope=Scope.ADMIN)
        async def read_organization(
            identity: NamedDependency[Identity],
            organization_id: OrganizationInPath,
            _params: NamedDependency[NoQuery],
        ) -> OrganizationView:
            require_organization(identity, organization_id)
            return await self._view(organization_id)

        return read_organization

    def _change_route(self) -> HTTPRouteHandler:
        summary = "Change an organization's settings"

        @changing(
            "/organizations/{id:str}",
            summary,
            400,
            404,
            409,
            scope=Scope.ADMIN,
            method=HttpMethod.PATCH,
            body=OrganizationChange,
        )
        async def change_organization(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            organization_id: OrganizationInPath,
            _params: NamedDependency[NoQuery],
            content: NamedDependency[OrganizationChange],
        ) -> OrganizationView:
            require_operator(identity, organization_id)
            actor = actor_of(identity, request, self._addresses)
            return await self.change(organization_id, content, actor)

        return change_organization

    def _delete_route(self) -> HTTPRouteHandler:
        summary = "Delete an organization with all that is kept of it"

        @changing("/organizations/{id:str}", summary, 400, 404, scope=Scope.ADMIN, status=202, method=HttpMethod.DELETE)
        async def delete_organization(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            organization_id: OrganizationInPath,
            _params: NamedDependency[NoQuery],
        ) -> AcceptedTask:
            _require_exact(request)
            require_operator(identity, organization_id)
            return await self.delete(organization_id, actor_of(identity, request, self._addresses))

        return delete_organization

    async def delete(self, organization_id: str, actor: Actor) -> AcceptedTask:
        """Refuse its submits, end its keys, and accept the task that deletes the rest. It may be called again."""
        store = self._store
        async with in_time():
            await self._organizations.change(organization_id, {"paused": 1}, actor)
            for key in await store.api_keys.of(organization_id):
                await store.api_keys.revoke(key.id, actor, owner=organization_id)
            plan = TaskPlan(kind="erase", organization_id=organization_id)
            return AcceptedTask(task_id=await store.tasks.create(plan, 0, actor), count=0)

    async def page(self, identity: Identity, query: OrganizationsQuery) -> OrganizationList:
        """Those after the cursor; of a bound key its own alone."""
        if identity.organization_id is not None:
            return OrganizationList([await self._view(identity.organization_id)], None)
        async with in_time():
            known = await self._organizations.known()
        after = [name for name in known if query.cursor is None or name > query.cursor]
        page = after[: query.limit]
        views = [await self._view(name) for name in page]
        return OrganizationList(views, page[-1] if len(after) > len(page) else None)

    async def change(self, organization_id: str, wanted: OrganizationChange, actor: Actor) -> OrganizationView:
        """Change what is given; the rest stays as it is. Nothing given: nothing is written."""
        changes = stored_changes(wanted)
        if changes:
            async with in_time():
                await self._organizations.change(organization_id, changes, actor)
        return await self._view(organization_id)

    async def _view(self, organization_id: str) -> OrganizationView:
        async with in_time():
            settings, stats = await self._organizations.overview(organization_id)
        return view_organization(organization_id, settings, stats)


def _require_exact(request: AnyRequest) -> None:
    """Raise a 404 `Problem` for a path that ends in a slash: clients make it of `…/blocked-users/..`."""
    if (request.scope.get("raw_path") or b"").endswith(b"/"):
        raise Problem(NOT_FOUND, "no slash at the end, and no id that is . or .. in a path, which clients resolve")


def require_organization(identity: Identity, organization_id: str) -> None:
    """Raise a 404 `Problem` for another organisation, and for a text that is no id."""
    if IDENTIFIER.match(organization_id) is None or not identity.may_see(organization_id):
        raise Problem(NOT_FOUND, "no such organization")


def require_operator(identity: Identity, organization_id: str) -> None:
    """The same; raise a 403 `Problem` for a bound administrator of this organisation."""
    require_organization(identity, organization_id)
    identity.require_operator()
