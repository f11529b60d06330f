"""`/api/admin/organizations`: what operators settle for single organisations. A bound administrator reads its own."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import HttpMethod, Request
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from services.gateway.admin.actor import actor_of
from services.gateway.admin.organization_views import (
    OrganizationChange,
    OrganizationList,
    OrganizationView,
    stored_changes,
    view_organization,
)
from services.gateway.http.calls import changing, reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from shared.http.auth import Identity, Scope
from shared.http.problems import NOT_FOUND, OPERATORS_ONLY, Problem
from shared.identity.client_address import ClientAddresses
from shared.job import IDENTIFIER
from shared.store.audit_trail import Actor
from shared.store.tenant_settings import Tenants

AnyRequest = Request[Any, Any, Any]
OrganizationInPath = Annotated[str, PathParameter(name="id", description="Id of the organization")]


class OrganizationCalls:
    """Reads and changes settings."""

    def __init__(self, tenants: Tenants, addresses: ClientAddresses) -> None:
        self._tenants = tenants
        self._addresses = addresses

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/admin`."""
        return [self._list_route(), self._read_route(), self._change_route()]

    def _list_route(self) -> HTTPRouteHandler:
        @reading("/organizations", "Organizations that have keys or settings", 400, scope=Scope.ADMIN)
        async def list_organizations(
            identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]
        ) -> OrganizationList:
            own = identity.organization_id
            async with in_time():
                found = await self._tenants.all() if own is None else [(own, await self._tenants.read(own))]
            return OrganizationList([view_organization(*one) for one in found])

        return list_organizations

    def _read_route(self) -> HTTPRouteHandler:
        @reading("/organizations/{id:str}", "An organization's settings", 400, 404, scope=Scope.ADMIN)
        async def read_organization(
            identity: NamedDependency[Identity],
            organization_id: OrganizationInPath,
            _params: NamedDependency[NoQuery],
        ) -> OrganizationView:
            _require(identity, organization_id)
            async with in_time():
                return view_organization(organization_id, await self._tenants.read(organization_id))

        return read_organization

    def _change_route(self) -> HTTPRouteHandler:
        summary = "Change an organization's settings"

        @changing(
            "/organizations/{id:str}",
            summary,
            400,
            404,
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
            _require(identity, organization_id)
            if identity.organization_id is not None:
                raise Problem(OPERATORS_ONLY)
            actor = actor_of(identity, request, self._addresses)
            return await self.change(organization_id, content, actor)

        return change_organization

    async def change(self, organization_id: str, wanted: OrganizationChange, actor: Actor) -> OrganizationView:
        """Settle what is given; the rest stays as it is. Nothing given: nothing is written."""
        changes = stored_changes(wanted)
        async with in_time():
            if changes:
                settings = await self._tenants.change(organization_id, changes, actor)
            else:
                settings = await self._tenants.read(organization_id)
        return view_organization(organization_id, settings)


def _require(identity: Identity, organization_id: str) -> None:
    """Raise a 404 `Problem` for another organisation, and for a text that is no id."""
    if IDENTIFIER.match(organization_id) is None or not identity.may_see(organization_id):
        raise Problem(NOT_FOUND, "no such organization")
