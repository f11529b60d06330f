"""`/api/admin/gates` and `/api/admin/queue`: states of gates, and pauses. A bound administrator reads states alone."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import unquote

import msgspec
from litestar import HttpMethod
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter
from msgspec import UNSET

from services.gateway.admin.gate_views import (
    GateLimitsChange,
    GateList,
    GateView,
    QueueState,
    bound_view,
    view,
    with_calls,
)
from services.gateway.http.actor import AnyRequest, actor_of
from services.gateway.http.calls import changing, reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from shared.http.auth import Identity, Scope
from shared.http.problems import NOT_FOUND, Problem
from shared.identity.client_address import ClientAddresses
from shared.store.audit_trail import Actor
from shared.store.gates import QUEUE, Gate, Gates
from shared.store.recent_calls import RecentCalls

GateInPath = Annotated[
    str, PathParameter(name="gate", description="`provider:model`; a slash in a model's name as `%2F`")
]


class GateCalls:
    """Reads gates; pauses and resumes them, or the whole queue."""

    def __init__(self, gates: Gates, recent: RecentCalls, chain: tuple[str, ...], addresses: ClientAddresses) -> None:
        """`chain`: the gates of jobs that name no other."""
        self._gates = gates
        self._recent = recent
        self._chain = chain
        self._addresses = addresses

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/admin`."""
        return [self._list_route(), self._state_route(), *self._gate_routes(), *self._queue_routes()]

    def _list_route(self) -> HTTPRouteHandler:
        @reading("/gates", "Gates of providers and models", 400, scope=Scope.ADMIN)
        async def list_gates(identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]) -> GateList:
            return await self.all(identity)

        return list_gates

    def _state_route(self) -> HTTPRouteHandler:
        @reading("/queue", "Whether the queue is paused", 400, scope=Scope.ADMIN)
        async def read_queue(identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]) -> QueueState:
            identity.require_operator()
            async with in_time():
                return QueueState(await self._gates.queue_paused())

        return read_queue

    def _gate_routes(self) -> list[HTTPRouteHandler]:
        @changing("/gates/{gate:str}/pause", "Let no call pass a gate", 400, 404, scope=Scope.ADMIN)
        async def pause_gate(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            gate: GateInPath,
            _params: NamedDependency[NoQuery],
        ) -> GateView:
            return await self.change(identity, gate, request, paused=True)

        @changing(
            "/gates/{gate:str}/resume",
            "Let calls pass a gate again that is paused, or blocked",
            400,
            404,
            scope=Scope.ADMIN,
        )
        async def resume_gate(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            gate: GateInPath,
            _params: NamedDependency[NoQuery],
        ) -> GateView:
            return await self.change(identity, gate, request, paused=False)

        @changing(
            "/gates/{gate:str}", "Change the limits of a gate", 400, 404, scope=Scope.ADMIN, method=HttpMethod.PATCH,
            body=GateLimitsChange,
        )  # fmt: skip
        async def limit_gate(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            gate: GateInPath,
            _params: NamedDependency[NoQuery],
            content: NamedDependency[GateLimitsChange],
        ) -> GateView:
            return await self.limit(identity, gate, request, content)

        return [pause_gate, resume_gate, limit_gate]

    def _queue_routes(self) -> list[HTTPRouteHandler]:
        @changing("/queue/pause", "Start no job until the queue is resumed", 400, scope=Scope.ADMIN)
        async def pause_queue(
            request: AnyRequest, identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]
        ) -> QueueState:
            return await self.change_queue(identity, request, paused=True)

        @changing("/queue/resume", "Start jobs again", 400, scope=Scope.ADMIN)
        async def resume_queue(
            request: AnyRequest, identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]
        ) -> QueueState:
            return await self.change_queue(identity, request, paused=False)

        return [pause_queue, resume_queue]

    async def change(self, identity: Identity, encoded: str, request: AnyRequest, *, paused: bool) -> GateView:
        """Pause or resume a gate; a `Problem` for a bound key, and for a gate that is not known."""
        name = await self._known(identity, encoded)
        await self._set(name, actor_of(identity, request, self._addresses), paused=paused)
        return await self._view(name)

    async def limit(self, identity: Identity, encoded: str, request: AnyRequest, wanted: GateLimitsChange) -> GateView:
        """Settle limits; a `Problem` as above. Nothing given: nothing is written."""
        name = await self._known(identity, encoded)
        if changes := {field: value for field, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}:
            async with in_time():
                await self._gates.limit(name, changes, actor_of(identity, request, self._addresses))
        return await self._view(name)

    async def all(self, identity: Identity) -> GateList:
        """All gates; a bound key's answer holds nothing of the fleet's calls."""
        if identity.organization_id is not None:
            return GateList([bound_view(gate) for gate in await self._read()])

        async with in_time():
            gates, recent = await asyncio.gather(self._gates.read(self._chain), self._recent.read())
        return GateList([with_calls(view(gate), recent.get(gate.name), self._chain) for gate in gates])

    async def _known(self, identity: Identity, encoded: str) -> str:
        identity.require_operator()
        name = unquote(encoded)
        if name not in {gate.name for gate in await self._read()}:
            raise Problem(NOT_FOUND, "no such gate")
        return name

    async def _view(self, name: str) -> GateView:
        (found,) = (gate for gate in await self._read() if gate.name == name)
        return view(found)

    async def change_queue(self, identity: Identity, request: AnyRequest, *, paused: bool) -> QueueState:
        """Pause or resume the queue; a `Problem` for a bound key."""
        identity.require_operator()
        await self._set(QUEUE, actor_of(identity, request, self._addresses), paused=paused)
        return QueueState(paused)

    async def _read(self) -> list[Gate]:
        async with in_time():
            return await self._gates.read(self._chain)

    async def _set(self, name: str, actor: Actor, *, paused: bool) -> None:
        async with in_time():
            await (self._gates.pause(name, actor) if paused else self._gates.resume(name, actor))
