"""`DELETE /api/ai/jobs/{jobId}`: deletes a job, a running one after its end."""

from __future__ import annotations

from typing import Final

import structlog
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from services.gateway.http.actor import AnyRequest, actor_alone, actor_of
from services.gateway.http.calls import JobIdInPath, deleting
from services.gateway.http.queries import NoQuery
from services.gateway.http.responses import in_time
from services.gateway.jobs.cancel import CancelCall
from services.gateway.jobs.finder import JobFinder
from shared.errors import StoreUnavailable
from shared.http.auth import Identity, Scope
from shared.http.urls import read_job_id
from shared.identity.client_address import ClientAddresses
from shared.store.audit_trail import Actor
from shared.store.job_store import JobStore

_log: Final = structlog.get_logger(__name__)


class DeleteCall:
    """Deletes jobs."""

    def __init__(self, store: JobStore, finder: JobFinder, cancel: CancelCall, addresses: ClientAddresses) -> None:
        self._addresses = addresses
        self._store = store
        self._finder = finder
        self._cancel = cancel

    def route(self) -> HTTPRouteHandler:
        """The handler, for the router of `/api/ai`."""

        @deleting(
            "/jobs/{jobId:str}",
            "Delete a job; a running one is cancelled first",
            400,
            404,
            409,
            scope=Scope.JOBS_CANCEL,
        )
        async def delete_job(
            request: AnyRequest,
            identity: NamedDependency[Identity],
            job_id: JobIdInPath,
            _params: NamedDependency[NoQuery],
        ) -> None:
            await self.delete(identity, job_id, actor_of(identity, request, self._addresses))

        return delete_job

    async def delete(self, identity: Identity, job_id: str, actor: Actor | None = None) -> None:
        """Delete a job, whatever its state. JobNotFound also for another organisation's."""
        wanted, by = read_job_id(job_id), actor or actor_alone(identity)
        if not await self._deleted(identity, wanted, by):
            await self._cancel.end(identity, await self._finder.find(identity, wanted), by)
            if not await self._deleted(identity, wanted, by):
                raise StoreUnavailable("the job did not end")
        _log.info("job_deleted", job_id=wanted)

    async def _deleted(self, identity: Identity, job_id: str, actor: Actor) -> bool:
        """Whether it is gone; False: it has not ended. JobNotFound."""
        async with in_time():
            return await self._store.delete(job_id, identity.organization_id, actor=actor)
