"""`/api/admin/keys`: makes, lists, replaces and revokes API keys.

An operator administers all keys. A key that is bound to an organisation administers those of its own, and gives no
right that it does not have itself.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from litestar import HttpMethod
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter
from msgspec import Meta

from services.gateway.admin.key_views import (
    OPERATORS_MEANING,
    CreatedKey,
    KeyList,
    KeyRequest,
    RotateRequest,
    created_view,
    view_key,
)
from services.gateway.http.actor import AnyRequest, actor_of
from services.gateway.http.calls import changing, reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time, organization_of
from services.gateway.submit.schemas import Identifier
from shared.errors import KeyNotFound
from shared.events import TIME_MAX_MS
from shared.http.auth import Identity, Scope
from shared.http.problems import KEY_ENDED, Problem, invalid
from shared.identity.client_address import ClientAddresses
from shared.identity.key_text import KEY_ID, new_key
from shared.store.api_keys import ApiKey, ApiKeys
from shared.store.audit_trail import Actor
from shared.store.keys import OPERATORS
from shared.yielding import Yields

KeyIdInPath = Annotated[str, PathParameter(name="keyId", description="Id of the key")]


class KeysQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Keys of an organisation. A bound key lists its own organisation's; an operator's all when it names none."""

    organization_id: Annotated[Identifier | None, Meta(description=f"May be left out; {OPERATORS_MEANING}")] = None


class KeyCalls:
    """Administers keys."""

    def __init__(self, keys: ApiKeys, addresses: ClientAddresses) -> None:
        self._keys = keys
        self._addresses = addresses

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/admin`."""
        return [self._create_route(), self._list_route(), self._rotate_route(), self._revoke_route()]

    def _create_route(self) -> HTTPRouteHandler:
        @changing("/keys", "Make an API key", 400, 409, scope=Scope.ADMIN, status=201, body=KeyRequest)
        async def create_key(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            _params: NamedDependency[NoQuery],
            content: NamedDependency[KeyRequest],
        ) -> CreatedKey:
            return await self.create(identity, content, actor_of(identity, request, self._addresses))

        return create_key

    def _list_route(self) -> HTTPRouteHandler:
        @reading("/keys", "API keys, without their secrets", 400, scope=Scope.ADMIN, query=KeysQuery)
        async def list_keys(identity: NamedDependency[Identity], params: NamedDependency[KeysQuery]) -> KeyList:
            return await self.read(identity, params)

        return list_keys

    def _rotate_route(self) -> HTTPRouteHandler:
        summary = "Make a key in the place of another, which ends after an overlap"

        @changing("/keys/{keyId:str}/rotate", summary, 400, 404, 409, scope=Scope.ADMIN, status=201, body=RotateRequest)
        async def rotate_key(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            key_id: KeyIdInPath,
            _params: NamedDependency[NoQuery],
            content: NamedDependency[RotateRequest],
        ) -> CreatedKey:
            return await self.rotate(identity, key_id, content, actor_of(identity, request, self._addresses))

        return rotate_key

    def _revoke_route(self) -> HTTPRouteHandler:
        summary = "Revoke a key at once"

        @changing("/keys/{keyId:str}", summary, 400, 404, scope=Scope.ADMIN, status=204, method=HttpMethod.DELETE)
        async def revoke_key(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            key_id: KeyIdInPath,
            _params: NamedDependency[NoQuery],
        ) -> None:
            actor = actor_of(identity, request, self._addresses)
            async with in_time():
                await self._keys.revoke(_sound(key_id), actor, owner=identity.organization_id)

        return revoke_key

    async def create(self, identity: Identity, wanted: KeyRequest, actor: Actor) -> CreatedKey:
        """Make a key; a `Problem` for another organisation, or for a right that the caller does not have."""
        organization = _organization(identity, wanted.organization_id)
        scopes = tuple(dict.fromkeys(wanted.scopes))
        models = tuple(dict.fromkeys(wanted.models)) or tuple(sorted(identity.models))
        _require(identity, scopes, models)
        expires_ms = None if wanted.expires_at is None else round(wanted.expires_at.timestamp() * 1000)
        if expires_ms is not None and expires_ms <= time.time() * 1000:
            raise invalid("expiresAt", "must be in the future")
        if expires_ms is not None and expires_ms > TIME_MAX_MS:
            raise invalid("expiresAt", "must be before the year 10000")

        made = ApiKey(
            id="", digest="", organization_id=organization, scopes=scopes, label=wanted.label, models=models,
            expires_ms=expires_ms,
        )  # fmt: skip
        return await self._make(made, actor)

    async def read(self, identity: Identity, query: KeysQuery) -> KeyList:
        """The keys of an organisation, or of all."""
        async with in_time():
            if identity.organization_id is None and query.organization_id is None:
                found = await self._keys.all()
            else:
                found = await self._keys.of(_organization(identity, query.organization_id))
        views, yields = [], Yields()
        for key in found:
            views.append(view_key(key))
            await yields.give()
        return KeyList(views)

    async def rotate(self, identity: Identity, key_id: str, wanted: RotateRequest, actor: Actor) -> CreatedKey:
        """Make a key with the rights of another one. KeyNotFound; a 409 `Problem` for one that has ended."""
        async with in_time():
            old = await self._keys.read(_sound(key_id))
        if old is None or identity.organization_id not in (None, old.organization_id):
            raise KeyNotFound(key_id)
        if old.ended(time.time() * 1000):
            raise Problem(KEY_ENDED)
        _require(identity, old.scopes, old.models)
        return await self._make(
            old, actor, replaces=old.id, overlap_ms=round(wanted.overlap_seconds * 1000), owner=identity.organization_id
        )

    async def _make(self, like: ApiKey, actor: Actor, **place: Any) -> CreatedKey:
        text = new_key()
        made = msgspec.structs.replace(like, id=text.id, digest=text.digest, used_on=None)
        async with in_time():
            stored = await self._keys.create(made, actor, **place)
        return created_view(stored, text.text)


def _organization(identity: Identity, named: str | None) -> str | None:
    """The organisation that a key is of; None: the operators. A 400 or 403 `Problem` otherwise."""
    if named == OPERATORS and identity.organization_id is None:
        return None
    return organization_of(identity, named)


def _require(identity: Identity, scopes: tuple[str, ...], models: tuple[str, ...]) -> None:
    """Raise a 403 `Problem` when a bound caller would give a right that it does not have."""
    if identity.organization_id is None:
        return
    for scope in scopes:
        identity.require_scope(Scope(scope))
    for i, model in enumerate(models):
        identity.require_model(model, f"models[{i}]")


def _sound(key_id: str) -> str:
    """A text that may become part of a key's name. KeyNotFound for one that is no id."""
    if KEY_ID.match(key_id) is None:
        raise KeyNotFound(key_id)
    return key_id
