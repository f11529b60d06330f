"""`/api/admin/organizations/{id}/blocked-users`: users whose submits are refused."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from litestar import HttpMethod
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from services.gateway.admin.organizations import OrganizationInPath, require_operator, require_organization
from services.gateway.http.actor import AnyRequest, actor_of
from services.gateway.http.calls import changing, reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.submit.schemas import Identifier
from shared.http.auth import Identity, Scope
from shared.http.problems import NOT_FOUND, Problem, invalid
from shared.identity.client_address import ClientAddresses
from shared.job_ids import IDENTIFIER
from shared.store.organizations import Organizations

PATH = "/organizations/{id:str}/blocked-users"
_DOTS: Final = frozenset({".", ".."})
"""Ids that no client can put into a path: `…/blocked-users/..` is the organisation itself."""

UserInPath = Annotated[str, PathParameter(name="userId", description="Id of the user, as submits name it")]


class BlockRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A user to block."""

    user_id: Identifier


class BlockedUsers(msgspec.Struct, frozen=True, rename="camel"):
    """Users whose submits are refused, by id."""

    user_ids: list[str]


class BlockedUserCalls:
    """Blocks users of an organisation, and takes that back."""

    def __init__(self, organizations: Organizations, addresses: ClientAddresses) -> None:
        self._organizations = organizations
        self._addresses = addresses

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/admin`."""
        return [self._list_route(), self._block_route(), self._unblock_route()]

    def _list_route(self) -> HTTPRouteHandler:
        @reading(PATH, "Users whose submits are refused", 400, 404, scope=Scope.ADMIN)
        async def list_blocked_users(
            identity: NamedDependency[Identity],
            organization_id: OrganizationInPath,
            _params: NamedDependency[NoQuery],
        ) -> BlockedUsers:
            require_organization(identity, organization_id)
            return await self._blocked(organization_id)

        return list_blocked_users

    def _block_route(self) -> HTTPRouteHandler:
        summary = "Refuse the submits of a user"

        @changing(PATH, summary, 400, 404, 409, scope=Scope.ADMIN, body=BlockRequest)
        async def block_user(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            organization_id: OrganizationInPath,
            _params: NamedDependency[NoQuery],
            content: NamedDependency[BlockRequest],
        ) -> BlockedUsers:
            if content.user_id in _DOTS:
                raise invalid("userId", "cannot be unblocked again: clients resolve . and .. in a path")
            return await self.change(request, identity, organization_id, content.user_id, blocked=True)

        return block_user

    def _unblock_route(self) -> HTTPRouteHandler:
        summary = "Take the submits of a user again"
        path = PATH + "/{userId:str}"

        @changing(path, summary, 400, 404, scope=Scope.ADMIN, status=204, method=HttpMethod.DELETE)
        async def unblock_user(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            organization_id: OrganizationInPath,
            user_id: UserInPath,
            _params: NamedDependency[NoQuery],
        ) -> None:
            if IDENTIFIER.match(user_id) is None:
                raise Problem(NOT_FOUND, "no such user")
            await self.change(request, identity, organization_id, user_id, blocked=False)

        return unblock_user

    async def change(
        self, request: AnyRequest, identity: Identity, organization_id: str, user_id: str, *, blocked: bool
    ) -> BlockedUsers:
        """Block a user, or take it back; answers who is blocked. Also the second time."""
        require_operator(identity, organization_id)
        actor = actor_of(identity, request, self._addresses)
        async with in_time():
            await self._organizations.block(organization_id, user_id, actor, blocked=blocked)
        return await self._blocked(organization_id)

    async def _blocked(self, organization_id: str) -> BlockedUsers:
        async with in_time():
            return BlockedUsers(await self._organizations.blocked_users(organization_id))
