"""`/api/admin/workers`: the processes that run jobs; one of them is drained, or goes on. Operators only."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter

from services.gateway.http.actor import AnyRequest, actor_of
from services.gateway.http.calls import changing, reading
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from shared.events import Time, iso_time
from shared.http.auth import Identity, Scope
from shared.identity.client_address import ClientAddresses
from shared.store.workers import Worker, Workers

WorkerInPath = Annotated[str, PathParameter(name="worker", description="Name of the worker, as it is listed")]


class WorkerView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A worker. `busy`: slots with a job; `jobs_held`: jobs whose lease it has, those too whose end is being written.
    `last_seen_at`: its last claim, renewal or registration; `progress`: false when that is too long ago, so that
    others take its jobs over. `draining`: an operator ordered it to claim nothing more."""

    name: str
    host: str
    release: str
    slots: int
    busy: int
    jobs_held: int
    last_seen_at: Time
    progress: bool
    draining: bool


class WorkerList(msgspec.Struct, frozen=True):
    """Workers by name; one that was killed is listed for some hours."""

    workers: list[WorkerView]


class WorkerOrder(msgspec.Struct, frozen=True):
    """The order of a worker, which it obeys within a third of a lease while it runs jobs."""

    name: str
    draining: bool


class WorkerCalls:
    """Lists workers, and gives them orders."""

    def __init__(self, workers: Workers, addresses: ClientAddresses) -> None:
        self._workers = workers
        self._addresses = addresses

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers, for the router of `/api/admin`."""

        @reading("/workers", "Processes that run jobs", 400, scope=Scope.ADMIN)
        async def list_workers(identity: NamedDependency[Identity], _params: NamedDependency[NoQuery]) -> WorkerList:
            return await self.read(identity)

        return [list_workers, *self._order_routes()]

    def _order_routes(self) -> list[HTTPRouteHandler]:
        @changing("/workers/{worker:str}/drain", "Let a worker claim nothing more", 400, 404, scope=Scope.ADMIN)
        async def drain_worker(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            worker: WorkerInPath,
            _params: NamedDependency[NoQuery],
        ) -> WorkerOrder:
            return await self.order(identity, worker, request, drain=True)

        @changing("/workers/{worker:str}/resume", "Let a drained worker claim again", 400, 404, scope=Scope.ADMIN)
        async def resume_worker(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            worker: WorkerInPath,
            _params: NamedDependency[NoQuery],
        ) -> WorkerOrder:
            return await self.order(identity, worker, request, drain=False)

        return [drain_worker, resume_worker]

    async def read(self, identity: Identity) -> WorkerList:
        """All workers; a `Problem` for a bound key."""
        identity.require_operator()
        async with in_time():
            return WorkerList([_view(worker) for worker in await self._workers.read()])

    async def order(self, identity: Identity, name: str, request: AnyRequest, *, drain: bool) -> WorkerOrder:
        """Give an order; a `Problem` for a bound key. WorkerNotFound: the worker is not registered."""
        identity.require_operator()
        async with in_time():
            await self._workers.order(name, actor_of(identity, request, self._addresses), drain=drain)
        return WorkerOrder(name, drain)


def _view(worker: Worker) -> WorkerView:
    return WorkerView(
        name=worker.name, host=worker.host, release=worker.release, slots=worker.slots,
        busy=min(worker.held, worker.slots), jobs_held=worker.held, last_seen_at=iso_time(worker.seen_ms),
        progress=worker.progress, draining=worker.draining,
    )  # fmt: skip
